"""A source of frames in which each that cannot be decoded has the nearest other one in its place."""

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import replace

import numpy as np

from model.errors import UndecodableFrameError
from model.object_masks import MaskInput, ObjectMasks
from model.result import FrameResult
from plugin.sources.frame_source import FrameReader, FrameSource

_WARNINGS = 10  # that name a frame each
_FROM_DAMAGE = 0.5  # times the confidence that the network has in a picture which may be wrong


class StandInFrames(FrameReader):
    """The frames of a source; for one that cannot be decoded, the nearest that can, the earlier of two.

    Where no frame behind it can be decoded either, the end of the source is lost. Frames there have the last good one
    in their place, so that clips can be completed; `fill_in` ends a run where they begin.

    Args:
        source: the source to wrap; `close` closes it too.

    Attributes:
        needed: numbers of frames, as those of keyframes, that no other may stand for when they are in the lost end.
        lost_from: first frame of the lost end, once it was met; None: none was.

    Reading raises `UndecodableFrameError` where no frame at all can be decoded, or a needed one is in the lost end.
    """

    def __init__(self, source: FrameSource):
        self.height, self.width, self.fps = source.height, source.width, source.fps
        self.needed: Collection[int] = ()
        self.lost_from: int | None = None
        self._source = source
        self._stand_ins: dict[int, int] = {}
        self._errors: dict[int, UndecodableFrameError] = {}

    def __len__(self) -> int:
        return len(self._source)

    def name(self, index: int) -> str:
        """The wrapped source's name of frame `index`."""
        return self._source.name(index)

    def close(self) -> None:
        """Close the wrapped source; may be called again."""
        self._source.close()

    def stand_in(self, index: int) -> int | None:
        """The frame that is given for frame `index`; None where it is its own, as far as is known from reading."""
        return self._stand_ins.get(index)

    def error_of_end(self) -> UndecodableFrameError:
        """What is wrong with the lost end."""
        assert self.lost_from is not None
        return UndecodableFrameError(f"{self._errors[self.lost_from]}. Nothing behind it can be decoded either")

    def warnings(self, reached: Collection[int]) -> list[str]:
        """A sentence for each frame that had another in its place, the first ten of them, of those in `reached`."""
        found = [i for i in sorted(self._stand_ins) if i in reached and (self.lost_from is None or i < self.lost_from)]
        said = [f"{self._errors[i]}. {self._consequence(i)}" for i in found[:_WARNINGS]]
        if len(found) > _WARNINGS:
            rest = ", ".join(map(self.name, found[_WARNINGS:]))
            said.append(f"more that cannot be decoded and have the masks of their neighbours: {rest}")
        return said + self._warnings_of_damage(reached)

    def _warnings_of_damage(self, reached: Collection[int]) -> list[str]:
        """A sentence for each stretch of frames that were decoded from a damaged one."""
        stretches: dict[int, list[int]] = {}
        for index in sorted(reached):
            damaged = None if index in self._stand_ins else self._source.damage_in(index)
            if damaged is not None:
                stretches.setdefault(damaged, []).append(index)
        said = []
        for damaged, stretch in stretches.items():
            first, last = self.name(stretch[0]), self.name(stretch[-1])
            which = f"{first} is" if len(stretch) == 1 else f"{first} to {last} are"
            said.append(
                f"{which} decoded from {self.name(damaged)}, which is damaged, and may show wrong pictures: their "
                "confidence is halved"
            )
        return said if len(said) <= _WARNINGS else [*said[:_WARNINGS], f"{len(said) - _WARNINGS} more such stretches"]

    def damage_in(self, index: int) -> int | None:
        """The damaged frame that frame `index` was decoded from, see `FrameReader.damage_in`."""
        return self._source.damage_in(index)

    def _consequence(self, index: int) -> str:
        name = self.name(self._stand_ins[index])
        if index in self.needed:
            return f"What is drawn on it is followed from the picture of {name}: draw it on {name} for better masks"
        return f"It has the masks of {name}, with confidence 0"

    def _read(self, index: int) -> np.ndarray:
        if index not in self._stand_ins:
            frame = self._try(index)
            if frame is not None:
                return frame
            self._find_stand_in(index)
        if self.lost_from is not None and index >= self.lost_from and index in self.needed:
            raise UndecodableFrameError(f"{self._errors[index]}. Leave out its keyframe, or repair the source")
        return self._source[self._stand_ins[index]]

    def _find_stand_in(self, index: int) -> None:
        """Notes who stands for an undecodable frame, and for its undecodable neighbours."""
        behind = next((i for i in range(index + 1, len(self)) if self._try(i) is not None), None)
        before = next((i for i in range(index - 1, -1, -1) if self._try(i) is not None), None)
        if behind is None and before is None:
            raise self._errors[index]
        first = 0 if before is None else before + 1
        if behind is None:
            self.lost_from = first
        for i in range(first, len(self) if behind is None else behind):
            if behind is None or (before is not None and i - before <= behind - i):
                assert before is not None
                self._stand_ins[i] = before
            else:
                self._stand_ins[i] = behind

    def _try(self, index: int) -> np.ndarray | None:
        if index in self._errors:
            return None
        try:
            return self._source[index]
        except UndecodableFrameError as error:
            self._errors[index] = error
            return None


def fill_in(
    results: Iterable[FrameResult], frames: StandInFrames, known: Mapping[int, MaskInput] | None = None
) -> Iterator[FrameResult]:
    """Results of a run over frames of which some stand for others: these have the same masks, with confidence 0.

    Frames that were decoded from damaged ones keep their masks, with half of the confidence. What was drawn on any of
    these frames stays as it is drawn. Where the frame that stands for it has no result, in this run
    or before, it keeps what the run found on that frame's image.

    Args:
        results: of the run.
        frames: that it reads.
        known: masks of frames that are done, or label maps, uint8 (H, W); this run's included where they are written
            as they come.

    Raises:
        UndecodableFrameError: the run has come to the lost end of the frames; all before it has been given.
    """
    known = {} if known is None else known
    latest: FrameResult | None = None
    waiting: list[FrameResult] = []  # for a frame that comes behind them
    for result in results:
        if frames.lost_from is not None and result.index >= frames.lost_from:
            yield from (_without_confidence(held, held.masks) for held in waiting)
            raise frames.error_of_end()
        number = frames.stand_in(result.index)
        if number is None:
            for held in waiting:
                is_it = frames.stand_in(held.index) == result.index
                yield _without_confidence(held, result.masks if is_it else held.masks)
            if frames.damage_in(result.index) is not None:
                result = _doubted(result)
            waiting, latest = [], result
            yield result
        elif latest is not None and latest.index == number:
            yield _without_confidence(result, latest.masks)
        elif number in known:
            yield _without_confidence(result, ObjectMasks.given(known[number]))
        else:
            waiting.append(result)
    yield from (_without_confidence(held, held.masks) for held in waiting)


def _drawn(result: FrameResult) -> dict[int, float]:
    """The confidence of objects that are as a person drew them."""
    return {o: c for o, c in result.confidence.items() if result.is_keyframe and o not in result.cues and c == 1}


def _doubted(result: FrameResult) -> FrameResult:
    """A result of a picture that may be wrong."""
    drawn = _drawn(result)
    return replace(result, confidence={o: drawn.get(o, _FROM_DAMAGE * c) for o, c in result.confidence.items()})


def _without_confidence(result: FrameResult, masks: ObjectMasks) -> FrameResult:
    """A result with another frame's masks, but for what was drawn."""
    drawn = _drawn(result)
    own = result.masks.only(drawn)
    # What lies on top is known, although the picture is lost.
    merged = own.above(masks.only(set(masks.objects) - set(drawn)), result.masks.order)
    if not (result.masks.overlapping or masks.overlapping):
        merged = ObjectMasks.from_label_map(merged.label_map)  # objects of one layer exclude each other
    confidence = {o: drawn.get(o, 0.0) for o in sorted({*result.confidence, *merged.objects})}
    return replace(result, masks=merged, confidence=confidence, probabilities=None, cues={})
