"""Picture files: their kinds, and how many pictures are in one."""

from typing import TYPE_CHECKING, cast

from PIL import Image

if TYPE_CHECKING:
    from PIL.TiffImagePlugin import TiffImageFile

PICTURE_SUFFIXES = frozenset(
    {".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".apng", ".webp", ".bmp", ".dib", ".tif", ".tiff", ".gif"}
    | {".ppm", ".pgm", ".pbm", ".pnm", ".tga", ".pcx", ".jp2", ".j2k", ".avif"}
)
"""Suffixes, in lower case, of the pictures that are read as frames."""

PICTURE_FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "DIB", "TIFF", "GIF", "PPM", "TGA", "PCX", "JPEG2000", "AVIF")
"""Pillow's names of their formats, as far as they are opened by them; a build of Pillow may lack some."""

_REDUCED_IMAGE = 1  # bit of a TIFF directory's NewSubfileType
_NEW_SUBFILE_TYPE = 254


def picture_numbers(picture: Image.Image) -> list[int]:
    """The places, for `seek`, of the pictures in an open file that belong to it as frames or pages.

    Not counted are the previews of a TIFF, the still that an APNG shows where animations are unknown, and what phones
    add to their JPEGs. The picture stands at any of its places afterwards.

    Raises what Pillow raises where the file is damaged.
    """
    if picture.format == "MPO":
        return [0]
    count = getattr(picture, "n_frames", 1)
    if count == 1:
        return [0]
    if picture.format == "PNG" and getattr(picture, "default_image", False):
        return list(range(1, count))
    if picture.format == "TIFF":
        numbers, tiff = [], cast("TiffImageFile", picture)
        for i in range(count):
            picture.seek(i)
            if not int(tiff.tag_v2.get(_NEW_SUBFILE_TYPE, 0)) & _REDUCED_IMAGE:
                numbers.append(i)
        picture.seek(0)
        return numbers or [0]
    return list(range(count))


def picture_count(picture: Image.Image) -> int:
    """How many frames or pages an open file has, see `picture_numbers`."""
    return len(picture_numbers(picture))
