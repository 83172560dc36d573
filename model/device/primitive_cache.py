"""Bounds what oneDNN and torch keep of convolutions and matrix products that they have met."""

import os

# Entries of the two caches: as many as the frames of one clip come back to. perclip-lite in 8-bit integers at 240p, the
# same clip again and again: 25 ms a frame with these, 24 with all 1,024, and 35 with 128 convolutions (one thread).
_BOUNDS = {"ONEDNN_PRIMITIVE_CACHE_CAPACITY": "256", "LRU_CACHE_CAPACITY": "64"}


def bound_kept_primitives() -> None:
    """Lets the caches of convolutions and of products hold few entries, unless the environment says how many.

    By default each keeps 1,024, of up to half a megabyte. Regions have hundreds of sizes, so that all of these come
    into use; and as they lie between the large activations, what is freed around them fits no later activation: a
    process grew to 1.6 GB in 50 clips (float32), of which 0.17 GB were in use.

    To be called before the first convolution of the process: both look at the environment once, then.
    """
    for name, entries in _BOUNDS.items():
        os.environ.setdefault(name, entries)
