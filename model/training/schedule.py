"""How a training changes while it goes on; everything is a function of `done`, the finished part, 0..1."""

import math

_WARM_UP = 100  # steps
_FEW = 40  # steps: fewer go as far as so many


def largest_gap(done: float) -> int:
    """Frames between two clips at most: from 5 to 15 over the first half, back to 5 in the last fifth (PCVOS 3.6)."""
    return int(5 + 10 * min(1.0, done / 0.5, (1 - done) / 0.2))


def rate_factor(step: int, steps: int) -> float:
    """Of the learning rate: a short linear rise, then half a cosine down to a fiftieth.

    Of few steps the cosine meets the rise half-way: 40 reach a tenth. Fewer rise faster, so that all together go about
    as far.
    """
    done = step / steps
    warm_up = min(_WARM_UP, _WARM_UP * (steps / _FEW) ** 2)
    return min(1.0, (step + 1) / warm_up) * (0.02 + 0.98 * (1 + math.cos(math.pi * done)) / 2)


def hardest_share(done: float) -> float:
    """Part of the pixels that the bootstrapped cross-entropy looks at: all at first, the hardest 15 % from 60 % on."""
    return max(0.15, 1 - 0.85 * done / 0.6)


def still_share(done: float, first: float) -> float:
    """Part of the samples that comes from stills: half of the first share is left at the end."""
    return first * (1 - 0.5 * done)


def paste_share(done: float) -> float:
    """How often objects are pasted into videos: less and less, so that a training ends on scenes as they are."""
    return 0.6 - 0.3 * done
