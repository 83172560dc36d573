"""The picture of the documents that shows a person and the helmet on the head, both whole.

`python -m benchmarks.person_and_helmet docs/pictures/person-and-helmet.webp` renders a walker, writes two plain masks,
runs the command line and draws what comes of it: the keyframe, and a later frame with both objects and with each alone.
"""

import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from plugin.cli import main as perclip
from plugin.sinks.mask_folder import MaskFolder
from plugin.sinks.overlay import draw_overlay

_HEIGHT, _WIDTH, _LENGTH, _SHOWN = 240, 320, 24, 20
_GAP = 8
_SUBPIXEL = 4  # bits


def main(argv: Sequence[str] | None = None) -> None:
    """Render, run and draw."""
    (target,) = sys.argv[1:] if argv is None else argv
    ground = _ground()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "frames").mkdir()
        for i in range(_LENGTH):
            Image.fromarray(_frame(ground, i)).save(folder / "frames" / f"{i:03d}.png")
        keyframes = []
        for part, mask in _masks(0).items():
            Image.fromarray(mask).save(folder / f"{part}.png")
            keyframes += ["--keyframe", f"0={folder / part}.png"]
        out = str(folder / "result")
        if perclip(["propagate", str(folder / "frames"), *keyframes, "--out", out, "--format", "none"]):
            raise SystemExit("the run failed")
        results = MaskFolder(out)
        panels = []
        for i, objects in ((0, (1, 2)), (_SHOWN, (1, 2)), (_SHOWN, (1,)), (_SHOWN, (2,))):
            panels += [
                draw_overlay(_frame(ground, i), results.masks(i).only(objects)),
                np.full((_HEIGHT, _GAP, 3), 255),
            ]
        Image.fromarray(np.hstack(panels[:-1]).astype(np.uint8)).save(target, quality=85, method=6)


def _ground() -> np.ndarray:
    """A wall of blocks, uint8 (H, W, 3)."""
    random = np.random.default_rng(3)
    wall = np.full((_HEIGHT, _WIDTH, 3), (206, 210, 212), np.uint8)
    for row in range(0, _HEIGHT, 20):
        for column in range(-20 if row % 40 else 0, _WIDTH, 40):
            shade = (np.array((170, 178, 186)) + random.integers(-14, 15)).tolist()
            cv2.rectangle(wall, (column + 1, row + 1), (column + 38, row + 18), shade, -1)
    return cv2.GaussianBlur(wall, (0, 0), 0.8)


def _masks(i: int) -> dict[str, np.ndarray]:
    """The whole person, and the helmet, bool (H, W)."""
    return {"person": _coverage(_parts(i)) > 0.5, "helmet": _coverage(_parts(i)[-1:]) > 0.5}


def _frame(ground: np.ndarray, i: int) -> np.ndarray:
    frame = ground.astype(np.float32)
    for part in _parts(i):
        cover = _coverage([part])[..., None]
        frame = frame * (1 - cover) + np.array(part[0], np.float32) * cover
    noise = np.random.default_rng(i).normal(0, 3, frame.shape)
    return np.clip(frame + noise, 0, 255).astype(np.uint8)


_Part = tuple[tuple[int, int, int], np.ndarray]
"""A colour, and the corners of an outline in pixels, float (N, 2)."""


def _parts(i: int) -> list[_Part]:
    """What the walker is made of, from bottom to top; the helmet is the last."""
    x, swing, bob = 90 + 6.0 * i, np.sin(0.7 * i), 2 * np.cos(1.4 * i)
    hip, neck = np.array((x, 158 + bob)), np.array((x, 84 + bob))
    trousers, jacket, skin = (52, 66, 104), (66, 124, 92), (214, 166, 134)
    return [
        (trousers, _limb(hip, _by(hip, 26 * swing, 74), 11)),
        (trousers, _limb(hip, _by(hip, -26 * swing, 74), 11)),
        (jacket, _limb(_by(neck, 0, 10), _by(neck, -24 * swing, 66), 8)),
        (jacket, _limb(_by(neck, 0, 14), hip, 21)),
        (jacket, _limb(_by(neck, 0, 10), _by(neck, 24 * swing, 66), 8)),
        (skin, _oval(_by(neck, 0, -16), 17, 20, 0, 360)),
        ((244, 200, 44), _oval(_by(neck, 1, -20), 22, 22, 180, 360)),
    ]


def _by(point: np.ndarray, right: float, down: float) -> np.ndarray:
    return np.array((point[0] + right, point[1] + down))


def _limb(start: np.ndarray, end: np.ndarray, radius: float) -> np.ndarray:
    """A bar with round ends."""
    along = np.degrees(np.arctan2(*(end - start)[::-1]))
    return np.concatenate(
        [_oval(start, radius, radius, along + 90, along + 270), _oval(end, radius, radius, along - 90, along + 90)]
    )


def _oval(middle: np.ndarray, width: float, height: float, start: float, end: float) -> np.ndarray:
    angle = np.radians(np.linspace(start, end, 40))
    return middle + np.column_stack([width * np.cos(angle), height * np.sin(angle)])


def _coverage(parts: Sequence[_Part]) -> np.ndarray:
    """How much of each pixel some parts cover, float (H, W), 0..1."""
    cover = np.zeros((_HEIGHT, _WIDTH), np.uint8)
    for _, outline in parts:
        corners = np.rint(outline * 2**_SUBPIXEL).astype(np.int32)
        cv2.fillPoly(cover, [corners], 255, cv2.LINE_AA, _SUBPIXEL)
    return cover.astype(np.float32) / 255


if __name__ == "__main__":
    main()
