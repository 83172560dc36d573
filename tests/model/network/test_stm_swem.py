"""The engine gives the numbers of the public STM and SWEM inference, computed once with the same weights."""

import hashlib
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from model import CheckpointError, InputError, Keyframe, PropagationOptions, Propagator, load_network
from model.inference.prepared_network import InferenceNetwork
from model.network.segmentation_network import SegmentationNetwork
from model.propagation.run_record import RunRecord
from model.tracking.frame_recall import drawn_logits
from model.tracking.frame_tracker import FrameTracker, ObjectMemory, frame_masks
from tests.model.device.processor import needs_bfloat16
from tests.model.network import literal_reference
from tests.model.network.named_weights import named_network

FOLDER = Path(__file__).parent
SHARED = Path(__file__).parents[4] / "shared" / "golden"
needs_shared = pytest.mark.skipif(not SHARED.is_dir(), reason="needs ../shared/golden, which only the workplace has")


@pytest.fixture(scope="module")
def video():
    with np.load(FOLDER / "mini_120x184.npz") as file:
        return file["frames"], file["labels"]


@pytest.fixture(scope="module")
def expected():
    with np.load(FOLDER / "stm_swem_120x184.npz") as file:
        return {name: file[name] for name in file.files}


@pytest.fixture(scope="module")
def networks():
    return {name: named_network(name) for name in ("stm", "swem")}


def probabilities(network: SegmentationNetwork, frames: np.ndarray, keyframes: list[Keyframe], **options) -> np.ndarray:
    options = {"short_side": None, "keep_probabilities": True, "dtype": "float32", "device": "cpu", **options}
    propagator = Propagator(network, PropagationOptions(**options))
    results = propagator.run(frames, keyframes, direction="forward")
    return np.stack([result.probabilities for result in results], 1)


def both_from_the_start(labels: np.ndarray) -> list[Keyframe]:
    return [Keyframe(0, labels[0])]


def one_later(labels: np.ndarray) -> list[Keyframe]:
    return [Keyframe(0, np.where(labels[0] == 1, 1, 0)), Keyframe(4, np.where(labels[1] == 2, 2, 0))]


@pytest.mark.parametrize(
    ("name", "case", "keyframes", "bar"),
    [("stm", "stm_every5", both_from_the_start, 1e-4), ("swem", "swem_newobj", one_later, 2e-4)],
)
def test_as_published_without_any_option(networks, video, expected, name, case, keyframes, bar):
    frames, labels = video
    found = probabilities(networks[name], frames[:7], keyframes(labels))
    assert np.abs(found[:, :, 2::8, 2::8] - expected[case]).max() < bar


@needs_shared
@pytest.mark.parametrize(
    ("case", "keyframes", "bar"),
    [("stm_every5", both_from_the_start, 1e-4), ("swem", both_from_the_start, 1e-4), ("swem_newobj", one_later, 2e-4)],
)
def test_whole_golden_runs(networks, video, case, keyframes, bar):
    frames, labels = video
    name = case.split("_")[0]
    with np.load(SHARED / f"{name}_mini_120x184.npz") as file:
        golden = file[case]
    found = probabilities(networks[name], frames, keyframes(labels))
    assert np.abs(found[:, :, 2::4, 2::4] - golden).max() < bar


def test_three_objects_of_an_odd_size_as_the_papers_have_it(networks):
    """Against the papers written out; the last object comes later with SWEM. STM's second kept frame is read."""
    frames = moving_picture(7, 37, 51)
    first, later = np.zeros((2, 37, 51), np.uint8)
    first[6:18, 6:17], first[12:30, 25:34], later[4:12, 38:47] = 1, 2, 3
    together = np.maximum(first, later)
    with torch.inference_mode():
        stm = literal_reference.stm(networks["stm"].state_dict(), frames, together)
        random = np.random.RandomState(0).standard_normal((3, 2, 128, 128))
        start = (random * (2 / 128) ** 0.5).astype(np.float32)
        swem = literal_reference.swem(networks["swem"].state_dict(), frames[:4], {0: first, 2: later}, start)
    # Without a word about the size: small frames are taken as they are.
    assert np.abs(probabilities(networks["stm"], frames, [Keyframe(0, together)], short_side=480) - stm).max() < 1e-4
    keyframes = [Keyframe(0, first), Keyframe(2, later)]
    found = probabilities(networks["swem"], frames[:4], keyframes, short_side=480)
    assert np.abs(found - swem).max() < 1e-4
    assert (swem[:, 3].max((1, 2)) > 0.05).all() and (stm[:, 6].max((1, 2)) > 0.05).all()  # none is lost at once


def moving_picture(count: int, height: int, width: int) -> np.ndarray:
    coarse = np.random.RandomState(1).randint(0, 256, (height // 6 + 2, (width + 2 * count) // 6 + 2, 3))
    picture = cv2.resize(coarse.astype(np.uint8), None, fx=6, fy=6, interpolation=cv2.INTER_CUBIC)
    return np.stack([picture[:height, 2 * t : 2 * t + width] for t in range(count)])


@pytest.mark.parametrize(
    ("name", "digest"),
    [
        ("stm", "b4d3a263f020e31cb8d7beaf062985b1686ed6a17a0338bdf3d8f9376ef61fc8"),
        ("swem", "116cd8fe9eb356cee26829f19dccc5f906cc06122d64b75cd10d34e5cffffb0a"),
    ],
)
def test_parameters_are_those_of_the_public_checkpoints(networks, name, digest):
    """Digest of the public network's own listing, sorted."""
    state = networks[name].state_dict()
    listing = "".join(f"{key}\t{tuple(t.shape)}\t{t.dtype}\n" for key, t in sorted(state.items()))
    assert hashlib.sha256(listing.encode()).hexdigest() == digest


def test_checkpoints_are_told_apart_by_their_names(networks, tmp_path):
    torch.save({f"module.{key}": t for key, t in networks["stm"].state_dict().items()}, tmp_path / "stm.pth")
    with pytest.raises(CheckpointError, match="checkpoint of stm, not of 'swem': load it as 'stm'"):
        load_network("swem", tmp_path / "stm.pth")
    loaded = load_network("stm", tmp_path / "stm.pth").state_dict()
    assert all(torch.equal(t, loaded[key]) for key, t in networks["stm"].state_dict().items())
    torch.save(networks["swem"].state_dict(), tmp_path / "swem.pth")
    with pytest.raises(CheckpointError, match="checkpoint of swem, not of 'stcn': load it as 'swem'"):
        load_network("stcn", tmp_path / "swem.pth")
    assert load_network("swem", tmp_path / "swem.pth").config.name == "swem"


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("stm", {"top_k": 10}),
        ("stm", {"memory": "bounded"}),
        ("stm", {"progressive_interval": 3}),
        ("swem", {"memory": "spread"}),
        ("swem", {"memory": "bounded", "memory_tokens": 10**6}),
        ("swem", {"top_k": 64}),
    ],
)
def test_options_of_other_networks_are_refused_in_one_line(networks, name, options):
    option = next(iter(options))
    with pytest.raises(InputError, match=f"^{name} has no use for {option}=.*leave that option out$"):
        Propagator(networks[name], PropagationOptions(device="cpu", **options))


@pytest.mark.parametrize("name", ["stm", "swem"])
def test_runs_of_odd_size_in_both_directions_go_on_where_they_stopped(networks, name):
    """Three objects, of which two overlap and one comes later and is gone at the end; the run pauses at every clip."""
    random = np.random.RandomState(3)
    frames = random.randint(0, 256, (4, 37, 51, 3)).astype(np.uint8)
    one, two, three = np.zeros((3, 37, 51), bool)
    one[5:25, 5:25], two[15:33, 15:33], three[3:20, 30:50] = True, True, True
    keyframes = [Keyframe(0, {1: one, 2: two}), Keyframe(1, {3: three}), Keyframe(3, {1: one, 2: two}, [1, 2, 3])]
    propagator = Propagator(networks[name], PropagationOptions(short_side=None, dtype="float32", device="cpu"))
    whole = {r.index: r for r in propagator.run(frames, keyframes, record=RunRecord())}
    assert sorted(whole) == [0, 1, 2, 3]
    assert np.array_equal(whole[0].mask(2), two) and np.array_equal(whole[0].mask(1), one)
    assert not whole[3].mask(3).any() and np.array_equal(whole[1].mask(3), three)
    record, found, runs = RunRecord(), {}, 0
    while len(found) < 4 and runs < 12:
        runs += 1
        allowed = iter([True])
        further = propagator.run(frames, keyframes, record=record, admit=lambda _, left=allowed: next(left, False))
        found |= {r.index: r for r in further}
        # What a pass must find again: of a few frames the masks, not of all.
        assert all(len(p.ends) <= 3 for p in record.passes.values())
    assert runs > 2
    for index, result in whole.items():
        for obj in (1, 2, 3):
            assert np.array_equal(found[index].mask(obj), result.mask(obj))
        assert found[index].confidence == pytest.approx(result.confidence)


def test_small_frames_are_not_enlarged_and_large_ones_take_the_published_size(networks):
    def size(height: int, width: int, short_side: int | None = 480, name: str = "swem") -> tuple[int, int]:
        propagator = Propagator(networks[name], PropagationOptions(short_side=short_side, device="cpu"))
        return propagator.grid(height, width)

    assert size(120, 184) == (8, 12)
    assert size(100, 150) == (6, 9)
    assert size(480, 854) == (30, 53)
    assert size(1080, 1920) == (30, 53)
    assert size(1080, 1920, None) == (68, 120)
    assert size(100, 150, name="stm") == (7, 10)
    assert size(1080, 1920, name="stm") == (30, 54)


@needs_bfloat16
@pytest.mark.parametrize("name", ["stm", "swem"])
def test_half_the_digits_give_nearly_the_same(networks, video, name):
    frames, labels = video
    keyframes = both_from_the_start(labels)
    exact = probabilities(networks[name], frames[:3], keyframes)
    assert np.abs(probabilities(networks[name], frames[:3], keyframes, dtype="bfloat16") - exact).mean() < 0.02


@pytest.mark.parametrize("name", ["stm", "swem"])
def test_single_frames_are_segmented_from_what_is_remembered(networks, name):
    """Of a tracker call; alone or beside other objects an object gets the same."""
    options = PropagationOptions(device="cpu", short_side=None, dtype="float32")
    tracker = FrameTracker(InferenceNetwork(networks[name], options), options)
    framing = tracker.framing(45, 61)
    random = np.random.RandomState(0)
    first, second = (tracker.encode(framing, random.randint(0, 256, (45, 61, 3)).astype(np.uint8)) for _ in range(2))
    masks = np.zeros((2, 45, 61), bool)
    masks[0, 5:30, 5:30], masks[1, 10:40, 30:60] = True, True
    drawn = framing.memory_masks(torch.stack([drawn_logits(framing, mask) for mask in masks]))
    one = tracker.memorise("a", first, drawn[0], drawn[1])
    two = tracker.memorise("a", first, drawn[1], drawn[0])
    together = tracker.segment(framing, second, [ObjectMemory([two]), ObjectMemory([one, one])])
    assert together.shape == (2, 4 * framing.grid[0], 4 * framing.grid[1])
    assert torch.equal(tracker.segment(framing, second, [ObjectMemory([one, one])])[0], together[1])
    assert frame_masks(framing, together, [0, 0]).shape == (45, 61)
