"""Segments single frames against memory that the caller keeps: no video, no order, no state of its own."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from model.inference.framing import Framing
from model.inference.label_map import most_likely
from model.inference.prepared_network import EncodedClip, InferenceNetwork
from model.memory.new_memory import new_memory
from model.network.fitted_options import fitted
from model.object_masks import ObjectMasks
from model.options import PropagationOptions
from model.propagation.prediction import rounded


class EncodedFrame(NamedTuple):
    """A frame as the network sees it.

    Attributes:
        image: float32 (3, padded H, padded W), normalised.
        clip: its encoding, of one frame.
    """

    image: Tensor
    clip: EncodedClip


class FrameMemory(NamedTuple):
    """What is remembered of one object in one frame.

    Attributes:
        frame: names the frame: objects that remember frames of the same names, in the same order, are read together.
        key: (tokens, key_dim).
        value: (tokens, value_dim).
    """

    frame: str
    key: Tensor
    value: Tensor


class FrameTracker:
    """The network, for one frame at a time.

    Args:
        network: prepared with these options.
        options: short side and top-k count; the rest is the caller's or the network's.
    """

    def __init__(self, network: InferenceNetwork, options: PropagationOptions):
        self._network, self._options = network, fitted(options, network.config)

    def framing(self, height: int, width: int) -> Framing:
        """The geometry of frames of a size in pixels; images may come in the network's size instead."""
        return self._network.framing(height, width, self._options.short_side, any_frame_size=True)

    @torch.inference_mode()
    def encode(self, framing: Framing, frame: np.ndarray) -> EncodedFrame:
        """Encodes uint8 (h, w, 3) RGB of any size."""
        image = framing.image(frame, 0)
        return EncodedFrame(image, self._network.encode_clip([image]))

    @torch.inference_mode()
    def memorise(self, name: str, frame: EncodedFrame, mask: Tensor, others: Tensor) -> FrameMemory:
        """What to remember of one object.

        Args:
            name: of the frame.
            frame: as it was encoded.
            mask: probability of the object, as `Framing.memory_masks` has it, on any device.
            others: of all other objects together, likewise.
        """
        masks = torch.stack([mask, others]).to(frame.image.device)
        values = self._network.encode_value(frame.image, frame.clip.last, masks)
        return FrameMemory(name, frame.clip.keys[0], values[0])

    @torch.inference_mode()
    def segment(self, framing: Framing, frame: EncodedFrame, memories: Sequence[Sequence[FrameMemory]]) -> Tensor:
        """Logits of K objects, each with one remembered frame or more: float32 (K, padded H / 4, padded W / 4).

        They are rounded as they are packed, so that what is seen and what is remembered is one and the same.
        """
        kind = self._network.config.memory
        groups: dict[tuple[str, ...], list[int]] = {}
        for obj, memory in enumerate(memories):
            # Where nothing is read together, an object must not depend on which others are asked for with it.
            own = () if kind == "tokens" else (str(obj),)
            groups.setdefault((*own, *(m.frame for m in memory)), []).append(obj)
        readouts: dict[int, Tensor] = {}
        for objects in groups.values():
            places = dict(enumerate(objects, 1))
            bank = new_memory(kind, tuple(places), 0, framing.tokens, self._options)
            for i, remembered in enumerate(memories[objects[0]]):
                bank.add_keyframe(remembered.key, {o: memories[obj][i].value for o, obj in places.items()})
            readouts |= {places[o]: readout for o, readout in bank.read(frame.clip.keys[0]).items()}
        stacked = torch.stack([readouts[o][None] for o in range(len(memories))]).unflatten(2, framing.grid)
        return rounded(self._network.segment(frame.clip.local_keys, frame.clip.decoding, stacked)[0])


def frame_masks(framing: Framing, logits: Tensor, layers: Sequence[int]) -> ObjectMasks:
    """The masks of K objects of a frame at its size; the first of them is object 1.

    Args:
        framing: of the frame.
        logits: (K, h, w).
        layers: of the K objects; no pixel belongs to two objects of one layer (`model.propagation.layers`).
    """
    sheets = []
    for layer in dict.fromkeys(layers):
        places = [k for k, other in enumerate(layers) if other == layer]
        sheets.append(most_likely(framing, logits[places], [k + 1 for k in places]))
    return ObjectMasks.from_sheets(sheets)
