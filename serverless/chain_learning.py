"""Learning from the keyframes of a chain of clip calls: once, and by the same steps wherever the chain goes on."""

import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from model.errors import PerclipError
from model.inference.prepared_network import choose_device
from model.learning.check import Check
from model.learning.learned_weights import weights_digest
from model.learning.learner import Learned, Learner, TimeIsUpError
from model.learning.lesson import Lesson
from model.learning.recipe import DEFAULT_SECONDS, LearningRecipe, unsuited
from model.learning.record import LearningRecord
from model.learning.reduced_lesson import reduced_lesson
from model.network.segmentation_network import SegmentationNetwork
from model.options import PropagationOptions
from model.propagation.propagator import Propagator
from model.tracking.bounded_cache import BoundedCache
from serverless.call_error import CallError
from serverless.clip_request import ClipRequest
from serverless.fields import number

_LONGEST = 3600.0  # seconds that `learn` may name anywhere
_LEAST = 1e-3  # seconds that are left where none are


@dataclass(frozen=True, eq=False)
class Taught:
    """What a call of a chain that learns runs.

    Attributes:
        propagator: that has learned; None: the function's own, as nothing learned is used.
        record: what came of learning in the chain's first call.
        weights: digest of those that run here.
    """

    propagator: Propagator | None
    record: LearningRecord
    weights: str | None

    def to_json(self) -> dict[str, Any]:
        """The object `learning` of an answer."""
        record = self.record
        facts = {name: getattr(record, name) for name in ("outcome", "used", "words", "steps", "before", "after")}
        return facts | {"weights": self.weights, "same_weights": self.weights == record.weights}


class ChainLearning:
    """Teaches the network what the keyframes of a chain show. Keeps nothing but a cache, which only saves time.

    Args:
        network: as it was loaded; it is left alone.
        options: of the propagation.
        budget: seconds of a clip call.
        devices: kinds of device that may learn, of "cpu" and "cuda".
        recipe: what decides besides keyframes and time.
        cache: for networks that have learned; nobody else uses it.

    Attributes:
        refused: why nothing is learned here, one line; None: it can be.
    """

    def __init__(
        self,
        network: SegmentationNetwork,
        options: PropagationOptions,
        budget: float,
        devices: Collection[str],
        recipe: LearningRecipe,
        cache: BoundedCache,
    ):
        self._options, self._budget, self._recipe, self._cache = options, budget, recipe, cache
        self._device = choose_device(options.device).type
        self.refused = self._reason(network.config.name, devices)
        # What cannot learn need not be kept.
        self._network = network if self.refused is None else None

    def status(self) -> dict[str, Any]:
        """The object `learning` of a status."""
        if self.refused is not None:
            return {"usual_seconds": 0.0, "most_seconds": 0.0, "refused": self.refused}
        usual = min(DEFAULT_SECONDS[self._device], self._budget / 2)
        return {"usual_seconds": usual, "most_seconds": self._budget, "refused": None}

    def asked(self, clip: Mapping[str, Any]) -> float:
        """The field `learn` of a clip: seconds, 0: not at all.

        Raises:
            CallError: it is no such number, more than a call has, or cannot be done here.
        """
        seconds = float(number(clip, "learn", 0.0, _LONGEST, 0.0))
        if seconds and self.refused is not None:
            raise CallError(self.refused, "no_learning")
        return float(number(clip, "learn", 0.0, self._budget, 0.0))

    def teach(
        self, request: ClipRequest, known: LearningRecord | None, deadline: float
    ) -> tuple[Taught | None, Sequence[int]]:
        """What a call of a chain that learns is to run.

        Args:
            request: that asks for it.
            known: what came of learning in the chain's first call; None: nothing so far.
            deadline: of the call, by `time.perf_counter`; nothing is learned beyond.

        Returns:
            That, or None; and where a first call lacks images that it takes to learn, the frames that it takes, places
            in the chain.

        Raises:
            CallError: an image is missing or is none; the record does not fit the settings here, or what it tells of
                cannot be learned again in time.
        """
        if known is not None:
            return self._again(request, known, deadline), ()
        lesson = self._lesson(request)
        looked_at = Check([lesson]).indices(lesson)
        # Whoever goes on was told what to send.
        if request.continuation is None and not request.frames.sent(looked_at):
            return None, looked_at
        learned = self._learner(request, deadline).learn([lesson])
        record = replace(learned.record, seen=())  # a chain never learns on
        if not record.used:
            return Taught(None, record, record.weights), ()
        return self._kept(request, record, lambda: learned), ()

    def _again(self, request: ClipRequest, record: LearningRecord, deadline: float) -> Taught:
        """What the chain's first call has learned: found here, or learned again by the same steps."""
        if not record.used:
            return Taught(None, record, record.weights)
        if not 1 <= record.steps <= self._recipe.most_steps:
            raise CallError("continue is no text of Perclip: start the range again", "bad_continue")
        try:
            return self._kept(
                request, record, lambda: self._learner(request, deadline).again(record, [self._lesson(request)])
            )
        except TimeIsUpError as error:
            raise CallError(
                f"what the chain has learned could not be learned again ({error}): send the same call again",
                "busy",
                503,
            ) from None
        except PerclipError as error:
            why = str(error).splitlines()[0][:200]
            raise CallError(
                f"what the chain has learned cannot be learned again ({why}): start the range again", "bad_continue"
            ) from None

    def _lesson(self, request: ClipRequest) -> Lesson:
        """What the chain has to learn from."""
        short_side = self._options.short_side or request.height
        return reduced_lesson(request.frames, request.keyframes, request.labels, request.frames.numbers, short_side)

    def _kept(self, request: ClipRequest, record: LearningRecord, learn: Callable[[], Learned]) -> Taught:
        """What runs where a record says "used". Kept by what the first call came to, whatever it came to here."""
        # A record that somebody has written may name another chain's.
        key = request.chain, record.key, record.steps, record.weights
        propagator, weights = self._cache.get(key, lambda: self._prepared(learn()), _bytes)
        return Taught(propagator, record, weights)

    def _prepared(self, learned: Learned) -> tuple[Propagator, str]:
        return Propagator(learned.network, self._options), weights_digest(learned.network)

    def _learner(self, request: ClipRequest, deadline: float) -> Learner:
        assert self._network is not None
        left = max(_LEAST, deadline - time.perf_counter())
        return Learner(self._network, self._options, request.learn, self._recipe, ends=left)

    def _reason(self, name: str, devices: Collection[str]) -> str | None:
        reason = unsuited(name)
        if reason is not None:
            return f"learn is {reason}"
        if self._device in devices:
            return None
        if not devices:
            return "learn is switched off on this function (PERCLIP_LEARN_ON): leave it out"
        return (
            "learn is for a function on a GPU: on a processor a step takes longer than a clip call has time for; leave "
            "it out, or learn with `perclip cvat propagate --learn`"
        )


def _bytes(kept: tuple[Propagator, str]) -> int:
    return kept[0].network.size
