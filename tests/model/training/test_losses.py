"""The losses against values computed by hand."""

import math

import pytest
import torch

from model.training.losses import UNKNOWN, bootstrapped_cross_entropy, clip_dice

# Two images of four pixels, classes background and one object; the probability that each pixel gives its own class.
_OWN = torch.tensor([[0.9, 0.8, 0.5, 0.1], [0.6, 0.7, 0.2, 0.99]])
_TARGET = torch.tensor([[0, 1, 1, 0], [1, 0, 1, 0]])


def _probabilities() -> torch.Tensor:
    object_p = torch.where(_TARGET == 1, _OWN, 1 - _OWN)
    return torch.stack([1 - object_p, object_p], 1).unflatten(2, (2, 2))


@pytest.mark.parametrize(
    ("share", "hardest"),
    [
        (1.0, [[0.9, 0.8, 0.5, 0.1], [0.6, 0.7, 0.2, 0.99]]),
        (0.5, [[0.5, 0.1], [0.6, 0.2]]),
        (0.25, [[0.1], [0.2]]),
    ],
)
def test_bootstrapped_cross_entropy_is_that_of_each_images_hardest_pixels(share, hardest):
    expected = -sum(math.log(p) for image in hardest for p in image) / sum(map(len, hardest))
    loss = bootstrapped_cross_entropy(_probabilities(), _TARGET.unflatten(1, (2, 2)), share)
    assert loss.item() == pytest.approx(expected, rel=1e-5)


def test_of_all_pixels_it_is_plain_cross_entropy():
    torch.manual_seed(0)
    p = torch.softmax(torch.randn(3, 4, 5, 6), 1)
    target = torch.randint(0, 4, (3, 5, 6))
    expected = torch.nn.functional.nll_loss(p.log(), target)
    assert bootstrapped_cross_entropy(p, target, 1.0).item() == pytest.approx(expected.item(), rel=1e-5)


def test_what_nobody_knows_costs_nothing_whatever_is_made_of_it():
    target = _TARGET.unflatten(1, (2, 2)).clone()
    target[0, 1, 1] = target[1, 1, 0] = UNKNOWN  # the hardest of either image
    p = _probabilities().requires_grad_()
    loss = bootstrapped_cross_entropy(p, target, 0.25)
    assert loss.item() == pytest.approx(-(math.log(0.5) + math.log(0.6)) / 2, rel=1e-5)
    loss.backward()
    assert not p.grad[0, :, 1, 1].any() and not p.grad[1, :, 1, 0].any() and p.grad.any()


def test_a_pixel_without_any_probability_has_a_finite_loss_and_gradient():
    p = torch.tensor([1.0, 0.0]).view(1, 2, 1, 1).requires_grad_()
    loss = bootstrapped_cross_entropy(p, torch.ones(1, 1, 1, dtype=torch.int64), 1.0)
    loss.backward()
    assert loss.item() == pytest.approx(-math.log(1e-7), rel=1e-4) and p.grad.isfinite().all()


def test_clip_dice_takes_all_frames_of_an_object_together():
    masks = torch.zeros(1, 2, 1, 1, 4)
    masks[0, 0, 0, 0, :3] = 1
    p = torch.zeros_like(masks)
    p[0, 0, 0, 0, :2] = 1  # two of three pixels of the first frame
    p[0, 1, 0, 0, 0] = 0.5  # half a pixel too many on the second
    assert clip_dice(p, masks).item() == pytest.approx(1 - (2 * 2 + 1) / (2.5 + 3 + 1))


def test_objects_that_are_empty_all_through_do_not_count():
    masks = torch.zeros(2, 2, 3, 1, 4)
    masks[0, 1, 0] = 1  # seen on one frame: counts
    masks[1, 0, 2, 0, 0] = 1
    p = torch.rand(2, 2, 3, 1, 4, generator=torch.Generator().manual_seed(0))
    used = [(0, 0), (1, 2)]
    each = [1 - (2 * (p * masks)[b, :, k].sum() + 1) / ((p + masks)[b, :, k].sum() + 1) for b, k in used]
    assert clip_dice(p, masks).item() == pytest.approx(sum(each).item() / 2, rel=1e-6)
    assert clip_dice(p, torch.zeros_like(masks)).item() == 0
