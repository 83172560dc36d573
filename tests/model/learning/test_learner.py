"""Learning from keyframes: what is promised of its result, whatever it learned."""

from dataclasses import replace
from itertools import count

import pytest
import torch

import model.learning.learner as learner_module
from model import Keyframe, PropagationOptions, load_network
from model.errors import InputError
from model.learning.check import Check
from model.learning.learned_weights import LearnedWeights, weights_digest
from model.learning.learner import Learner, TimeIsUpError
from model.learning.lesson import Lesson
from model.learning.recipe import LearningRecipe
from model.learning.record import LearningRecord

# Takes whatever was learned.
_RECIPE = LearningRecipe(
    most_steps=2, least_steps=1, batch=1, crop=64, clip_frames=1, objects=1, rate=1e-2, margin=-1, cycle_margin=-1
)
_SCORE = Check.score
_OPTIONS = PropagationOptions(short_side=None, dtype="float32", device="cpu")


@pytest.fixture(scope="module")
def network():
    return load_network("perclip-lite")


@pytest.fixture(autouse=True)
def ever_better(monkeypatch):
    """The check takes its time; most tests need only its word, and that each network is better than the last."""
    rising = count()

    def score(check, propagator, between=lambda: None):
        between()
        return 0.3 + next(rising) / 100

    monkeypatch.setattr(Check, "score", score)
    monkeypatch.setattr(learner_module, "_PROBES", 1)


@pytest.fixture
def kept(tmp_path) -> LearnedWeights:
    return LearnedWeights(tmp_path / "learned")


def learner(network, kept=None, seconds=1e4, **changes) -> Learner:
    return Learner(network, _OPTIONS, seconds, replace(_RECIPE, **changes), kept)


def lesson(few, *frames: int) -> Lesson:
    return Lesson(few.frames, [few.keyframe(i) for i in frames])


def scores(monkeypatch, *values: float) -> None:
    """What the check finds, one network after the other."""
    left = list(values)
    monkeypatch.setattr(Check, "score", lambda check, propagator, between=None: left.pop(0))


def no_steps(monkeypatch) -> None:
    monkeypatch.setattr(learner_module.Trainer, "learn", lambda *batch: pytest.fail("it learns again"))


@pytest.mark.parametrize("frames", [(0,), (0, 8)])
def test_the_same_keyframes_give_the_same_weights_and_leave_the_network_alone(network, few, frames):
    before = weights_digest(network)
    first, second = (learner(network, most_steps=1).learn([lesson(few, *frames)]) for _ in range(2))
    assert first.record.used and first.record.steps == 1
    assert first.record.weights == second.record.weights == weights_digest(first.network) != before
    assert weights_digest(network) == before == first.record.network == first.record.start
    assert first.network.calibration == network.calibration
    assert ("held-out keyframe 8" if len(frames) == 2 else "there and back") in first.record.words


def test_a_network_that_is_spoilt_is_told_from_one_that_is_well(network, few, monkeypatch):
    """A step of a huge rate."""
    monkeypatch.setattr(Check, "score", _SCORE)
    learned = learner(network, most_steps=1, objects=2, rate=5.0, margin=0, cycle_margin=0).learn([lesson(few, 0)])
    record = learned.record
    assert record.outcome == "not better" and record.before > 0.8 > record.after
    assert learned.network is network


@pytest.mark.parametrize(("after", "used"), [(0.505, False), (0.52, True)])
def test_only_what_is_clearly_better_is_used(network, few, monkeypatch, after, used):
    scores(monkeypatch, 0.5, after)
    learned = learner(network, margin=0.01, most_steps=1).learn([lesson(few, 0, 8)])
    assert learned.record.used == used
    assert (learned.network is network) == (not used)
    assert weights_digest(learned.network) == learned.record.weights
    assert f"0.500 -> {after:.3f}" in learned.record.words and ("not used" in learned.record.words) == (not used)


def test_where_nothing_can_be_gained_nothing_is_learned(network, few, monkeypatch):
    scores(monkeypatch, 0.995)
    no_steps(monkeypatch)
    learned = learner(network, margin=0.01).learn([lesson(few, 0, 8)])
    assert learned.network is network and learned.record.outcome == "nothing to gain"


def test_too_little_time_is_told_with_the_time_that_would_do_and_tried_again(network, few, kept):
    learned = learner(network, kept, seconds=1e-6).learn([lesson(few, 0)])
    assert learned.network is network and "seconds would do" in learned.record.words
    assert kept.kept().size == 0


def test_the_number_of_steps_is_noted_before_the_first_and_holds_later(network, few, monkeypatch):
    noted: list[LearningRecord] = []
    learner(network).learn([lesson(few, 0)], note=noted.append)
    begun, end = noted
    assert (begun.outcome, begun.steps, end.outcome) == ("begun", 2, "used")
    again = learner(network).learn([lesson(few, 0)], [replace(begun, steps=1)])
    assert again.record.steps == 1 and again.record.weights != end.weights
    resumed = learner(network).learn([lesson(few, 0)], [begun])
    assert (resumed.record.steps, resumed.record.weights) == (2, end.weights)


def test_where_its_time_ends_it_gives_up_and_what_it_learns_in_time_does_not_depend_on_that(network, few):
    def ending(ends):
        return Learner(network, _OPTIONS, 1e4, replace(_RECIPE, most_steps=1), ends=ends)

    late = ending(1e-9).learn([lesson(few, 0)])
    assert late.network is network and late.record.outcome == "too slow" and "not enough" in late.record.words
    record = ending(1e4).learn([lesson(few, 0)]).record
    assert record.used and record.key == late.record.key
    with pytest.raises(TimeIsUpError):
        ending(1e-9).again(record, [lesson(few, 0)])
    again = ending(None).again(record, [lesson(few, 0)])
    assert again.record.weights == record.weights == weights_digest(again.network)


def test_ctrl_c_gives_the_network_back_as_it_was_and_keeps_nothing(network, few, kept, monkeypatch):
    step = learner_module.Trainer.learn

    def interrupted(trainer, *batch):
        if trainer.step == 1 and trainer.recipe.seed:  # no probe
            raise KeyboardInterrupt
        return step(trainer, *batch)

    monkeypatch.setattr(learner_module.Trainer, "learn", interrupted)
    learned = learner(network, kept).learn([lesson(few, 0)])
    assert learned.network is network and learned.record.outcome == "stopped"
    assert "stopped" in learned.record.words and kept.kept().size == 0


def test_what_fails_while_it_learns_does_not_end_the_run(network, few, kept, monkeypatch):
    def fail(trainer, *batch):
        raise InputError("the training diverged in step 0")

    monkeypatch.setattr(learner_module.Trainer, "learn", fail)
    learned = learner(network, kept).learn([lesson(few, 0)])
    assert learned.network is network and learned.record.weights == weights_digest(network)
    assert learned.record.words == "not learned, as it failed: the training diverged in step 0"
    assert kept.kept().size == 0


def test_ctrl_c_while_what_ran_before_is_learned_again_ends_the_run(network, few, monkeypatch):
    record = learner(network).learn([lesson(few, 0)]).record

    def interrupt(*batch):
        raise KeyboardInterrupt

    monkeypatch.setattr(learner_module.Trainer, "learn", interrupt)
    with pytest.raises(KeyboardInterrupt):
        learner(network).learn([lesson(few, 0)], [record], lambda record: pytest.fail("it is decided otherwise"))


def test_what_was_learned_is_kept_and_when_it_is_damaged_or_gone_learned_again(network, few, kept, monkeypatch):
    first = learner(network, kept).learn([lesson(few, 0)])
    assert kept.kept().networks == 1
    with monkeypatch.context() as patched:
        no_steps(patched)
        second = learner(network, kept).learn([lesson(few, 0)])
    assert second.record == first.record
    assert all(torch.equal(t, second.network.state_dict()[n]) for n, t in first.network.state_dict().items())
    (weights,) = kept.folder.glob("*.safetensors")
    weights.write_bytes(weights.read_bytes()[:-1000])
    assert learner(network, kept).learn([lesson(few, 0)]).record == first.record
    kept.empty()
    assert learner(network, kept).learn([lesson(few, 0)], [first.record]).record == first.record


def test_a_correction_learns_on_and_is_what_the_check_asks_for(network, few, kept):
    first = learner(network, kept).learn([lesson(few, 0, 6)]).record
    second = learner(network, kept).learn([lesson(few, 0, 6, 10)], [first]).record
    assert second.start == first.weights and second.check == "held-out keyframe 10"
    assert set(second.seen) > set(first.seen)
    # Nothing is left to check by that the weights have not seen: from the beginning.
    third = learner(network, kept).learn([lesson(few, 0)], [first, second]).record
    assert third.start == third.network


@pytest.mark.parametrize(
    ("earlier", "after", "outcome"),
    [(0.6, 0.55, "earlier"), (0.6, 0.6, "earlier"), (0.6, 0.61, "used"), (0.505, 0.5, "not better")],
)
def test_a_correction_that_teaches_nothing_leaves_what_was_learned_before(
    network, few, kept, monkeypatch, earlier, after, outcome
):
    first = learner(network, kept).learn([lesson(few, 0, 6)]).record
    scores(monkeypatch, 0.5, earlier, after)
    lessons = [lesson(few, 0, 6, 10)]
    learned = learner(network, kept, margin=0.01).learn(lessons, [first])
    assert learned.record.outcome == outcome
    assert weights_digest(learned.network) == learned.record.weights
    if outcome == "earlier":
        assert learned.record.weights == first.weights and learned.record.seen == first.seen
        assert "what was learned before: J&F 0.500 -> 0.600" in learned.record.words
        # A run that goes on finds them; where they are gone it learns anew.
        again = learner(network, kept, margin=0.01).learn(lessons, [first, learned.record])
        assert again.record == learned.record and weights_digest(again.network) == first.weights
        kept.empty()
        scores(monkeypatch, 0.5, 0.6)
        lost = learner(network, kept, margin=0.01).learn(lessons, [first, learned.record])
        assert lost.record.outcome == "used" and lost.record.start == lost.record.network  # all anew


def test_without_time_to_learn_on_what_was_learned_before_runs(network, few, kept, monkeypatch):
    first = learner(network, kept).learn([lesson(few, 0, 6)]).record
    scores(monkeypatch, 0.5, 0.6)
    no_steps(monkeypatch)
    monkeypatch.setattr(Learner, "_probe", lambda *args: 1e6)
    learned = learner(network, kept, margin=0.01).learn([lesson(few, 0, 6, 10)], [first])
    assert weights_digest(learned.network) == first.weights
    assert (learned.record.outcome, learned.record.steps) == ("earlier", 0)
    assert "time is too short" in learned.record.words


def test_without_a_frame_or_an_object_to_learn_from_it_says_so(network, few):
    short = Lesson(few.frames[:2], [few.keyframe(0)])
    assert learner(network).learn([short]).record.outcome == "no check"
    assert learner(network).learn([Lesson(few.frames, [])]).record.outcome == "nothing to learn"
    mask = few.labels[0] == 1
    mask[:, 14:] = False  # a sliver
    tiny = Lesson(few.frames, [Keyframe(0, {1: mask & (few.labels[0].cumsum(0) < 20)})])
    learned = learner(network).learn([tiny])
    assert learned.record.outcome == "nothing to learn" and learned.network is network
