"""Remembered frames become what the network reads."""

import numpy as np
import torch

from model.inference.framing import Framing
from model.tracking.bounded_cache import BoundedCache
from model.tracking.frame_recall import FrameRecall, drawn_logits
from model.tracking.frame_tracker import FrameMemory
from model.tracking.remembered_frames import RememberedFrame


class Spy:
    """A tracker that notes what it is to memorise."""

    def encode(self, framing, pixels):
        return None

    def memorise(self, name, frame, mask, others):
        self.mask, self.others = mask, others
        return FrameMemory(name, mask, others)


def test_an_object_alone_is_memorised_as_drawn_and_with_no_others():
    framing, spy = Framing(32, 48, None, torch.device("cpu"), any_frame_size=True), Spy()
    recall = FrameRecall(spy, BoundedCache(0))
    drawn = np.zeros((32, 48), bool)
    drawn[8:24, 16:40] = True
    small = recall.small_image(framing, np.zeros((32, 48, 3), np.uint8))
    recall.memory(framing, [RememberedFrame.of(0, small, drawn_logits(framing, drawn))])
    assert spy.mask[12:20, 20:36].min() > 0.99 and spy.mask[:4].max() < 0.01
    assert spy.others.max() < 0.01
