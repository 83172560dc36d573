"""Files of a data set in a folder or a zip archive, read and decoded one by one."""

import os
import zipfile
import zlib
from fnmatch import fnmatchcase
from io import BytesIO
from pathlib import Path, PurePosixPath

import numpy as np
from PIL import Image, UnidentifiedImageError

from model.errors import InputError

# What zipfile raises: for a file that is gone from the archive, a foreign compression, a password, damage.
_READ_ERRORS = (OSError, KeyError, RuntimeError, zipfile.BadZipFile, zlib.error, EOFError)


_CHOICE = "::"


class DatasetFiles:
    """The files below a folder or inside a zip archive, or below some folders in there.

    `data.zip::chen-*,bear` has only the files with a folder of one of these names above them, `data.zip::!caps` all but
    those; both may be mixed. `*` and `?` stand for any letters.

    Holds names only. May be pickled and used from forked processes and from threads.

    Attributes:
        path: the folder or archive.
        names: of all files, relative, with `/` between the parts, sorted.
    """

    def __init__(self, path: Path):
        """Lists the files.

        Raises:
            InputError: the path is neither a folder nor a zip archive.
        """
        path, chosen = _choice(path)
        self.path = path
        self._archive: tuple[int, zipfile.ZipFile] | None = None
        if path.is_dir():
            self._zipped = False
            # os.walk, as rglob would stat each of a hundred thousand files.
            found = [
                Path(root, file).relative_to(path).as_posix() for root, _, files in os.walk(path) for file in files
            ]
        elif path.is_file() and zipfile.is_zipfile(path):
            self._zipped = True
            with zipfile.ZipFile(path) as archive:
                found = [name for name in archive.namelist() if not name.endswith("/")]
        elif path.exists():
            raise InputError(f"{path} is neither a folder nor a zip archive: give a data set")
        else:
            raise InputError(f"{path} does not exist: give the folder or zip archive of a data set")
        # What macOS adds to archives looks like images by its names.
        self.names = sorted(
            n
            for n in found
            if not n.startswith("__MACOSX/") and not n.rsplit("/", 1)[-1].startswith(".") and _is_chosen(n, chosen)
        )
        if chosen and not self.names:
            raise InputError(f"{path} has no folder {','.join(chosen)}: check the names behind {_CHOICE}")

    def __getstate__(self) -> dict[str, object]:
        return self.__dict__ | {"_archive": None}

    def read(self, name: str) -> bytes:
        """The content of one file.

        Raises:
            InputError: it cannot be read.
        """
        try:
            if self._zipped:
                return self._open_archive().read(name)
            return (self.path / name).read_bytes()
        except _READ_ERRORS as error:
            raise InputError(f"{self.path / name} cannot be read: {_one_line(error)}") from error

    def size(self, name: str) -> tuple[int, int]:
        """Width and height of an image, from its header alone.

        Raises:
            InputError: it is no image.
        """
        return self._open_image(name).size

    def image(self, name: str) -> np.ndarray:
        """An image as uint8 (H, W, 3) RGB.

        Raises:
            InputError: the file is damaged or no image.
        """
        return self._pixels(name, self._open_image(name), "RGB")

    def cutout(self, name: str) -> np.ndarray:
        """An image with its opacity as uint8 (H, W, 4) RGBA; opaque where the file has none.

        Raises:
            InputError: the file is damaged or no image.
        """
        return self._pixels(name, self._open_image(name), "RGBA")

    def label_map(self, name: str) -> np.ndarray:
        """A palette or grey PNG as uint8 (H, W) of object ids: 0 is background, 255 is void.

        A grey or one-bit image of only black and white is a binary mask: white becomes object 1 (DAVIS 2016).

        Raises:
            InputError: the file is damaged, in colour, or has ids above 255.
        """
        image = self._open_image(name)
        if image.mode not in ("P", "L", "1") and not image.mode.startswith("I"):
            raise InputError(
                f"{self.path / name} is a colour image ({image.mode}), not object ids: "
                "save annotations as palette or grey PNG whose pixel value is the object id"
            )
        ids = self._pixels(name, image)
        if ids.max(initial=0) > 255 or ids.min(initial=0) < 0:
            raise InputError(f"{self.path / name} has object ids above 255: number the objects 1 to 254")
        ids = ids.astype(np.uint8)
        if image.mode == "L" and not ((ids > 0) & (ids < 255)).any():
            return (ids > 0).astype(np.uint8)
        return ids

    def _open_archive(self) -> zipfile.ZipFile:
        # Forked processes share the position in an open file: each process opens its own.
        if self._archive is None or self._archive[0] != os.getpid():
            self._archive = (os.getpid(), zipfile.ZipFile(self.path))
        return self._archive[1]

    def _open_image(self, name: str) -> Image.Image:
        try:
            return Image.open(BytesIO(self.read(name)))
        except UnidentifiedImageError as error:
            raise InputError(f"{self.path / name} is damaged or no image: replace or remove it") from error
        except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
            raise InputError(f"{self.path / name} is damaged: {_one_line(error)}") from error

    def _pixels(self, name: str, image: Image.Image, mode: str | None = None) -> np.ndarray:
        try:
            return np.array(image if mode is None else image.convert(mode))
        except (OSError, ValueError, SyntaxError, EOFError) as error:
            raise InputError(f"{self.path / name} is damaged: {_one_line(error)}") from error


def _choice(path: Path) -> tuple[Path, list[str]]:
    """A path without the choice behind it, and the choice; an existing file with `::` in its name has none."""
    where, found, names = str(path).rpartition(_CHOICE)
    if not found or path.exists():
        return path, []
    return Path(where), [name for name in names.split(",") if name]


def _is_chosen(name: str, chosen: list[str]) -> bool:
    folders = PurePosixPath(name).parts[:-1]

    def below(pattern: str) -> bool:
        return any(fnmatchcase(folder, pattern) for folder in folders)

    wanted = [pattern for pattern in chosen if not pattern.startswith("!")]
    return (not wanted or any(map(below, wanted))) and not any(below(p[1:]) for p in chosen if p.startswith("!"))


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__
