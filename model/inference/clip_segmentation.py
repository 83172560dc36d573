"""Refines and decodes a clip as its frames come, so that only a few of them wait."""

import torch
from torch import Tensor

from model.inference.prepared_network import EncodedClip, InferenceNetwork
from model.network.decoder import DecoderInput

_LEAST = 4  # frames that are worth a piece of their own


class ClipSegmentation:
    """Takes the frames of a clip, some at a time, and gives the logits of all.

    Refinement needs a few frames on both sides of a frame, not the whole clip. So the image features that wait for the
    decoder, of PCVOS 22 MB per frame at 480p, are those of two intervals of progressive matching at most: with clips of
    25 frames PCVOS takes 1.2 GB instead of 1.7.
    """

    def __init__(self, network: InferenceNetwork, length: int, room: list[DecoderInput]):
        """Of a clip of `length` frames; image features that are not needed any more are put into `room`."""
        self._network, self._length, self._room = network, length, room
        self._images: list[DecoderInput] = []  # of the frames that are still to be decoded
        self._local_keys: Tensor | None = None  # of these frames and those before that they need
        self._readouts = torch.empty(0)  # likewise
        self._lead = 0  # how many are before
        self._done = 0
        self._logits: list[Tensor] = []

    def add(self, clip: EncodedClip, readouts: Tensor) -> None:
        """The next frames, with their readouts (K, T, h, w, value_dim)."""
        self._images += clip.decoding
        fresh = self._readouts.numel() == 0
        self._readouts = readouts if fresh else torch.cat([self._readouts, readouts], 1)
        if clip.local_keys is not None:
            before = self._local_keys
            self._local_keys = clip.local_keys if fresh or before is None else torch.cat([before, clip.local_keys], 2)
        context = self._network.context
        waiting = self._readouts.shape[1] - self._lead
        if self._done + waiting == self._length:
            self._segment(waiting, waiting, len(self._images))
        elif (ready := (waiting - context) // 2 * 2) >= max(_LEAST, context):
            self._segment(ready, ready + context, ready)
            kept = self._lead + ready - context
            self._lead = context
            self._readouts = self._readouts[:, kept:]
            if self._local_keys is not None:
                self._local_keys = self._local_keys[:, :, kept:]

    def logits(self) -> Tensor:
        """Of the whole clip, when all frames were added: float32 (T, K, 4h, 4w)."""
        return torch.cat(self._logits)

    def _segment(self, ready: int, seen: int, images: int) -> None:
        """Decode the first of the waiting frames, seeing some more; `images` is how many of the image features."""
        stop = self._lead + seen
        keys = None if self._local_keys is None else self._local_keys[:, :, :stop]
        done, self._images = self._images[:images], self._images[images:]
        self._logits.append(self._network.segment(keys, done, self._readouts[:, :stop], self._lead))
        self._done += ready
        self._room += done
