"""What the figures about the confidence rest on."""

import json

import numpy as np
import pytest
from PIL import Image

from benchmarks import confidence
from benchmarks.confidence_fit import fit
from benchmarks.confidence_report import calibration_error, found_in_worst, spearman, summary
from benchmarks.confidence_samples import Sample, read_samples, write_samples
from benchmarks.failing_runs import KINDS, Clip, failing_runs, lookalikes, two_keyframes
from model.confidence.calibration import Calibration, Tolerance
from model.confidence.cues import Cues, Evidence
from model.data.annotated_sequences import AnnotatedSequence
from model.network.checkpoint import load_network, save_network


@pytest.fixture
def clip(squares) -> Clip:
    return Clip.of(AnnotatedSequence("squares", squares.frames, squares.labels == 1), step=2, length=12)


@pytest.fixture
def other(squares) -> Clip:
    labels = (squares.labels == 2).astype(np.uint8)
    return Clip.of(AnnotatedSequence("others", squares.frames[::-1], labels[::-1]), step=1, length=20)


@pytest.mark.parametrize("number", range(6))
def test_every_kind_of_failure_is_made_and_no_keyframe_is_scored(clip, other, number):
    runs = [*failing_runs(clip, other, number), lookalikes(clip, other, number), two_keyframes(clip)]
    assert [r.kind for r in runs] == [*KINDS, "lookalikes", "two keyframes"]
    for run in runs:
        assert len(run.sequence.frames) == len(run.sequence.label_maps) == 12
        assert not set(run.scored) & {k.index for k in run.keyframes}
        assert all(f.shape == (96, 128, 3) and f.dtype == np.uint8 for f in run.sequence.frames)


def test_failures_come_late_and_the_rest_is_true(clip, other):
    occluded, wrong, cut, swapped = failing_runs(clip, other, 0)
    for run in (occluded, wrong, cut):
        for i in range(9):
            np.testing.assert_array_equal(run.sequence.frames[i], clip.frames[i])
            np.testing.assert_array_equal(run.sequence.label_maps[i], clip.masks[i])
    assert not any(m.any() for m in cut.sequence.label_maps[9:])
    hidden = occluded.keyframes[-1].label_map
    assert 0.05 < hidden.sum() / clip.masks[9].sum() < 0.5 and not (hidden > clip.masks[9]).any()
    assert (wrong.keyframes[-1].label_map & clip.masks[9]).sum() / clip.masks[9].sum() < 0.5
    assert all((k.label_map == clip.masks[k.index]).all() for k in wrong.keyframes[:-1])
    places = [np.mean(np.nonzero(swapped.sequence.label_maps[i] == 1)[1]) for i in (8, 9)]
    assert abs(places[0] - places[1]) > 20


def sample(kind: str, frame: int, j: float, overlap: float, *passes: Evidence, agreed: float = 1.0) -> Sample:
    return Sample(kind, "run", 1, frame, j, Cues(overlap, passes or (Evidence(),), agreed))


def test_samples_are_kept_in_full(tmp_path):
    samples = [
        sample("normal", 1, 1 / 3, 0.1 + 0.2, Evidence(1 / 7, 0.9, -0.3)),
        sample("wrong mask", 2, 0.5, 0.7, Evidence(), Evidence(continuity=-2), agreed=2 / 3),
    ]
    write_samples(samples, tmp_path / "new" / "samples.csv")
    assert read_samples(tmp_path / "new" / "samples.csv") == samples


def test_fit_finds_the_calibration_that_made_the_samples():
    random = np.random.default_rng(0)
    truth = Calibration(-0.5, 1.3, Tolerance(0.3, 2.0), Tolerance(0.0, 0.0), Tolerance(-9.0, 0.0), Tolerance(0.0, 0.0))
    samples = []
    for i in range(1500):
        kind = "normal" if i % 3 else "jump cut"
        recovered = random.uniform(0.29 if kind == "normal" else 0, 1)
        cues = Cues(random.uniform(0.3, 0.99), (Evidence(recovered),))
        samples.append(Sample(kind, "run", 1, i, truth.confidence(cues), cues))
    found = fit(samples)
    assert found.offset == pytest.approx(truth.offset, abs=0.1) and found.slope == pytest.approx(truth.slope, abs=0.1)
    assert found.recovered.least == pytest.approx(0.3, abs=0.03)
    assert found.recovered.weight == pytest.approx(2, abs=0.4)
    assert max(abs(found.confidence(s.cues) - s.j) for s in samples) < 0.1


def test_spearman_counts_ties_by_their_mean_rank():
    assert spearman([1, 2, 3, 4], [10, 20, 30, 1000]) == pytest.approx(1)
    assert spearman([1, 2, 3, 4], [4, 3, 2, 1]) == pytest.approx(-1)
    assert spearman([1, 1, 2, 2], [1, 2, 3, 3]) == pytest.approx(0.9428, abs=1e-4)
    assert spearman([1, 1], [0, 5]) == 0


def test_the_worst_fifth_is_that_of_least_confidence():
    confidence_, j = np.arange(10) / 10, np.array([0, 0.9, 0.9, 0.2, 0.9, 0.9, 0.9, 0.9, 0.9, 0.9])
    assert found_in_worst(confidence_, j) == 0.5
    assert found_in_worst(confidence_, np.ones(10)) == 1


def test_calibration_error_is_nothing_where_the_mean_is_right():
    c = np.repeat([0.2, 0.8], 50)
    j = np.tile([0.1, 0.3], 25).tolist() + np.tile([0.7, 0.9], 25).tolist()
    assert calibration_error(c, np.array(j)) == pytest.approx(0, abs=1e-9)
    assert calibration_error(c, np.array(j) - 0.1) == pytest.approx(0.1)


def test_within_sequences_is_the_mean_over_sequences_of_their_objects():
    samples = [
        Sample("normal", run, obj, i, i / 10, Cues(0.5, ()))
        for run, obj in (("a", 1), ("a", 2), ("b", 1))
        for i in range(5)
    ]
    samples.append(sample("jump cut", 0, 0.1, 0.5))
    up, down = np.arange(5) / 10, -np.arange(5) / 10
    report = summary(samples, np.concatenate([up, down, up, [0.3]]))
    assert report["normal runs"]["by sequence"] == pytest.approx({"a": 0, "b": 1})
    assert report["normal runs"]["rank correlation within sequences"] == pytest.approx(0.5)


@pytest.fixture
def archive(tmp_path, squares):
    """Two sequences of one object in the layout of DAVIS."""
    for obj in (1, 2):
        for i in range(14):
            for kind, picture in (
                ("JPEGImages", squares.frames[i]),
                ("Annotations", np.uint8(squares.labels[i] == obj)),
            ):
                path = tmp_path / "data" / kind / "480p" / f"square{obj}" / f"{i:05d}.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                Image.fromarray(picture).save(path)
    return tmp_path / "data"


def test_the_program_fits_writes_the_checkpoint_and_judges(tmp_path, archive, capsys, monkeypatch):
    monkeypatch.setattr("benchmarks.confidence_samples._RENDERED", 0)  # they take a minute
    weights, out = tmp_path / "lite.safetensors", tmp_path / "out"
    save_network(load_network("perclip-lite"), weights)
    before = load_network("perclip-lite", weights)
    call = [str(archive), "--weights", str(weights), "--short-side", "96", "--dtype", "float32", "--device", "cpu"]
    call += ["--out", str(out), "--cache", str(tmp_path / "cache")]
    assert confidence.main([*call, "--fit", "--training-data", str(archive)]) == 0
    after = load_network("perclip-lite", weights)
    assert after.calibration != before.calibration
    assert all((a == b).all() for a, b in zip(after.state_dict().values(), before.state_dict().values()))
    report = json.loads((out / "confidence.json").read_text())
    assert report["normal runs"]["masks"] == 2 * 12 and report["failing runs"]["masks"] > 50
    assert Calibration.from_json(json.dumps(report["calibration"])) == after.calibration
    rows = (out / "confidence.csv").read_text().splitlines()
    assert len(rows) == 1 + report["normal runs"]["masks"] + report["failing runs"]["masks"]
    assert Image.open(out / "confidence.png").width > 500
    # From the cache the second answer is the same.
    (out / "confidence.json").unlink()
    assert confidence.main(call) == 0
    assert json.loads((out / "confidence.json").read_text()) == report
