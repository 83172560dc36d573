"""Joins the pictures that record.mjs took into one that moves: `python -m tests.ui.moving_picture FOLDER PICTURE`."""

import json
import sys
from pathlib import Path

from PIL import Image

WIDTH = 900  # pixels: as wide as a README is shown


def main(folder: Path, picture: Path) -> None:
    """Write `picture` from the PNG files of `folder`, in order of their names, each shown as durations.json says."""
    images = []
    for file in sorted(folder.glob("*.png")):
        with Image.open(file) as image:
            size = (WIDTH, round(image.height * WIDTH / image.width))
            images.append(image.convert("RGB").resize(size, Image.Resampling.LANCZOS))
    durations = json.loads((folder / "durations.json").read_text())
    picture.parent.mkdir(parents=True, exist_ok=True)
    images[0].save(picture, save_all=True, append_images=images[1:], duration=durations, loop=0, quality=75, method=4)
    print(f"{picture}: {len(images)} pictures, {picture.stat().st_size / 1e6:.2f} MB")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]).absolute())
