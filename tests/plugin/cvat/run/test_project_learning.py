"""Learning from a project: what is read, held out, gone on with and said; the network learns for real, a few steps."""

import re
from dataclasses import replace
from pathlib import Path

import pytest

import model.learning.project_learner as learner_module
from model import load_network
from model.learning.check import Question
from model.learning.learned_weights import weights_digest
from model.learning.recipe import LearningRecipe
from model.training.trainer import Trainer
from plugin.cli import main
from plugin.cvat.run import project_learning
from plugin.cvat.run.learned_project import LearnedFiles
from tests.cvat_server import CvatState, FakeCvat, FakeJob, FakeLabel, FakeTask
from tests.cvat_server.media import zip_chunk
from tests.cvat_server.server import TOKEN
from tests.plugin.cvat.program import draw, mask_shape
from tests.plugin.cvat.task.test_damaged_frames import spoiled_image

PROJECT = 3
# Takes whatever was learned.
RECIPE = LearningRecipe(
    most_steps=2, least_steps=1, batch=1, crop=64, clip_frames=1, objects=1, margin=-1, cycle_margin=-1
)


@pytest.fixture
def place(tmp_path, monkeypatch):
    monkeypatch.setenv("CVAT_ACCESS_TOKEN", TOKEN)
    for name in ("STATE", "CACHE", "DATA"):
        monkeypatch.setenv(f"XDG_{name}_HOME", str(tmp_path / name))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(project_learning, "LearningRecipe", lambda **_margin: RECIPE)
    return tmp_path


def project(few, *keyframes: tuple[int, ...]) -> CvatState:
    """A task for each tuple of frames that are drawn, of 12 frames."""
    labels = [FakeLabel(1, "square"), FakeLabel(2, "other")]
    tasks = [
        FakeTask(10 + i, few.frames, [FakeJob(20 + i, 0, 11)], labels, chunk_size=10, project=PROJECT)
        for i in range(len(keyframes))
    ]
    state = CvatState(tasks, projects=[PROJECT])
    for i, frames in enumerate(keyframes):
        shapes = [mask_shape(f, few.labels[f] == o, label=o, group=o) for f in frames for o in (1, 2)]
        draw(state, 20 + i, shapes=shapes)
    return state


def cvat(fake, *arguments):
    return main(["cvat", arguments[0], "--url", fake.url, "--project", str(PROJECT), *arguments[1:]])


def learn(fake, *arguments):
    return cvat(fake, "learn", "--short-side", "64", "--device", "cpu", "--dtype", "float32", *arguments)


def files(fake) -> LearnedFiles:
    return LearnedFiles.of(fake.url, PROJECT)


def weights(fake) -> str:
    return weights_digest(load_network("perclip-lite", files(fake).checkpoint))


@pytest.fixture
def quick(monkeypatch):
    """The answers of a network that knows nothing, and rising scores."""
    scores = iter(range(30, 100))
    monkeypatch.setattr(Question, "scores", lambda self, masks: dict.fromkeys(self.objects, next(scores) / 100))


def test_from_keyframes_to_a_checkpoint_that_propagate_uses(place, few, capsys):
    state = project(few, (0, 4, 8))
    before = {job.id: list(job.shapes) for _, job in state.jobs.values()}
    with FakeCvat(state) as fake:
        assert learn(fake, "--steps", "2", "--report", "r.html") == 0
        out = capsys.readouterr().out
        assert "from 2 keyframes in 2 steps" in out and "1 keyframe, held out" in out
        assert re.search(r"square: J&F 0\.\d{3} -> 0\.\d{3} on 1 masks", out) and "  other: J&F" in out
        assert {job.id: list(job.shapes) for _, job in state.jobs.values()} == before
        page = (place / "r.html").read_text()
        assert page.count("data:image/jpeg") == 4 and "<polyline" in page and "tasks/10/jobs/20?frame=4" in page
        assert files(fake).checkpoint.exists() and not files(fake).work.exists()
        some = "--dry-run", "--short-side", "64", "--max-gap", "1", "--report", "p.html"
        assert cvat(fake, "propagate", *some) == 0
        assert "--weights learned uses them" in capsys.readouterr().err
        assert cvat(fake, "propagate", "--weights", "learned", *some) == 0
        page = (place / "p.html").read_text()
        assert "project-3.safetensors" in page and "not for commercial use" in page
        files(fake).facts.write_text("{")
        assert cvat(fake, "propagate", "--weights", "learned", *some) == 2
        assert "project-3.json is damaged" in capsys.readouterr().err
    assert not list((place / "STATE").rglob("*.sqlite"))


def test_what_is_not_better_is_said_and_not_used(place, few, capsys, monkeypatch):
    monkeypatch.setattr(project_learning, "LearningRecipe", lambda **_margin: replace(RECIPE, margin=0.9))
    with FakeCvat(project(few, (0, 4))) as fake:
        # What Perclip itself wrote teaches nothing.
        small = "--short-side", "64", "--max-gap", "1", "--report", "p.html"
        assert cvat(fake, "propagate", *small) == 0 and len(fake.state.jobs[20][1].shapes) > 4
        capsys.readouterr()
        assert learn(fake, "--steps", "1", "--report", "r.html") == 0
        out = capsys.readouterr().out
        assert "not used, as they are not clearly better" in out and "from 1 keyframe in" in out
        assert "not used" in (place / "r.html").read_text()
        assert not files(fake).checkpoint.exists()
        assert cvat(fake, "propagate", "--weights", "learned") == 2
        assert "nothing that is better was learned" in capsys.readouterr().err


@pytest.mark.parametrize("where", ["learning", "reading"])
def test_a_run_that_is_ended_goes_on_to_the_same_weights(place, few, capsys, monkeypatch, quick, where):
    monkeypatch.setattr(learner_module, "_SAVE_EVERY", 0.0)
    state = project(few, (0, 4), (0, 4))
    with FakeCvat(state) as fake:
        assert learn(fake, "--steps", "2", "--report", "r.html") == 0
        whole = weights(fake)
        taught = []
        real, fetch = Trainer.learn, project_learning.ProjectLearning._fetch_task

        def stops(self, *batch):
            if where == "learning" and len(taught) == 1:
                taught.append("stop")
                raise KeyboardInterrupt
            taught.append(self.step)
            return real(self, *batch)

        def stops_reading(self, number):
            if where == "reading" and number == 11 and not taught:
                taught.append("stop")
                raise KeyboardInterrupt
            return fetch(self, number)

        monkeypatch.setattr(Trainer, "learn", stops)
        monkeypatch.setattr(project_learning.ProjectLearning, "_fetch_task", stops_reading)
        assert learn(fake, "--steps", "2", "--report", "r.html") == 130
        assert "run the same command again to go on" in capsys.readouterr().err
        kept = [path for path in files(fake).work.rglob("*.npz")]
        assert len(kept) == (4 if where == "learning" else 2)
        assert learn(fake, "--steps", "4", "--report", "r.html") == 2
        assert "other budget (2 steps, not 4 steps)" in capsys.readouterr().err
        if where == "learning":  # all is here: what people draw meanwhile is for the next run
            draw(state, 20, shapes=[mask_shape(10, few.labels[10] == 1, group=1)])
        assert learn(fake, "--steps", "2", "--resume", "--report", "r.html") == 0
        assert weights(fake) == whole
        assert taught == ([0, "stop", 1] if where == "learning" else ["stop", 0, 1])
        assert learn(fake, "--resume", "--report", "r.html") == 2
        assert "nothing to resume" in capsys.readouterr().err


def test_there_is_no_project_or_nothing_drawn_or_nothing_to_hold_out(place, few, capsys, quick):
    with FakeCvat(project(few, ())) as fake:
        for arguments, words in (
            (("--project", "9"), "projects/9"),
            (("--task", "99"), "task 99 is none of project 3"),
            ((), "no keyframe to learn from"),
            (("--steps", "0"), "--steps 0"),
            (("--seconds", "0"), "--seconds 0"),
            (("--resume", "--anew"), "leave one out"),
            (("--weights", "learned"), "leave --weights learned out"),
        ):
            assert learn(fake, *arguments) == 2
            error = capsys.readouterr().err
            assert words in error and len([x for x in error.splitlines() if "error:" in x]) == 1, error
    short = FakeTask(10, few.frames[:3], [FakeJob(20, 0, 2)], [FakeLabel(1, "square")], project=PROJECT)
    state = CvatState([short], projects=[PROJECT])
    draw(state, 20, shapes=[mask_shape(0, few.labels[0] == 1)])
    with FakeCvat(state) as fake:
        assert learn(fake, "--steps", "1") == 2 and "nothing can be held out" in capsys.readouterr().err
        draw(state, 20, shapes=[mask_shape(2, few.labels[2] == 1)])
        assert learn(fake, "--steps", "1", "--report", "r.html") == 0  # what was read before counts no more


def test_one_keyframe_is_checked_there_and_back(place, few, capsys, quick):
    with FakeCvat(project(few, (0,))) as fake:
        assert learn(fake, "--seconds", "0.01", "--report", "r.html") == 0
        out = capsys.readouterr().out
        assert "from 1 keyframe in 1 steps" in out and "by 1 keyframe, there and back again" in out
        assert Path("r.html").exists()


def test_a_keyframe_whose_picture_is_damaged_is_left_out_and_said(place, few, capsys, quick):
    with FakeCvat(project(few, (0, 4, 8))) as fake:
        fake.chunks[10, 0, 0, "original"] = spoiled_image(zip_chunk(list(few.frames[:10]), "original"), 4)
        assert learn(fake, "--steps", "1", "--report", "r.html") == 0
    out = capsys.readouterr().out
    assert "from 1 keyframe in 1 steps" in out and "1 keyframe, held out" in out
    assert "frame 4" in out and "its keyframe is left out" in out
    assert "its keyframe is left out" in (place / "r.html").read_text()
