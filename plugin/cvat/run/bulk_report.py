"""One page about a run over CVAT tasks: what was written, and where a person should look."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from html import escape
from pathlib import Path

from plugin.cvat.review.pictures import DoubtfulPicture, colour_number
from plugin.cvat.run.task_run import TaskOutcome
from plugin.sinks.html_page import data_uri, facts_table, write_page
from plugin.sinks.palette import colour

_WIDTH, _HEIGHT = 900, 90  # of a curve, in pixels of the page

FrameLink = Callable[[TaskOutcome, int], str]
"""Gives the address of a frame in CVAT."""


def write_bulk_report(
    path: Path, title: str, outcomes: Sequence[TaskOutcome], link: FrameLink, facts: Mapping[str, str]
) -> None:
    """Writes the page: for each task its counts, a confidence curve for each object, its most doubtful frames.

    Args:
        path: the file to write.
        title: heading.
        outcomes: of the tasks.
        link: gives the address of a frame in CVAT.
        facts: name -> value, about the whole run.

    Raises:
        InputError: the file cannot be written.
    """
    parts = [facts_table(facts)]
    for outcome in outcomes:
        parts += _task(outcome, link)
    write_page(path, title, parts)


def facts_of(outcome: TaskOutcome) -> dict[str, str]:
    """What happened to a task, name -> value."""
    written = outcome.written
    facts = {"frames propagated": str(outcome.frames)}
    facts["annotations"] = f"{written.created} new, {written.kept} as before, {written.deleted} replaced"
    seen = sum(1 for *_, is_seen in outcome.rows if is_seen)
    facts["objects on frames"] = f"{seen} seen, {len(outcome.rows) - seen} absent or left out"
    if outcome.marks:
        facts["marks"] = f"{outcome.marks} left on doubtful frames"
    network = outcome.seconds.get("network")
    if network and outcome.frames:
        facts["speed"] = f"{outcome.frames / network:.1f} frames per second of the network's time"
    if outcome.learning:
        facts["learning"] = outcome.learning
        facts["weights"] = "; ".join(f"{count} stretches by {name}" for name, count in outcome.made_with.items())
    facts["seconds"] = ", ".join(f"{name} {seconds:.1f}" for name, seconds in outcome.seconds.items())
    if outcome.error:
        facts["ended early"] = outcome.error
    return facts


def _task(outcome: TaskOutcome, link: FrameLink) -> Iterable[str]:
    name = outcome.layout.name if outcome.layout else ""
    yield f"<h2>Task {outcome.task} {escape(name)}</h2>"
    yield facts_table(facts_of(outcome))
    yield _items("To know", outcome.warnings)
    yield _items("Drawn shapes that matched nothing and so are new objects: check these", outcome.unmatched)
    yield _items("Drawn shapes that were taken for one object though nobody said so: check these", outcome.joined)
    for group, object_name in outcome.names.items():
        rows = [(frame, confidence) for frame, g, confidence, _ in outcome.rows if g == group]
        if rows:
            yield _curve(object_name, group, rows, outcome.drawn.get(group, []))
    if outcome.pictures:
        cells = "\n".join(_cell(outcome, picture, link) for picture in outcome.pictures)
        yield f'<h3>The most doubtful frames</h3>\n<div class="cells">\n{cells}\n</div>'


def _items(heading: str, texts: Sequence[str]) -> str:
    items = "".join(f"<li>{escape(text)}</li>\n" for text in texts)
    return f"<h3>{escape(heading)}</h3>\n<ul>\n{items}</ul>" if texts else ""


def _curve(name: str, group: int, rows: Sequence[tuple[int, float]], drawn: Sequence[int]) -> str:
    """Confidence over frames, 0 at the bottom, 1 at the top; keyframes are ticks."""
    frames = [frame for frame, _ in rows] + list(drawn)
    first, last = min(frames), max(frames)
    red, green, blue = colour(colour_number(group))

    def x(frame: int) -> float:
        return round((frame - first) / max(1, last - first) * (_WIDTH - 10) + 5, 1)

    runs: list[list[tuple[int, float]]] = []
    for frame, confidence in rows:
        if not runs or runs[-1][-1][0] != frame - 1:
            runs.append([])
        runs[-1].append((frame, confidence))
    lines = "".join(
        f'<polyline points="{" ".join(f"{x(f)},{round((1 - c) * (_HEIGHT - 10) + 5, 1)}" for f, c in run)}"/>'
        for run in runs
    )
    ticks = "".join(f'<line class="tick" x1="{x(f)}" x2="{x(f)}" y1="0" y2="{_HEIGHT}"/>' for f in drawn)
    middle = _HEIGHT / 2
    return (
        f"<h3>{escape(name)}</h3>\n"
        f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-label="confidence of {escape(name)}">'
        f'<line class="middle" x1="0" x2="{_WIDTH}" y1="{middle}" y2="{middle}"/>{ticks}'
        f'<g fill="none" stroke="rgb({red},{green},{blue})" stroke-width="2">{lines}</g></svg>\n'
        f"<small>confidence 0 to 1, frames {first} to {last}; grey ticks are keyframes</small>"
    )


def _cell(outcome: TaskOutcome, picture: DoubtfulPicture, link: FrameLink) -> str:
    doubt = picture.doubt
    name = outcome.names.get(doubt.group, f"group {doubt.group}")
    shown = (
        f'<img src="{data_uri(picture.jpeg, "image/jpeg")}" alt="frame {doubt.frame}">'
        if picture.jpeg
        else "no picture"
    )
    address = escape(link(outcome, doubt.frame), quote=True)
    text = f"frame {doubt.frame}, {escape(name)}: {doubt.confidence:.2f}"
    return f'<a href="{address}">{shown}<br>{text}</a>'
