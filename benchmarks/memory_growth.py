"""What each network's memory takes against the length of a video, behind the engine's `Memory` interface.

No network runs: a keyframe and the frames that the engine would remember by default come as random tokens of the size
of 480 x 854 input, in bfloat16. Each memory is filled in a process of its own. Writes memory_growth.csv and
memory_growth.md: the bytes in use and of the tensors held at some lengths, and by how much the process had grown.
"""

import argparse
import multiprocessing
import platform
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from benchmarks.row_log import RowLog
from model.memory.kept_frames import KeptFrames
from model.memory.memory import Memory
from model.memory.memory_thinning import worth_keeping
from model.memory.new_memory import new_memory
from model.network.config import NetworkConfig, network_config
from model.network.fitted_options import fitted
from model.options import PropagationOptions
from model.program.command_line import Parser, run_program

_LENGTHS = (100, 200, 500, 1000)
_OBJECTS = (1, 3)
_GRID = (30, 54)  # positions of 480 x 854
_SIDE = 10  # positions; of the square that stands for an object
_DTYPE = torch.bfloat16
_ABSORBED = 10  # SWEM absorbs every tenth frame here: each costs 40 ms, and its memory is of one size after any
_MEASURES = ("in use, MB", "tensors held, MB", "process grew by, MB")
_COLUMNS = ("network", "memory", "objects", "frames", *_MEASURES, "dtype", "machine")


@dataclass(frozen=True)
class Case:
    """A network's name, a policy of `PropagationOptions.memory`, and how many objects."""

    network: str
    policy: str
    objects: int


_MEMORIES = (
    ("stm", "auto"),
    ("swem", "auto"),
    ("perclip-lite", "every"),
    ("perclip-lite", "bounded"),
    ("perclip-lite", "spread"),
)


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, print and write; gives the exit code."""
    parser = Parser(
        prog="python -m benchmarks.memory_growth",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--out", type=Path, default=Path("benchmarks/results"), metavar="DIR", help="default benchmarks/results"
    )
    return run_program(parser, run, argv)


def run(arguments: argparse.Namespace) -> None:
    """Measure all; raises PerclipError."""
    log = RowLog(arguments.out / "memory_growth.csv", _COLUMNS, resume=False)
    for network, policy in _MEMORIES:
        for objects in _OBJECTS:
            # A process of its own each: its peak is nobody else's.
            with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
                log.append(pool.submit(measure, Case(network, policy, objects)).result())
    text = markdown(log.rows)
    (arguments.out / "memory_growth.md").write_text(text, encoding="utf-8")
    print(text)


def measure(case: Case) -> list[dict[str, Any]]:
    """A row for each length."""
    config = network_config(case.network)
    options = fitted(PropagationOptions(memory=case.policy), config)
    tokens = _GRID[0] * _GRID[1]
    memory = new_memory(config.memory, tuple(range(1, case.objects + 1)), 0, tokens, options)
    key, values = _random_frame(config, case.objects)
    kept = [torch.arange(tokens)]
    if config.name == "perclip-lite" and options.thin_memory:
        kept = [worth_keeping(cells) for cells in _places(case.objects)]
    step = _ABSORBED if config.memory == "bases" else options.clip_frames
    before = _resident("VmRSS")
    memory.add_keyframe(key, values)
    rows = []
    for index in range(step, max(_LENGTHS) + 1, step):
        positions = kept[index % len(kept)]
        memory.add(index, key[positions], {o: value[positions] for o, value in values.items()})
        if index in _LENGTHS:
            found = (*held_bytes(memory), _resident("VmHWM") - before)
            row = _described(case, options.memory) | {"frames": index, "machine": machine()}
            row |= {"dtype": str(_DTYPE).removeprefix("torch.")}
            rows.append(row | {name: f"{n / 1e6:.1f}" for name, n in zip(_MEASURES, found, strict=True)})
    return rows


def _described(case: Case, policy: str) -> dict[str, Any]:
    """The columns that say what was measured; the policy is that which "auto" came to."""
    name = "bases" if case.network == "swem" else policy
    return {"network": case.network, "memory": name, "objects": case.objects}


def _random_frame(config: NetworkConfig, objects: int) -> tuple[Tensor, dict[int, Tensor]]:
    """A frame's key and each object's values, as the network's `encode_value` would give them."""
    # STM's objects have keys of their own, SWEM's how much a position belongs to background and object.
    width = config.value_dim + {"dense": config.key_dim, "bases": 2, "tokens": 0}[config.memory]
    random, tokens = torch.Generator().manual_seed(0), _GRID[0] * _GRID[1]
    key = torch.randn(tokens, config.key_dim, generator=random).to(_DTYPE)
    values = {o: torch.randn(tokens, width, generator=random) for o in range(1, objects + 1)}
    if config.memory == "bases":
        for value in values.values():
            value[:, -2:] = torch.softmax(value[:, -2:], 1)
    return key, {o: value.to(_DTYPE) for o, value in values.items()}


def _places(objects: int) -> Iterator[Tensor]:
    """Where squares of objects may be, bool (h, w), in a few frames."""
    random = torch.Generator().manual_seed(0)
    for _ in range(8):
        cells = torch.zeros(_GRID, dtype=torch.bool)
        for _ in range(objects):
            top, left = (int(torch.randint(side - _SIDE, (1,), generator=random)) for side in _GRID)
            cells[top : top + _SIDE, left : left + _SIDE] = True
        yield cells


def held_bytes(memory: Memory) -> tuple[int, int]:
    """Bytes of what is remembered, and of all tensors that are held, room for what is to come included."""
    tensors = {x.untyped_storage().data_ptr(): x for x in _tensors(vars(memory))}.values()
    held = sum(x.nbytes for x in tensors)
    if not isinstance(memory, KeptFrames):
        return held, held
    return len(memory) * sum(x.nbytes // len(x) for x in tensors if len(x)), held


def _tensors(value: Any) -> Iterator[Tensor]:
    """All tensors in nested dictionaries and sequences."""
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, dict | tuple | list):
        for part in value.values() if isinstance(value, dict) else value:
            yield from _tensors(part)


def _resident(name: str) -> int:
    """Bytes of this process in memory, now (VmRSS) or at most so far (VmHWM)."""
    for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1]) * 1024
    raise AssertionError(name)


def machine() -> str:
    """The processor, as `lscpu` has it, and how many cores."""
    lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return f"{names[0] if names else platform.machine()}, {max(1, len(names))} cores"


def markdown(rows: Sequence[dict[str, str]]) -> str:
    """A line per memory and number of objects, the lengths side by side."""
    lines = [
        "# Memory against length",
        "",
        "Random tokens: memory only; no network ran. What is remembered of 480 x 854 video with the defaults, in MB",
        "(10^6 bytes): in use / tensors held, with room for what is to come / by how much the process had grown,",
        "with what a growing buffer or SWEM's arithmetic takes for a moment. STM remembers every fifth frame and the",
        "last, perclip-lite the last of five, and fewer positions away from the objects. SWEM absorbs every frame,",
        f"here every {_ABSORBED}th: its size depends on none.",
        "",
        f"| network | memory | objects | {' | '.join(f'{n:,} frames' for n in _LENGTHS)} |",
        "|" + "---|" * (3 + len(_LENGTHS)),
    ]
    groups: dict[tuple[str, ...], list[str]] = {}
    for row in rows:
        cell = " / ".join(row[name] for name in _MEASURES)
        groups.setdefault((row["network"], row["memory"], row["objects"]), []).append(cell)
    lines += [f"| {' | '.join([*key, *cells])} |" for key, cells in groups.items()]
    made = "Made by `python -m benchmarks.memory_growth`"
    return "\n".join([*lines, "", f"{made}, {rows[0]['dtype']}, {rows[0]['machine']}."]) + "\n"


if __name__ == "__main__":
    sys.exit(main())
