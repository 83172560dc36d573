"""A deployed function as the engine: clip calls with images, patient with busy replicas."""

import base64
import json
import queue
import threading
import time
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import cv2
import numpy as np
import requests

from model.data.image_file import encode_jpeg
from model.errors import InputError
from model.keyframe import Keyframe
from model.learning.lesson import Lesson
from model.learning.record import LearningRecord
from model.object_masks import ObjectMasks
from model.result import FrameResult
from plugin.cvat.server.errors import FunctionError
from plugin.cvat.server.patience import Patience
from plugin.shapes.rle import decode_mask, encode_mask

_TIMEOUT = (10, 120)  # seconds
_PATIENCE = 120.0  # seconds
_FIRST_PATIENCE = 5.0  # for an address that may be mistyped
_LONGEST_WAIT = 20.0
_QUALITY = 92  # of JPEGs
_MOST_IMAGES = 60  # in one call
_MOST_BYTES = 40 * 2**20  # of images in one call; the function takes bodies of 64 MiB
_PASSING = (429, 502, 503, 504)
_SHORT_SIDE = 480  # of functions that do not say
_CLIP_LENGTH = 5  # of functions that decide themselves, at most


class _GoneError(FunctionError):
    """Patience is at its end."""


class FunctionEngine:
    """One or more addresses of the function. May be used by several threads.

    Args:
        urls: of the function; one call at a time is sent to each.
        clip_length: frames segmented at once; None: as many as the function's network was published with.
        patience: seconds for which a busy or lost function is tried again; None: two minutes.
        pause: what waits.

    Attributes:
        parallel: number of addresses.

    Raises:
        InputError: no function of a fitting version answers there, or they have different networks.
    """

    def __init__(
        self,
        urls: Sequence[str],
        clip_length: int | None,
        patience: float | None = None,
        pause: Callable[[float], None] = time.sleep,
    ):
        self._asked = {} if clip_length is None else {"clip_length": clip_length}
        self.clip_length, self.parallel = clip_length or _CLIP_LENGTH, len(urls)
        self._patience, self._pause = _PATIENCE if patience is None else patience, pause
        self._session = requests.Session()
        self._free: queue.Queue[str] = queue.Queue()
        self._alive, self._counting = len(urls), threading.Lock()
        identities = set()
        for url in urls:
            if not url.startswith(("http://", "https://")):
                raise InputError(f"--function-url {url}: give an address like http://127.0.0.1:8070")
            status = self._status(url)
            self._short_side = status.get("short_side", _SHORT_SIDE)
            how = (status.get(name) for name in ("network", "weights", "top_k"))
            identities.add(" ".join(map(str, [*how, self._short_side])))
            self.weights = str(status.get("weights_terms", "those of the deployed function"))
            self._free.put(url)
        if len(identities) > 1:
            raise InputError(f"the functions have different networks ({', '.join(sorted(identities))}): deploy one")
        self.made_with = f"function {identities.pop()}"
        self.identity = f"{self.made_with} {self.clip_length}"

    def prepare(self) -> None:
        """Nothing is left to load."""

    def learned(
        self,
        lessons: Callable[[], Sequence[Lesson]],
        known: Sequence[LearningRecord],
        note: Callable[[LearningRecord], None],
    ) -> tuple["FunctionEngine", None]:
        """Itself: a function learns for each chain by itself, and a journal could not name the weights."""
        return self, None

    def run(
        self,
        frames: Sequence[np.ndarray],
        keyframes: Sequence[Keyframe],
        start: int = 0,
        stop: int | None = None,
        direction: str = "both",
        labels: Mapping[int, Hashable] | None = None,
    ) -> Iterator[FrameResult]:
        """As `Propagator.run`, by a chain of clip calls.

        Raises:
            FunctionError: the function refused, or all addresses are gone for longer than patience lasts.
        """
        stop = len(frames) if stop is None else stop
        size = keyframes[0].masks.shape
        clip = {
            "version": 1,
            "height": size[0],
            "width": size[1],
            "output": "mask",
            **self._asked,
            "direction": direction,
            "keyframes": [{"frame": k.index, "shapes": _shapes(k, labels or {})} for k in keyframes],
        }
        drawn = {k.index: k for k in keyframes}
        given: set[int] = set()
        needed, ahead, state = sorted(drawn), [], None  # the function says what comes next
        if len(drawn) == 1 and (direction == "forward" or 0 in drawn):
            ahead = [i for i in range(min(drawn), len(frames)) if i not in drawn]
        while True:
            images = self._images(frames, needed, ahead)
            clip["frames"] = [
                {"frame": i, "image": images[i]} if i in images else {"frame": i} for i in range(len(frames))
            ]
            clip["continue"] = state
            reply = self._call({"clip": clip}, size)
            for result in reply.results:
                if start <= result.index < stop and result.index not in given:
                    given.add(result.index)
                    yield _with_drawn(result, drawn.get(result.index))
            if reply.state is None or len(given) == stop - start:
                return
            if reply.state == state and not reply.results and set(reply.ahead) <= set(images):
                raise FunctionError("the function makes no progress; its log says why")
            state, needed, ahead = reply.state, reply.needed, reply.ahead

    def _images(self, frames: Sequence[np.ndarray], needed: Sequence[int], ahead: Sequence[int]) -> dict[int, str]:
        """The images for a call in base64: all that are needed, and as many of the next ones as a call carries."""
        images: dict[int, str] = {}
        size = 0
        for index in [*needed, *ahead]:
            if index not in needed and (len(images) >= len(needed) + _MOST_IMAGES or size > _MOST_BYTES):
                break
            images[index] = base64.b64encode(encode_jpeg(_small(frames[index], self._short_side), _QUALITY)).decode()
            size += len(images[index])
        return images

    def _status(self, url: str) -> Mapping[str, Any]:
        try:
            status = self._answer(url, None, min(self._patience, _FIRST_PATIENCE))
        except FunctionError as error:
            raise InputError(f"--function-url {url}: {error}") from None
        if status.get("name") != "perclip" or status.get("clip_version") != 1:
            raise InputError(f"--function-url {url}: no Perclip of this version answers there; deploy it anew")
        return status

    def _call(self, body: Mapping[str, Any], size: tuple[int, int]) -> "_Reply":
        """The answer of whichever address is free: any can go on with any chain. One that is gone is used no more."""
        text = json.dumps(body)
        while True:
            url = self._free.get()
            try:
                reply = self._answer(url, text, self._patience)
            except _GoneError:
                with self._counting:
                    self._alive -= 1
                    if self._alive:
                        continue
                    self._alive = 1
                self._free.put(url)
                raise
            except BaseException:
                self._free.put(url)
                raise
            self._free.put(url)
            try:
                return _Reply.parse(reply, size)
            except (KeyError, TypeError, ValueError, AttributeError, InputError) as error:
                raise FunctionError(
                    f"{url} answers in a form that is not known here ({type(error).__name__}: {error}): deploy it anew"
                ) from None

    def _answer(self, url: str, body: str | None, patience: float) -> Mapping[str, Any]:
        """The JSON of an answer; calls may be repeated, as they change nothing."""
        tries = Patience(patience, self._pause, longest=_LONGEST_WAIT)
        while True:
            try:
                headers = {"Content-Type": "application/json"}
                if body is None:
                    response = self._session.get(url, timeout=_TIMEOUT)
                else:
                    response = self._session.post(url, data=body, headers=headers, timeout=_TIMEOUT)
                status = response.status_code
            except requests.RequestException as lost:
                status = 0
                reason = type(lost).__name__
                error: FunctionError = _GoneError(f"no answer from {url} ({reason}): is the function running?")
            if status == 200:
                try:
                    reply = response.json()
                except ValueError:
                    raise FunctionError(f"{url} answers no JSON: is it the function of Perclip?") from None
                if not isinstance(reply, dict) or "error" in reply:
                    raise _refused(url, status, response.content)
                return reply
            if status:
                error = _refused(url, status, response.content)
                if status not in _PASSING:
                    raise error
            tries.wait_or_raise(_GoneError(str(error)))


def _refused(url: str, status: int, content: bytes) -> FunctionError:
    try:
        message = json.loads(content)["error"]["message"]
    except (ValueError, KeyError, TypeError):
        message = f"status {status}"
    return FunctionError(f"the function at {url} refuses: {message}")


def _small(frame: np.ndarray, short_side: int) -> np.ndarray:
    """The frame at the size that the network sees."""
    scale = short_side / min(frame.shape[:2])
    if scale >= 1:
        return frame
    width, height = (max(1, round(side * scale)) for side in frame.shape[1::-1])
    return cv2.resize(frame, (width, height), interpolation=cv2.INTER_AREA)


def _shapes(keyframe: Keyframe, labels: Mapping[int, Hashable]) -> list[dict[str, Any]]:
    """What a keyframe shows, from bottom to top, and what it says is absent."""
    encoded = {o: encode_mask(mask) for o, mask in keyframe.masks.items()}
    encoded |= {o: [] for o in keyframe.objects if o not in encoded}
    return [
        {"object": o, "type": "mask", "points": points} | ({"label": str(labels[o])} if o in labels else {})
        for o, points in encoded.items()
    ]


class _Reply(NamedTuple):
    """A clip call's answer: results without what was drawn, and how to go on (`state` None: not at all)."""

    results: list[FrameResult]
    state: str | None
    needed: list[int]
    ahead: list[int]

    @classmethod
    def parse(cls, reply: Mapping[str, Any], size: tuple[int, int]) -> "_Reply":
        results = []
        for item in reply["frames"]:
            masks, confidence = {}, {}
            for shape in item["shapes"]:
                masks[int(shape["object"])] = decode_mask(shape["points"], *size)
                confidence[shape["object"]] = float(shape["confidence"])
            confidence |= {absent["object"]: float(absent["confidence"]) for absent in item["absent"]}
            of_frame = ObjectMasks.of(masks, masks, size)
            results.append(FrameResult(int(item["frame"]), of_frame, dict(sorted(confidence.items())), False))
        going_on = reply["continue"]
        if going_on is None:
            return cls(results, None, [], [])
        return cls(results, str(going_on["state"]), list(going_on["needed"]), list(going_on["next"]))


def _with_drawn(result: FrameResult, drawn: Keyframe | None) -> FrameResult:
    """A result as the engine would give it: with what people drew on the frame."""
    if drawn is None:
        return result
    confidence = dict(sorted({**result.confidence, **dict.fromkeys(drawn.objects, 1.0)}.items()))
    return FrameResult(result.index, drawn.masks.above(result.masks), confidence, True)
