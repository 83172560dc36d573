"""Masks as the shapes that CVAT and COCO store, and back.

Door: the package itself, `box`, `coco_rle`, `drawn_shape`, `keyframe_mark`, `polygon`, `polygon_track`, `rle`,
`z_order`.
Imports: `model`.
"""

from plugin.shapes.box import box_to_mask, mask_to_box
from plugin.shapes.polygon import mask_to_polygons, polygons_to_mask
from plugin.shapes.polygon_track import follow_polygon
from plugin.shapes.rle import decode_mask, encode_label_map, encode_mask

__all__ = [
    "box_to_mask",
    "decode_mask",
    "encode_label_map",
    "encode_mask",
    "follow_polygon",
    "mask_to_box",
    "mask_to_polygons",
    "polygons_to_mask",
]
