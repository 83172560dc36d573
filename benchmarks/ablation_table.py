"""The ablation's table: its columns, and how it looks."""

from collections.abc import Mapping, Sequence

COLUMNS = (
    "row",
    "weights",  # first digits of the file's SHA-256
    "clip length",
    "refinement",
    "progressive",  # interval
    "memory",
    "J",
    "F",
    "J&F",
    "J&F several objects",  # mean over the sequences with several objects
    "J&F one object",  # mean over the sequences with one
    "fps",
    "fps without decoding",
    "settings",  # digest of data and options
)
_SHOWN = tuple(c for c in COLUMNS if c not in ("weights", "settings", "fps"))


def markdown(rows: Sequence[Mapping[str, str]], sequences: Sequence[str]) -> str:
    """The rows as Markdown; the best of each column of J&F is bold."""
    best = {c: max((r[c] for r in rows if r[c]), default="", key=float) for c in _SHOWN if c.startswith(("J", "F"))}
    lines = [
        "# Ablation",
        "",
        f"{len(sequences)} sequences: {', '.join(sequences)}.",
        "Each object's first mask is given, the rest is propagated forward. J, F and J&F are means over the sequences",
        "of the means over their objects, the first and the last frame left out; fps is without decoding, on a machine",
        "that may have had other work.",
        "",
        f"| {' | '.join(_SHOWN)} |",
        "|" + "---|" * len(_SHOWN),
    ]
    for row in rows:
        cells = [f"**{row[c]}**" if row[c] and row[c] == best.get(c) else row[c] for c in _SHOWN]
        lines.append(f"| {' | '.join(cells)} |")
    weights = list(dict.fromkeys(row["weights"] for row in rows))
    lines += ["", f"Weights (first digits of the file's SHA-256): {', '.join(weights)}."]
    return "\n".join(lines) + "\n"
