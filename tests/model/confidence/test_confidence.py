"""What an annotator relies on when looking at doubtful frames first."""

import dataclasses
import math

import numpy as np
import pytest
import torch

from model import CheckpointError, Keyframe, Propagator, load_network
from model.confidence.calibration import Calibration, Tolerance
from model.confidence.cues import Cues, Evidence
from model.confidence.mask_quality import agreement, expected_overlap
from model.consistency.cycle_consistency import MaskProbe, coverage
from model.consistency.pass_observer import PassObserver, likeness
from model.evaluation.metrics import region_similarity
from model.inference.framing import Framing
from model.network.checkpoint import save_network
from model.propagation.fusion import join
from model.propagation.per_clip_pass import Prediction

GRID = (12, 16)


def disc(slope: float, shift: int = 0) -> torch.Tensor:
    """Probabilities (48, 64) of a disc whose border is as sharp as the slope is large."""
    y, x = np.mgrid[:48, :64]
    return torch.sigmoid(torch.from_numpy(14 - np.hypot(y - 24, x - 32 - shift)).float() * slope)


def mean_confidence(results, frames: range, *objects: int) -> float:
    return float(np.mean([r.confidence[o] for r in results if r.index in frames for o in objects]))


# The mask alone


def test_expected_overlap_is_the_mean_j_of_masks_drawn_from_the_probabilities():
    torch.manual_seed(0)
    p = disc(0.3)
    mask = (p > 0.5).numpy()
    drawn = [region_similarity(mask, (torch.rand_like(p) < p).numpy()) for _ in range(200)]
    assert expected_overlap(p) == pytest.approx(np.mean(drawn), abs=0.005)


def test_expected_overlap_of_an_empty_mask_is_how_unlikely_its_likeliest_pixel_is():
    p = torch.full((48, 64), 0.01)
    p[3, 5] = 0.3
    assert expected_overlap(p) == pytest.approx(0.7)


def test_sharp_masks_are_surer_than_soft_ones_and_empty_ones_than_doubtful_ones():
    def of(p):
        return Calibration().confidence(Cues(expected_overlap(p), (Evidence(),)))

    assert 0.9 < of(disc(4)) < 1 and of(disc(0.2)) < of(disc(0.5)) < of(disc(4))
    assert of(torch.full((60, 60), 0.01)) > 0.95 and of(torch.full((60, 60), 0.45)) < 0.7


def test_agreement_of_two_passes():
    a = torch.zeros(20, 20)
    a[:10] = 1
    assert agreement(a, a) == 1 and agreement(a, 1 - a) == 0
    assert agreement(torch.zeros(20, 20), torch.zeros(20, 20)) == 1


# Calibration

STRICT = Calibration(0.0, 1.0, *(Tolerance(least, 2.0) for least in (0.8, 0.9, -1.0, 0.9, 0.7)))


def test_trust_is_whole_within_the_tolerances():
    assert STRICT.trust(Cues(0.5, (Evidence(0.8, 0.9, -1.0),), 0.7)) == 1


@pytest.mark.parametrize(
    ("evidence", "agreed"),
    [
        (Evidence(0.5), 1),
        (Evidence(contained=0.6), 1),
        (Evidence(continuity=-1.3), 1),
        (Evidence(accounted=0.6), 1),
        (Evidence(), 0.4),
    ],
)
def test_every_shortfall_costs_trust(evidence, agreed):
    assert STRICT.trust(Cues(0.5, (evidence,), agreed)) == pytest.approx(math.exp(-2 * 0.3))


def test_of_two_passes_the_mean_penalty_counts():
    bad, good = Evidence(recovered=0.2), Evidence()
    alone, *mixed = (STRICT.trust(Cues(0.5, passes)) for passes in ((bad,), (bad, good), (good, bad)))
    assert mixed == pytest.approx([math.sqrt(alone)] * 2)


def test_no_predicted_mask_is_quite_sure_or_quite_lost():
    assert 0 < STRICT.quality(0) < 0.01 and 0.99 < STRICT.quality(1) < 1


def test_the_calibration_travels_in_the_checkpoint(tmp_path, lite, squares):
    network = load_network("perclip-lite")
    network.calibration = dataclasses.replace(STRICT, offset=-2.0)
    save_network(network, tmp_path / "lite.safetensors")
    loaded = load_network("perclip-lite", tmp_path / "lite.safetensors")
    assert loaded.calibration == network.calibration
    frames, keyframes = squares.frames[:4], [squares.keyframe(0)]
    doubtful = Propagator(loaded, lite.options).with_options(clip_length=3)
    assert mean_confidence(doubtful.run(frames, keyframes), range(1, 4), 1) < mean_confidence(
        lite.run(frames, keyframes), range(1, 4), 1
    )


def test_a_checkpoint_with_a_broken_calibration_is_refused(tmp_path, monkeypatch):
    network = load_network("perclip-lite")
    monkeypatch.setattr(Calibration, "to_json", lambda self: '{"offset": 1, "tilt": 2}')
    save_network(network, tmp_path / "lite.safetensors")
    with pytest.raises(CheckpointError, match="no readable checkpoint"):
        load_network("perclip-lite", tmp_path / "lite.safetensors")


# Evidence


@pytest.fixture
def key() -> torch.Tensor:
    """Keys of a frame whose positions all differ."""
    return torch.randn(GRID[0] * GRID[1], 32, generator=torch.Generator().manual_seed(1)) * 4


def covered(p: torch.Tensor) -> torch.Tensor:
    return coverage(p[None], GRID)[0]


def test_the_same_mask_is_recovered_and_contained(key):
    probe = MaskProbe(key, covered(disc(8)), GRID)
    recovered, contained = probe.ask(key, covered(disc(8)))
    assert recovered > 0.9 and contained > 0.9


def test_a_mask_elsewhere_is_not_recovered_and_a_spilt_one_not_contained(key):
    probe = MaskProbe(key, covered(disc(8)), GRID)
    assert probe.ask(key, covered(disc(8, shift=28)))[0] < 0.2
    recovered, contained = probe.ask(key, torch.ones(len(key)))
    assert recovered > 0.99 and contained < 0.01


def test_an_object_smaller_than_a_position_can_be_asked_for(key):
    dot = torch.zeros(48, 64)
    dot[20, 20] = 1
    recovered, contained = MaskProbe(key, covered(dot), GRID).ask(key, covered(dot * 16))
    assert recovered > 0.9 and contained > 0.9
    nothing = MaskProbe(key, covered(dot * 0), GRID).ask(key, covered(dot))
    assert [float(x) for x in nothing] == [1, 1]


def test_likeness_is_largest_between_equal_frames(key):
    assert likeness(key, key) == pytest.approx(0, abs=1e-4)
    assert likeness(key + 0.5, key) > likeness(key + 2, key)
    torch.testing.assert_close(likeness(key + 0.5, key), torch.tensor(-0.25 * 32 * 32**-0.5), atol=1e-3, rtol=0)


FRAMING = Framing(192, 256, None, torch.device("cpu"))
BLANK = np.zeros((192, 256, 3), np.uint8)


def enter(witness, key, mask):
    """Object 5 starts with this mask, given at stride 4, in a picture that is the same everywhere."""
    witness.enter(key, BLANK, mask.repeat_interleave(4, 1).repeat_interleave(4, 2), [5])


def observe(witness, keys, logits, objects, own=None):
    """What the witness says of frames whose features are all their own, unless told otherwise."""
    own = torch.ones(keys.shape[:2], dtype=torch.bool) if own is None else own
    return witness.observe(keys, own, logits, objects, lambda t: BLANK)


def test_a_break_is_remembered_until_the_object_starts_anew(key):
    witness, mask = PassObserver(FRAMING), disc(8)[None]
    other = key.flip(1) + 3
    enter(witness, key, mask)
    clip = torch.stack([key, other, other])
    first, broken, after = (
        e[0].continuity for e in observe(witness, clip, torch.logit(mask).expand(3, 1, -1, -1), [5])
    )
    assert first == pytest.approx(0, abs=1e-4) and broken < -1 and after == broken
    enter(witness, other, mask)
    [[again]] = observe(witness, other[None], torch.logit(mask)[None], [5])
    assert again.continuity == pytest.approx(0, abs=1e-4)


def test_slow_change_is_no_break(key):
    """Each frame is like the one before, the last not at all like the keyframe."""
    witness, mask = PassObserver(FRAMING), disc(8)[None]
    enter(witness, key, mask)
    drift = torch.stack([key + 0.5 * i for i in range(1, 9)])
    *_, [last] = observe(witness, drift, torch.logit(mask).expand(8, 1, -1, -1), [5])
    assert last.continuity == pytest.approx(float(likeness(key + 0.5, key)), abs=1e-3)


def test_a_break_is_where_it_is_though_a_frame_has_features_of_the_one_behind_it(key):
    """The third frame is another scene; half of the second one was taken from there."""
    witness, mask = PassObserver(FRAMING), disc(8)[None]
    own = torch.ones(3, len(key), dtype=torch.bool)
    own[1, len(key) // 2 :] = False
    other = key.flip(1) + 3
    clip = torch.stack([key, torch.where(own[1, :, None], key, other), other])
    enter(witness, key, mask)
    found = observe(witness, clip, torch.logit(mask).expand(3, 1, -1, -1), [5], own)
    first, second, broken = (e[0].continuity for e in found)
    assert first == pytest.approx(0, abs=1e-4) == second
    assert broken == pytest.approx(float(likeness(other[own[1]], clip[1])), abs=1e-3) and broken < -1


def test_an_object_that_is_not_seen_is_not_asked_for(key):
    witness = PassObserver(FRAMING)
    enter(witness, key, disc(8)[None])
    [[evidence]] = observe(witness, key[None], torch.full((1, 1, 48, 64), -8.0), [5])
    assert evidence.recovered == evidence.contained == 1


# The engine


def test_keyframes_are_sure_and_nothing_else_is(lite, squares):
    for r in lite.run(squares.frames, [squares.keyframe(0), squares.keyframe(12, 1)]):
        for obj, c in r.confidence.items():
            assert (c == 1) == (r.index == 0 or (r.index == 12 and obj == 1))
            assert 0 <= c <= 1


def test_confidence_falls_where_the_picture_is_blurred(lite, squares):
    frames = squares.frames.copy()
    frames[12:] = frames[12:].reshape(12, 12, 8, 16, 8, 3).mean((2, 4)).repeat(8, 1).repeat(8, 2).astype(np.uint8)
    results = list(lite.run(frames, [squares.keyframe(0)]))
    assert mean_confidence(results, range(12, 24), 1, 2) < mean_confidence(results, range(1, 12), 1, 2)


@pytest.fixture(scope="module")
def strict(lite, squares) -> Propagator:
    """The shipped network, to which anything worse than the clean clip is a shortfall."""
    clean = [r.cues[o].passes[0] for r in lite.run(squares.frames[:12], [squares.keyframe(0)]) for o in r.cues]
    network = load_network("perclip-lite")
    least = {name: Tolerance(min(getattr(e, name) for e in clean), 10.0) for name in Evidence._fields}
    network.calibration = dataclasses.replace(network.calibration, **least)
    return Propagator(network, lite.options)


def test_confidence_falls_for_good_at_a_jump_cut(strict, squares):
    frames = squares.frames[:12].copy()
    frames[6:] = 255 - frames[6:, ::-1]
    results = list(strict.run(frames, [squares.keyframe(0)]))
    before = [r.confidence[o] for r in results[1:6] for o in (1, 2)]
    after = [r.confidence[o] for r in results[6:] for o in (1, 2)]
    assert max(after) < 0.5 * min(before)


def test_a_keyframe_behind_the_cut_ends_the_doubt(strict, squares):
    frames = squares.frames[:16].copy()
    frames[6:] = frames[6:, ::-1]
    here = Keyframe(10, squares.labels[10, ::-1])
    [result] = strict.run(frames, [squares.keyframe(0), here], start=12, stop=13)
    assert min(result.confidence.values()) > 0.5


@pytest.mark.parametrize("other", [2, 1])
def test_a_mask_on_the_other_object_is_not_read_back(lite, squares, other):
    """With the network's own keys: frame 5's true masks, or the two masks exchanged."""
    framing = Framing(96, 128, None, torch.device("cpu"))
    keys = [lite._network.encode_image(framing.image(squares.frames[i], i))[0] for i in (0, 5)]
    masks = [framing.masks(squares.labels[i], (1, 2)) for i in (0, 5)]
    witness = PassObserver(framing)
    witness.enter(keys[0], squares.frames[0], masks[0], (1, 2))
    logits = 8 * (torch.nn.functional.avg_pool2d(masks[1], 4) * 2 - 1)
    [true] = observe(witness, keys[1][None], logits[None], (1, 2))
    [exchanged] = observe(witness, keys[1][None], logits[[1, 0]][None], (1, 2))
    assert true[other - 1].recovered > exchanged[other - 1].recovered + 0.3


def test_a_wrong_keyframe_lowers_the_confidence_of_the_whole_stretch(lite, squares):
    wrong = Keyframe(8, np.roll(squares.labels[8], 40, 0))
    frames, first = squares.frames[:9], squares.keyframe(0)
    right, doubtful = (list(lite.run(frames, [first, k])) for k in (squares.keyframe(8), wrong))
    assert mean_confidence(doubtful, range(1, 8), 1, 2) < mean_confidence(right, range(1, 8), 1, 2) - 0.1


def test_findings_are_those_of_the_passes_that_speak(lite, squares):
    results = list(lite.run(squares.frames[:16], [squares.keyframe(3), squares.keyframe(9)]))
    assert [len(r.cues[1].passes) for r in results if r.cues] == [1] * 3 + [2] * 5 + [1] * 6
    assert not results[3].cues and not results[9].cues
    assert all(r.cues[o].agreed == 1 for r in results[10:] for o in (1, 2))
    calibration = load_network("perclip-lite").calibration
    for r in results:
        for obj, cues in r.cues.items():
            assert r.confidence[obj] == calibration.confidence(cues)


def test_confidence_is_the_same_backward(lite, squares):
    backward = lite.run(squares.frames[:12], [squares.keyframe(11)], direction="backward")
    forward = lite.run(squares.frames[11::-1], [Keyframe(0, squares.labels[11])], direction="forward")
    mirrored = {11 - r.index: r.confidence for r in forward}
    for r in backward:
        assert r.confidence == pytest.approx(mirrored[r.index], abs=1e-6)


def test_of_two_passes_the_one_that_can_be_trusted_counts_more():
    lost, good = Evidence(recovered=0), Evidence()
    yes, no = torch.full((12, 16), 4.0), torch.full((12, 16), -4.0)
    assert (join(Prediction(yes, lost), Prediction(no, good), 5, 5, STRICT).logits < 0).all()
    assert (join(Prediction(yes, good), Prediction(no, lost), 5, 5, STRICT).logits > 0).all()
