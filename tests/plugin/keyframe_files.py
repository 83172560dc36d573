"""Small masks and files that the keyframe readers' tests share."""

import numpy as np
import pytest
from PIL import Image

from model.errors import InputError
from plugin.keyframes import FrameFinder, KeyframeSet
from plugin.shapes import encode_mask, mask_to_polygons

SIZE = (20, 30)
BY_NUMBER = FrameFinder()
"""Frames without names, as those of a video, and as many as one likes."""


def square(top, left, side=6):
    mask = np.zeros(SIZE, bool)
    mask[top : top + side, left : left + side] = True
    return mask


def label_map(**masks):
    """label_map(o1=mask, o2=mask): later objects cover."""
    picture = np.zeros(SIZE, np.uint8)
    for name, mask in masks.items():
        picture[mask] = int(name[1:])
    return picture


def save(path, pixels, **options):
    Image.fromarray(pixels).save(path, **options)
    return path


def fails(reader, *arguments, match):
    with pytest.raises(InputError, match=match) as caught:
        reader(*arguments)
    assert "\n" not in str(caught.value)


def mask_xml(mask, **attributes):
    *runs, left, top, right, bottom = encode_mask(mask)
    box = {"left": left, "top": top, "width": right - left + 1, "height": bottom - top + 1}
    return element("mask", rle=", ".join(map(str, runs)), **box, **attributes)


def polygon_xml(mask, **attributes):
    (flat,) = mask_to_polygons(mask)
    points = ";".join(f"{x:.2f},{y:.2f}" for x, y in np.reshape(flat, (-1, 2)))
    return element("polygon", points=points, **attributes)


def element(tag, **attributes):
    return f"<{tag} " + " ".join(f'{name}="{value}"' for name, value in attributes.items()) + f"></{tag}>"


def track(label, *shapes, **attributes):
    extra = "".join(f' {name}="{value}"' for name, value in attributes.items())
    return f'<track id="0" label="{label}" source="manual"{extra}>{"".join(shapes)}</track>'


def entry(frame, outside=0, keyframe=1, **more):
    return {"frame": frame, "keyframe": keyframe, "outside": outside, "occluded": 0, "z_order": 0, **more}


def single_mask(label, mask, frame, step=1, **attributes):
    """As CVAT writes a mask: a track with the mask and a closing entry."""
    return track(label, mask_xml(mask, **entry(frame)), mask_xml(mask, **entry(frame + step, outside=1)), **attributes)


def cvat(tmp_path, *content, meta="<original_size><width>30</width><height>20</height></original_size>"):
    path = tmp_path / "annotations.xml"
    path.write_text(
        '<?xml version="1.0" encoding="utf-8"?>\n<annotations><version>1.1</version>'
        f"<meta><task>{meta}</task></meta>{''.join(content)}</annotations>"
    )
    return path


def frames_of(found: KeyframeSet):
    return {keyframe.index: keyframe for keyframe in found.keyframes}


def image(frame, *shapes, size=SIZE):
    return f'<image id="{frame}" name="f{frame}.png" width="{size[1]}" height="{size[0]}">{"".join(shapes)}</image>'
