"""Which frames proposals are taken from (Propose-Reduce 3.1)."""


def keyframe_places(length: int, count: int) -> list[int]:
    """K places evenly spaced over T frames: int(k (T - 1) / (K - 1)), ascending, without repetition.

    The paper's rule, with K = 5 for YouTube-VIS and 8 for DAVIS. It has none for K = 1, which takes the first frame
    here.

    Args:
        length: T, 0 or more.
        count: K, 0 or more.
    """
    if length < 1 or count < 1:
        return []
    return sorted({k * (length - 1) // max(1, count - 1) for k in range(count)})
