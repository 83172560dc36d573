"""The value of `--learn`."""

import argparse


def learning_time(text: str) -> float:
    """Seconds, more than 0; for argparse."""
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not 0 < seconds < 1e6:
        raise argparse.ArgumentTypeError(
            f"{text!r} are no seconds, like 60, to learn for; without them it is the usual time"
        )
    return seconds
