"""What one pass says of the objects of a frame, as tensors or packed into a few kilobytes."""

import zlib
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from model.confidence.cues import Evidence

LOGIT_LIMIT = 127 / 16  # packed logits go in steps of 1/16 up to here: within 0.008 in probability


class Prediction(NamedTuple):
    """What one pass says of one object in one frame.

    Attributes:
        logits: float32 (padded H / 4, padded W / 4).
        evidence: whether to trust them.
    """

    logits: Tensor
    evidence: Evidence


class PackedPrediction(NamedTuple):
    """A prediction with rounded and compressed logits: about 2 kB at 480p instead of 100 kB.

    Attributes:
        rows: of the logits.
        columns: of the logits.
        data: 16 times the logits, rounded, as int8, compressed by zlib.
        evidence: whether to trust them.
    """

    rows: int
    columns: int
    data: bytes
    evidence: Evidence

    def unpack(self) -> Prediction:
        """The prediction, rounded logits on the CPU.

        Raises:
            ValueError: the data do not hold rows x columns numbers; never allocates more than that.
        """
        size = self.rows * self.columns
        try:
            raw = zlib.decompressobj().decompress(self.data, size + 1)
        except zlib.error as error:
            raise ValueError(f"packed logits are damaged ({error})") from None
        if len(raw) != size:
            raise ValueError("packed logits are not of their size")
        steps = np.frombuffer(raw, np.int8).reshape(self.rows, self.columns)
        return Prediction(torch.from_numpy(steps.astype(np.float32) / 16), self.evidence)


Predictions = Mapping[int, Prediction]  # by object
PackedPredictions = Mapping[int, PackedPrediction]


def rounded(logits: Tensor) -> Tensor:
    """Logits as packing and unpacking gives them back, float32."""
    return _steps(logits).float() / 16


def pack(predictions: Predictions) -> PackedPredictions:
    """Packs the predictions of a frame, logits on any device."""
    return {
        obj: PackedPrediction(logits.shape[0], logits.shape[1], _compressed(logits), evidence)
        for obj, (logits, evidence) in predictions.items()
    }


def _compressed(logits: Tensor) -> bytes:
    return zlib.compress(_steps(logits).cpu().numpy().data, 1)


def unpack(packed: PackedPredictions) -> Predictions:
    """The predictions, logits on the CPU; raises ValueError for damaged ones."""
    return {obj: prediction.unpack() for obj, prediction in packed.items()}


def _steps(logits: Tensor) -> Tensor:
    return (logits * 16).round().clamp(-127, 127).to(torch.int8)
