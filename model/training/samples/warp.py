"""Resampling: an affine transform, bent where wanted, from a source image into a rectangle of the crop."""

import cv2
import numpy as np

from model.training.samples.motion import Deformation

_MARGIN = 3  # source pixels kept around the part that is needed: interpolation reads neighbours
_COARSEST = 0.7  # below this scale, bilinear sampling leaves pixels out


def warp(
    images: list[np.ndarray], matrix: np.ndarray, size: int, bent: tuple[Deformation, int] | None = None
) -> list[np.ndarray]:
    """Resamples images of one size into the square crop, bilinearly; beyond their border they are mirrored.

    Args:
        images: uint8 (H, W) or (H, W, C <= 4) each.
        matrix: affine transform from source to crop pixels, float (2, 3).
        size: S, side of the crop.
        bent: a deformation and the number of the frame it is asked for.

    Returns:
        uint8 (S, S) or (S, S, C) each.
    """
    images, matrix = _needed_part(images, matrix, size, 0 if bent is None else 3 * bent[0].amplitude)
    if bent is None:
        mirrored = cv2.BORDER_REFLECT_101
        return [
            cv2.warpAffine(image, matrix, (size, size), flags=cv2.INTER_LINEAR, borderMode=mirrored) for image in images
        ]
    x, y = _source_of(matrix, (0, 0, size, size), (0, 0, size, size), *bent)
    return [cv2.remap(image, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT_101) for image in images]


def warp_patch(
    patch: np.ndarray, matrix: np.ndarray, size: int, bent: tuple[Deformation, int] | None = None
) -> tuple[slice, slice, np.ndarray] | None:
    """Resamples a small image with transparency into the part of the crop that it covers.

    Args:
        patch: uint8 (H, W, 4) RGB and opacity.
        matrix: affine transform from patch to crop pixels, float (2, 3).
        size: S, side of the crop.
        bent: a deformation and the number of the frame it is asked for.

    Returns:
        rows, columns, and uint8 (rows, columns, 4); None where the patch lies outside the crop.
    """
    height, width = patch.shape[:2]
    corners = np.array([[0, 0, 1], [width, 0, 1], [0, height, 1], [width, height, 1]]) @ matrix.T
    margin = 2 if bent is None else 2 + 2 * bent[0].amplitude
    first, last = np.floor(corners.min(0) - margin).astype(int), np.ceil(corners.max(0) + margin).astype(int)
    (left, top), (right, bottom) = np.clip(first, 0, size), np.clip(last, 0, size)
    if right - left < 2 or bottom - top < 2:
        return None
    scale = abs(np.linalg.det(matrix[:, :2])) ** 0.5
    if scale < _COARSEST:
        (patch,), matrix = _shrink([patch], matrix, scale)
    if bent is None:
        shifted = matrix - np.array([[0, 0, left], [0, 0, top]])
        warped = cv2.warpAffine(patch, shifted, (right - left, bottom - top), flags=cv2.INTER_LINEAR)
    else:
        x, y = _source_of(matrix, (left, top, right, bottom), (*first, *last), *bent)
        warped = cv2.remap(patch, x, y, cv2.INTER_LINEAR)
    return slice(top, bottom), slice(left, right), warped


def _source_of(
    matrix: np.ndarray,
    part: tuple[int, int, int, int],
    layer: tuple[int, int, int, int],
    deformation: Deformation,
    t: int,
) -> tuple[np.ndarray, np.ndarray]:
    """Source x and y of every pixel of a part of the crop, float32 each; left, top, right, bottom of part and layer."""
    left, top, right, bottom = part
    # Over the whole layer, so that it bends the same when it leaves the crop.
    whole = deformation.field(t, layer[2] - layer[0], layer[3] - layer[1])
    moved = np.ascontiguousarray(whole[top - layer[1] : bottom - layer[1], left - layer[0] : right - layer[0]])
    moved[..., 0] += np.arange(left, right, dtype=np.float32)
    moved[..., 1] += np.arange(top, bottom, dtype=np.float32)[:, None]
    x, y = cv2.split(cv2.transform(moved, cv2.invertAffineTransform(matrix)))
    return x, y


def _needed_part(
    images: list[np.ndarray], matrix: np.ndarray, size: int, margin: float
) -> tuple[list[np.ndarray], np.ndarray]:
    """The part of the source that the crop shows, shrunk where it is much finer than the crop."""
    scale = abs(np.linalg.det(matrix[:, :2])) ** 0.5
    inverse = cv2.invertAffineTransform(matrix)
    corners = np.array([[0, 0, 1], [size, 0, 1], [0, size, 1], [size, size, 1]]) @ inverse.T
    height, width = images[0].shape[:2]
    around = _MARGIN + margin / scale
    left, top = np.floor(corners.min(0) - around).astype(int)
    right, bottom = np.ceil(corners.max(0) + around).astype(int)
    # Where the crop leaves the source, a piece of the source is kept that can be mirrored into it.
    left, right = _inside(left, right, width)
    top, bottom = _inside(top, bottom, height)
    images = [image[top:bottom, left:right] for image in images]
    matrix = matrix + np.column_stack([np.zeros((2, 2)), matrix[:, :2] @ (left, top)])
    return _shrink(images, matrix, scale) if scale < _COARSEST else (images, matrix)


def _inside(first: int, last: int, length: int) -> tuple[int, int]:
    beyond = max(-first, last - length, 0)
    return max(0, min(first - beyond, length - 2)), min(length, max(last + beyond, 2))


def _shrink(images: list[np.ndarray], matrix: np.ndarray, scale: float) -> tuple[list[np.ndarray], np.ndarray]:
    height, width = images[0].shape[:2]
    small = max(2, round(width * scale)), max(2, round(height * scale))
    images = [cv2.resize(image, small, interpolation=cv2.INTER_AREA) for image in images]
    fx, fy = small[0] / width, small[1] / height
    # Pixel centres: source = (small + 0.5) / f - 0.5.
    grow = np.array([[1 / fx, 0, 0.5 / fx - 0.5], [0, 1 / fy, 0.5 / fy - 0.5], [0, 0, 1]])
    return images, matrix @ grow
