"""One page about learning from a project: what was held out, how well it is found before and after, and pictures."""

import csv
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from html import escape
from pathlib import Path

import numpy as np

from model.errors import PerclipError
from plugin.cvat.review.pictures import picture_of
from plugin.cvat.run.project_learning import ProjectOutcome
from plugin.cvat.server.client import Server
from plugin.cvat.task.layout import TaskLayout, read_task
from plugin.sinks.html_page import data_uri, facts_table, write_page

_WORST = 12
_WIDTH, _HEIGHT = 900, 160  # of the curve, in pixels of the page
_MOST_POINTS = 300


def write_learning_report(path: Path, outcome: ProjectOutcome, server: Server, facts: Mapping[str, str]) -> None:
    """Writes the page.

    Args:
        path: the file to write.
        outcome: of the learning.
        server: whose frames are linked.
        facts: name -> value, shown before what is known of the outcome.

    Raises:
        InputError: the file cannot be written.
    """
    learned = outcome.facts
    known = {
        **facts,
        "outcome": outcome.words,
        "begun with": learned.begun_with,
        "tasks with keyframes": str(outcome.tasks),
        "keyframes learned from": str(learned.keyframes),
        "held out": outcome.check.words,
        "steps": str(learned.steps),
    }
    notes = "".join(f"<li>{escape(text)}</li>\n" for text in outcome.warnings)
    parts = [
        facts_table(known),
        f"<h2>To know</h2>\n<ul>\n{notes}</ul>" if notes else "",
        _label_table(outcome),
        _curve(_losses(outcome.learned.folder / "steps.csv")),
        _worst(outcome, server),
    ]
    write_page(path, "Perclip: learned from a project", parts)


def scores_by_label(outcome: ProjectOutcome) -> dict[str, tuple[int, float, float]]:
    """Label -> how many masks of it were asked for, and their mean J&F before and after."""
    found: dict[str, list[tuple[float, float]]] = defaultdict(list)
    after = {(s.question, s.object): s.jf for s in outcome.learned.after}
    for score in outcome.learned.before:
        label = outcome.check.asked[score.question].lesson.labels.get(score.object, "?")
        found[label].append((score.jf, after[score.question, score.object]))
    return {
        label: (len(pairs), *(float(np.mean(values)) for values in zip(*pairs)))  # type: ignore[misc]
        for label, pairs in sorted(found.items())
    }


def _label_table(outcome: ProjectOutcome) -> str:
    rows = "".join(
        f'<tr><td>{escape(label)}</td><td class="number">{count}</td><td class="number">{before:.3f}</td>'
        f'<td class="number">{after:.3f}</td><td class="number">{after - before:+.3f}</td></tr>\n'
        for label, (count, before, after) in scores_by_label(outcome).items()
    )
    head = "<tr><th>Label</th><th>Masks held out</th><th>J&amp;F before</th><th>after</th><th>gain</th></tr>"
    return f"<h2>By label</h2>\n<table>\n<thead>{head}</thead>\n{rows}</table>"


def _losses(path: Path) -> list[tuple[int, float]]:
    """Step and loss, means of neighbouring steps where there are many."""
    try:
        with path.open(newline="", encoding="utf-8") as file:
            steps = [
                (int(row["step"]), float(row["cross_entropy"]) + float(row["dice"])) for row in csv.DictReader(file)
            ]
    except (OSError, ValueError, KeyError, TypeError):
        return []  # a picture less
    some = -(-len(steps) // _MOST_POINTS) or 1
    parts = [steps[first : first + some] for first in range(0, len(steps), some)]
    return [(part[0][0], float(np.mean([loss for _, loss in part]))) for part in parts]


def _curve(losses: Sequence[tuple[int, float]]) -> str:
    if len(losses) < 2:
        return ""
    last, top = losses[-1][0], max(loss for _, loss in losses) or 1.0
    points = " ".join(
        f"{round((step - losses[0][0]) / max(1, last - losses[0][0]) * (_WIDTH - 10) + 5, 1)},"
        f"{round((1 - loss / top) * (_HEIGHT - 10) + 5, 1)}"
        for step, loss in losses
    )
    return (
        f'<h2>The loss</h2>\n<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-label="loss by step">'
        f'<polyline fill="none" stroke="rgb(66,120,200)" stroke-width="2" points="{points}"/></svg>\n'
        f"<small>cross-entropy and dice, 0 to {top:.2f}, steps {losses[0][0]} to {last}</small>"
    )


def _worst(outcome: ProjectOutcome, server: Server) -> str:
    before = {(s.question, s.object): s.jf for s in outcome.learned.before}
    worst = sorted(outcome.learned.after, key=lambda s: s.jf)[:_WORST]
    cells: list[str] = []
    links = _Links(server)
    for score in worst:
        asked = outcome.check.asked[score.question]
        with suppress(PerclipError):  # a picture less
            truth = asked.lesson.keyframe(asked.index).mask(score.object)
            found = outcome.learned.answers[score.question].mask(score.object)
            around = truth if truth.any() else found
            frame = asked.lesson[asked.index]
            pictures = [picture_of(frame, mask, score.object, around) for mask in (truth, found)]
            text = (
                f"task {asked.lesson.task}, frame {asked.number}, {asked.lesson.labels.get(score.object, '?')}: "
                f"{before[score.question, score.object]:.2f} -> {score.jf:.2f}"
            )
            cells.append(_cell(pictures, text, links.of(int(asked.lesson.task), asked.number)))
    body = "\n".join(cells)
    heading = "The worst of what was held out: as drawn, and as it comes with what was learned"
    return f'<h2>{heading}</h2>\n<div class="cells">\n{body}\n</div>' if cells else ""


class _Links:
    """Addresses of frames; of the tasks alone, once the server is gone or the login is over after a long night."""

    def __init__(self, server: Server):
        self._server = server
        self._layouts: dict[int, TaskLayout] = {}
        self._gone = False

    def of(self, task: int, frame: int) -> str:
        if task not in self._layouts and not self._gone:
            try:
                self._layouts[task] = read_task(self._server, task)
            except PerclipError:
                self._gone = True
        jobs = self._layouts[task].jobs_with(frame) if task in self._layouts else ()
        return self._server.frame_link(task, jobs[0].id, frame) if jobs else f"{self._server.url}/tasks/{task}"


def _cell(pictures: Iterable[bytes], text: str, address: str) -> str:
    shown = "<br>".join(
        f'<img src="{data_uri(jpeg, "image/jpeg")}" alt="{name}">' for jpeg, name in zip(pictures, ("drawn", "found"))
    )
    return f'<a href="{escape(address, quote=True)}">{shown}<br>{escape(text)}</a>'
