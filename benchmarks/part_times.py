"""Where the time of a run goes: seconds in each part of the engine."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from typing import Any

import torch

from model.consistency.pass_observer import PassObserver
from model.inference.framing import Framing
from model.inference.prepared_network import InferenceNetwork
from model.memory.bases_memory import BasesMemory
from model.memory.dense_memory import DenseMemory
from model.memory.focused_read import FocusedRead
from model.memory.memory_bank import MemoryBank
from model.network.pcvos import PCVOS
from model.network.stm import STM
from model.network.swem import SWEM
from model.propagation import per_clip_pass
from model.propagation.span_results import SpanResults

_NETWORKS = (PCVOS, STM, SWEM)
_MEMORIES = (MemoryBank, DenseMemory, BasesMemory)

# The outermost of these that is running gets the time.
_PARTS: dict[str, tuple[tuple[Any, str], ...]] = {
    "pre-processing": ((Framing, "image"), (Framing, "masks")),
    "key encoder": (
        *((network, "encode") for network in _NETWORKS),
        (InferenceNetwork, "encode_regions"),
        (InferenceNetwork, "repeated"),
    ),
    "read": (
        (FocusedRead, "look"),
        (FocusedRead, "seen"),
        (FocusedRead, "readouts"),
        *((m, "read") for m in _MEMORIES),
    ),
    "memory bank": (
        (per_clip_pass, "worth_keeping"),
        *((m, name) for m in _MEMORIES for name in ("add", "add_temporary", "add_keyframe")),
    ),
    "refinement": ((PCVOS, "refine"),),
    "decoder": tuple((network, name) for network in _NETWORKS for name in ("decode", "prepare_decoding")),
    "value encoder": ((InferenceNetwork, "encode_value"),),
    "confidence": ((PassObserver, "observe"),),
    "soft masks": ((Framing, "memory_masks"),),
    "post-processing": ((SpanResults, "of"),),
}


@contextmanager
def part_times(device: torch.device) -> Iterator[dict[str, float]]:
    """Measures the runs inside; gives seconds by part, "other" excluded. Waits for the GPU at each border of a part."""
    seconds = dict.fromkeys(_PARTS, 0.0)
    busy = False

    def timed(part: str, function: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(function)
        def run(*args: Any, **kwargs: Any) -> Any:
            nonlocal busy
            if busy:
                return function(*args, **kwargs)
            busy, began = True, _now(device)
            try:
                return function(*args, **kwargs)
            finally:
                busy = False
                seconds[part] += _now(device) - began

        return run

    originals = [(owner, name, getattr(owner, name)) for places in _PARTS.values() for owner, name in places]
    for part, places in _PARTS.items():
        for owner, name in places:
            setattr(owner, name, timed(part, getattr(owner, name)))
    try:
        yield seconds
    finally:
        for owner, name, original in originals:
            setattr(owner, name, original)


def _now(device: torch.device) -> float:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()
