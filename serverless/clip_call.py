"""Answers a clip call: as much of the clip as its time allows, and how to go on."""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from model.errors import InputError
from model.propagation.propagator import Propagator
from model.propagation.run_record import RunRecord
from model.result import FrameResult
from serverless.call_error import CallError
from serverless.chain_learning import ChainLearning, Taught
from serverless.clip_request import VERSION, ClipRequest
from serverless.continuation import read_continuation, write_continuation
from serverless.drawn_shapes import mask_to_shape, shape_points
from serverless.fields import an_object

_LONGEST_NEXT = 2000  # frames that an answer names as next


def answer_clip(
    propagator: Propagator, learning: ChainLearning, clip: Any, network: str, budget: float, began: float
) -> dict[str, Any]:
    """The answer to the object `clip`; `serverless/README.md` has both.

    Args:
        propagator: prepared; its clip length is that of calls that do not say one.
        learning: of the same network.
        clip: as it came.
        network: names the propagator's network.
        budget: seconds; one clip of frames is segmented even if it takes longer, but for a call that has learned.
        began: when the call came, of `time.perf_counter`.

    Raises:
        CallError: the call cannot be answered; nothing was done.
    """
    fields = an_object(clip, "clip")
    request = ClipRequest.parse(fields, network, propagator.options.clip_frames, learning.asked(fields))
    parsed = time.perf_counter() - began - request.frames.decoding
    policy = {"clip_length": request.clip_length, "memory": propagator.flat_policy}
    propagator = propagator.with_options(**policy)
    size = request.height, request.width
    answer = _Answer(request)
    record, known = RunRecord(), None
    if request.continuation is not None:
        grid = propagator.grid(*size)
        record, followed, known = read_continuation(
            request.continuation, request.chain, len(request.frames), tuple(request.names), (4 * grid[0], 4 * grid[1])
        )
        answer.followed = _checked_polygons(followed)
    seconds = budget if request.max_seconds is None else min(budget, request.max_seconds)
    clock = _Clock(request, began + seconds)
    if request.learn:
        with answer.learning():
            answer.taught, answer.awaited = learning.teach(request, known, began + seconds)
        if answer.taught is None:
            clock.stop()
        elif known is None:
            clock.has_learned()
        if answer.taught is not None and answer.taught.propagator is not None:
            propagator = answer.taught.propagator.with_options(**policy)
    try:
        for result in propagator.run(
            request.frames,
            request.keyframes,
            direction=request.direction,
            record=record,
            admit=clock.admit,
            size=size,
            labels=request.labels,
        ):
            answer.add(result)
    except InputError as error:
        raise CallError(str(error)) from None
    except (KeyError, IndexError, ValueError):
        # A record that was written by somebody else and has the right form, but does not fit the run.
        if request.continuation is None:
            raise
        raise CallError("continue does not fit this clip: start the range again", "bad_continue") from None
    return answer.to_json(record, parsed, time.perf_counter() - began)


def _checked_polygons(followed: dict[str, Any]) -> dict[str, Any]:
    """The last answered polygons, [frame, points] by object, of a text that anybody may have written."""
    for entry in followed.values():
        if not isinstance(entry, list) or len(entry) != 2 or type(entry[0]) is not int:
            raise CallError("continue is no text of Perclip: start the range again", "bad_continue")
        if len(shape_points({"points": entry[1]})) < 6 or len(entry[1]) % 2:
            raise CallError("continue is no text of Perclip: start the range again", "bad_continue")
    return followed


class _Clock:
    """Lets clips pass while their images are there and there is time."""

    def __init__(self, request: ClipRequest, deadline: float):
        self._frames, self._deadline = request.frames, deadline
        self._began = 0.0
        self._longest = 0.0
        self._stopped = False

    def has_learned(self) -> None:
        """The call has brought something: from here on no clip passes when the time is over."""
        self._began = time.perf_counter()

    def stop(self) -> None:
        """Nothing passes from here on."""
        self._stopped = True

    def admit(self, indices: Sequence[int]) -> bool:
        """Asked before each clip; the first one always passes if its images are there."""
        if self._stopped:
            return False
        now = time.perf_counter()
        if self._began:
            self._longest = max(self._longest, now - self._began)
            if now + self._longest > self._deadline:
                return False
        self._began = now
        return self._frames.sent(indices)


class _Answer:
    """Collects the shapes of an answer."""

    def __init__(self, request: ClipRequest):
        self.followed: dict[str, Any] = {}
        self.taught: Taught | None = None
        self.awaited: Sequence[int] = ()  # frames without which nothing is learned
        self._request = request
        self._frames: list[dict[str, Any]] = []
        self._encoding = self._learning = 0.0

    @contextmanager
    def learning(self) -> Iterator[None]:
        """Measures the time that learning takes, without that of decoding."""
        began, decoded = time.perf_counter(), self._request.frames.decoding
        yield
        self._learning = time.perf_counter() - began - (self._request.frames.decoding - decoded)

    def add(self, result: FrameResult) -> None:
        """The shapes of a frame, but for objects that a person drew there or declared absent."""
        began = time.perf_counter()
        request = self._request
        spoken_for = next((k.objects for k in request.keyframes if k.index == result.index), ())
        shapes, absent = [], []
        found = result.confidence
        if result.masks.overlapping:  # from bottom to top, as shapes come in
            found = {o: found[o] for o in (*result.masks.order, *found) if o in found}
        for obj, confidence in found.items():
            if obj in spoken_for:
                continue
            shape = self._shape(result.index, obj, result.mask(obj))
            named = {"object": request.names[obj], "confidence": round(confidence, 4)}
            if shape is None:
                absent.append(named)
            else:
                shapes.append(named | shape)
        self._frames.append({"frame": request.frames.numbers[result.index], "shapes": shapes, "absent": absent})
        self._encoding += time.perf_counter() - began

    def to_json(self, record: RunRecord, parsed: float, total: float) -> dict[str, Any]:
        """The whole answer; times in seconds."""
        request, numbers = self._request, self._request.frames.numbers
        going_on = None
        if record.ahead:
            keyframes = {k.index for k in request.keyframes}
            needed = keyframes.union(record.required)
            learned = None if self.taught is None else self.taught.record
            going_on = {
                "state": write_continuation(record, request.chain, self.followed, learned),
                "needed": [numbers[i] for i in sorted(needed.union(self.awaited))],
                # Those that are awaited are worked on, too, when their turn comes.
                "next": [numbers[i] for i in record.ahead if i not in needed][:_LONGEST_NEXT],
            }
        decoding = request.frames.decoding
        timing = {
            "parse": parsed,
            "decode": decoding,
            "network": total - parsed - decoding - self._encoding - self._learning,
            "encode": self._encoding,
            "total": total,
        }
        learning: dict[str, Any] = {}
        if request.learn:
            timing["learning"] = self._learning
            learning["learning"] = None if self.taught is None else self.taught.to_json()
        return {
            "version": VERSION,
            "frames": self._frames,
            "continue": going_on,
            **learning,
            "timing": {name: round(seconds, 4) for name, seconds in timing.items()},
            "warnings": request.warnings,
        }

    def _shape(self, index: int, obj: int, mask: np.ndarray) -> dict[str, Any] | None:
        kind = self._request.output or self._request.kinds[obj]
        if kind != "polygon":
            return mask_to_shape(mask, kind, self._request.tolerance)
        shape = mask_to_shape(mask, kind, self._request.tolerance, self._neighbour(index, obj))
        # The polygon of the last answered frame, on each side where a pass may go on.
        if shape is not None:
            self.followed[str(obj)] = [index, shape["points"]]
        return shape

    def _neighbour(self, index: int, obj: int) -> list[float] | None:
        """The object's polygon in the frame before or behind: a drawn one, or the last that was answered."""
        for beside in (index - 1, index + 1):
            if (beside, obj) in self._request.drawn:
                return self._request.drawn[beside, obj]
        last, points = self.followed.get(str(obj), (None, None))
        return points if last in (index - 1, index + 1) else None
