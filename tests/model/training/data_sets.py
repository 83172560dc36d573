"""Small data sets for tests: written to disk in the known layouts, or in memory and in pure colours."""

import zipfile
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from model.data.annotated_sequences import AnnotatedSequence

RED, GREEN, BLUE = (255, 0, 0), (0, 255, 0), (0, 0, 255)
_PALETTE = [0, 0, 0, 128, 0, 0, 0, 128, 0] + [7] * (253 * 3)


def write_frame(path: Path, value: int = 0, size: tuple[int, int] = (32, 20)) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng(value).integers(0, 255, (size[1], size[0], 3), np.uint8)
    noise[:4] = value
    Image.fromarray(noise).save(path, **({"lossless": True} if path.suffix == ".webp" else {}))


def write_labels(path: Path, labels: np.ndarray, palette: bool = True) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.fromarray(labels)
    if palette:
        image.putpalette(_PALETTE)
    image.save(path)


def labels(*ids: int, size: tuple[int, int] = (32, 20)) -> np.ndarray:
    """A label map with a 4 pixels wide column for each id."""
    label_map = np.zeros((size[1], size[0]), np.uint8)
    for k, i in enumerate(ids):
        label_map[4:, 4 * k : 4 * k + 4] = i
    return label_map


def zipped(folder: Path, archive: Path) -> Path:
    with zipfile.ZipFile(archive, "w") as file:
        for path in sorted(folder.rglob("*")):
            if path.is_file():
                file.write(path, path.relative_to(folder).as_posix())
    return archive


def moving_squares(
    name: str,
    colours: dict[int, tuple[int, int, int]],
    length: int = 60,
    size: tuple[int, int] = (400, 320),
    side: int = 40,
    apart: int = 30,
    annotate_every: int = 1,
    start: int = 80,
    speed: int = 1,
) -> AnnotatedSequence:
    """Squares of pure colours, one per id, drifting over a grey whose value is the frame number (plus 50)."""
    frames, label_maps = [], []
    for t in range(length):
        frame = np.full((size[1], size[0], 3), 50 + t, np.uint8)
        label_map = np.zeros((size[1], size[0]), np.uint8)
        for k, (i, colour) in enumerate(colours.items()):
            top, left = 40 + (side + apart) * k, start + speed * t
            frame[top : top + side, left : left + side] = colour
            label_map[top : top + side, left : left + side] = i
        frames.append(frame)
        label_maps.append(label_map if t % annotate_every == 0 else None)
    return AnnotatedSequence(name, frames, label_maps)


def strangers(frame: np.ndarray, mask: np.ndarray, colour: tuple[int, int, int]) -> int:
    """Pixels inside a mask, its contour and the border left out, that do not show a colour."""
    return int(
        (
            (cv2.erode(mask, np.ones((3, 3), np.uint8), borderType=cv2.BORDER_CONSTANT, borderValue=0) > 0)
            & ~shows(frame, colour)
        ).sum()
    )


def shows(frame: np.ndarray, colour: tuple[int, int, int]) -> np.ndarray:
    """Where a frame (H, W, 3) is more than half red, green or blue, bool (H, W); grey shows none."""
    is_on = np.asarray(colour) > 127
    return frame[..., is_on].min(-1).astype(int) - frame[..., ~is_on].max(-1) > 127


def write_davis(root: Path, sequence: AnnotatedSequence) -> Path:
    """Writes a sequence in the layout of DAVIS; frames without label map get no annotation."""
    for kind, images in (("JPEGImages", sequence.frames), ("Annotations", sequence.label_maps)):
        (root / kind / sequence.name).mkdir(parents=True)
        for t, image in enumerate(images):
            if image is not None:
                Image.fromarray(image).save(root / kind / sequence.name / f"{t:05}.png")
    return root
