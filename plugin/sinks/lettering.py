"""Text on pictures."""

from functools import cache

from PIL import ImageDraw, ImageFont

INK = (32, 33, 36)
PAPER = (250, 250, 248)
ATTENTION = (224, 96, 0)
KEYFRAME = (255, 200, 40)


@cache
def font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    """Pillow's own font, letters about `size` pixels high."""
    return ImageFont.load_default(max(8, size))


def tag(
    draw: ImageDraw.ImageDraw,
    left: float,
    top: float,
    text: str,
    size: int,
    ink: tuple[int, ...] = (255, 255, 255),
    fill: tuple[int, ...] = (0, 0, 0, 150),
) -> float:
    """Draw text on a small rounded plate with its corner at (left, top), in pixels; returns the plate's right edge.

    `fill` may have an alpha channel where `draw` was made with mode RGBA.
    """
    pad = 0.35 * size
    right = left + draw.textlength(text, font=font(size)) + 2 * pad
    draw.rounded_rectangle((left, top, right, top + 1.5 * size), radius=0.35 * size, fill=fill)
    draw.text((left + pad, top + 0.75 * size), text, font=font(size), fill=ink, anchor="lm")
    return right
