"""Holds a backward pass until the forward pass meets it: a few kilobytes per frame and object."""

import zlib

import numpy as np
import torch

from model.findings import Evidence
from model.sweep import Prediction, Predictions

LOGIT_LIMIT = 127 / 16  # logits are kept in steps of 1/16 up to here: within 0.008 in probability


class LogitStore:
    """Predictions per frame and object; logits are rounded and compressed (about 2 kB at 480p instead of 100 kB)."""

    def __init__(self):
        self._frames: dict[int, dict[int, tuple[tuple[int, int], bytes, Evidence]]] = {}

    def put(self, index: int, predictions: Predictions) -> None:
        """Keeps what is predicted of a frame, logits on any device."""
        self._frames[index] = {
            obj: (tuple(x.shape), zlib.compress(_rounded(x).cpu().numpy(), 1), evidence)
            for obj, (x, evidence) in predictions.items()
        }

    def take(self, index: int) -> Predictions:
        """Gives a frame's predictions back, logits on the CPU, and forgets them; empty for one that was not kept."""
        return {
            obj: Prediction(_restored(data, shape), evidence)
            for obj, (shape, data, evidence) in self._frames.pop(index, {}).items()
        }


def _rounded(logits: torch.Tensor) -> torch.Tensor:
    return (logits * 16).round().clamp(-127, 127).to(torch.int8)


def _restored(data: bytes, shape: tuple[int, int]) -> torch.Tensor:
    return torch.from_numpy(np.frombuffer(zlib.decompress(data), np.int8).reshape(shape).astype(np.float32) / 16)
