"""Pictures of the frames that were segmented worst."""

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from model.data.annotated_sequences import AnnotatedSequence
from model.errors import InputError
from model.evaluation.metrics import contour
from model.evaluation.scores import FrameScore
from model.object_masks import MaskInput, ObjectMasks
from model.result import FrameResult

_COLOURS = ((0, 130, 255), (255, 120, 0), (0, 200, 90), (220, 40, 200), (240, 220, 0), (120, 90, 255))  # RGB, in turn
_TRUTH = (255, 255, 255)
_FILL = 0.4  # opacity
_APART = 5  # frames; neighbours of a bad frame show the same


class WorstFrames:
    """Writes the worst few frames of each sequence as PNG; a watcher for `model.evaluation.semi_supervised.evaluate`.

    A picture shows each predicted object filled and outlined in a colour, and the true outlines in white. Its name is
    that of the sequence, with the frame's number and the mean J of its objects: `bus-00042-J0.312.png`. Frames closer
    than 5 to a worse one are left out.

    Use it in a `with` block, at whose end the last sequence's pictures are written. Of each frame its packed masks are
    held until its sequence is done.

    Raises:
        InputError: the folder cannot be written.
    """

    def __init__(self, folder: Path, count: int = 3):
        self._folder, self._count = folder, count
        self._sequence: AnnotatedSequence | None = None
        self._frames: list[tuple[float, int, list[np.ndarray]]] = []  # mean J, frame number, label maps as PNG
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise InputError(f"cannot write {folder}: {error.strerror}; choose another folder") from error

    def __call__(self, sequence: AnnotatedSequence, result: FrameResult, scores: Sequence[FrameScore]) -> None:
        """Remember a frame; write those of the sequence before when a new one begins."""
        if sequence is not self._sequence:
            self._write()
            self._sequence = sequence
        if scores:
            masks = result.masks
            maps = [m * np.uint8(i) for i, m in masks.items()] if masks.overlapping else [masks.label_map]
            packed = [cv2.imencode(".png", label_map, [cv2.IMWRITE_PNG_COMPRESSION, 1])[1] for label_map in maps]
            self._frames.append((float(np.mean([s.j for s in scores])), result.index, packed))

    def __enter__(self) -> "WorstFrames":
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None:
            self._write()

    def _write(self) -> None:
        if (sequence := self._sequence) is None:
            return
        written: list[int] = []
        for j, index, packed in sorted(self._frames, key=lambda frame: frame[:2]):
            if len(written) == self._count:
                break
            if all(abs(index - other) >= _APART for other in written):
                maps = [np.asarray(cv2.imdecode(label_map, cv2.IMREAD_UNCHANGED)) for label_map in packed]
                truth = sequence.label_maps[index]
                assert truth is not None  # it was scored
                picture = draw(sequence.frames[index], ObjectMasks.from_sheets(maps), truth)
                name = sequence.name.replace("/", "-")
                path = self._folder / f"{name}-{index:05d}-J{j:.3f}.png"
                try:
                    path.write_bytes(cv2.imencode(".png", cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))[1].tobytes())
                except OSError as error:
                    raise InputError(f"cannot write {path}: {error.strerror}; choose another folder") from error
                written.append(index)
        self._frames = []


def draw(frame: np.ndarray, masks: MaskInput, truth: np.ndarray) -> np.ndarray:
    """The frame, uint8 (H, W, 3), under predicted objects in colour and outlines of the true label map (H, W) in white;
    the smaller of two objects lies on the larger."""
    picture = frame.astype(np.float32)
    for obj, mask in ObjectMasks.given(masks).items():
        colour = np.array(_COLOURS[obj % len(_COLOURS)], np.float32)
        picture[mask] += _FILL * (colour - picture[mask])
        picture[contour(mask) > 0] = colour
    for obj in np.unique(truth[truth > 0]):
        picture[contour(truth == obj) > 0] = _TRUTH
    return picture.round().astype(np.uint8)
