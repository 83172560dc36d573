"""Segments single frames against memory that the caller keeps: no video, no order, no state of its own."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from model.inference.framing import Framing
from model.inference.label_map import most_likely
from model.inference.prepared_network import EncodedClip, InferenceNetwork
from model.memory.bases import Bases
from model.memory.bases_memory import BasesMemory
from model.memory.memory import Memory
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


class ObjectMemory(NamedTuple):
    """What is remembered of one object.

    Attributes:
        frames: one or more; of a network that remembers in bases, the drawn one alone.
        bases: what later frames left in these; None: nothing so far.
    """

    frames: Sequence[FrameMemory]
    bases: Bases | None = None


class FrameTracker:
    """The network, for one frame at a time.

    Args:
        network: prepared with these options.
        options: short side and top-k count; the rest is the caller's or the network's.
    """

    def __init__(self, network: InferenceNetwork, options: PropagationOptions):
        self._network, self._options = network, fitted(options, network.config)

    @property
    def keeps_bases(self) -> bool:
        """Whether later frames of an object go into bases (SWEM), and are not remembered themselves."""
        return self._network.config.memory == "bases"

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
    def segment(self, framing: Framing, frame: EncodedFrame, memories: Sequence[ObjectMemory]) -> Tensor:
        """Logits of K objects: float32 (K, padded H / 4, padded W / 4).

        They are rounded as they are packed, so that what is seen and what is remembered is one and the same.
        """
        groups: dict[tuple[str, ...], list[int]] = {}
        for obj, memory in enumerate(memories):
            # Where nothing is read together, an object must not depend on which others are asked for with it.
            own = () if self._network.config.memory == "tokens" else (str(obj),)
            groups.setdefault((*own, *(m.frame for m in memory.frames)), []).append(obj)
        readouts: dict[int, Tensor] = {}
        for objects in groups.values():
            bank = self._bank(framing, [memories[obj] for obj in objects])
            read = bank.read(frame.clip.keys[0])
            readouts |= {obj: read[o] for o, obj in enumerate(objects, 1)}
        stacked = torch.stack([readouts[o][None] for o in range(len(memories))]).unflatten(2, framing.grid)
        return rounded(self._network.segment(frame.clip.local_keys, frame.clip.decoding, stacked)[0])

    @torch.inference_mode()
    def absorbed(self, framing: Framing, memory: ObjectMemory, seen: FrameMemory) -> Bases:
        """The bases of an object behind another frame in which it was seen; of a network that has such."""
        bank = self._bank(framing, [memory])
        assert isinstance(bank, BasesMemory), "asked for of networks with bases only"
        bank.add(1, seen.key, {1: seen.value})
        return bank.updated(1)

    def _bank(self, framing: Framing, memories: Sequence[ObjectMemory]) -> Memory:
        """The memory of objects that share all their frames; the first of them is object 1."""
        objects = range(1, len(memories) + 1)
        bank = new_memory(self._network.config.memory, tuple(objects), 0, framing.tokens, self._options)
        for i, frame in enumerate(memories[0].frames):
            bank.add_keyframe(frame.key, {o: m.frames[i].value for o, m in zip(objects, memories)})
        if isinstance(bank, BasesMemory):
            for o, memory in zip(objects, memories):
                if memory.bases is not None:
                    bank.go_on_from(o, Bases(*(x.to(self._network.device) for x in memory.bases)))
        return bank


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
