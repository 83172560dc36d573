"""Runs with known truth that fail on purpose: what a confidence must notice.

Every run is made from annotated sequences by fixed rules, without chance, so that it is the same every time. The
failure comes late in a run (`_FAILS_AT`), as in life: most frames of a pool are right, few need a look.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from model.data.annotated_sequences import VOID, AnnotatedSequence
from model.evaluation.semi_supervised import Task
from model.keyframe import Keyframe

KINDS = ("occluded keyframe", "wrong mask", "jump cut", "object swapped")
_FAILS_AT = 0.75  # part of the run that is over when the failure comes


@dataclass(frozen=True, eq=False)
class Run:
    """Frames to propagate through, with what is given and what is true.

    Attributes:
        kind: "normal", "two keyframes", "lookalikes" or one of `KINDS`.
        sequence: frames and label maps; its name is unique among the runs.
        keyframes: what the annotator says, right or wrong.
        scored: the objects to score in each frame that is scored; never a keyframe.
        direction: "forward", as sequences are evaluated, or "both".
    """

    kind: str
    sequence: AnnotatedSequence
    keyframes: list[Keyframe]
    scored: dict[int, tuple[int, ...]]
    direction: str = "both"


@dataclass(frozen=True, eq=False)
class Clip:
    """One object moving through some frames.

    Attributes:
        name: of the sequence it comes from.
        frames: uint8 (H, W, 3) RGB each.
        masks: bool (H, W) each; void pixels are not in them.
    """

    name: str
    frames: list[np.ndarray]
    masks: list[np.ndarray]

    @property
    def sequence(self) -> AnnotatedSequence:
        """The clip as a sequence of one object."""
        return AnnotatedSequence(self.name, self.frames, [mask.astype(np.uint8) for mask in self.masks])

    @classmethod
    def of(cls, sequence: AnnotatedSequence, step: int, length: int, start: int = 0) -> "Clip":
        """Up to `length` frames of a sequence, every `step`-th, all annotated, with the first one's largest object."""
        indices = list(range(start, len(sequence.frames), step))[:length]
        label_maps = [label_map for i in indices if (label_map := sequence.label_maps[i]) is not None]
        assert len(label_maps) == len(indices), "every frame is annotated"
        areas = np.bincount(label_maps[0].ravel(), minlength=256)
        areas[[0, VOID]] = 0
        obj = int(areas.argmax())
        return cls(sequence.name, [sequence.frames[i] for i in indices], [found == obj for found in label_maps])


def normal_run(task: Task) -> Run:
    """The sequence as `evaluate` runs and scores it."""
    return Run("normal", task.sequence, task.keyframes, task.scored, "forward")


def failing_runs(clip: Clip, other: Clip, number: int) -> list[Run]:
    """One run of each kind: a clip, another clip to take foreign frames and objects from, and a number to vary by."""
    makers: Sequence[Callable[[Clip, Clip, int], Run]] = (occluded_keyframe, wrong_mask, jump_cut, object_swapped)
    return [make(clip, other, number) for make in makers]


def two_keyframes(clip: Clip) -> Run:
    """The first and the last frame given: both passes speak for all others."""
    last = len(clip.frames) - 1
    return _run("two keyframes", clip, clip.frames, clip.masks, {0: clip.masks[0], last: clip.masks[last]})


def occluded_keyframe(clip: Clip, other: Clip, number: int) -> Run:
    """Of three keyframes the last shows a part of the object; a foreign picture covers the rest on this frame."""
    middle, at = len(clip.frames) // 2, _late(clip)
    frames, mask = list(clip.frames), clip.masks[at]
    ys, xs = np.nonzero(mask)
    y, x = np.mgrid[: mask.shape[0], : mask.shape[1]]
    angle = number * 2.4  # golden angle: the directions are spread evenly
    along = x * np.cos(angle) + y * np.sin(angle)
    # 0.6 to 0.9 of the object are hidden.
    hidden = along < np.quantile(xs * np.cos(angle) + ys * np.sin(angle), 0.6 + 0.1 * (number % 4))
    box = cv2.dilate(mask.astype(np.uint8), np.ones((25, 25))) > 0
    frames[at] = np.where((hidden & box)[..., None], _resized(other.frames[0], mask.shape), frames[at])
    given = {0: clip.masks[0], middle: clip.masks[middle], at: mask & ~hidden}
    return _run("occluded keyframe", clip, frames, clip.masks, given)


def wrong_mask(clip: Clip, other: Clip, number: int) -> Run:
    """Of three keyframes the last has a wrong mask: shifted, far too large, or some other place of the frame."""
    middle, at = len(clip.frames) // 2, _late(clip)
    mask = clip.masks[at]
    height, width = _box(mask)[2:]
    if number % 3 == 0:
        drawn = np.roll(mask, (height // 3, (2 * width) // 3), (0, 1))
    elif number % 3 == 1:
        size = max(9, int(1.2 * min(height, width)) | 1)
        drawn = cv2.dilate(mask.astype(np.uint8), cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (size, size))) > 0
    else:
        drawn = np.roll(mask[:, ::-1], (mask.shape[0] // 3, 0), (0, 1))
    return _run("wrong mask", clip, clip.frames, clip.masks, {0: clip.masks[0], middle: clip.masks[middle], at: drawn})


def jump_cut(clip: Clip, other: Clip, number: int) -> Run:
    """The picture changes to another film, where the object is not, or (every third run) comes back mirrored."""
    at = _late(clip)
    frames, masks = list(clip.frames), list(clip.masks)
    for i in range(at, len(frames)):
        if number % 3 == 2:
            frames[i], masks[i] = np.ascontiguousarray(frames[i][:, ::-1]), masks[i][:, ::-1]
        else:
            foreign = other.frames[min(i - at, len(other.frames) - 1)]
            frames[i], masks[i] = _resized(foreign, masks[i].shape), np.zeros_like(masks[i])
    return _run("jump cut", clip, frames, masks, {0: clip.masks[0]})


def object_swapped(clip: Clip, other: Clip, number: int) -> Run:
    """Two objects change places from one frame to the next; both are propagated.

    The second one is foreign, or (every second run) the object's own darker mirror image.
    """
    at = _late(clip)
    top, left, height, width = _box(clip.masks[0])
    starts_left = left + width / 2 < clip.masks[0].shape[1] / 2
    frames, labels = [], []
    for i, (frame, mask) in enumerate(zip(clip.frames, clip.masks)):
        if not mask.any():
            frames.append(frame)
            labels.append(mask.astype(np.uint8))
            continue
        top, left, height, width = _box(mask)
        own = _cut(frame, mask, height, width)
        if number % 2:
            donor = _cut(_lit(frame, 0.7)[:, ::-1], mask[:, ::-1], height, width)
        else:
            j = min(i, len(other.frames) - 1)
            donor = _cut(other.frames[j], other.masks[j] if other.masks[j].any() else other.masks[0], height, width)
        beside = mask.shape[1] - width if starts_left else 0
        ground, label_map = _without(frame, mask), np.zeros(mask.shape, np.uint8)
        places = [(top, left), (top, beside)]
        if i >= at:
            places.reverse()
        for obj, (cut, place) in enumerate(zip((own, donor), places), 1):
            _paste(ground, label_map, cut, place, obj)
        frames.append(ground)
        labels.append(label_map)
    return _run("object swapped", clip, frames, labels, {0: labels[0]})


def lookalikes(clip: Clip, other: Clip, number: int) -> Run:
    """A darker and a brighter copy of the object walk to and fro across it; each is propagated."""
    frames, labels = [], []
    for i, (frame, mask) in enumerate(zip(clip.frames, clip.masks)):
        picture, label_map = frame.copy(), mask.astype(np.uint8)
        if mask.any():
            top, left, height, width = _box(mask)
            room = max(1, mask.shape[1] - width)
            for obj, light, speed in ((2, 0.6, 1.0), (3, 1.4, -0.6)):
                way = (obj - 1) * room // 3 + left + int(speed * i * room / len(clip.frames))
                place = abs((way + room) % (2 * room) - room)
                _paste(picture, label_map, _cut(_lit(frame, light), mask, height, width), (top, place), obj)
        frames.append(picture)
        labels.append(label_map)
    return _run("lookalikes", clip, frames, labels, {0: labels[0]})


def _late(clip: Clip) -> int:
    return int(len(clip.frames) * _FAILS_AT)


def _run(kind: str, clip: Clip, frames: list[np.ndarray], truth: list[np.ndarray], given: dict[int, np.ndarray]) -> Run:
    label_maps = [t.astype(np.uint8) for t in truth]
    keyframes = [Keyframe(i, mask.astype(np.uint8)) for i, mask in given.items()]
    objects = keyframes[0].objects
    scored = {i: objects for i in range(len(frames)) if i not in given}
    name = f"{clip.name}: {kind}"
    return Run(kind, AnnotatedSequence(name, frames, label_maps), keyframes, scored)


def _lit(frame: np.ndarray, light: float) -> np.ndarray:
    return np.clip(frame * light, 0, 255).astype(np.uint8)


def _box(mask: np.ndarray) -> tuple[int, int, int, int]:
    """Top, left, height and width of what is true."""
    ys, xs = np.nonzero(mask)
    return int(ys.min()), int(xs.min()), int(np.ptp(ys)) + 1, int(np.ptp(xs)) + 1


def _resized(frame: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    return cv2.resize(frame, shape[::-1], interpolation=cv2.INTER_AREA)


def _cut(frame: np.ndarray, mask: np.ndarray, height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    """The picture and the mask of an object, cut out and scaled to fit into a box."""
    top, left, h, w = _box(mask)
    picture, cut = frame[top : top + h, left : left + w], mask[top : top + h, left : left + w]
    scale = min(height / h, width / w)
    shape = max(1, int(h * scale)), max(1, int(w * scale))
    return _resized(picture, shape), _resized(cut.astype(np.float32), shape) > 0.5


def _paste(
    frame: np.ndarray, label_map: np.ndarray, cut: tuple[np.ndarray, np.ndarray], place: tuple[int, int], obj: int
) -> None:
    picture, mask = cut
    window = slice(place[0], place[0] + mask.shape[0]), slice(place[1], place[1] + mask.shape[1])
    frame[window][mask] = picture[mask]
    label_map[window][mask] = obj


def _without(frame: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """The frame with an object wiped out: what is around it, blurred over its place."""
    grown = cv2.dilate(mask.astype(np.uint8), np.ones((9, 9))) > 0
    small = tuple(max(1, n // 8) for n in mask.shape)
    weight = _resized((~grown).astype(np.float32), small)
    colours = _resized(np.where(grown[..., None], 0, frame).astype(np.float32), small)
    spread = (0, 0), small[1] / 8
    colours, weight = cv2.GaussianBlur(colours, *spread), cv2.GaussianBlur(weight, *spread)
    fill = cv2.resize(colours / np.maximum(weight, 1e-3)[..., None], mask.shape[::-1])
    return np.where(grown[..., None], fill.clip(0, 255).astype(np.uint8), frame)
