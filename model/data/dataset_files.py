"""Files of a data set in a folder or a zip archive, read and decoded one by one."""

import os
import stat
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from fnmatch import fnmatchcase
from io import BytesIO
from pathlib import Path, PurePosixPath

import numpy as np
from PIL import Image, UnidentifiedImageError

from model.data.mask_picture import ColourTable, read_mask
from model.data.picture_files import picture_count
from model.data.pixel_formats import Pixels, common_depth, has_wide_pixels, looked_at, upright, upright_size
from model.errors import InputError

# What zipfile raises: for a file that is gone from the archive, a foreign compression, a password, damage.
_READ_ERRORS = (OSError, KeyError, RuntimeError, zipfile.BadZipFile, zlib.error, EOFError)


_CHOICE = "::"


class DatasetFiles:
    """The files below a folder, links to folders included, or inside a zip archive; or below some folders in there.

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
            InputError: the path is neither a folder nor a zip archive, or holds a link that leads nowhere.
        """
        path, chosen = _choice(path)
        self.path = path
        self._archive: tuple[int, zipfile.ZipFile] | None = None
        if path.is_dir():
            self._zipped = False
            found = list(_files_below(path, "", ()))
        elif path.is_file() and zipfile.is_zipfile(path):
            self._zipped = True
            with zipfile.ZipFile(path) as archive:
                found = [entry.filename for entry in archive.infolist() if not entry.is_dir()]
                link = next((e.filename for e in archive.infolist() if stat.S_ISLNK(e.external_attr >> 16)), None)
            if link is not None:
                raise InputError(f"{path / link} is a link, which leads nowhere in an archive: pack what it leads to")
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
        """Width and height of an image as `image` gives it, EXIF rotation applied, from its header alone.

        Raises:
            InputError: it is no image.
        """
        return upright_size(self._open_image(name))

    def image(self, name: str, depth: int | None = None) -> np.ndarray:
        """An image as uint8 (H, W, 3) RGB, turned as its EXIF says, as in videos and tasks.

        Args:
            name: of the file.
            depth: of the images that belong together, see `common_depth_of`; None: of this one alone.

        Raises:
            InputError: the file is damaged, no image, or holds several.
        """
        return self._pixels(name).rgb(depth)

    def cutout(self, name: str) -> np.ndarray:
        """An image with its opacity as uint8 (H, W, 4) RGBA; opaque where the file has none.

        Raises:
            InputError: the file is damaged or no image.
        """
        try:
            return np.array(self._open_image(name).convert("RGBA"))
        except (OSError, ValueError, SyntaxError, EOFError) as error:
            raise InputError(f"{self.path / name} is damaged: {_one_line(error)}") from error

    def common_depth_of(self, names: Sequence[str]) -> int | None:
        """Bits of the scale of images that belong together, where the first has more than 8; otherwise None.

        Raises:
            InputError: one of those that are looked at is damaged.
        """
        if not names or not has_wide_pixels(self._open_image(names[0])):
            return None
        return common_depth(self._pixels(names[i]).brightest for i in looked_at(len(names)))

    def label_map(self, name: str, colours: ColourTable | None = None) -> np.ndarray:
        """A mask picture as uint8 (H, W) of object ids: 0 is background, 255 is void; see `model.data.mask_picture`.

        Args:
            name: of the file.
            colours: of the masks that belong together, where they are colour pictures.

        Raises:
            InputError: the file is damaged or no mask that can be understood.
        """
        image = self._open_image(name)
        try:
            return read_mask(image, self.path / name, colours)
        except (OSError, ValueError, SyntaxError, EOFError) as error:
            raise InputError(f"{self.path / name} is damaged: {_one_line(error)}") from error

    def may_count_by_colour(self, name: str) -> bool:
        """Whether the objects of a mask may be its colours, by its header alone; raises InputError for no image."""
        image = self._open_image(name)
        if image.mode in ("P", "PA"):
            return "transparency" in image.info or (image.getpalette() or [0])[:3] != [0, 0, 0]
        return image.mode.startswith("RGB")

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

    def _pixels(self, name: str) -> Pixels:
        image = self._open_image(name)
        try:
            if (count := picture_count(image)) > 1:
                raise InputError(f"{self.path / name} holds {count} pictures: save each frame as a file of its own")
            return upright(image)
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


def _files_below(folder: Path, name: str, above: tuple[tuple[int, int], ...]) -> Iterator[str]:
    """Names of all files below a folder, links followed, except back into a folder that they lie in.

    Args:
        folder: the data set.
        name: of the folder inside it, with a "/" at its end; "" for itself.
        above: device and inode of the folders that lead there.
    """
    place = os.stat(folder / name)
    if (place.st_dev, place.st_ino) in above:
        return
    above = (*above, (place.st_dev, place.st_ino))
    try:
        entries = list(os.scandir(folder / name))
    except OSError as error:
        raise InputError(f"{folder / name} cannot be read ({error.strerror}): check its permissions") from None
    for entry in entries:
        if entry.is_dir():
            yield from _files_below(folder, f"{name}{entry.name}/", above)
        elif entry.is_symlink() and not entry.name.startswith(".") and not os.path.exists(entry.path):
            raise InputError(
                f"{entry.path} is a link to {os.readlink(entry.path)}, which is not there: mend or remove it"
            )
        else:
            yield f"{name}{entry.name}"


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__
