"""Networks that have learned, kept for the next time: a folder of bounded size, the least recently used give way."""

import hashlib
import json
import os
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError

from model.errors import CheckpointError, InputError
from model.learning.record import LearningRecord
from model.network.checkpoint import load_network, save_network
from model.network.pcvos import PCVOS
from model.network.segmentation_network import SegmentationNetwork
from model.program.atomic_write import atomic_write
from model.program.bounded_folder import KeptFile, drop_oldest, files_in
from model.program.user_folders import cache_folder

BUDGET = 2**30
"""Bytes that are kept; a network of perclip-lite's size has 14 million."""


def learned_folder() -> Path:
    """Where what was learned is kept unless somebody says otherwise."""
    return cache_folder("learned")


def weights_digest(network: SegmentationNetwork) -> str:
    """32 characters that differ where networks or their weights differ."""
    digest = hashlib.sha256(network.config.to_json().encode())
    for name, tensor in sorted(network.state_dict().items()):
        digest.update(name.encode() + tensor.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()[:32]


@dataclass(frozen=True)
class Kept:
    """What a folder holds: networks that have learned, and bytes in all."""

    networks: int
    size: int


class LearnedWeights:
    """A folder of what was learned, by what it was learned from and began with. Processes may share it.

    What cannot be read there counts as missing, and a folder that cannot be written to keeps nothing: both only cost
    the time to learn anew.

    Args:
        folder: made when something is put into it.
        budget: bytes that it may hold.
    """

    def __init__(self, folder: Path, budget: int = BUDGET):
        self.folder, self.budget = folder, budget

    def record(self, key: str, start: str) -> LearningRecord | None:
        """What came of learning by this key, beginning with these weights; None: unknown."""
        path = self._record(key, start)
        try:
            record = LearningRecord.from_json(json.loads(path.read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError):
            return None
        with suppress(OSError):
            os.utime(path)
        return record if record.over else None

    def network(self, digest: str) -> PCVOS | None:
        """The network with these weights; None: it is not kept, or not whole."""
        path = self._weights(digest)
        try:
            network = load_network("perclip-lite", path)
        except CheckpointError:
            return None
        with suppress(OSError):
            os.utime(path)
        return network if isinstance(network, PCVOS) and weights_digest(network) == digest else None

    def put(self, record: LearningRecord, network: PCVOS | None = None) -> None:
        """Keeps what came of learning, and the network where it is used; others give way where there is no room."""
        with suppress(OSError, InputError, SafetensorError):
            if network is not None and record.weights is not None:
                with atomic_write(self._weights(record.weights)) as part:
                    save_network(network, part, torch.float32)
            with atomic_write(self._record(record.key, record.start)) as part:
                part.write_text(json.dumps(record.to_json()), encoding="utf-8")
            self.prune()

    def kept(self) -> Kept:
        """What the folder holds."""
        files = self._files()
        return Kept(sum(path.suffix == ".safetensors" for *_, path in files), sum(size for _, size, _ in files))

    def prune(self, budget: int | None = None) -> None:
        """Removes what was used longest ago until the rest fits into the budget."""
        drop_oldest(self._files(), self.budget if budget is None else budget)

    def empty(self) -> None:
        """Removes all that was kept."""
        self.prune(0)

    def _files(self) -> list[KeptFile]:
        return files_in(self.folder, "*.json", "*.safetensors")

    def _record(self, key: str, start: str) -> Path:
        return self.folder / f"{key}-{start}.json"

    def _weights(self, digest: str) -> Path:
        return self.folder / f"{digest}.safetensors"
