"""Remembered frames become what the network reads."""

import numpy as np
import pytest
import torch

from model.inference.framing import Framing
from model.tracking.bounded_cache import BoundedCache
from model.tracking.frame_recall import FrameRecall, drawn_logits
from model.tracking.frame_tracker import FrameMemory
from model.tracking.remembered_frames import Remembered, RememberedFrame


class Spy:
    """A tracker that notes what it is to memorise."""

    keeps_bases = False

    def encode(self, framing, pixels):
        return None

    def memorise(self, name, frame, mask, others):
        self.mask, self.others = mask, others
        return FrameMemory(name, mask, others)


def drawn_frame(framing, recall):
    drawn = np.zeros((32, 48), bool)
    drawn[8:24, 16:40] = True
    small = recall.small_image(framing, np.full((32, 48, 3), 200, np.uint8))
    return RememberedFrame.of(0, small, drawn_logits(framing, drawn))


@pytest.fixture
def framing():
    return Framing(32, 48, None, torch.device("cpu"), any_frame_size=True)


def test_an_object_alone_is_memorised_as_drawn_and_with_no_others(framing):
    spy = Spy()
    recall = FrameRecall(spy, BoundedCache(0))
    recall.memory(framing, Remembered((drawn_frame(framing, recall),)))
    assert spy.mask[12:20, 20:36].min() > 0.99 and spy.mask[:4].max() < 0.01
    assert spy.others.max() < 0.01


def test_what_another_kind_of_network_remembers_is_refused(framing):
    spy = Spy()
    recall = FrameRecall(spy, BoundedCache(0))
    frame = drawn_frame(framing, recall)
    with pytest.raises(ValueError, match="another network"):
        recall.memory(framing, Remembered((frame,), b"bases"))
    spy.keeps_bases = True
    with pytest.raises(ValueError, match="another network"):
        recall.memory(framing, Remembered((frame, frame)))


def test_bases_of_another_scale_begin_again_from_the_drawn_frame(framing):
    recall = FrameRecall(Spy(), BoundedCache(0))
    frame = drawn_frame(framing, recall)
    darker = recall.darkened(framing, Remembered((frame,), b"bases"), 1)
    assert darker.bases == b"" and darker.frames[0].mask == frame.mask and darker.frames[0].image != frame.image
