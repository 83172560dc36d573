"""Small parts that turn probabilities into masks: soft aggregation, framing, specks, confidence, J."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from model.confidence.cues import Evidence
from model.evaluation.metrics import region_similarity
from model.inference.framing import Framing
from model.inference.label_map import most_likely
from model.inference.region import Region
from model.network.soft_aggregation import aggregate, object_probabilities
from model.propagation.prediction import Prediction, pack, rounded, unpack
from model.propagation.specks import remove_specks

CPU = torch.device("cpu")


def test_soft_aggregation_by_hand():
    # Two objects at 0.5 and 0.8: background 0.1; odds 1/9, 1 and 4.
    p = aggregate(torch.tensor([0.5, 0.8]).view(2, 1, 1))[:, 0, 0]
    torch.testing.assert_close(p, torch.tensor([1 / 9, 1, 4]) / (1 / 9 + 1 + 4))


@settings(max_examples=30, deadline=None)
@given(values=st.lists(st.floats(0, 1, width=32), min_size=1, max_size=5))
def test_soft_aggregation_is_a_distribution_that_keeps_the_order(values):
    p = aggregate(torch.tensor(values).view(-1, 1, 1))[:, 0, 0]
    assert torch.isfinite(p).all() and abs(float(p.sum()) - 1) < 1e-5
    order = torch.tensor(values).clamp(1e-7, 1 - 1e-7)
    assert (p[1:][order.argsort()].diff() >= -1e-6).all()


@pytest.mark.parametrize(("height", "width"), [(480, 854), (720, 1280), (123, 457), (1000, 301)])
def test_framing_pads_to_multiples_and_comes_back(height, width):
    framing = Framing(height, width, 160, CPU)
    assert min(framing.net_height, framing.net_width) == 160
    frame = np.random.default_rng(0).integers(0, 255, (height, width, 3), dtype=np.uint8)
    image = framing.image(frame, 0)
    assert image.shape == (3, framing.padded_height, framing.padded_width)
    assert framing.padded_height % 16 == framing.padded_width % 16 == 0
    assert framing.restore(framing.crop(image))[0].shape == (3, height, width)


@settings(max_examples=60, deadline=None, database=None)
@given(
    data=st.data(), size=st.tuples(st.integers(20, 90), st.integers(20, 90)), short_side=st.sampled_from([32, 64, None])
)
def test_a_part_of_the_network_s_size_becomes_that_part_of_the_frame(data, size, short_side):
    framing = Framing(*size, short_side, CPU)
    height, width = framing.net_height, framing.net_width
    x = torch.randn(2, height, width, generator=torch.Generator().manual_seed(data.draw(st.integers(0, 99))))
    whole, everything = framing.restore(x)
    expected = F.interpolate(x[None], size, mode="bilinear", align_corners=False)[0]
    torch.testing.assert_close(whole, expected, atol=1e-4, rtol=1e-4)
    assert everything == (0, size[0], 0, size[1])
    top, left = data.draw(st.integers(0, height - 1)), data.draw(st.integers(0, width - 1))
    region = Region(top, data.draw(st.integers(top + 1, height)), left, data.draw(st.integers(left + 1, width)))
    part, where = framing.restore(region.of(x), region)
    assert torch.equal(part, where.of(whole))
    # Nothing else can be known from that part.
    unknown = torch.full_like(x, torch.nan)
    region.of(unknown)[:] = region.of(x)
    known = framing.restore(unknown)[0].isfinite()
    assert where.of(known).all()


@settings(max_examples=60, deadline=None, database=None)
@given(
    size=st.tuples(st.integers(33, 100), st.integers(33, 100)),
    short_side=st.sampled_from([32, 64, 80, None]),
    objects=st.integers(1, 4),
    seed=st.integers(0, 999),
)
def test_the_label_map_is_the_likeliest_object_of_every_pixel(size, short_side, objects, seed):
    """As the definition says, over the whole frame: blobs of several objects, touching, at borders, in the padding."""
    framing = Framing(*size, short_side, CPU)
    height, width = framing.padded_height // 4, framing.padded_width // 4
    random = torch.Generator().manual_seed(seed)
    ids = torch.randperm(255, generator=random)[:objects].add(1).tolist()
    logits = torch.full((objects, height, width), -7.0)
    for plane in logits:
        for _ in range(2):
            top, left = (int(torch.randint(0, n, (1,), generator=random)) for n in (height, width))
            part = plane[top : top + 6, left : left + 5]
            part += 9 + 4 * torch.randn(part.shape, generator=random)
    found = most_likely(framing, logits, ids)
    p = aggregate(framing.crop(object_probabilities(logits[None])[0]))
    p = F.interpolate(p[None], size, mode="bilinear", align_corners=False)[0]
    best, second = p.topk(2, 0).values
    expected = np.array([0, *ids], np.uint8)[p.argmax(0).numpy()]
    clear = (best - second > 1e-4).numpy()
    assert found.shape == size and found.dtype == np.uint8
    np.testing.assert_array_equal(found[clear], expected[clear])
    assert clear.mean() > 0.95


def test_of_many_unlikely_objects_one_may_still_be_the_likeliest():
    """Three objects of 0.33 to 0.38 leave the background 0.27."""
    logits = torch.full((3, 12, 12), -7.0)
    logits[:, 4:8, 4:8] = torch.tensor([-0.6, -0.5, -0.7])[:, None, None]
    found = most_likely(Framing(48, 48, None, CPU), logits, (3, 9, 6))
    assert (found[18:30, 18:30] == 9).all() and not found[:12].any()


def test_objects_that_are_nowhere_leave_an_empty_label_map():
    framing = Framing(50, 70, None, CPU)
    logits = torch.full((2, framing.padded_height // 4, framing.padded_width // 4), -7.0)
    assert not most_likely(framing, logits, (3, 9)).any()
    logits[1, :, 0] = 9.0  # its pixels are padding but for the last two columns
    assert (framing.padded_width - 70) // 2 == 5
    assert not most_likely(framing, logits, (3, 9)).any()
    framing = Framing(48, 65, None, CPU)  # the last 8 of 80 columns are padding
    logits = torch.full((2, 12, 20), -7.0)
    logits[0, :, -1] = 9.0
    assert most_likely(framing, logits, (3, 9)).shape == (48, 65) and not most_likely(framing, logits, (3, 9)).any()


def test_the_long_side_is_exact():
    framing = Framing(412, 824, 480, CPU)
    assert (framing.net_height, framing.net_width) == (480, 960)


def test_masks_line_up_with_the_image():
    """A bright square and its mask cover the same network pixels, whatever the resize."""
    for size in ((480, 854), (300, 300), (97, 211)):
        frame = np.zeros((*size, 3), np.uint8)
        label_map = np.zeros(size, np.uint8)
        frame[40:80, 30:90] = 255
        label_map[40:80, 30:90] = 5
        framing = Framing(*size, 160, CPU)
        bright = framing.crop(framing.image(frame, 0))[0] > 0
        mask = framing.crop(framing.masks(label_map, (5,)))[0] > 0
        assert region_similarity(bright.numpy(), mask.numpy()) > 0.9


def test_specks_go_and_pieces_stay():
    label_map = np.zeros((40, 40), np.uint8)
    label_map[2:10, 2:10] = 1  # 64 pixels
    label_map[20:22, 20:22] = 1  # 4 pixels
    label_map[30, 30] = 2
    label_map[35, 35] = 3
    remove_specks(label_map, {1: 16, 2: 16})
    assert (label_map == 1).sum() == 64 and not (label_map == 2).any() and (label_map == 3).sum() == 1


def test_packed_logits_come_back_within_their_rounding():
    logits = torch.linspace(-12, 12, 600).view(20, 30)
    packed = pack({3: Prediction(logits, Evidence(0.1, 0.2, -0.3))})
    kept, evidence = unpack(packed)[3]
    assert evidence == Evidence(0.1, 0.2, -0.3)
    assert (torch.sigmoid(kept) - torch.sigmoid(logits)).abs().max() < 0.008
    assert torch.equal(kept, rounded(logits))


@pytest.mark.parametrize("damage", [lambda p: p._replace(rows=21), lambda p: p._replace(data=p.data[:-9] + b"x")])
def test_damaged_packed_logits_are_refused(damage):
    packed = pack({3: Prediction(torch.randn(20, 30), Evidence())})[3]
    with pytest.raises(ValueError, match="packed logits"):
        damage(packed).unpack()


def test_region_similarity_by_hand():
    a, b = np.zeros((4, 4), bool), np.zeros((4, 4), bool)
    assert region_similarity(a, b) == 1
    a[:2], b[1:3] = True, True
    assert region_similarity(a, b) == pytest.approx(1 / 3)
    assert region_similarity(a, ~a) == 0
