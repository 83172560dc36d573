"""Holds a backward pass until the forward pass meets it: a few kilobytes per frame and object."""

import zlib

import numpy as np
import torch

LOGIT_LIMIT = 127 / 16  # logits are kept in steps of 1/16 up to here: within 0.008 in probability
_Logits = dict[int, torch.Tensor]


class LogitStore:
    """Logits per frame and object, rounded and compressed (about 2 kB each at 480p instead of 100 kB)."""

    def __init__(self):
        self._frames: dict[int, dict[int, tuple[tuple[int, int], bytes]]] = {}

    def put(self, index: int, logits: _Logits) -> None:
        """Keeps a frame's logits, each float32 (h, w)."""
        self._frames[index] = {
            obj: (tuple(x.shape), zlib.compress((x * 16).round().clamp(-127, 127).to(torch.int8).cpu().numpy(), 1))
            for obj, x in logits.items()
        }

    def take(self, index: int) -> _Logits:
        """Gives a frame's logits back and forgets them; empty for a frame that was not kept."""
        return {
            obj: torch.from_numpy(np.frombuffer(zlib.decompress(data), np.int8).reshape(shape).astype(np.float32) / 16)
            for obj, (shape, data) in self._frames.pop(index, {}).items()
        }
