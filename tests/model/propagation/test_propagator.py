"""What a caller of the engine relies on."""

import cv2
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from model import FrameResult, InputError, Keyframe, PropagationOptions, Propagator, load_network
from model.confidence.cues import Evidence
from model.evaluation.metrics import region_similarity
from model.propagation.prediction import Prediction
from tests.model.device.processor import needs_bfloat16, on_all_processors
from tests.model.network.named_weights import named_network


def by_frame(results) -> dict[int, FrameResult]:
    return {result.index: result for result in results}


def overlap(result: FrameResult, labels: np.ndarray, obj: int) -> float:
    return region_similarity(result.label_map == obj, labels[result.index] == obj)


def with_dots(frames: np.ndarray) -> np.ndarray:
    """The frames with a two-pixel dot in the first square's colour, which makes specks."""
    dotted = frames.copy()
    for t in range(1, 24):
        dotted[t, 4:6, 4 + t * 4 : 6 + t * 4] = (210, 60, 40)
    return dotted


def assert_same(a: dict[int, FrameResult], b: dict[int, FrameResult]) -> None:
    assert a.keys() == b.keys()
    for i in a:
        np.testing.assert_array_equal(a[i].label_map, b[i].label_map)
        assert a[i].confidence == b[i].confidence and a[i].cues == b[i].cues
        if a[i].probabilities is not None:
            np.testing.assert_array_equal(a[i].probabilities, b[i].probabilities)


@pytest.mark.parametrize("clip_length", [1, 5, 12])
@pytest.mark.parametrize("keyframes", [[0], [13], [6], [0, 13]])
def test_masks_follow_the_objects(lite, squares, keyframes, clip_length):
    results = by_frame(
        lite.with_options(clip_length=clip_length).run(squares.frames[:14], [squares.keyframe(i) for i in keyframes])
    )
    assert sorted(results) == list(range(14))
    for obj in (1, 2):
        assert np.mean([overlap(r, squares.labels, obj) for r in results.values()]) > 0.7


def test_keyframe_pixels_come_back_exactly(lite, squares):
    odd = squares.labels[12].copy()
    odd[0, 0] = 1  # a lone pixel that a person drew is no speck
    odd[70:90, 3:9] = 2
    results = by_frame(lite.run(squares.frames, [squares.keyframe(0), Keyframe(12, odd)]))
    np.testing.assert_array_equal(results[12].label_map, odd)
    np.testing.assert_array_equal(results[0].label_map, squares.labels[0])
    assert results[12].is_keyframe and not results[11].is_keyframe
    assert results[12].confidence == {1: 1.0, 2: 1.0}


def test_any_ids_serve(lite, squares):
    plain = by_frame(lite.run(squares.frames[:8], [squares.keyframe(0)]))
    renamed = Keyframe(0, np.choose(squares.labels[0], [0, 255, 7]).astype(np.uint8))
    results = by_frame(lite.run(squares.frames[:8], [renamed]))
    for i in range(8):
        np.testing.assert_array_equal(results[i].label_map == 255, plain[i].label_map == 1)
        assert set(results[i].confidence) == {7, 255}


@settings(max_examples=8, deadline=None)
@given(data=st.data())
def test_a_stretch_between_covering_keyframes_is_self_contained(data, lite, few):
    """Alone, or with other keyframes elsewhere, it gives the same bits: a correction re-runs only its stretch."""
    first = data.draw(st.integers(0, 8), "first")
    last = data.draw(st.integers(first + 1, 11), "last")
    outside = [i for i in range(12) if i < first or i > last]
    others = data.draw(st.lists(st.sampled_from(outside), max_size=3, unique=True), "others") if outside else []
    partial = data.draw(st.booleans(), "partial keyframes outside")
    engine = lite.with_options(
        clip_length=data.draw(st.sampled_from([2, 3, 5, 12])),
        memory=data.draw(st.sampled_from(["every", "previous"])),
        keep_probabilities=True,
    )
    ends = [few.keyframe(first), few.keyframe(last)]
    elsewhere = [few.keyframe(i, 1) if partial else few.keyframe(i) for i in others]
    whole = by_frame(engine.run(few.frames, ends + elsewhere))
    alone = by_frame(engine.run(few.frames, ends, start=first, stop=last + 1))
    assert_same(alone, {i: whole[i] for i in range(first, last + 1)})


def test_small_objects_elsewhere_do_not_change_what_a_speck_is(lite, squares, monkeypatch):
    def clips(passing):
        """Both passes see nothing but one small spot."""
        spot = torch.full((24, 32), -8.0)
        spot[12, 16] = 8
        for i in range(1, 12)[:: passing._step]:
            yield [(i, {1: Prediction(spot, Evidence()), 2: Prediction(spot - 4, Evidence())})]

    monkeypatch.setattr("model.propagation.per_clip_pass.PerClipPass.clips", clips)
    dot = np.zeros_like(squares.labels[0])
    dot[40:42, 60:62], dot[10:12, 10:12] = 1, 2
    keyframes = [squares.keyframe(0), squares.keyframe(12), Keyframe(20, dot)]
    for result in lite.run(squares.frames, keyframes, start=1, stop=12):
        assert not result.label_map.any()


def test_the_nearer_keyframe_counts_more(lite, squares, monkeypatch):
    def clips(passing):
        """The forward pass sees the object everywhere, the backward pass nowhere, both equally sure."""
        everywhere = Prediction(torch.full((24, 32), 4.0 * passing._step), Evidence())
        for i in range(24)[:: passing._step]:
            yield [(i, {} if i in (0, 23) else {1: everywhere})]

    monkeypatch.setattr("model.propagation.per_clip_pass.PerClipPass.clips", clips)
    results = by_frame(lite.run(squares.frames, [squares.keyframe(0, 1), squares.keyframe(23, 1)]))
    assert [bool((results[i].label_map == 1).all()) for i in range(1, 11)] == [True] * 10
    assert [bool((results[i].label_map == 1).any()) for i in range(13, 23)] == [False] * 10


def test_the_keyframe_at_the_far_end_is_remembered_too(lite, squares):
    engine = lite.with_options(keep_probabilities=True)
    first, last = squares.keyframe(0), squares.keyframe(11)
    one = by_frame(engine.run(squares.frames, [first], stop=11, direction="forward"))
    two = by_frame(engine.run(squares.frames, [first, last], stop=11, direction="forward"))
    assert np.abs(two[10].probabilities - one[10].probabilities).max() > 0.01


def test_keyframes_do_not_follow_the_buffer_they_were_made_from(squares):
    buffer = squares.labels[0].copy()
    keyframe = Keyframe(0, buffer)
    buffer[:] = 0
    assert keyframe.present == (1, 2)


@pytest.mark.parametrize("direction", ["forward", "backward", "both"])
def test_start_and_stop_choose_frames_without_changing_them(lite, squares, direction):
    frames, keyframes = squares.frames[:16], [squares.keyframe(3), squares.keyframe(9, 2)]
    whole = by_frame(lite.run(frames, keyframes, direction=direction))
    part = by_frame(lite.run(frames, keyframes, start=2, stop=12, direction=direction))
    assert_same(part, {i: r for i, r in whole.items() if 2 <= i < 12})


def test_directions_reach_their_frames(lite, squares):
    frames, keyframes = squares.frames[:10], [squares.keyframe(3), squares.keyframe(6)]
    reached = {d: {r.index for r in lite.run(frames, keyframes, direction=d)} for d in ("forward", "backward", "both")}
    assert reached == {"forward": set(range(3, 10)), "backward": set(range(7)), "both": set(range(10))}


def test_backward_is_forward_on_the_reversed_clip(lite, squares):
    frames = squares.frames[:14]
    backward = by_frame(lite.run(frames, [squares.keyframe(13)], direction="backward"))
    reversed_keyframe = Keyframe(0, squares.labels[13])
    forward = by_frame(lite.run(frames[::-1], [reversed_keyframe], direction="forward"))
    for i in range(14):
        np.testing.assert_array_equal(backward[i].label_map, forward[13 - i].label_map)


def test_fusion_is_symmetric_in_time(lite, squares):
    """Both passes count alike: the reversed clip gives the reversed masks, but for the rounding of the kept pass."""
    frames = squares.frames[:14]
    plain = by_frame(lite.run(frames, [squares.keyframe(0), squares.keyframe(13)]))
    mirrored = by_frame(lite.run(frames[::-1], [Keyframe(0, squares.labels[13]), Keyframe(13, squares.labels[0])]))
    for i in range(14):
        assert np.mean(plain[i].label_map != mirrored[13 - i].label_map) < 0.002


def test_two_keyframes_beat_one(lite, squares):
    hidden = squares.frames.copy()
    hidden[9:12] = hidden[0, 45:50].mean((0, 1)).astype(np.uint8)  # nothing to see: a forward pass loses everything
    ends = [squares.keyframe(0), squares.keyframe(23)]
    one = by_frame(lite.run(hidden, ends[:1]))
    two = by_frame(lite.run(hidden, ends))
    after = range(12, 23)
    gain = [overlap(two[i], squares.labels, o) - overlap(one[i], squares.labels, o) for i in after for o in (1, 2)]
    assert np.mean(gain) >= 0
    assert np.mean([overlap(two[i], squares.labels, o) for i in after for o in (1, 2)]) > 0.8


def test_objects_start_on_frames_of_their_own(lite, squares):
    results = by_frame(lite.run(squares.frames, [squares.keyframe(3, 1), squares.keyframe(10, 2)]))
    assert np.mean([overlap(r, squares.labels, o) for r in results.values() for o in (1, 2)]) > 0.75
    forward = by_frame(lite.run(squares.frames, [squares.keyframe(3, 1), squares.keyframe(10, 2)], direction="forward"))
    assert not (forward[9].label_map == 2).any() and 2 not in forward[9].confidence
    np.testing.assert_array_equal(forward[10].label_map == 2, squares.labels[10] == 2)


def test_an_object_ends_where_it_is_declared_absent(lite, squares):
    frames = squares.frames.copy()
    frames[12:, 50:96] = frames[0, 10:56, 90:91]  # square 2 is gone from frame 12 on
    absent = Keyframe(12, np.where(squares.labels[12] == 1, 1, 0), objects=(1, 2))
    results = by_frame(lite.run(frames, [squares.keyframe(0), absent]))
    assert not any((results[i].label_map == 2).any() for i in range(12, 24))
    assert np.mean([overlap(results[i], squares.labels, 2) for i in range(11)]) > 0.8
    assert results[20].confidence[2] == 1.0
    assert np.mean([overlap(results[i], squares.labels, 1) for i in range(24)]) > 0.8


def test_an_object_that_leaves_is_empty_until_it_returns(lite, squares):
    ground = squares.frames[0].copy()
    ground[56:84, 88:116] = ground[56:84, 40:68]
    frames = squares.frames.copy()
    frames[6:16, 50:96] = ground[50:96]  # square 2 is gone for ten frames
    results = by_frame(lite.run(frames, [squares.keyframe(0)]))
    assert [int((results[i].label_map == 2).sum()) for i in range(6, 16)] == [0] * 10
    assert np.mean([overlap(results[i], squares.labels, 2) for i in range(17, 24)]) > 0.7


def test_objects_that_no_pass_has_reached_have_no_confidence(lite, squares):
    absent = Keyframe(10, np.where(squares.labels[10] == 1, 1, 0), objects=(1, 2))
    keyframes = [squares.keyframe(0, 1), absent, squares.keyframe(16)]
    results = by_frame(lite.run(squares.frames, keyframes, direction="forward"))
    assert 2 not in results[5].confidence
    assert results[12].confidence[2] == 1.0


@pytest.mark.parametrize("short_side", [None, 480])
def test_no_specks(lite, squares, short_side):
    noisy = with_dots(squares.frames)
    stop = 24 if short_side is None else 4
    for result in lite.with_options(short_side=short_side).run(noisy, [squares.keyframe(0)], stop=stop):
        for obj in (1, 2):
            pieces = cv2.connectedComponentsWithStats((result.label_map == obj).astype(np.uint8))[2][1:]
            assert all(piece[cv2.CC_STAT_AREA] >= 5 for piece in pieces)


def test_probabilities_agree_with_the_label_map(lite, squares):
    engine = lite.with_options(keep_probabilities=True)
    for result in engine.run(squares.frames[:7], [squares.keyframe(0)]):
        assert result.probabilities.shape == (3, 96, 128) and result.probabilities.dtype == np.float32
        np.testing.assert_allclose(result.probabilities.sum(0), 1, atol=1e-5)
        assert np.mean(result.probabilities.argmax(0) == result.label_map) > 0.999


def test_resized_input_gives_full_size_masks(lite, squares):
    results = by_frame(lite.with_options(short_side=160).run(squares.frames[:14], [squares.keyframe(0)]))
    assert results[5].label_map.shape == (96, 128)
    assert np.mean([overlap(r, squares.labels, o) for r in results.values() for o in (1, 2)]) > 0.8


@pytest.mark.parametrize(("height", "width"), [(95, 127), (64, 200), (33, 17)])
def test_odd_sizes(lite, squares, height, width):
    frames = np.resize(squares.frames, (6, height, width, 3))
    label_map = np.zeros((height, width), np.uint8)
    label_map[5:25, 3:15] = 9
    for result in lite.run(frames, [Keyframe(0, label_map)]):
        assert result.label_map.shape == (height, width)


def test_frames_are_read_clip_by_clip(lite, squares):
    class Frames:
        longest = 0

        def __len__(self):
            return 24

        def __getitem__(self, index):
            if isinstance(index, slice):
                self.longest = max(self.longest, len(range(*index.indices(24))))
            return squares.frames[index]

    frames = Frames()
    first = next(iter(lite.run(frames, [squares.keyframe(0)])))
    assert first.index == 0 and frames.longest == 0
    list(lite.run(frames, [squares.keyframe(0), squares.keyframe(8)], stop=10))
    assert frames.longest == 5


@pytest.fixture(scope="module")
def whole(lite, squares) -> dict[int, FrameResult]:
    """All results from the first frame on."""
    return by_frame(lite.run(squares.frames, [squares.keyframe(0)]))


@pytest.mark.parametrize("done", [range(0, 13), range(0, 10), [0, 1, 2, 3, 7]])
def test_finished_frames_are_not_given_again(lite, squares, whole, done):
    finished = {i: whole[i].label_map for i in done}
    rest = by_frame(lite.run(squares.frames, [squares.keyframe(0)], finished=finished))
    assert sorted(rest) == sorted(set(range(24)) - set(done))
    # Memorised from label maps instead of soft masks: as good, not the same bits.
    assert np.mean([overlap(r, squares.labels, o) for r in rest.values() for o in (1, 2)]) > 0.8


def test_finished_stretches_between_keyframes_stay_exact(lite, squares):
    frames, keyframes = squares.frames[:16], [squares.keyframe(i) for i in (0, 7, 15)]
    whole = by_frame(lite.run(frames, keyframes))
    finished = {i: whole[i].label_map for i in range(7)}
    assert_same(by_frame(lite.run(frames, keyframes, finished=finished)), {i: whole[i] for i in range(7, 16)})


def test_options_that_only_speed_up_keep_the_results(squares):
    network, frames = named_network("stcn"), squares.frames[:6, :64, :64]
    maps = []
    for fast in (False, True):
        options = PropagationOptions(
            short_side=None,
            dtype="float32",
            device="cpu",
            keep_probabilities=True,
            fold_batchnorm=fast,
            channels_last=fast,
        )
        results = Propagator(network, options).run(frames, [Keyframe(0, squares.labels[0, :64, :64])])
        maps.append(np.stack([r.probabilities for r in results]))
    assert np.abs(maps[0] - maps[1]).max() < 1e-4


@on_all_processors
@needs_bfloat16
def test_bfloat16_masks_agree_with_float32(whole, squares):
    options = PropagationOptions(short_side=None, dtype="bfloat16", device="cpu")
    half = by_frame(Propagator(load_network("perclip-lite"), options).run(squares.frames, [squares.keyframe(0)]))
    same = [region_similarity(half[i].label_map == o, whole[i].label_map == o) for i in range(24) for o in (1, 2)]
    assert np.mean(same) > 0.97


BAD_CALLS = {
    "no keyframe": (lambda s: {"keyframes": []}, "at least one frame"),
    "outside": (lambda s: {"keyframes": [Keyframe(24, s.labels[0])]}, "outside the sequence, whose frames are 0..23"),
    "twice": (lambda s: {"keyframes": [s.keyframe(3), s.keyframe(3)]}, "two keyframes for frame 3"),
    "another size": (lambda s: {"keyframes": [Keyframe(0, s.labels[0][:90])]}, "128x90 pixels, the frames are 128x96"),
    "nothing drawn": (lambda s: {"keyframes": [Keyframe(0, s.labels[0] * 0, (1,))]}, "no keyframe has a pixel"),
    "no frames": (lambda s: {"frames": [], "keyframes": [s.keyframe(0)]}, "no frame"),
    "direction": (lambda s: {"keyframes": [s.keyframe(0)], "direction": "up"}, "forward, backward, both"),
    "range": (lambda s: {"keyframes": [s.keyframe(0)], "start": 9, "stop": 3}, "in this order"),
}


@pytest.mark.parametrize("case", BAD_CALLS)
def test_bad_input_is_refused_at_once_in_one_line(lite, squares, case):
    change, says = BAD_CALLS[case]
    with pytest.raises(InputError, match=says) as error:
        lite.run(**{"frames": squares.frames, **change(squares)})
    assert "\n" not in str(error.value)


def test_a_frame_of_another_size_is_named_when_it_is_reached(lite, squares):
    frames = [*squares.frames[:8], squares.frames[8][:90], *squares.frames[9:]]
    results = []
    with pytest.raises(InputError, match="frame 8 is 128x90"):
        results.extend(lite.run(frames, [squares.keyframe(0)]))
    assert [r.index for r in results] == list(range(6))


def test_a_finished_label_map_of_another_size_is_refused(lite, squares):
    finished = {i: squares.labels[i][:90] for i in range(6)}
    with pytest.raises(InputError, match="128x90 pixels, the frames are 128x96"):
        list(lite.run(squares.frames, [squares.keyframe(0)], finished=finished))


@pytest.mark.parametrize(
    ("label_map", "objects", "says"),
    [
        (np.zeros((4, 4), np.uint8), None, "is empty"),
        (np.full((4, 4), 300), None, "1..255"),
        (np.zeros((4, 4, 3), np.uint8), None, "one channel"),
        (np.ones((4, 4)), None, "whole-number"),
        (np.ones((4, 4), np.uint8), (2,), "does not list"),
        (np.ones((4, 4), np.uint8), (1, 256), "1..255"),
    ],
)
def test_bad_keyframes_are_refused(label_map, objects, says):
    with pytest.raises(InputError, match=says):
        Keyframe(0, label_map, objects)


@pytest.mark.parametrize(
    "options",
    [
        {"clip_length": 0},
        {"short_side": 8},
        {"short_side": 10**7},
        {"memory": "all"},
        {"dtype": "int4"},
        {"memory_tokens": 5},
    ],
)
def test_bad_options_are_refused(options):
    with pytest.raises(InputError):
        PropagationOptions(**options)


def test_unknown_devices_are_refused():
    network = load_network("perclip-lite")
    for device in ("gpu", "cuda:99", "meta", "mps"):
        with pytest.raises(InputError, match="device"):
            Propagator(network, PropagationOptions(device=device))
