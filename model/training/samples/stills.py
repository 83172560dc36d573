"""Photos to make samples from: with objects, cut-outs with transparency, and backgrounds; kept in memory."""

import re
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

import numpy as np

from model.data.annotated_sequences import VOID
from model.data.dataset_files import DatasetFiles
from model.data.mask_picture import SoftEdgesError
from model.errors import InputError
from model.training.samples.inverted_masks import tell_inverted

_DECODERS = 4  # threads; decoding releases the interpreter
_IMAGE = re.compile(r".*\.(?:jpe?g|png|webp)", re.IGNORECASE)
_OF_PARTS = "people"  # folder whose label maps number the garments of one person, and not objects
_MOST_SOFT = 0.02  # of the masks; the rim of a bowl around its soup looks like a soft edge, too


@dataclass(frozen=True, eq=False)
class Photo:
    """A photo with its objects.

    Attributes:
        image: uint8 (H, W, 3).
        ids: uint8 (H, W): 0 is background, 1..254 are objects, 255 is void.
        of_parts: whether the ids number the parts of one object.
    """

    image: np.ndarray
    ids: np.ndarray
    of_parts: bool = False


@dataclass(frozen=True, eq=False)
class Stills:
    """Everything that does not move by itself.

    Attributes:
        photos: by the folder that they come from, so that a small set is not drowned by a large one.
        cutouts: single objects with opacity, uint8 (H, W, 4) each.
        backgrounds: images without annotation, uint8 (H, W, 3) each.
    """

    photos: dict[str, list[Photo]] = field(default_factory=dict)
    cutouts: list[np.ndarray] = field(default_factory=list)
    backgrounds: list[np.ndarray] = field(default_factory=list)

    def joined(self, other: "Stills") -> "Stills":
        """Both together."""
        photos = {name: self.photos.get(name, []) + other.photos.get(name, []) for name in self.photos | other.photos}
        return Stills(photos, self.cutouts + other.cutouts, self.backgrounds + other.backgrounds)


def holds_stills(files: DatasetFiles) -> bool:
    """True if a data set has photos with masks, cut-outs or backgrounds as `read_stills` understands them."""
    return bool(_pairs(files.names) or list(_below(files.names, ("cutouts", "backgrounds"))))


def read_stills(path: Path, limit: int | None = None) -> Stills:
    """Reads all stills of a data set, at any depth.

    Photos are `<set>/images/NAME.(jpg|png|webp)` with `<set>/masks/NAME.png`, or an image and a .png of one name side
    by side; the value of a mask's pixel is its object. In a folder `people` they number the parts of one person. Below
    `cutouts/` lie single objects with transparency, below `backgrounds/` images without annotation.

    Args:
        path: folder or zip archive, with a choice of its folders as `DatasetFiles` has it.
        limit: at most this many of each kind, to try things out.

    Raises:
        InputError: nothing of that kind is there, a file is damaged, or more than single masks have soft edges.
    """
    files = DatasetFiles(path)
    pairs = _pairs(files.names)
    by_set: dict[str, list[tuple[str, str]]] = {}
    for image, mask in pairs:
        by_set.setdefault(_set_of(image), []).append((image, mask))
    cutouts = list(_below(files.names, ("cutouts",)))[:limit]
    backgrounds = list(_below(files.names, ("backgrounds",)))[:limit]
    if not (pairs or cutouts or backgrounds):
        raise InputError(
            f"{path} has no photos with masks: give images/ and masks/ with the same names, cutouts/ or backgrounds/"
        )

    soft: list[SoftEdgesError] = []

    def photo(pair: tuple[str, str]) -> Photo:
        image = files.image(pair[0])
        try:
            ids = files.label_map(pair[1])
        except SoftEdgesError as error:
            soft.append(error)
            ids = error.ids
        if image.shape[:2] != ids.shape:
            raise InputError(f"{path}: {pair[1]} has another size than {pair[0]}: make the mask anew")
        return Photo(image, ids, _OF_PARTS in PurePosixPath(pair[0]).parts)

    with ThreadPoolExecutor(_DECODERS) as pool:
        photos = {name: list(pool.map(photo, found[:limit])) for name, found in sorted(by_set.items())}
        if len(soft) > _MOST_SOFT * len(pairs):
            raise soft[0]
        masks = ((mask, read.ids) for name, of_set in photos.items() for (_, mask), read in zip(by_set[name], of_set))
        tell_inverted(path, masks)
        return Stills(photos, list(pool.map(files.cutout, cutouts)), list(pool.map(files.image, backgrounds)))


def _pairs(names: Sequence[str]) -> list[tuple[str, str]]:
    """Images with the label maps that belong to them."""
    known, found = set(names), []
    for name in names:
        path = PurePosixPath(name)
        if not _IMAGE.fullmatch(name) or "masks" in path.parts[:-1]:
            continue
        if path.parent.name == "images":
            mask = str(path.parent.parent / "masks" / f"{path.stem}.png")
        elif path.suffix.lower() != ".png":
            mask = str(path.with_suffix(".png"))
        else:
            continue
        if mask in known:
            found.append((name, mask))
    return found


def _below(names: Sequence[str], folders: tuple[str, ...]) -> Iterator[str]:
    for name in names:
        if _IMAGE.fullmatch(name) and any(folder in PurePosixPath(name).parts[:-1] for folder in folders):
            yield name


def _set_of(image: str) -> str:
    folder = PurePosixPath(image).parent
    return str(folder.parent if folder.name == "images" else folder)


def visible_ids(ids: np.ndarray) -> np.ndarray:
    """Pixels of each id in a label map, int64 (256,); those of background and void as 0."""
    counts = np.bincount(ids.ravel(), minlength=256)
    counts[[0, VOID]] = 0
    return counts
