"""Bounds what oneDNN and torch keep of convolutions and matrix products that they have met."""

import os

# Entries of the two caches: as few as cost little. perclip-lite in 8-bit integers at 240p, two clips, each again
# and again, milliseconds of one thread per frame: 84 and 98 with 192 convolutions, 84 and 96 with 256, 95 and 107 with
# 128, 79 and 93 with all 1,024. Float32 at 480p grew by 10 % behind the tenth clip with 192, by 17 % with 256.
_BOUNDS = {"ONEDNN_PRIMITIVE_CACHE_CAPACITY": "192", "LRU_CACHE_CAPACITY": "64"}


def bound_kept_primitives() -> None:
    """Lets the caches of convolutions and of products hold few entries, unless the environment says how many.

    By default each keeps 1,024, of up to half a megabyte. Regions have hundreds of sizes, so that all of these come
    into use; and as they lie between the large activations, what is freed around them fits no later activation: a
    process grew to 1.6 GB in 50 clips (float32), of which 0.17 GB were in use.

    To be called before the first convolution of the process: both look at the environment once, then.
    """
    for name, entries in _BOUNDS.items():
        os.environ.setdefault(name, entries)
