"""The reduction of Propose-Reduce: the sequences that stay, and in which order."""

import json
from pathlib import Path

import numpy as np
import pytest

from model.propose_reduce.keyframes import keyframe_places
from model.propose_reduce.reduction import FLOOR, reduce_sequences, reduce_softly, sequence_ious, sequence_score

_FOLDER = Path(__file__).parent
_CASES = json.loads((_FOLDER / "sequence_reduction.json").read_text())


@pytest.fixture(scope="module")
def packed():
    with np.load(_FOLDER / "sequence_reduction.npz") as file:
        return {name: file[name] for name in file.files}


@pytest.mark.parametrize("name", _CASES)
def test_keeps_what_the_paper_s_algorithm_keeps(packed, name):
    case = _CASES[name]
    shape, scores = case["shape"], case["scores"]
    masks = np.unpackbits(packed[name])[: np.prod(shape)].reshape(shape).astype(bool)
    ious = sequence_ious(masks)
    if case.get("iou") is not None:
        assert np.allclose(ious, case["iou"], atol=1e-8)
    assert reduce_sequences(ious, scores, case["theta"]) == case["kept"]
    assert reduce_sequences(ious, scores, floor=FLOOR) == case["kept_with_floor_0_05"]
    softly = reduce_softly(ious, scores)
    assert [i for i, _ in softly] == case["soft_kept"]
    assert [score for _, score in softly] == pytest.approx(case["soft_scores"], abs=1e-9)


def test_keyframes_are_spread_from_the_first_frame_to_the_last():
    assert keyframe_places(36, 5) == [0, 8, 17, 26, 35]
    assert keyframe_places(3, 8) == [0, 1, 2]
    assert keyframe_places(9, 1) == [0]
    assert keyframe_places(0, 5) == keyframe_places(5, 0) == []


def test_a_score_is_the_mean_where_the_object_is_there():
    assert sequence_score([0.5, 0.9, 0.7], [3, 0, 8]) == pytest.approx(0.6)
    assert sequence_score([0.5, 0.9, 0.7], [3, 0, 8], detected=0.5) == pytest.approx(0.3)
    assert sequence_score([0.9, 0.9], [0, 0]) == 0
