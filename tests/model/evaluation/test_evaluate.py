"""The evaluation: what is given, what is scored, how it is averaged, and the command around it."""

import csv
import json
import shutil
import subprocess
import sys
import time
import zipfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from model import FrameResult, InputError, load_network
from model.data.annotated_sequences import AnnotatedSequence
from model.evaluate import main
from model.evaluation.metrics import contour_accuracy, region_similarity
from model.evaluation.scores import Evaluation, FrameScore, Measures, SequenceScore
from model.evaluation.semi_supervised import Task, evaluate, evaluate_task, score_frame
from model.evaluation.worst_frames import WorstFrames, draw
from model.network.checkpoint import save_network

LENGTH = 8


class Oracle:
    """Stands for a propagator: answers with prepared label maps and remembers what it was asked."""

    device = torch.device("cpu")

    def __init__(self, answers: Sequence[np.ndarray], confidence: float = 0.5, seconds: float = 0.0):
        self.answers, self.confidence, self.seconds = answers, confidence, seconds
        self.keyframes, self.direction = [], None

    def run(self, frames, keyframes, direction):
        self.keyframes, self.direction = list(keyframes), direction
        objects = sorted({o for k in self.keyframes for o in k.objects})
        for index in range(self.keyframes[0].index, len(frames)):
            time.sleep(self.seconds)
            assert frames[index].ndim == 3
            yield FrameResult(index, self.answers[index], dict.fromkeys(objects, self.confidence), False)


def blank(length: int = LENGTH) -> np.ndarray:
    return np.zeros((length, 40, 60), np.uint8)


def sequence_of(label_maps: Sequence[np.ndarray | None], name: str = "s") -> AnnotatedSequence:
    return AnnotatedSequence(name, np.zeros((len(label_maps), 40, 60, 3), np.uint8), list(label_maps))


@pytest.fixture
def two_objects() -> np.ndarray:
    """Object 1 on all frames; object 3 on the frames 2 and on."""
    labels = blank()
    labels[:, 4:14, 4:14] = 1
    labels[2:, 20:30, 30:40] = 3
    return labels


def test_each_object_is_given_once_by_its_first_mask(two_objects):
    oracle = Oracle(two_objects)
    evaluate(oracle, [sequence_of(two_objects)])
    assert oracle.direction == "forward"
    assert [(k.index, k.objects) for k in oracle.keyframes] == [(0, (1,)), (2, (3,))]
    np.testing.assert_array_equal(oracle.keyframes[0].label_map, two_objects[0])
    # Object 1 is on frame 2 as well, but its true mask there is not given away.
    np.testing.assert_array_equal(oracle.keyframes[1].label_map, np.where(two_objects[2] == 3, 3, 0))


def test_the_frames_that_give_an_object_and_the_last_one_are_not_scored(two_objects):
    score = evaluate_task(Oracle(two_objects), Task(sequence_of(two_objects)))
    assert [s.frame for s in score.scores if s.object == 1] == [1, 2, 3, 4, 5, 6]
    assert [s.frame for s in score.scores if s.object == 3] == [3, 4, 5, 6]
    assert score.frames == LENGTH
    assert score.mean.jf == 1


def test_wrong_answers_on_frames_that_are_not_scored_change_nothing(two_objects):
    answers = two_objects.copy()
    answers[0] = answers[-1] = 7
    answers[2][answers[2] == 3] = 0
    answers[1, 20:30, 30:40] = 3  # before object 3 is given
    assert evaluate(Oracle(answers), [sequence_of(two_objects)]).mean.jf == 1


def test_the_annotation_of_the_last_frame_is_not_even_read(two_objects):
    class Unreadable(list):
        def __getitem__(self, index):
            assert index != LENGTH - 1
            return super().__getitem__(index)

    sequence = AnnotatedSequence("s", np.zeros((LENGTH, 40, 60, 3), np.uint8), Unreadable(two_objects))
    assert evaluate(Oracle(two_objects), [sequence]).mean.j == 1


def test_frames_without_annotation_are_not_scored(two_objects):
    labels = list(two_objects)
    labels[3] = labels[4] = None
    score = evaluate_task(Oracle(two_objects), Task(sequence_of(labels)))
    assert [s.frame for s in score.scores if s.object == 3] == [5, 6]
    assert score.frames == LENGTH  # they are propagated all the same


def test_void_pixels_are_no_object_and_count_for_nothing(two_objects):
    truth = two_objects.copy()
    truth[:, 4:14, 14:18] = 255
    answers = two_objects.copy()
    answers[:, 4:14, 14:18] = 1
    evaluation = evaluate(Oracle(answers), [sequence_of(truth)])
    assert set(evaluation.sequences[0].objects) == {1, 3}
    assert evaluation.mean.jf == 1


def test_an_absent_object_is_scored_too(two_objects):
    truth = two_objects.copy()
    truth[4:][truth[4:] == 1] = 0
    # Predicted on the frames 4 to 6 of 1 to 6, though it has gone.
    objects = evaluate(Oracle(two_objects), [sequence_of(truth)]).sequences[0].objects
    assert objects[1].j == objects[1].f == objects[1].j_recall == 0.5


def test_scores_are_j_f_and_confidence_of_every_object_and_frame(two_objects):
    answers = np.roll(two_objects, 3, axis=2)
    evaluation = evaluate(Oracle(answers, confidence=0.25), [sequence_of(two_objects, "moved")])
    for s in evaluation.scores:
        mask, truth = answers[s.frame] == s.object, two_objects[s.frame] == s.object
        assert (s.sequence, s.confidence) == ("moved", 0.25)
        assert s.j == region_similarity(mask, truth) == pytest.approx(7 / 13)
        assert s.f == contour_accuracy(mask, truth) and 0 < s.f < 1


def test_an_object_that_no_pass_reached_has_confidence_0(two_objects):
    result = FrameResult(4, two_objects[4], {}, False)
    assert [s.confidence for s in score_frame(sequence_of(two_objects), result, (1, 3))] == [0, 0]


def frame_scores(sequence: str, obj: int, *values: float) -> list[FrameScore]:
    return [FrameScore(sequence, obj, i, v, v / 2, 1) for i, v in enumerate(values, 1)]


def test_means_are_over_frames_then_objects_then_sequences():
    a = SequenceScore("a", tuple(frame_scores("a", 1, 1, 0.6) + frame_scores("a", 2, 0.2)), 4, 2.0, 0.5)
    b = SequenceScore("b", tuple(frame_scores("b", 1, 0.9, 0.9, 0.9, 0.9)), 6, 3.0, 1.5)
    evaluation = Evaluation((a, b))
    assert {o: m.j for o, m in a.objects.items()} == pytest.approx({1: 0.8, 2: 0.2})
    assert a.mean.j == pytest.approx(0.5)
    assert evaluation.mean.j == pytest.approx(0.7) and evaluation.mean.f == pytest.approx(0.35)
    assert evaluation.mean.jf == pytest.approx((0.7 + 0.35) / 2)
    assert evaluation.object_mean.j == pytest.approx((0.8 + 0.2 + 0.9) / 3)
    assert evaluation.fps == pytest.approx(10 / 5) and evaluation.fps_without_decoding == pytest.approx(10 / 3)
    assert a.fps == pytest.approx(4 / 2) and a.fps_without_decoding == pytest.approx(4 / 1.5)


def test_recall_and_decay_are_those_of_j_and_of_f():
    measures = Measures.of(frame_scores("a", 1, 1, 0.8, 0.6, 0.2))
    assert (measures.j_recall, measures.f_recall) == (0.75, 0)
    assert (measures.j_decay, measures.f_decay) == pytest.approx((0.5, 0.25))


def test_decoding_is_timed_apart_and_scoring_not_at_all(two_objects, monkeypatch):
    """By a clock that decoding, propagation and scoring move on by known amounts."""
    now = [0.0]

    class SlowFrames(Sequence):
        def __len__(self):
            return LENGTH

        def __getitem__(self, index):
            if isinstance(index, slice):
                return SlowFrames()  # lazy, as those of a data set
            if not 0 <= index < LENGTH:
                raise IndexError
            now[0] += 1
            return np.zeros((40, 60, 3), np.uint8)

    class SlowOracle(Oracle):
        def run(self, frames, keyframes, direction):
            assert len(frames[2:5][:]) >= 3  # a slice counts as decoded, read or not
            for result in super().run(frames, keyframes, direction):
                now[0] += 10
                yield result
            now[0] += 100

    monkeypatch.setattr("model.evaluation.semi_supervised.time.perf_counter", lambda: now[0])

    def watcher(*_):
        now[0] += 1000

    sequence = AnnotatedSequence("s", SlowFrames(), list(two_objects))
    score = evaluate_task(SlowOracle(two_objects), Task(sequence), watcher)
    assert score.decoding_seconds == LENGTH + LENGTH  # one slice, which is as long as all, and each frame once
    assert score.seconds == score.decoding_seconds + LENGTH * 10 + 100


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (blank(), "s has no object"),
        (blank() + 255, "s has no object"),
        (np.concatenate([blank(2), blank(1) + 4]), "s has no object"),  # on the last frame alone
        (blank(2) + 1, "s has no frame to score"),
        ([blank()[0] + 1, None, blank()[0]], "s has no frame to score"),
        (np.zeros((4, 40, 60, 3), np.uint8), "palette or grey"),
    ],
)
def test_sequences_that_cannot_be_scored_are_named_before_anything_runs(labels, message, two_objects):
    oracle = Oracle(two_objects)
    with pytest.raises(InputError, match=message):
        evaluate(oracle, [sequence_of(two_objects), sequence_of(labels)])
    assert not oracle.keyframes


def test_a_true_mask_of_another_size_is_named(two_objects):
    labels = list(two_objects)
    labels[3] = labels[3][:20]
    with pytest.raises(InputError, match="s, frame 3: the true mask is 60x20, the frame 60x40"):
        evaluate(Oracle(two_objects), [sequence_of(labels)])


def test_no_sequence_is_an_error(two_objects):
    with pytest.raises(InputError, match="no sequence"):
        evaluate(Oracle(two_objects), [])


def test_pictures_of_the_worst_frames_lie_apart(two_objects, tmp_path):
    labels = np.concatenate([two_objects] * 3)
    labels[:2] = two_objects[2]
    answers = labels.copy()
    for index, lost in ((10, 4), (11, 6), (12, 5), (20, 2)):
        answers[index, 4:14, 4 : 4 + lost] = 0
    frames = np.zeros((len(labels), 40, 60, 3), np.uint8)
    frames[..., 0] = np.arange(len(labels))[:, None, None]  # red
    sequences = [AnnotatedSequence(name, frames, list(labels)) for name in ("a", "b/c")]
    with WorstFrames(tmp_path / "worst", 2) as worst:
        evaluate(Oracle(answers), sequences, worst)
    # Object 1 loses 6 of 10 columns on frame 11, 2 on frame 20; the frames 10 and 12 lie too near to 11.
    names = [f"{name}-{frame}" for name in ("a", "b-c") for frame in ("00011-J0.700.png", "00020-J0.900.png")]
    assert sorted(p.name for p in (tmp_path / "worst").iterdir()) == names
    picture = np.asarray(Image.open(tmp_path / "worst" / names[1]))
    assert picture.shape == (40, 60, 3) and tuple(picture[0, 0]) == (20, 0, 0)


def test_a_picture_shows_the_truth_in_white_and_the_prediction_in_colour():
    label_map, truth = blank()[0], blank()[0]
    label_map[10:20, 10:20] = 1
    truth[10:20, 30:40] = 1
    picture = draw(np.zeros((40, 60, 3), np.uint8), label_map, truth)
    assert (picture[9, 30:40] == 255).all() and (picture[9:20, 29] == 255).all()
    assert (picture[9, 10:20] == picture[9, 10]).all() and picture[9, 10].any()
    assert picture[12, 12].any() and (picture[12, 12] < picture[9, 10]).any()
    assert not picture[12, 35].any() and not picture[30:].any()


# The command, with the shipped network


@pytest.fixture(scope="module")
def dataset(squares, tmp_path_factory) -> Path:
    """Two sequences of 8 frames of the moving squares; in the second one the other square is annotated from frame 2."""
    root = tmp_path_factory.mktemp("davis")
    late = squares.labels[:LENGTH].copy()
    late[:2][late[:2] == 2] = 0
    for name, labels in (("both", squares.labels), ("late", late)):
        for kind in ("JPEGImages", "Annotations"):
            (root / kind / name).mkdir(parents=True)
        for i in range(LENGTH):
            Image.fromarray(squares.frames[i]).save(root / "JPEGImages" / name / f"{i:05d}.png")
            Image.fromarray(labels[i]).save(root / "Annotations" / name / f"{i:05d}.png")
    return root


def run_json(capsys, *arguments: object) -> dict:
    assert main([str(a) for a in arguments] + ["--json", "--short-side", "0", "--dtype", "float32"]) == 0
    return json.loads(capsys.readouterr().out)


def test_the_shipped_network_follows_the_squares(lite, squares):
    label_maps = squares.labels[:LENGTH]
    evaluation = evaluate(lite, [AnnotatedSequence("squares", squares.frames[:LENGTH], label_maps)])
    assert evaluation.mean.j > 0.8 and evaluation.mean.f > 0.8
    assert all(0 <= s.confidence <= 1 for s in evaluation.scores)


def test_json_holds_headline_sequences_objects_and_settings(dataset, capsys, tmp_path):
    table = tmp_path / "new" / "scores.csv"
    answer = run_json(capsys, dataset, "--clip-length", 3, "--no-progressive", "--csv", table)
    sequences = answer["sequences"]
    assert list(sequences) == ["both", "late"]
    for key in ("J", "F", "J&F", "recall", "decay"):
        assert answer[key] == pytest.approx(np.mean([s[key] for s in sequences.values()]))
        objects = [o[key] for s in sequences.values() for o in s["objects"].values()]
        assert answer["objects"][key] == pytest.approx(np.mean(objects))
    assert answer["J"] > 0.8 and answer["objects"]["count"] == 4
    assert answer["frames"] == 2 * LENGTH and sequences["late"]["frames"] == LENGTH
    assert 0 < answer["fps"] < answer["fps without decoding"]
    assert 0 < sequences["late"]["fps"] < sequences["late"]["fps without decoding"]
    assert [sequences["late"]["objects"][o]["scored frames"] for o in "12"] == [6, 4]
    expected = {"network": "perclip-lite", "refinement": True, "clip_length": 3, "progressive_interval": None}
    assert expected.items() <= answer["settings"].items()
    assert (answer["settings"]["short_side"], answer["settings"]["dtype"]) == (None, "float32")

    with table.open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 6 + 6 + 6 + 4
    late = [float(row["J"]) for row in rows if (row["sequence"], row["object"]) == ("late", "2")]
    assert np.mean(late) == pytest.approx(sequences["late"]["objects"]["2"]["J"], abs=1e-6)


def test_a_corrupt_annotation_of_the_last_frame_changes_nothing(dataset, capsys, tmp_path):
    """And those between do: the same data from an archive, with annotations emptied."""

    def archive(name: str, emptied: int | None) -> Path:
        path = tmp_path / name
        with zipfile.ZipFile(path, "w") as file:
            for kind in ("JPEGImages", "Annotations"):
                for i in range(LENGTH):
                    member = f"{kind}/late/{i:05d}.png"
                    source = dataset / member
                    if kind == "Annotations" and i == emptied:
                        source = tmp_path / "empty.png"
                        Image.fromarray(np.full((96, 128), 9, np.uint8)).save(source)
                    file.write(source, f"set/{member}")
        return path

    def measures(answer: dict) -> list[float]:
        return [answer[key] for key in ("J", "F", "recall", "decay")]

    plain = measures(run_json(capsys, dataset, "--sequences", "late"))
    assert measures(run_json(capsys, archive("same.zip", None))) == plain
    assert measures(run_json(capsys, archive("last.zip", LENGTH - 1))) == plain
    assert measures(run_json(capsys, archive("between.zip", LENGTH - 2))) != plain


def test_masks_that_seem_to_be_inside_out_are_told(dataset, capsys, tmp_path):
    shutil.copytree(dataset / "JPEGImages" / "both", tmp_path / "JPEGImages" / "both")
    (tmp_path / "Annotations" / "both").mkdir(parents=True)
    for mask in (dataset / "Annotations" / "both").iterdir():
        inverted = np.where(np.array(Image.open(mask)) == 1, 0, 255).astype(np.uint8)
        Image.fromarray(inverted).save(tmp_path / "Annotations" / "both" / mask.name)
    assert main([str(tmp_path), "--short-side", "0"]) == 0
    assert "warning: both, frame 0: object 1 covers" in capsys.readouterr().err


def test_refinement_can_be_left_out(dataset, capsys):
    full = run_json(capsys, dataset, "--sequences", "both")
    without = run_json(capsys, dataset, "--sequences", "both", "--no-refinement")
    assert without["settings"]["refinement"] is False
    assert without["J"] != full["J"]


def test_weights_name_their_network(dataset, capsys, tmp_path):
    weights = tmp_path / "mine.safetensors"
    save_network(load_network("perclip-lite"), weights)
    answer = run_json(capsys, dataset, "--sequences", "both", "--weights", weights)
    assert (answer["settings"]["network"], answer["settings"]["weights"]) == ("perclip-lite", str(weights))


def test_the_table_and_the_pictures(dataset, capsys, tmp_path):
    arguments = [str(dataset), "--sequences", "late,both", "--short-side", "0", "--worst", str(tmp_path / "worst")]
    assert main(arguments) == 0
    out = capsys.readouterr().out
    lines = [line.split() for line in out.splitlines()]
    assert lines[0][:4] == ["sequence", "J", "F", "J&F"]
    assert [line[0] for line in lines[1:3]] == ["late", "both"]
    assert lines[3][:3] == ["mean", "of", "2"] and lines[4][:3] == ["mean", "of", "4"]
    j = [float(line[1]) for line in lines[1:3]]
    assert float(lines[3][4]) == pytest.approx(np.mean(j), abs=1e-3)
    assert lines[5][1] == "fps,"
    assert {p.name.split("-")[0] for p in (tmp_path / "worst").iterdir()} == {"late", "both"}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["{data}/nothing.zip"], "nothing.zip"),
        (["{empty}"], "no JPEGImages"),
        (["{data}", "--sequences", "both,bus"], "no sequence 'bus'; there are both, late"),
        (["{data}", "--clip-length", "0"], "clip_length must be at least 1"),
        (["{data}", "--memory-tokens", "9"], "memory_tokens"),
        (["{data}", "--memory", "most"], "invalid choice: 'most'"),
        (["{data}", "--network", "xmem"], "invalid choice: 'xmem'"),
        (["{data}", "--no-such-option"], "unrecognized arguments"),
        (["{data}", "--device", "abacus"], "unknown device 'abacus'"),
        (["{data}", "--weights", "{data}/none.safetensors"], "no weights file"),
        (["{data}", "--network", "pcvos"], "no weights of 'pcvos'"),
        (["{data}", "--csv", "{data}/JPEGImages"], "cannot write"),
        (["{data}", "--worst", "{data}/JPEGImages/both/00000.png"], "cannot write"),
        ([], "the following arguments are required"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(arguments, message, dataset, tmp_path, capsys):
    try:
        code = main([a.format(data=dataset, empty=tmp_path) for a in arguments])
    except SystemExit as stop:
        code = stop.code
    out, err = capsys.readouterr()
    assert code == 2
    assert out == ""
    assert err.startswith("error: ") and message in err and err.count("\n") == 1


def test_as_a_program(dataset):
    """Standard output holds one JSON object and nothing else; the bar goes to standard error."""
    command = [sys.executable, "-m", "model.evaluate", str(dataset), "--sequences", "both", "--short-side", "64"]
    done = subprocess.run([*command, "--json"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["sequences"].keys() == {"both"}
    assert "sequence" in done.stderr
    done = subprocess.run([*command, "--clip-length", "-1"], capture_output=True, text=True, check=False)
    assert done.returncode == 2 and done.stderr.startswith("error: ") and done.stderr.count("\n") == 1
