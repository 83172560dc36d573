"""Lists again where a person should look in a task, after some of it was corrected."""

from collections.abc import Mapping

import numpy as np

from plugin.cvat.open_task import OpenTask
from plugin.cvat.planning.blocked_frames import shapes_in, shown_keyframes
from plugin.cvat.review.doubts import DoubtfulFrame, doubtful_frames
from plugin.cvat.review.pictures import picture_doubts
from plugin.cvat.run.task_run import TaskOutcome
from plugin.cvat.task.annotations import KINDS, Shape, Track
from plugin.cvat.task.drawn import Drawn, no_image
from plugin.cvat.task.layout import TaskLayout
from plugin.cvat.writing.job_writer import JobWriter

_APART = 5  # frames between two entries of an object
_MOST = 30


def review_task(task: OpenTask, below: float) -> TaskOutcome:
    """What is in doubt in a task now: frames with Perclip's own annotations that nobody has touched.

    Frames where the object was found absent count too, as long as nobody has drawn it there.

    Args:
        task: closed by the caller.
        below: confidence below which a frame is doubtful, 0..1.

    Returns:
        Rows, doubtful frames with pictures, names; nothing is written.

    Raises:
        CvatError: the server refuses.
    """
    layout, journal = task.layout, task.journal
    outcome = TaskOutcome(layout.id, layout)
    own: dict[tuple[int, int], Shape] = {}
    labels: dict[int, int] = {}
    drawn: set[tuple[int, int]] = set()
    removed: set[tuple[int, int]] = set()
    alive = set()
    joined: set[int] = set()  # objects with a drawn track that is filled in
    for job in layout.jobs:
        owned, last = JobWriter(task.server, journal, layout, job).read(), layout.last_frame(job.id)
        for item, annotation in owned.own:
            labels[item.object] = item.label
            alive.add(item.stretch)
            if isinstance(annotation, Track):  # between its keyframes it shows what the one before says
                own |= {(item.object, frame): shape for frame, shape in shown_keyframes(annotation, last)}
            else:
                own |= {(item.object, shape.frame): shape for shape in shapes_in(annotation)}
        for joint in owned.joint:
            joined.add(joint.object)
            labels[joint.object] = joint.track.label
            shown = shown_keyframes(joint.track, last)
            own |= {(joint.object, frame): shape for frame, shape in shown if shape.frame in joint.own}
            drawn |= {(joint.object, k.frame) for k in joint.track.keyframes if k.frame not in joint.perclips}
        drawn |= {(shape.group, shape.frame) for annotation in owned.human for shape in shapes_in(annotation)}
        gone = (*owned.missing, *journal.lost(job.id))
        removed |= {(item.object, item.first) for item in gone if item.kind == KINDS[Shape]}
    ever, given_up = journal.stretches_ever(), journal.joint_objects() - joined
    for stretch, group, frame, confidence in journal.done_rows():
        place = group, frame
        # Of a stretch in which the object was never seen there is nothing to be alive.
        is_there = stretch in alive or (stretch not in ever and group not in given_up)
        if is_there and place not in drawn and place not in removed:
            outcome.rows.append((frame, group, confidence, place in own))
    outcome.rows.sort()
    groups = sorted({group for _, group, *_ in outcome.rows})
    outcome.names = {g: _name(layout, labels, g) for g in groups}
    doubts = doubtful_frames((DoubtfulFrame(f, g, c) for f, g, c, _ in outcome.rows), below, _APART, _MOST)

    def mask_of(doubt: DoubtfulFrame) -> np.ndarray | None:
        shape = own.get((doubt.group, doubt.frame))
        if shape is None or shape.kind == "rectangle":
            return None
        return Drawn(0, shape).mask(*layout.sizes[doubt.frame], no_image)

    sources = [(numbers, task.frames_of(numbers)) for numbers in layout.sequences]
    outcome.pictures = picture_doubts(doubts, mask_of, sources)
    return outcome


def _name(layout: TaskLayout, labels: Mapping[int, int], group: int) -> str:
    label = layout.labels.get(labels.get(group, 0))
    return f"{label.name if label else 'object'} (group {group})"
