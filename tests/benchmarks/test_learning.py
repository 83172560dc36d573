"""The table of `benchmarks.learning`."""

from benchmarks.learning import table


def test_it_tells_what_the_check_is_worth():
    def row(sequence: str, off: float, learned: float, taken: int) -> dict[str, str]:
        chosen = learned if taken else off
        return {
            "sequence": sequence,
            "keyframes": "1",
            "off": str(off),
            "learned": str(learned),
            "chosen": str(chosen),
            "taken": str(taken),
        }

    rows = [row("a", 0.5, 0.7, 1), row("b", 0.9, 0.8, 1), row("c", 0.8, 0.6, 0)]
    assert table(rows).splitlines()[-1] == "| 1 | 3 | 0.7333 | 0.7000 | 0.7667 | 0.8000 | -0.1000 | 2 |"
