"""The native function through cvat-cli's own loader, driver and worker."""

import argparse
import pickle
import types
from pathlib import Path

import numpy as np
import pytest
from cvat_cli._internal import agent_driver_tracking
from cvat_cli._internal.agent import _worker_init, get_function_driver_class
from cvat_cli._internal.agent_driver import BadArError, IncompatibleFunctionError
from cvat_cli._internal.agent_driver_tracking import AgentTrackingFunctionDriver
from cvat_cli._internal.common import configure_function_implementation_arguments
from cvat_sdk.auto_annotation import BadFunctionError
from PIL import Image

from model.errors import PerclipError
from model.evaluation.metrics import region_similarity
from model.tracking.remembered_frames import MOST_REMEMBERED
from plugin import aa_function
from tests.serverless.calls import SMALL, Worker, image_text
from tests.serverless.test_track_call import as_mask, box_of, drawn, go_on, init, wide

KINDS = ("mask", "polygon", "rectangle")
PARAMETERS = ("-p", "device=str:cpu", "-p", f"short_side=int:{SMALL.short_side}")


def loader_of(*options):
    """The loader that cvat-cli makes of these command line options."""
    parser, made = argparse.ArgumentParser(), []
    parser.set_defaults(_executor=lambda client, function_loader: made.append(function_loader))
    configure_function_implementation_arguments(parser)
    arguments = vars(parser.parse_args(options))
    arguments.pop("_executor")(None, **arguments)
    return made[0]


class Inline:
    """Runs a worker's jobs in this process; what goes in and out is pickled, as between processes."""

    def submit(self, job, *arguments):
        return pickle.dumps(job(*pickle.loads(pickle.dumps(arguments))))

    def result(self, future):
        return pickle.loads(future)


class Agent(AgentTrackingFunctionDriver):
    """cvat-cli's driver with a worker; its tasks have the frames that the test gives."""

    def __init__(self, *options):
        loader, count = loader_of(*options), iter(range(10**6))
        _worker_init(loader, lambda: f"state {next(count)}")
        self.images = []
        super().__init__(None, Inline(), agent_driver_tracking.worker_current_function().spec)

    def _get_sample_from_ar_params(self, ar_params):
        image = self.images[ar_params["frame"]]
        return types.SimpleNamespace(media=types.SimpleNamespace(load_image=lambda: image)), None

    def init(self, frame, shapes):
        request = {"type": "init_tracking", "task": 1, "frame": frame, "shapes": shapes}
        return self.calculate_result_for_ar(request, None)["states"]

    def track(self, frame, states):
        answer = self.calculate_result_for_ar({"type": "track", "task": 1, "frame": frame, "states": states}, None)
        assert answer["states"] == states and len(answer["shapes"]) == len(states)
        return answer["shapes"]

    @staticmethod
    def state(name):
        return agent_driver_tracking._tracking_states._id_to_ext_state[name].inner_state


@pytest.fixture(scope="module")
def agent(squares):
    agent = Agent("--function-module", "plugin.aa_function", *PARAMETERS)
    agent.images = [Image.fromarray(frame) for frame in squares.frames]
    empty = np.broadcast_to(squares.frames[0][:, 40:41], squares.frames[0].shape)
    agent.images.append(Image.fromarray(np.ascontiguousarray(empty)))
    return agent


def test_cvat_cli_loads_it_from_its_file_with_parameters():
    loader = loader_of("--function-file", str(Path(aa_function.__file__)), *PARAMETERS, "-p", "cache_megabytes=float:8")
    function = loader.load()
    driver = get_function_driver_class(function.spec)
    assert driver is AgentTrackingFunctionDriver
    assert driver.get_remote_function_fields(function.spec) == {"supported_shape_types": sorted(KINDS)}
    pickle.loads(pickle.dumps(function.spec))


def test_an_agent_takes_it_for_functions_of_these_types_and_no_others(agent):
    agent.validate_function_compatibility({"supported_shape_types": ["mask", "polygon", "rectangle"]})
    with pytest.raises(IncompatibleFunctionError, match="skeleton"):
        agent.validate_function_compatibility({"supported_shape_types": ["mask", "skeleton"]})


@pytest.mark.parametrize(
    "options", [("-p", "device=str:tpu"), ("-p", "network=str:none"), ("-p", "weights=str:/no/such/file")]
)
def test_wrong_parameters_are_refused_in_one_line(options):
    with pytest.raises(PerclipError) as caught:
        loader_of("--function-module", "plugin.aa_function", *options).load()
    assert "\n" not in str(caught.value)


def test_shapes_of_all_types_are_followed_together_and_stay_of_their_types(agent, squares):
    shapes = [drawn(squares, kind, obj=obj) for kind in KINDS for obj in (1, 2)]
    states = agent.init(0, shapes)
    for i in range(1, 24):
        followed = agent.track(i, states)
        for place, (before, shape) in enumerate(zip(shapes, followed)):
            assert shape["type"] == before["type"]
            assert all(type(p) in (int, float) for p in shape["points"])
            assert region_similarity(as_mask(shape), squares.labels[i] == place % 2 + 1) > 0.6, (i, shape["type"])
            memory = agent.state(states[place]).memory.frames
            assert [memory[0].number, memory[-1].number] == [0, i] and len(memory) <= MOST_REMEMBERED
            assert len(pickle.dumps(memory)) < 240_000


@pytest.mark.parametrize("kind", KINDS)
def test_it_answers_as_the_nuclio_function_does(agent, squares, kind):
    stock = Worker()
    nuclio = init(stock, image_text(squares.frames[0]), [drawn(squares, kind)])
    native = agent.init(0, [drawn(squares, kind)])
    for i in (1, 2, 3, 4):
        shapes, nuclio = go_on(stock, image_text(squares.frames[i]), nuclio)
        assert agent.track(i, native) == shapes


def test_images_in_any_order(agent, squares):
    states = agent.init(12, [drawn(squares, "mask", 12)])
    for i in (11, 10, 10, 14, 9):
        (shape,) = agent.track(i, states)
        assert region_similarity(as_mask(shape), squares.labels[i] == 1) > 0.6, i


def test_an_object_that_is_gone_is_none_teaches_nothing_and_comes_back(agent, squares):
    states = agent.init(0, [drawn(squares, kind) for kind in KINDS])
    agent.track(1, states)
    known = [agent.state(s).memory for s in states]
    assert agent.track(24, states) == [None] * 3
    assert [agent.state(s).memory for s in states] == known
    for shape in agent.track(2, states):
        assert region_similarity(as_mask(shape), squares.labels[2] == 1) > 0.5


def test_states_of_one_prepared_image_are_their_own(agent, squares):
    function = agent_driver_tracking.worker_current_function()
    images = [function.preprocess_image(None, image) for image in agent.images[:3]]
    before = images[1].pixels.values.copy(), images[1].small

    def shape(obj):
        return agent_driver_tracking.cvataa.TrackableShape(**drawn(squares, "polygon", obj=obj))

    alone = function.init_tracking_state(None, images[0], shape(1))
    expected = [function.track(None, image, alone).points for image in images[1:]]
    states = [function.init_tracking_state(None, images[0], shape(obj)) for obj in (1, 2, 1)]
    for image, points in zip(images[1:], expected):
        shapes = [function.track(None, image, state) for state in states]
        assert shapes[0].points == shapes[2].points == points != shapes[1].points
        for one in shapes:
            one.points[:] = [0.0] * len(one.points)  # theirs now
    assert np.array_equal(images[1].pixels.values, before[0]) and images[1].small == before[1]


def test_without_a_cache_the_answer_is_the_same(agent, squares):
    function = agent_driver_tracking.worker_current_function()
    bare = aa_function.create(device="cpu", short_side=SMALL.short_side, cache_megabytes=0)
    shape = agent_driver_tracking.cvataa.TrackableShape(**drawn(squares, "mask"))
    answers = []
    for tracker in (function, bare):
        state = tracker.init_tracking_state(None, tracker.preprocess_image(None, agent.images[0]), shape)
        answers.append([tracker.track(None, tracker.preprocess_image(None, agent.images[i]), state) for i in (1, 2)])
    assert answers[0] == answers[1]


@pytest.mark.parametrize(
    "stored",
    [
        lambda frame: Image.fromarray(frame).convert("RGBA"),
        lambda frame: Image.fromarray(frame).quantize(64),
        lambda frame: Image.fromarray(frame[:, :, 0].copy()),  # in red alone the square still stands out
        lambda frame: Image.fromarray(frame[:, :, 0].astype(np.uint16) * 16),
    ],
    ids=["alpha", "palette", "gray", "12-bit gray"],
)
def test_images_of_every_kind_that_cvat_stores_are_taken(agent, squares, stored):
    function = agent_driver_tracking.worker_current_function()
    prepared = [function.preprocess_image(None, stored(squares.frames[i])) for i in (0, 1)]
    shape = agent_driver_tracking.cvataa.TrackableShape(**drawn(squares, "mask"))
    found = function.track(None, prepared[1], function.init_tracking_state(None, prepared[0], shape))
    assert region_similarity(as_mask({"type": "mask", "points": found.points}), squares.labels[1] == 1) > 0.6


@pytest.mark.parametrize(
    ("kind", "points"),
    [
        ("mask", [1, 0, 0, 0, 0]),
        ("mask", [5, 5, 0, 0, 2, 2]),
        ("mask", []),
        ("polygon", [1, 2, 3, 4]),
        ("polygon", [500, 500, 600, 500, 600, 600]),
        ("polygon", [1, 2, 3, float("nan"), 5, 6]),
        ("rectangle", [500, 500, 600, 600]),
        ("rectangle", [1, 2, 3]),
        ("rectangle", ["1", "2", "30", "40"]),
        ("rectangle", [30, 30, 10, 10]),
    ],
)
def test_points_that_make_no_shape_are_refused_with_a_reason_that_reaches_the_person(agent, kind, points):
    with pytest.raises(BadFunctionError, match=kind) as caught:
        agent.init(0, [{"type": kind, "points": points}])
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 200


def test_other_types_are_refused(agent, squares):
    with pytest.raises(BadArError, match="points"):
        agent.init(0, [{"type": "points", "points": [1, 2]}])
    function = agent_driver_tracking.worker_current_function()
    shape = agent_driver_tracking.cvataa.TrackableShape(type="ellipse", points=box_of(squares.labels[0] == 1))
    with pytest.raises(BadFunctionError, match="ellipse"):
        function.init_tracking_state(None, function.preprocess_image(None, agent.images[0]), shape)


def test_an_image_of_another_size_or_of_no_known_kind_is_refused_with_a_reason(agent, squares):
    function = agent_driver_tracking.worker_current_function()
    shape = agent_driver_tracking.cvataa.TrackableShape(type="rectangle", points=box_of(squares.labels[0] == 1))
    state = function.init_tracking_state(None, function.preprocess_image(None, agent.images[0]), shape)
    for size in ((128, 95), (256, 192)):
        with pytest.raises(BadFunctionError, match="128x96 pixels and cannot be followed"):
            function.track(None, function.preprocess_image(None, agent.images[1].resize(size)), state)
    with pytest.raises(BadFunctionError, match="cannot be read"):
        function.preprocess_image(None, Image.new("F", (128, 96)))


@pytest.mark.parametrize("dark", [0, 3])
def test_16_bit_images_have_the_scale_of_the_brightest_so_far(squares, dark):
    agent = Agent("--function-module", "plugin.aa_function", *PARAMETERS)
    agent.images = [
        Image.fromarray(wide(frame, 1.4 if i == dark else 16)) for i, frame in enumerate(squares.frames[:6])
    ]
    states = agent.init(0, [drawn(squares, "mask")])
    for i in range(1, 6):
        (shape,) = agent.track(i, states)
        if i != dark and (dark or i < 3):  # it hardly shows anything: what is drawn there is soon lost
            assert region_similarity(as_mask(shape), squares.labels[i] == 1) > 0.6, i
    assert agent.state(states[0]).depth == 12
