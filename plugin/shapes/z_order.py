"""How high shapes lie, as CVAT's `z_order` says it."""

from model.object_masks import ObjectMasks


def z_orders(masks: ObjectMasks) -> dict[int, int]:
    """The z_order of each object that has pixels: 0 where it lies on nothing, else above all that it lies on.

    Two objects that share a pixel never have the same one, and where nothing is shared all are 0.
    """
    heights = dict.fromkeys(masks.order, 0)
    if masks.overlapping:
        pairs = set(masks.shared())
        for place, above in enumerate(masks.order):
            beneath = [o for o in masks.order[:place] if (min(o, above), max(o, above)) in pairs]
            heights[above] = max((heights[o] + 1 for o in beneath), default=0)
    return heights
