"""What is learned from, kept on disk: keyframes and the frames that a check looks at, small enough for both."""

import json
import zipfile
import zlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import cv2
import numpy as np

from model.errors import InputError, UndecodableFrameError
from model.keyframe import Keyframe
from model.learning.lesson import Lesson
from model.object_masks import ObjectMasks
from model.program.atomic_write import atomic_write
from model.training.samples.keyframe_clips import AnnotatedFrame, reduced

_FACTS = "lesson.json"
_QUALITY = [cv2.IMWRITE_JPEG_QUALITY, 97, cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444]


@dataclass(frozen=True)
class KeptKeyframe:
    """What is known of a keyframe before its masks are read.

    Attributes:
        index: of its frame.
        objects: that it speaks for.
        present: those of them that it shows.
    """

    index: int
    objects: tuple[int, ...]
    present: tuple[int, ...]


class KeptLesson(Sequence[np.ndarray]):
    """The keyframes of one video in a folder; as a sequence, its frames, of which only some are kept.

    Make one by `keep` or `read`.

    Attributes:
        task: what people know the video by.
        numbers: of all frames, as people know them.
        labels: by object.
        keyframes: ascending.
    """

    def __init__(self, folder: Path, facts: dict[str, object]):
        """Takes what `keep` has written; raises KeyError, TypeError, ValueError, AttributeError for anything else."""
        self._folder, self._lines = folder, int(facts["lines"])  # type: ignore[call-overload]
        self.task = str(facts["task"])
        self.numbers = [int(n) for n in facts["numbers"]]  # type: ignore[attr-defined]
        self.labels = {int(o): str(name) for o, name in facts["labels"].items()}  # type: ignore[attr-defined]
        self.keyframes = tuple(
            KeptKeyframe(int(k["index"]), tuple(k["objects"]), tuple(k["present"]))
            for k in facts["keyframes"]  # type: ignore[attr-defined]
        )

    @classmethod
    def keep(cls, folder: Path, task: str, lesson: Lesson, lines: int) -> tuple["KeptLesson", list[str]]:
        """Writes the keyframes of a lesson into a folder. Of a kill half-way nothing counts.

        Args:
            folder: made if missing.
            task: what people know the video by.
            lesson: frames that cannot be decoded are left out.
            lines: shorter side in pixels of what is kept; larger frames are made smaller.

        Returns:
            What is kept; and what was left out, a sentence each.

        Raises:
            InputError: the folder cannot be written to.
            PerclipError: frames cannot be had.
        """
        kept, left_out = [], []
        for keyframe in lesson.keyframes:
            try:
                image = np.asarray(lesson.frames[keyframe.index])
            except UndecodableFrameError as error:
                left_out.append(f"{error}: its keyframe is left out")
                continue
            small = reduced(AnnotatedFrame(image, keyframe.masks, keyframe.objects), lines)
            if not small.objects:
                continue
            _write_image(_frame_path(folder, keyframe.index), small.image)
            _write_masks(_mask_path(folder, keyframe.index), small.masks)
            kept.append(KeptKeyframe(keyframe.index, small.objects, small.masks.objects))
        facts: dict[str, object] = {
            "task": task,
            "lines": lines,
            "numbers": [lesson.number(i) for i in range(len(lesson.frames))],
            "labels": {str(o): str(name) for o, name in lesson.labels.items()},
            "keyframes": [asdict(keyframe) for keyframe in kept],
        }
        with atomic_write(folder / _FACTS, make_folder=True) as part:
            part.write_text(json.dumps(facts), encoding="utf-8")
        return cls.read(folder), left_out

    @classmethod
    def read(cls, folder: Path) -> "KeptLesson":
        """What `keep` has written; raises InputError where it is damaged."""
        try:
            return cls(folder, json.loads((folder / _FACTS).read_text(encoding="utf-8")))
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise _damaged(folder / _FACTS, error) from None

    def __len__(self) -> int:
        return len(self.numbers)

    def __getitem__(self, index):  # type: ignore[no-untyped-def]  # an overload for each kind says no more
        if isinstance(index, slice):
            return [self[i] for i in range(len(self))[index]]
        path = _frame_path(self._folder, range(len(self))[index])
        try:
            image = cv2.imdecode(np.frombuffer(path.read_bytes(), np.uint8), cv2.IMREAD_COLOR)
        except (OSError, cv2.error) as error:
            raise _damaged(path, error) from None
        if image is None:
            raise _damaged(path, None)
        return cv2.cvtColor(image, cv2.COLOR_BGR2RGB)

    def missing(self, indices: Iterable[int]) -> list[int]:
        """Those of some frames that are not kept yet."""
        return [i for i in indices if not _frame_path(self._folder, i).exists()]

    def add(self, index: int, image: np.ndarray) -> None:
        """Keeps one more frame, uint8 (H, W, 3) RGB; raises InputError where it cannot be written."""
        empty = ObjectMasks.of({}, shape=image.shape[:2])
        _write_image(_frame_path(self._folder, index), reduced(AnnotatedFrame(image, empty, ()), self._lines).image)

    def keyframe(self, index: int) -> Keyframe:
        """The keyframe of a frame; raises InputError where it is damaged."""
        facts = next(k for k in self.keyframes if k.index == index)
        path = _mask_path(self._folder, index)
        try:
            with np.load(path, allow_pickle=False) as file:
                sheets, order = list(file["sheets"]), file["order"].tolist()
            return Keyframe(index, ObjectMasks.from_sheets(sheets, order), facts.objects)
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error, InputError) as error:
            raise _damaged(path, error) from None

    def lesson(self, indices: Iterable[int] = ()) -> Lesson:
        """With the keyframes of some frames."""
        return Lesson(self, [self.keyframe(i) for i in sorted(indices)], self.labels, self.numbers)


def read_lessons(folders: Iterable[Path]) -> Iterator[KeptLesson]:
    """All that have a keyframe; raises InputError where one is damaged."""
    for folder in folders:
        lesson = KeptLesson.read(folder)
        if lesson.keyframes:
            yield lesson


def _frame_path(folder: Path, index: int) -> Path:
    return folder / f"frame-{index:06d}.jpg"


def _mask_path(folder: Path, index: int) -> Path:
    return folder / f"masks-{index:06d}.npz"


def _write_image(path: Path, image: np.ndarray) -> None:
    content = cv2.imencode(".jpg", cv2.cvtColor(image, cv2.COLOR_RGB2BGR), _QUALITY)[1]
    with atomic_write(path, make_folder=True) as part:
        part.write_bytes(content.tobytes())


def _write_masks(path: Path, masks: ObjectMasks) -> None:
    with atomic_write(path, make_folder=True) as part, part.open("wb") as file:
        np.savez_compressed(file, sheets=np.stack(masks.sheets), order=np.array(masks.order, np.int64))


def _damaged(path: Path, error: Exception | None) -> InputError:
    kind = "no picture" if error is None else type(error).__name__
    return InputError(f"{path} is damaged ({kind}): begin again with --anew")
