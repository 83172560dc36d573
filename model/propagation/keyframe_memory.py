"""The keyframes as memory: keys and values of what was drawn."""

from collections.abc import Sequence

import numpy as np
from torch import Tensor

from model.inference.framing import Framing
from model.inference.prepared_network import InferenceNetwork
from model.keyframe import Keyframe
from model.propagation.layers import Layers

Grouping = tuple[tuple[int, ...], ...]  # objects by layer


class KeyframeMemory:
    """Keys and values of keyframes from their masks alone, encoded once per run and shared by all passes."""

    def __init__(self, network: InferenceNetwork, framing: Framing, frames: Sequence[np.ndarray]):
        self._network, self._framing, self._frames = network, framing, frames
        self._cache: dict[tuple[int, Grouping], tuple[Tensor, dict[int, Tensor]]] = {}

    def read(self, keyframe: Keyframe, layers: Layers) -> tuple[Tensor, dict[int, Tensor]]:
        """The key (tokens, key_dim) and each object's value (tokens, value_dim) in a stretch of these layers."""
        name = keyframe.index, tuple(sorted(layers.groups(keyframe.objects)))
        if name not in self._cache:
            image = self._framing.image(self._frames[keyframe.index], keyframe.index)
            key, f16 = self._network.encode_image(image)
            places = layers.places(keyframe.objects)
            masks = self._framing.drawn_masks(keyframe.masks, keyframe.objects, places)
            values = self._network.encode_value(image, f16, masks, places, drawn=True)
            self._cache[name] = key, dict(zip(keyframe.objects, values))
        return self._cache[name]

    def forget_before(self, index: int) -> None:
        """Drop the keyframes before a frame."""
        self._cache = {name: memory for name, memory in self._cache.items() if name[0] >= index}
