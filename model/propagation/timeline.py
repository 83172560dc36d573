"""Where on the time axis the keyframes lie: which stretches stand alone, and who speaks for an object at a frame."""

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from model.errors import InputError
from model.keyframe import Keyframe


@dataclass(frozen=True)
class Span:
    """A stretch of frames that is segmented on its own.

    Spans meet at keyframes that cover all objects; nothing else passes from one to the next.

    Attributes:
        first: first frame; the covering keyframe that starts the span, or 0.
        last: last frame, inclusive; the covering keyframe that ends the span, or the sequence's last frame.
        emits: frames whose results this span gives (a covering keyframe belongs to the span that it starts).
        keyframes: all keyframes within first..last, ascending.
    """

    first: int
    last: int
    emits: range
    keyframes: tuple[Keyframe, ...]


class Timeline:
    """The keyframes of a run, ascending by frame.

    Attributes:
        keyframes: by frame number, ascending.
        objects: all object ids of the run, ascending.

    Raises:
        InputError: no keyframe, one outside the sequence, two for one frame, or none with a pixel.
    """

    def __init__(self, keyframes: Sequence[Keyframe], length: int):
        if not keyframes:
            raise InputError("no keyframe: give at least one frame with a mask")
        ordered = sorted(keyframes, key=lambda k: k.index)
        self.keyframes = {k.index: k for k in ordered}
        for a, b in pairwise(ordered):
            if a.index == b.index:
                raise InputError(f"two keyframes for frame {a.index}: join their masks into one")
        for index in (ordered[0].index, ordered[-1].index):
            if not 0 <= index < length:
                raise InputError(f"keyframe {index} lies outside the sequence, whose frames are 0..{length - 1}")
        if not any(k.present for k in ordered):
            raise InputError("no keyframe has a pixel of any object: draw at least one mask")
        self.objects = tuple(sorted({o for k in ordered for o in k.objects}))
        self._length = length
        self._covered = {o: [k.index for k in ordered if o in k.objects] for o in self.objects}

    def spans(self) -> list[Span]:
        """All spans, ascending; together they emit every frame once."""
        cuts = [i for i, k in self.keyframes.items() if k.objects == self.objects]
        starts = cuts if cuts and cuts[0] == 0 else [0, *cuts]
        spans = []
        for first, end in zip(starts, [*starts[1:], self._length]):
            last = min(end, self._length - 1)
            inside = tuple(k for i, k in self.keyframes.items() if first <= i <= last)
            spans.append(Span(first, last, range(first, end), inside))
        return spans

    def before(self, obj: int, index: int) -> Keyframe | None:
        """The latest keyframe at or before a frame that speaks for the object."""
        i = bisect_right(self._covered[obj], index)
        return self.keyframes[self._covered[obj][i - 1]] if i else None

    def after(self, obj: int, index: int) -> Keyframe | None:
        """The next keyframe at or behind a frame that speaks for the object."""
        covered = self._covered[obj]
        i = bisect_left(covered, index)
        return self.keyframes[covered[i]] if i < len(covered) else None
