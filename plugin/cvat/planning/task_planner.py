"""From a task's annotations to what is to be propagated: objects, keyframes, stretches, windows."""

from collections import defaultdict
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import lru_cache, partial

import numpy as np

from model.errors import InputError
from plugin.cvat.engine.engine import Engine
from plugin.cvat.journal.joint_track import hidden_frames
from plugin.cvat.journal.ownership import Ownership
from plugin.cvat.open_task import OpenTask
from plugin.cvat.planning.blocked_frames import blocked_frames, seen_tracks, shapes_in
from plugin.cvat.planning.group_numbers import borne_groups, gone_groups
from plugin.cvat.planning.identity import Identities, MaskOf, identify
from plugin.cvat.planning.identity_words import decisions_in_words
from plugin.cvat.planning.inheritance import inherit_groups
from plugin.cvat.planning.output import output_of
from plugin.cvat.planning.proposals import found_proposals, spread_proposals, without_repeats
from plugin.cvat.planning.stretches import stretches_of, windows_of
from plugin.cvat.planning.task_objects import TaskObject, allot_groups, keyframes_of, known_groups
from plugin.cvat.planning.task_plan import SequencePlan, TaskPlan, restore_windows, windows_to_json
from plugin.cvat.server.errors import NothingDrawnError
from plugin.cvat.settings import TRACKS, BulkSettings
from plugin.cvat.task.annotations import AUTO, Shape, Tag, Track
from plugin.cvat.task.drawn import DRAWN_KINDS, Drawn, Origin, collect_drawn, no_image
from plugin.digest import digest_of
from plugin.shapes.drawn_shape import SHAPE_TYPES
from plugin.sources.frame_source import FrameSource
from plugin.sources.stand_in_frames import StandInFrames

_CACHED_MASKS = 64


class TaskPlanner:
    """Plans a task.

    Args:
        task: its journal learns what is found.
        settings: what is asked for.
        engine: that propagates, here for identities that nothing else tells.
        begin: called before the engine is used to tell drawn shapes apart; what it raises ends the planning.
        advanced: called with the number of frames that were propagated for that, and of those that there will be.
    """

    def __init__(
        self,
        task: OpenTask,
        settings: BulkSettings,
        engine: Engine,
        begin: Callable[[], None] = lambda: None,
        advanced: Callable[[int, int], None] = lambda done, total: None,
    ):
        self._begin, self._advanced = begin, advanced
        self._task, self._layout, self._journal = task, task.layout, task.journal
        self._settings, self._engine = settings, engine
        self._unusable: set[tuple[int, int]] = set()  # label and frame of what people have drawn

    def plan(self, owned: Mapping[int, Ownership]) -> TaskPlan:
        """What is to be done, given the annotations of each job by owner.

        Raises:
            InputError: nothing is drawn, a label is unknown, or there are too many objects.
            PerclipError: of frames that cannot be read.
        """
        layout, settings = self._layout, self._settings
        wanted = self._wanted_labels()
        kinds = SHAPE_TYPES if settings.rectangles else DRAWN_KINDS
        found = TaskPlan(layout, [], set(), {}, list(layout.left_out))
        members, ever = self._journal.members(), self._journal.objects_ever()
        written = borne_groups(owned, members, ever)
        proposals = found_proposals(owned, layout, kinds) if settings.proposals else {}
        found.proposals = proposals
        masks: list[MaskOf] = []
        decided: list[Identities] = []
        identified: list[list[Drawn]] = []
        counts = []
        for numbers in layout.sequences:
            frames = set(numbers)
            drawn = [d for job, o in owned.items() for d in collect_drawn(job, o.human, frames, kinds)]
            found.known |= {d.digest for d in drawn}
            drawn = [d for d in drawn if d.shape.label in wanted]
            source = self._task.frames_of(numbers)
            mask_of = _mask_reader(source, numbers)
            drawn = self._usable(drawn, mask_of, found.warnings)
            if settings.proposals:
                usable = {k: v for k, v in proposals.items() if k[0] in wanted and k[1] in frames}
                drawn += spread_proposals(usable, settings.proposals, drawn, layout, mask_of)
                drawn = without_repeats(drawn, self._journal.repeats(), members)
            places = {frame: place for place, frame in enumerate(numbers)}
            identities = identify(
                drawn,
                members,
                written,
                places,
                mask_of,
                partial(self._network, source),
                self._advanced,
                seen_tracks(owned, layout, frames),
            )
            decided.append(identities)
            shown = [shapes for shapes in identities.objects if any(not d.shape.outside for d in shapes)]
            identified += shown
            counts.append((numbers, len(shown)))
            masks.append(mask_of)
        if not identified:
            raise NothingDrawnError(self._nothing_drawn(owned, wanted))
        inherited = self._inherited(identified, counts, masks, members, written, owned, found.warnings)
        used = {group: set[Origin]() for group in self._journal.joint_objects()} | _groups_in_use(owned)
        gone = gone_groups(owned, members, ever, written)
        kept = {group for _, group in ever} | set(members.values())
        groups = allot_groups(identified, members, written, used, inherited, kept - gone)
        objects = [
            TaskObject(group, layout.labels[shapes[0].shape.label], tuple(shapes))
            for group, shapes in zip(groups, identified)
        ]
        group_of = {d.digest: obj.group for obj in objects for d in obj.drawn}
        known = {groups[place] for place in inherited}
        found.joined, found.unmatched = decisions_in_words(decided, group_of, known, layout.labels)
        same = {group for digest, group in group_of.items() if members.get(digest) == group}
        repeats = {digest: group for digest, group in self._journal.repeats().items() if group in same}
        repeats |= {r.drawn.digest: group_of[r.instead.digest] for i in decided for r in i.repeated}
        with self._journal.together():
            self._journal.forget_members(gone & set(groups))  # the numbers mean other objects now
            self._journal.set_members(group_of)
            self._journal.set_repeats(repeats)
        track_jobs = {obj.group: self._track_jobs(obj, owned) for obj in objects}
        self._note_tracks(objects, track_jobs, owned, found.warnings)
        self._note_others(objects, owned, found.warnings)
        for (numbers, count), mask_of in zip(counts, masks):
            here, objects = objects[:count], objects[count:]
            if here:
                plan = self._sequence(numbers, here, mask_of, track_jobs, owned, group_of, found.warnings)
                found.sequences.append(plan)
        self._window(found, owned)
        if settings.frames and not any(settings.wants(f) for s in found.sequences for f in s.numbers):
            found.warnings.append("none of the frames that were asked for is in the jobs")
        return found

    def _network(self, source: FrameSource) -> tuple[Engine, StandInFrames]:
        self._begin()
        return self._engine, StandInFrames(source)

    def _wanted_labels(self) -> set[int]:
        names = {label.name: label.id for label in self._layout.labels.values()}
        unknown = [name for name in self._settings.labels if name not in names]
        if unknown:
            raise InputError(f"task {self._layout.id} has no label {unknown[0]!r}, only {', '.join(sorted(names))}")
        return {names[name] for name in self._settings.labels} if self._settings.labels else set(self._layout.labels)

    def _nothing_drawn(self, owned: Mapping[int, Ownership], wanted: set[int]) -> str:
        task = f"task {self._layout.id}"
        shapes = [d for j, o in owned.items() for d in collect_drawn(j, o.human, set(self._layout.sizes), SHAPE_TYPES)]
        if any(d.shape.label not in self._layout.labels for d in shapes):
            return f"{task}: the label of what is drawn there was removed; draw it with one of the labels there are"
        if self._settings.labels and any(d.shape.label not in wanted for d in shapes):
            return (
                f"{task} has no mask or polygon of {', '.join(self._settings.labels)}: draw one, or leave out --label"
            )
        if any(d.shape.kind == "rectangle" for d in shapes) and not self._settings.rectangles:
            return f"{task} has rectangles alone: --rectangles takes them as keyframes, or draw a mask"
        return f"{task} has no keyframe: draw a mask or polygon on at least one frame"

    def _usable(self, drawn: list[Drawn], mask_of: MaskOf, warnings: list[str]) -> list[Drawn]:
        """Without shapes that cannot be read, or show no pixel."""
        kept = []
        for d in drawn:
            what = f"frame {d.frame}, {d.shape.kind} of {self._layout.labels[d.shape.label].name}"
            try:
                if d.shape.outside or mask_of(d).any():
                    kept.append(d)
                    continue
                warnings.append(f"{what}: it has no pixel and was left out")
            except InputError as error:
                warnings.append(f"{what}: it cannot be used ({error})")
            self._unusable.add((d.shape.label, d.frame))
        return kept

    def _inherited(
        self,
        identified: Sequence[Sequence[Drawn]],
        counts: Sequence[tuple[Sequence[int], int]],
        masks: Sequence[MaskOf],
        members: Mapping[str, int],
        written: Collection[tuple[int, int]],
        owned: Mapping[int, Ownership],
        warnings: list[str],
    ) -> dict[int, int]:
        """Groups of objects all of whose keyframes were redrawn."""
        mine: dict[int, list[Shape]] = defaultdict(list)
        for o in owned.values():
            for item, annotation in o.own:
                if item.object:
                    mine[item.object] += shapes_in(annotation)
            for joint in o.joint:
                if joint.object:
                    mine[joint.object] += [k for k in shapes_in(joint.track) if k.frame in joint.own]
        known = [known_groups(shapes, members, written) for shapes in identified]
        mask_of = [reader for (_, count), reader in zip(counts, masks) for _ in range(count)]
        unknown = [i for i, groups in enumerate(known) if not groups]
        found = inherit_groups(
            [(identified[i], mask_of[i]) for i in unknown],
            mine,
            {g for groups in known for g in groups},
            relabelled=not self._settings.labels,
        )
        orphans = set(mine) - {g for groups in known for g in groups} - set(found.values())
        if orphans and not self._settings.labels:
            count = sum(len(mine[group]) for group in orphans)
            warnings.append(
                f"{count} annotations that Perclip wrote show objects of which no keyframe is left: they stay; "
                "`perclip cvat undo` removes all that Perclip wrote"
            )
        return {unknown[place]: group for place, group in found.items()}

    def _track_jobs(self, obj: TaskObject, owned: Mapping[int, Ownership]) -> set[int]:
        """The jobs in which Perclip's keyframes go into the object's drawn track: where it has one, all of polygons."""
        if self._settings.output != "one-track":
            return set()
        jobs = set()
        for job in self._layout.jobs:
            tracks = _tracks_of(obj, job.id, owned)
            if len(tracks) == 1 and tracks[0].source != AUTO and {k.kind for k in tracks[0].keyframes} == {"polygon"}:
                jobs.add(job.id)
        return jobs

    def _hidden(self, obj: TaskObject, jobs: set[int], owned: Mapping[int, Ownership]) -> set[int]:
        """Frames on which the person's own keyframes say that a track, which is filled in, is outside."""
        found: set[int] = set()
        for job in jobs:
            person = _tracks_of(obj, job, owned)[0]
            track = next((j.track for j in owned[job].joint if j.track.id == person.id), person)
            found |= set(hidden_frames(track, person, self._layout.last_frame(job)))
        return found - set(obj.frames)

    def _note_tracks(
        self,
        objects: Sequence[TaskObject],
        track_jobs: Mapping[int, set[int]],
        owned: Mapping[int, Ownership],
        warnings: list[str],
    ) -> None:
        edited = {a.id for o in owned.values() for a in o.edited if isinstance(a, Track)}
        count = sum(
            any(d.track is not None and d.track not in edited and d.job not in track_jobs[obj.group] for d in obj.drawn)
            for obj in objects
        )
        if count:
            warnings.append(
                f"{count} of {len(objects)} objects {'is a drawn track' if count == 1 else 'are drawn tracks'}: "
                "CVAT goes on showing what is drawn between and behind its keyframes, beside what Perclip writes; "
                "--output one-track fills in the drawn tracks instead"
            )
        if edited:
            warnings.append(
                f"{len(edited)} of Perclip's tracks were edited by a person and are theirs: nothing is written where "
                "they are to be seen; delete them where Perclip is to fill in again"
            )

    def _note_others(self, objects: Sequence[TaskObject], owned: Mapping[int, Ownership], warnings: list[str]) -> None:
        labels = {obj.label.id for obj in objects}
        foreign = [a for o in owned.values() for a in o.foreign if not isinstance(a, Tag) and a.label in labels]
        count = sum(s.kind in DRAWN_KINDS for a in foreign for s in shapes_in(a))
        if count and not self._settings.proposals:
            warnings.append(
                f"{count} masks and polygons of these labels come from other programs, or from Perclip with another "
                "journal (--journal): they stay beside what is written now"
            )

    def _sequence(
        self,
        numbers: Sequence[int],
        objects: list[TaskObject],
        mask_of: MaskOf,
        track_jobs: Mapping[int, set[int]],
        owned: Mapping[int, Ownership],
        group_of: Mapping[str, int],
        warnings: list[str],
    ) -> SequencePlan:
        settings = self._settings
        places = {frame: place for place, frame in enumerate(numbers)}
        size = self._layout.sizes[numbers[0]]
        plan = SequencePlan(numbers, objects, keyframes_of(objects, places, size, mask_of))
        done, ever = self._journal.done(), self._journal.stretches_ever()
        alive = {item.object for o in owned.values() for item, _ in o.own}
        alive |= {joint.object for o in owned.values() for joint in o.joint}
        ever_joint = self._journal.joint_objects()
        for obj in objects:
            output = output_of(obj, settings.output, self._layout.takes_tracks)
            plan.track_jobs[obj.group] = track_jobs[obj.group] if output == "one-track" else set()
            if output == "one-track" and not track_jobs[obj.group]:
                output = "track"
            plan.outputs[obj.group] = output
            options = {
                "engine": self._engine.identity,
                "output": output,
                "tolerance": settings.tolerance,
                "min_confidence": settings.min_confidence,
                "size": size,
            }
            blocked = blocked_frames(obj, owned, self._layout, group_of) | {
                f for label, f in self._unusable if label == obj.label.id
            }
            hidden = self._hidden(obj, plan.track_jobs[obj.group], owned) & set(numbers)
            if hidden - blocked:
                warnings.append(
                    f"{obj.name}: by a person's keyframe its track is outside on {len(hidden)} frames, the first is "
                    f"{min(hidden)}: nothing is filled in there"
                )
            blocked |= hidden
            self._journal.drawn_anew(obj.group, obj.frames)
            unfinished: dict[str, set[int]] = {}
            is_asked = False
            for stretch in stretches_of(obj, numbers, settings.direction, settings.max_gap, options, self._layout.jobs):
                plan.stretches.append(stretch)
                is_known = stretch.digest in ever or (output == "one-track" and obj.group in ever_joint)
                if is_known and obj.group not in alive:
                    self._journal.undo_stretch(stretch.digest)  # people have deleted all of the object
                    finished: Mapping[int, float] = {}
                else:
                    finished = done.get(stretch.digest, {})
                usable = {p for p in stretch.places if numbers[p] not in blocked}
                asked = {p for p in usable if settings.wants(numbers[p])}
                missing = {p for p in asked if numbers[p] not in finished}
                if output in TRACKS:
                    unfinished[stretch.digest] = usable if usable - {places[f] for f in finished} else set()
                    is_asked = is_asked or bool(missing)
                elif missing:
                    # Each polygon goes on from the one beside it.
                    plan.missing[stretch.digest] = missing if output != "polygon" else asked
            if is_asked:  # a track gives way as a whole, so that all that it showed must be written
                plan.missing |= {digest: rest for digest, rest in unfinished.items() if rest}
            plan.blocked[obj.group] = blocked
        return plan

    def _window(self, plan: TaskPlan, owned: Mapping[int, Ownership]) -> None:
        """Windows and their context: those of an interrupted run with the same input, or new ones."""
        settings = self._settings
        facts = [
            [s.digest for sequence in plan.sequences for s in sequence.stretches],
            [[r.start, r.stop] for r in settings.frames],
        ]
        digest = digest_of(facts)
        stored = self._journal.plan(digest)
        if stored is None or not all(restore_windows(s, body) for s, body in zip(plan.sequences, stored)):
            for sequence in plan.sequences:
                stretches = [s for s in sequence.stretches if s.digest in sequence.missing]
                sequence.windows = windows_of(stretches)
                self._find_context(sequence, owned)
            with self._journal.together():
                self._journal.set_plan(digest, [windows_to_json(sequence) for sequence in plan.sequences])

    def _find_context(self, plan: SequencePlan, owned: Mapping[int, Ownership]) -> None:
        """What Perclip has written of the other objects where a window begins or ends."""
        height, width = self._layout.sizes[plan.numbers[0]]
        drawn = {k.index: k.objects for k in plan.keyframes}
        current = {s.digest for s in plan.stretches} - set(plan.missing)
        finished = {(s.group, plan.numbers[p]) for s in plan.stretches if s.digest in current for p in s.places}
        written: dict[tuple[int, int], Shape] = {}
        for o in owned.values():
            for item, annotation in o.own:
                if item.stretch in current:
                    written |= {(item.object, shape.frame): shape for shape in shapes_in(annotation)}
            for joint in o.joint:
                theirs = [
                    k for k in shapes_in(joint.track) if (joint.object, k.frame) in finished and k.frame in joint.own
                ]
                written |= {(joint.object, shape.frame): shape for shape in theirs}
        plan.context = {}
        for window in plan.windows:
            targets = {s.group for s in window.stretches}
            for place in (window.first, window.last):
                if not any(obj.group in targets and plan.numbers[place] in obj.frames for obj in plan.objects):
                    continue
                for number, obj in enumerate(plan.objects, 1):
                    shape = written.get((obj.group, plan.numbers[place]))
                    if number not in drawn.get(place, ()) and shape is not None and shape.kind != "rectangle":
                        mask = Drawn(0, shape).mask(height, width, no_image)
                        if mask.any():
                            plan.context[place, number] = mask


def _mask_reader(source: FrameSource, numbers: Sequence[int]) -> MaskOf:
    places = {frame: place for place, frame in enumerate(numbers)}

    @lru_cache(_CACHED_MASKS)
    def mask_of(drawn: Drawn) -> np.ndarray:
        return drawn.mask(source.height, source.width, lambda: source[places[drawn.frame]])

    return mask_of


def _tracks_of(obj: TaskObject, job: int, owned: Mapping[int, Ownership]) -> list[Track]:
    """The tracks of a job whose keyframes the object has, but for those of Perclip that a person has edited."""
    drawn = {d.track for d in obj.drawn if d.job == job and d.track is not None}
    edited = {id(annotation) for annotation in owned[job].edited} if job in owned else set()
    humans = owned[job].human if job in owned else ()
    return [a for a in humans if isinstance(a, Track) and a.id in drawn and id(a) not in edited]


def _groups_in_use(owned: Mapping[int, Ownership]) -> dict[int, set[Origin]]:
    """Group number -> whatever has it, of people and other programs; drawn tracks may have it in the journal alone."""
    found: dict[int, set[Origin]] = defaultdict(set)
    for job, o in owned.items():
        for annotation in (*o.human, *o.foreign):
            if not isinstance(annotation, Tag) and annotation.group:
                found[annotation.group].add((job, isinstance(annotation, Track), annotation.id))
        for joint in o.joint:
            if joint.object:
                found[joint.object].add((job, True, joint.track.id))
    return dict(found)
