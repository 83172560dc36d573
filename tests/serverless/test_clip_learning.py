"""Clip calls that learn from their keyframes first, through the real handler: a small network on the processor."""

import json
import threading
from itertools import count

import pytest
import requests

import model.learning.learner as learner_module
from model.errors import InputError
from model.learning.check import Check
from model.learning.recipe import LearningRecipe
from model.network.checkpoint import save_network
from serverless.local_server import LocalServer
from serverless.perclip_function import PerclipFunction, Settings
from tests.model.network.named_weights import named_network
from tests.serverless.calls import HEIGHT, WIDTH, Worker, image_text, sealed_continuation
from tests.serverless.test_clip_call import clip, keyframe

_RECIPE = LearningRecipe(
    most_steps=2, least_steps=1, batch=1, crop=64, clip_frames=1, objects=1, rate=1e-2, margin=-1, cycle_margin=-1
)
_LEARNING = Worker.settings(learn_on=("cpu",), max_seconds=1e4)
_FRAMES = 12
_SCORE = Check.score


def learning_worker(recipe: LearningRecipe = _RECIPE, **changes) -> Worker:
    return Worker(Worker.settings(learn_on=("cpu",), **({"max_seconds": 1e4} | changes)), recipe)


@pytest.fixture(scope="module")
def pupil() -> Worker:
    """A worker that may learn. What it keeps is by the seconds too: each test that counts asks for others."""
    return learning_worker()


@pytest.fixture(scope="module")
def replica() -> Worker:
    """Another one."""
    return learning_worker()


@pytest.fixture(scope="module")
def shown(few) -> list[str]:
    return [image_text(frame) for frame in few.frames]


@pytest.fixture(autouse=True)
def ever_better(monkeypatch):
    """The check takes its time; most tests need only its word, and that each network is better than the last."""
    rising = count()

    def score(check, propagator, between=lambda: None):
        between()
        for lesson in check._lessons:
            assert all(lesson.frames[i].shape[:2] == (HEIGHT, WIDTH) for i in check.indices(lesson))
        return 0.3 + next(rising) / 100

    monkeypatch.setattr(Check, "score", score)
    monkeypatch.setattr(learner_module, "_PROBES", 1)


@pytest.fixture
def trainings(monkeypatch) -> list[int]:
    """Steps of each training, probes included."""
    begun = []
    made = learner_module.Trainer.__init__

    def counted(trainer, network, recipe, device, from_scratch=False):
        begun.append(recipe.iterations)
        made(trainer, network, recipe, device, from_scratch)

    monkeypatch.setattr(learner_module.Trainer, "__init__", counted)
    return begun


def call(few, images, places=(4,), sent=range(_FRAMES), learn=1000, **fields):
    """A clip call with keyframes at some places. The check looks at 4..11 of the one at 4."""
    keyframes = [keyframe(few, i, a=1) for i in places]
    return clip(few, images, keyframes, sent, **({"learn": learn} if learn else {}), **{"clip_length": 2} | fields)


def chain(workers, few, images, places=(4,), batch=2, **fields):
    """The answers of a chain of calls to the workers in turn; the first call brings the keyframes alone."""
    answers = [workers[0].answered(call(few, images, places, places, **fields))]
    while (going_on := answers[-1]["continue"]) is not None:
        sent = [f // 2 - 50 for f in going_on["needed"] + going_on["next"][:batch]]
        body = call(few, images, places, sent, **fields | {"continue": going_on["state"]})
        answers.append(workers[len(answers) % len(workers)].answered(body))
        assert len(answers) < 20
    return answers


def frames_of(answers):
    return {frame["frame"]: frame for answer in answers for frame in answer["frames"]}


def forged(state: str, **changes) -> str:
    """A continuation that says something else of what was learned."""
    body = json.loads(state[32:])
    return sealed_continuation(body | {"learning": body["learning"] | changes})


@pytest.mark.parametrize("learn_on", [("cuda",), ()])
def test_where_nothing_can_be_learned_the_call_is_refused_with_the_reason_before_any_work(few, learn_on):
    worker = Worker(Worker.settings(learn_on=learn_on))
    status, answer = worker.call(call(few, ["no image"] * _FRAMES, learn=5))
    assert status == 400 and answer["error"]["code"] == "no_learning"
    words = "perclip cvat propagate --learn" if learn_on else "PERCLIP_LEARN_ON"
    assert words in answer["error"]["message"] and "\n" not in answer["error"]["message"]
    learning = worker.call(b"", "GET")[1]["learning"]
    assert learning == {"usual_seconds": 0, "most_seconds": 0, "refused": answer["error"]["message"]}


def test_the_status_says_how_long_it_can_learn_through_cvat_too(few):
    worker = learning_worker(max_seconds=20.0)
    status = worker.call(b"", "GET")[1]
    assert status["learning"] == {"usual_seconds": 10, "most_seconds": 20, "refused": None}
    through = {"image": "", "shapes": [{"type": "mask", "points": [], "clip": {"ask": "status"}}], "states": []}
    assert worker.answered(through) == {"states": [], "shapes": []} | status
    bad = call(few, [""] * _FRAMES, learn=20.1)
    assert "learn must lie in 0..20" in worker.call(bad)[1]["error"]["message"]


@pytest.mark.parametrize("learn", [-1, "5", True, [], {}, 1e9, float("nan"), float("inf"), 10**400])
def test_what_is_no_number_of_seconds_is_refused_by_its_name(worker, pupil, few, shown, learn):
    for asked in (worker, pupil):
        status, answer = asked.call(call(few, shown) | {"clip": call(few, shown)["clip"] | {"learn": learn}})
        assert status == 400 and answer["error"]["message"].startswith("learn must")


@pytest.mark.parametrize("nothing", [None, 0.0])
def test_no_learning_is_the_call_without_the_field(worker, pupil, few, shown, nothing):
    plain = call(few, shown, learn=None, max_seconds=0)
    asked = {"clip": plain["clip"] | {"learn": nothing}}
    first = worker.answered(plain)
    for other in (worker.answered(asked), pupil.answered(asked)):
        assert "learning" not in other and "learning" not in other["timing"]
        assert {k: other[k] for k in ("frames", "continue")} == {k: first[k] for k in ("frames", "continue")}


@pytest.mark.parametrize("places", [(4,), (0, 8)])
def test_two_replicas_in_turn_learn_once_each_come_to_the_same_and_give_what_one_gives(
    few, shown, places, pupil, replica, trainings
):
    answers = chain([pupil, replica], few, shown, places, learn=1001)
    assert answers[0]["learning"] is None  # it waits for what the check looks at
    assert not any(frame["shapes"] for frame in answers[0]["frames"])
    needed = {f // 2 - 50 for f in answers[0]["continue"]["needed"]}
    assert needed == set(range(9) if len(places) == 2 else range(4, 12))
    said = [answer["learning"] for answer in answers[1:]]
    assert all(learning == said[0] for learning in said)
    assert said[0]["used"] and said[0]["same_weights"] and said[0]["steps"] == 2
    assert said[0]["words"].startswith("learned from the keyframes in 2 steps: J&F 0.3")
    assert all("learning" in answer["timing"] for answer in answers)
    rounds = 2 if len(places) == 2 else 1
    assert len(answers) > 3 and trainings == [2] + [2] * rounds + [2]  # a probe; what was checked; the other replica
    alone = pupil.answered(call(few, shown, places, learn=1001))
    assert alone["continue"] is None and alone["learning"]["weights"] == said[0]["weights"]
    assert frames_of(answers) == frames_of([alone])
    plain = pupil.answered(call(few, shown, places, learn=None))
    assert frames_of([plain]).keys() == frames_of([alone]).keys() and plain["frames"] != alone["frames"]


def test_a_replica_that_comes_to_other_weights_says_so_in_all_its_answers(few, shown, pupil, trainings):
    other = learning_worker(LearningRecipe(**{**vars(_RECIPE), "rate": 2e-2}))
    answers = chain([pupil, other], few, shown, learn=1002)
    by_other = [answer["learning"]["same_weights"] for answer in answers[1::2]]
    by_first = [answer["learning"]["same_weights"] for answer in answers[2::2]]
    # The other one answers the second call, which is the first to learn.
    assert by_other == [True] * len(by_other) and by_first == [False] * len(by_first) and by_first
    assert len({answer["learning"]["weights"] for answer in answers[1:]}) == 2
    assert trainings == [2, 2, 2]  # once each
    assert len(frames_of(answers)) == _FRAMES


def test_what_one_chain_has_learned_changes_no_other_call(few, shown, pupil, replica):
    worker, fresh = pupil, replica
    plain = call(few, shown, learn=None)
    image = {"image": shown[0], "shapes": [keyframe(few, 0, a=1)["shapes"][0]]}
    before = worker.answered(plain)["frames"], worker.answered(image)
    half = {places: call(few, shown, places, range(places[0], _FRAMES)) for places in ((4,), (5,))}
    begun = {places: worker.answered(body) for places, body in half.items()}
    assert begun[4,]["learning"]["weights"] != begun[5,]["learning"]["weights"]
    assert before == (worker.answered(plain)["frames"], worker.answered(image))
    for places in half:
        body = call(few, shown, places, **{"continue": begun[places]["continue"]["state"]})
        mine, its = worker.answered(body), fresh.answered(body)
        assert mine["frames"] == its["frames"] and mine["learning"] == its["learning"]
        assert mine["learning"]["weights"] == begun[places]["learning"]["weights"]


def test_a_worker_that_may_keep_nothing_learns_again_in_each_call(few, shown, trainings):
    worker = learning_worker(cache_megabytes=0)
    answers = chain([worker], few, shown)
    assert all(answer["learning"]["same_weights"] for answer in answers[1:])
    assert len(answers) > 2 and trainings == [2] * len(answers)
    last = json.loads(worker.log.getvalue().splitlines()[-1])
    assert last["with"]["learning"] == "used" and last["with"]["timing"]["learning"] > 0


def test_what_is_not_better_is_not_used_in_the_whole_chain_and_told(few, shown, pupil, monkeypatch, trainings):
    scores = [0.8, 0.8]
    monkeypatch.setattr(Check, "score", lambda check, propagator, between: scores.pop())
    worker = learning_worker(LearningRecipe(**{**vars(_RECIPE), "cycle_margin": 0.02}))
    answers = chain([pupil, worker], few, shown, learn=1003)
    assert len(answers) > 3 and trainings == [2, 2]
    for answer in answers[1:]:
        assert answer["learning"]["outcome"] == "not better" and not answer["learning"]["used"]
        assert answer["learning"]["words"].startswith("learned and not used: J&F 0.800 -> 0.800")
    plain = pupil.answered(call(few, shown, learn=None))
    assert frames_of(answers) == frames_of([plain])


def test_the_real_check_keeps_a_spoilt_network_out(few, shown, monkeypatch):
    monkeypatch.setattr(Check, "score", _SCORE)
    spoiling = {"rate": 5.0, "margin": 0, "cycle_margin": 0, "most_steps": 1, "objects": 2}
    worker = learning_worker(LearningRecipe(**{**vars(_RECIPE), **spoiling}))
    learning = worker.answered(call(few, shown, max_seconds=1e3))["learning"]
    assert learning["outcome"] == "not better" and learning["before"] > learning["after"]


@pytest.mark.parametrize("fields", [{"learn": 1e-6}, {"max_seconds": 1e-6}, {"max_seconds": 0}])
def test_a_budget_that_is_too_small_is_told_and_the_chain_goes_on_unlearned(few, shown, pupil, trainings, fields):
    answers = chain([pupil], few, shown, **fields)
    for answer in answers[1:]:
        assert answer["learning"]["outcome"] == "too slow" and not answer["learning"]["used"]
        assert "the time is too short" in answer["learning"]["words"] and "\n" not in answer["learning"]["words"]
        assert answer["frames"] or answer is answers[1]
    if "max_seconds" in fields:  # what the call has was spent: it goes no further
        assert not answers[1]["frames"]
    assert len(answers) > 2 and len(frames_of(answers)) == _FRAMES and len(trainings) <= 1  # the probe


def test_what_cannot_be_learned_again_in_time_is_told_and_may_be_asked_again(few, shown, pupil, replica):
    state = pupil.answered(call(few, shown, learn=1004, sent=range(4, _FRAMES)))["continue"]["state"]
    body = call(few, shown, learn=1004, max_seconds=1e-9, **{"continue": state})
    status, answer = replica.call(body)
    assert (status, answer["error"]["code"]) == (503, "busy") and "send the same call again" in answer["error"][
        "message"
    ]
    body["clip"]["max_seconds"] = 1e3
    assert replica.answered(body)["learning"]["same_weights"]


def test_what_fails_does_not_end_the_chain(few, shown, pupil, monkeypatch):
    monkeypatch.setattr(learner_module.Trainer, "learn", _fail)
    answer = pupil.answered(call(few, shown, learn=1005))
    assert answer["learning"]["words"] == "not learned, as it failed: the training diverged in step 0"
    assert answer["continue"] is None and len(answer["frames"]) == _FRAMES


def _fail(trainer, *batch):
    raise InputError("the training diverged in step 0")


def test_a_chain_must_go_on_as_it_began_and_with_what_is_needed(few, shown, pupil):
    begun = pupil.answered(call(few, shown, sent=[4, 5, 6, 7], direction="forward"))
    assert begun["learning"] is None and not any(frame["shapes"] for frame in begun["frames"])  # nothing goes ahead
    first = begun["continue"]
    status, answer = pupil.call(call(few, shown, sent=[4, 5], direction="forward", **{"continue": first["state"]}))
    assert status == 400 and answer["error"]["code"] == "image_missing"
    for learn in (None, 999):
        further = {"direction": "forward", "continue": first["state"]}
        status, answer = pupil.call(call(few, shown, learn=learn, **further))
        assert status == 400 and answer["error"]["code"] == "bad_continue"


_TEXTS = ["", None, 7, [], "x" * 32, "a" * 31]
_FORGED = [
    *({"key": text} for text in _TEXTS),
    *({"weights": text} for text in _TEXTS),
    {"steps": 10**9},
    {"steps": 0},
    {"steps": 1.5},
    {"steps": True},
    {"outcome": "begun"},
    {"outcome": "earlier"},
    {"outcome": []},
    {"before": float("nan")},
    {"after": "1"},
    {"check": 5},
    {"seen": 5},
    {"seen": [5]},
    {"more": 1},
]


def test_a_continuation_that_somebody_has_written_is_refused(few, shown, pupil):
    state = pupil.answered(call(few, shown, sent=range(4, _FRAMES)))["continue"]["state"]
    for changes in _FORGED:
        status, answer = pupil.call(call(few, shown, **{"continue": forged(state, **changes)}))
        assert (status, answer["error"]["code"]) == (400, "bad_continue"), changes
    # Weights that nobody has are learned for, and said to be others.
    answer = pupil.answered(call(few, shown, **{"continue": forged(state, weights="0" * 32)}))
    assert answer["learning"]["same_weights"] is False


def test_a_record_that_names_what_another_chain_has_learned_gets_nothing_of_it(few, shown, pupil):
    """What chains share is only the worker."""
    mine = call(few, shown, sent=range(4, _FRAMES), learn=1006)
    state = pupil.answered(mine)["continue"]["state"]
    its = json.loads(state[32:])["learning"]
    other = call(few, shown, (5,), range(5, _FRAMES), learn=1006)
    begun = pupil.answered(other)
    named = forged(begun["continue"]["state"], **{name: its[name] for name in ("key", "steps", "weights")})
    answer = pupil.answered(call(few, shown, (5,), learn=1006, **{"continue": named}))
    assert answer["learning"]["same_weights"] is False and answer["learning"]["weights"] != its["weights"]


def test_a_record_that_says_used_of_what_nobody_can_learn_from_is_refused(few, shown, pupil):
    dot = {"frame": 108, "shapes": [{"object": "a", "type": "polygon", "points": [5, 5, 8, 5, 8, 8, 5, 8]}]}
    state = pupil.answered(clip(few, shown, [dot], range(4, _FRAMES), learn=1007, clip_length=2))["continue"]["state"]
    assert json.loads(state[32:])["learning"]["outcome"] == "nothing to learn"
    written = forged(state, outcome="used", steps=1)
    body = clip(few, shown, [dot], range(_FRAMES), learn=1007, clip_length=2, **{"continue": written})
    status, answer = pupil.call(body)
    assert (status, answer["error"]["code"]) == (400, "bad_continue")


def test_what_cannot_be_learned_again_for_another_reason_than_time_is_begun_again(few, shown, pupil, monkeypatch):
    state = pupil.answered(call(few, shown, range(4, 5), range(4, _FRAMES), learn=1008))["continue"]["state"]
    monkeypatch.setattr(learner_module.Trainer, "learn", _fail)
    status, answer = learning_worker().call(call(few, shown, learn=1008, **{"continue": state}))
    assert (status, answer["error"]["code"]) == (400, "bad_continue")
    assert "the training diverged in step 0" in answer["error"]["message"]


def test_a_network_that_it_does_not_suit_refuses_in_one_line(few, tmp_path):
    path = tmp_path / "swem.safetensors"
    sizes = {"key_dim": 16, "value_dim": 32, "thin_dim": 32, "decoder_dims": (32, 16, 16)}
    save_network(named_network("swem", **sizes), path)
    worker = learning_worker(network="swem", weights=path)
    status, answer = worker.call(call(few, ["no image"] * _FRAMES))
    assert status == 400 and answer["error"]["code"] == "no_learning"
    assert answer["error"]["message"].startswith("learn is not for swem")


def test_settings_say_where_it_may_learn():
    assert Settings.of({}).learn_on == ("cuda",)
    assert Settings.of({"PERCLIP_LEARN_ON": "cuda, cpu"}).learn_on == ("cuda", "cpu")
    assert Settings.of({"PERCLIP_LEARN_ON": "none"}).learn_on == ()
    for bad in ("gpu", "none,cpu", "cuda,"):
        with pytest.raises(InputError, match="PERCLIP_LEARN_ON"):
            Settings.of({"PERCLIP_LEARN_ON": bad})


def test_over_http_with_images_smaller_than_the_frames(few, shown, monkeypatch):
    for name, value in {"PERCLIP_SHORT_SIDE": "96", "PERCLIP_DEVICE": "cpu"}.items():
        monkeypatch.setenv(name, value)
    server = LocalServer("127.0.0.1", 0)
    server.context.user_data.perclip = PerclipFunction(_LEARNING, _RECIPE)
    threads = [threading.Thread(target=work) for work in (server.listen, server.work)]
    for thread in threads:
        thread.start()
    try:
        box = [20.0, 20.0, 90.0, 20.0, 90.0, 90.0, 20.0, 90.0]
        shapes = [{"object": "a", "type": "polygon", "points": box}]
        frames = [{"frame": i, "image": image} for i, image in enumerate(shown)]
        size = {"version": 1, "width": 2 * WIDTH, "height": 2 * HEIGHT}
        body = {"clip": size | {"frames": frames, "keyframes": [{"frame": 0, "shapes": shapes}], "learn": 100}}
        answer = requests.post(f"http://127.0.0.1:{server.server_address[1]}", json=body, timeout=120).json()
    finally:
        server.shutdown()
        for thread in threads:
            thread.join()
    assert answer["learning"]["used"] and len(answer["frames"]) == _FRAMES
