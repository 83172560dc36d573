"""Looks for an object by its colours: is something in this frame that might be it?"""

import cv2
import numpy as np

_AREA = (
    256  # pixels of the object in the picture that is searched, at most: larger ones are searched for in less detail
)
_STEP = 8  # levels of a colour that count as one
_LEVELS = 256 // _STEP
_TYPICAL = 5  # times likelier in the object than in what is around it: the object's own colours
_COMMON = 0.1  # of the object's pixels have colours that are too rare in it to be looked for
_LEAST_OWN = 0.3  # of the object's pixels must have colours of its own; with fewer it cannot be told from its ground
_RIM = 1  # pixels around a mask that may be of mixed colours


class ColourSearch:
    """Knows the colours that an object has in a frame and its ground has not; finds them again in other frames.

    Where these colours are, in what shape, and how the object is turned does not matter; how much of them is in one
    place does. So a part of an object is found as a part, and what is bent or turned as a whole.

    Args:
        image: uint8 (h, w, 3) RGB.
        mask: bool (h, w), the object in it, at least one pixel.
    """

    def __init__(self, image: np.ndarray, mask: np.ndarray):
        height, width = mask.shape
        scale = min(1.0, (_AREA / np.count_nonzero(mask)) ** 0.5)
        self._size = max(1, round(width * scale)), max(1, round(height * scale))
        share = cv2.resize(mask.astype(np.float32), self._size, interpolation=cv2.INTER_AREA)
        inside = share >= min(0.75, share.max())
        codes = self._codes(image)
        present = _frequency(codes[inside])
        ground = _frequency(codes[~_grown(share > 0)])
        common = np.quantile(present[codes[inside]], _COMMON)
        self._own = (present > _TYPICAL * ground) & (present >= common)
        self._amount = int(np.count_nonzero(self._own[codes[inside]]))
        if self._amount < _LEAST_OWN * np.count_nonzero(inside):
            self._amount = 0
        self._window = max(cv2.boundingRect(inside.view(np.uint8))[2:]) + 2 * _RIM

    @property
    def distinct(self) -> bool:
        """False of an object that cannot be told from its ground by colours."""
        return self._amount > 0

    def seen(self, image: np.ndarray, mask: np.ndarray | None = None) -> float:
        """How much of the object might be in one place of a frame and not in a mask, 0..1; 1 if it is not distinct.

        Args:
            image: uint8 (h, w, 3) RGB, of the size of the first one.
            mask: bool (h, w), what is known to be the object; None: nothing.
        """
        if not self.distinct:
            return 1.0
        found = self._own[self._codes(image)].view(np.uint8)
        if mask is not None:
            covered = cv2.resize(mask.view(np.uint8), self._size, interpolation=cv2.INTER_AREA)
            found[_grown(covered > 0)] = 0
        window = self._window, self._window
        amount = cv2.boxFilter(found, cv2.CV_32F, window, normalize=False, borderType=cv2.BORDER_CONSTANT)
        return min(1.0, float(amount.max()) / self._amount)

    def _codes(self, image: np.ndarray) -> np.ndarray:
        """The colour of each pixel, at the search's size, as one number: int (h, w)."""
        shrinks = self._size[0] < image.shape[1]
        small = cv2.resize(image, self._size, interpolation=cv2.INTER_AREA) if shrinks else image
        red, green, blue = cv2.split(small // _STEP)
        return (red.astype(np.intp) * _LEVELS + green) * _LEVELS + blue


def _grown(mask: np.ndarray) -> np.ndarray:
    side = 2 * _RIM + 1
    return cv2.dilate(mask.view(np.uint8), np.ones((side, side), np.uint8)) > 0


def _frequency(codes: np.ndarray) -> np.ndarray:
    """How frequent each colour is, by its number, smoothed over its neighbours; sum about 1."""
    count: np.ndarray = np.bincount(codes.ravel(), minlength=_LEVELS**3).astype(np.float32)
    for _ in range(3):  # along one side of the cube of colours, then that side becomes the last
        count = count.reshape(_LEVELS, -1)
        count = cv2.GaussianBlur(count, (1, 7), sigmaX=1, sigmaY=1, borderType=cv2.BORDER_CONSTANT).T
    return np.ascontiguousarray(count).ravel() / max(1, codes.size)
