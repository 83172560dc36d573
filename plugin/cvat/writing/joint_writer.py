"""Writes Perclip's keyframes into the tracks that people drew in one job.

CVAT has no request that adds keyframes to a track, and no locking: a track is replaced whole, in one request, by one
with the person's keyframes as they were just read. A page that was opened before still knows the old track, and puts it
back when the person saves a change of it there. Then both are on the server: the person's stays, the joint one goes,
and the object is filled in anew. A track that only resembles the joint one is left for a person to judge.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from plugin.cvat.journal.joint_track import (
    JointRecord,
    JointTrack,
    drawn_json,
    fill_track,
    joint_digest,
    joint_json,
    keyframe_digest,
    resembles,
    supersedes,
    without,
)
from plugin.cvat.journal.journal import Journal
from plugin.cvat.journal.ownership import Ownership
from plugin.cvat.planning.blocked_frames import is_of
from plugin.cvat.planning.task_objects import TaskObject
from plugin.cvat.server.client import Server
from plugin.cvat.server.errors import ConnectionLostError, CvatError
from plugin.cvat.server.patience import Patience
from plugin.cvat.task.annotations import Shape, Track, parse_annotations
from plugin.cvat.task.layout import Job, TaskLayout
from plugin.cvat.writing.job_writer import JobWriter, Written
from plugin.cvat.writing.written_shapes import problem_of
from plugin.shapes.keyframe_mark import is_marked

_MOST_AT_ONCE = 5000  # keyframes in one request
_NEVER = 2**62  # above all ids


@dataclass(frozen=True)
class Filling:
    """What is to be filled into the drawn track of an object.

    Attributes:
        obj: the object.
        fill: frame -> polygon, or None where the object is not to be seen.
        elsewhere: frames on which the person has the object outside the track.
        spans: frames first..last of the stretches that are filled in.
        current: frames first..last of all stretches of the object; Perclip's keyframes in no such span go.
    """

    obj: TaskObject
    fill: Mapping[int, Shape | None]
    elsewhere: frozenset[int]
    spans: Sequence[range]
    current: Sequence[range]


class JointWriter:
    """Fills in the drawn tracks of one job of a task. Serves one thread.

    Args:
        server: logged in.
        journal: of the task.
        layout: of the task.
        job: to write into.
        dry: change nothing on the server, only count.
    """

    def __init__(self, server: Server, journal: Journal, layout: TaskLayout, job: Job, dry: bool = False):
        self._server, self._journal, self._layout, self._job, self._dry = server, journal, layout, job, dry
        self._job_writer = JobWriter(server, journal, layout, job, dry)
        self._counted: set[int] = set()  # objects; a track that is sent again, longer, is the same one

    def write(self, fillings_for: Callable[[Ownership], Sequence[Filling]]) -> tuple[Written, set[int]]:
        """Fills in drawn tracks.

        Args:
            fillings_for: what to fill in, given what is in the job now.

        Returns:
            What came of it; and the group numbers of objects whose track a person has changed so far meanwhile that it
            is not known again: of these nothing is written.

        Raises:
            CvatError: the server refused, or is gone. What was written is in the journal.
        """
        left: set[int] = set()
        owned, notes = self.settle()
        swaps: list[_Swap] = []
        kept: set[int] = set()
        edited = {id(annotation) for annotation in owned.edited}
        for filling in fillings_for(owned):
            drawn = {d.digest for d in filling.obj.drawn if d.track is not None}
            tracks = [a for a in owned.human if isinstance(a, Track) and id(a) not in edited and is_of(a, drawn)]
            if len(tracks) != 1:
                left.add(filling.obj.group)
                continue
            joint = _joint_of(owned, tracks[0])
            track = self._filled(filling, joint, tracks[0], notes)
            if joint_digest(track) == joint_digest(joint.track):
                kept.add(filling.obj.group)
            else:
                swaps.append(self._joining(joint, track, filling.obj.group))
        left |= self._swap(swaps, owned)
        created = {swap.group for swap in swaps} - left - self._counted
        kept -= self._counted
        self._counted |= created | kept
        return Written(created=len(created), kept=len(kept), refused=tuple(notes)), left

    def tidy(self, current: Mapping[int, Sequence[range]]) -> Written:
        """Takes keyframes of Perclip that nothing accounts for any more out of drawn tracks.

        Args:
            current: frames first..last of the stretches that are filled into drawn tracks, by object; objects that are
                not named are left as they are.
        """
        owned, notes = self.settle()
        swaps = []
        for joint in owned.joint:
            spans = current.get(joint.object)
            stale = {f for f in joint.own if spans is not None and not any(f in span for span in spans)}
            if stale == joint.own and stale:
                swaps.append(self._restoring(joint))
            elif stale:
                rest = without(joint.track, stale)
                assert rest is not None  # the person's keyframes, or others of ours
                swaps.append(self._joining(joint, rest, joint.object))
        self._swap(swaps, owned)
        return Written(deleted=len(swaps), refused=tuple(notes))

    def undo(self) -> int:
        """Puts the drawn tracks back as they were, with what people have changed of them since; gives their number."""
        owned, _ = self.settle()
        swaps = [self._restoring(joint) for joint in owned.joint if joint.own or joint.record is not None]
        return len(swaps) - len(self._swap(swaps, owned))

    def settle(self) -> tuple[Ownership, list[str]]:
        """The job as it is now, without joint tracks that are there twice or that a person's save has superseded.

        These are deleted; a dry run only leaves them out.

        Returns:
            The annotations by owner; and what a person should know.

        Raises:
            CvatError: the server refuses.
        """
        owned = self._job_writer.read()
        notes: list[str] = []
        doomed: list[JointTrack] = []
        unchanged = {joint.track.id for joint in owned.joint if joint.record is not None}
        fresh = [a for a in owned.human if isinstance(a, Track) and a.id not in unchanged]
        for joint in owned.joint:
            record, person = joint.record, joint.person
            if record is None:
                continue
            if not record.is_written:
                self._journal.confirm_joint(record.id)
            came = [a for a in fresh if a.id > record.highest and _may_be_of(a, joint, owned)]
            if any(_is_newer_copy(other, joint) for other in owned.joint):
                doomed.append(joint)
            elif person and any(supersedes(a, person) for a in came):
                doomed.append(joint)
                self._journal.forget_done(joint.object)
                notes.append(
                    f"job {self._job.id}: the track on frame {person.frame} was saved by a page that was opened before "
                    "Perclip wrote into it; what was saved stays, and is filled in anew by this run or the next"
                )
            elif person and any(resembles(a, person, self._layout) for a in came):
                notes.append(
                    f"job {self._job.id}: two tracks show much the same on frame {person.frame}; if one was saved by a "
                    "page that was opened before Perclip wrote into the other, delete the one that is wrong"
                )
        if not doomed:
            return owned, notes
        if not self._dry:
            body = _body([joint.track.raw for joint in doomed])
            self._job_writer.send("delete", body)
            return self._job_writer.read(), notes
        gone = {joint.track.id for joint in doomed}
        human = tuple(a for a in owned.human if not isinstance(a, Track) or a.id not in gone)
        joints = tuple(joint for joint in owned.joint if joint.track.id not in gone)
        return replace(owned, human=human, joint=joints), notes

    def _filled(self, filling: Filling, joint: JointTrack, person: Track, notes: list[str]) -> Track:
        """The track with what is to be filled in; what must not be sent is noted and counts as not to be seen."""
        fill = dict(filling.fill)
        for frame, shape in filling.fill.items():
            problem = None if shape is None else problem_of(shape, self._layout, self._job)
            if problem is not None:
                fill[frame] = None
                notes.append(f"job {self._job.id}, frame {frame}: not written, {problem}")
        kept = [
            k
            for k in joint.track.keyframes
            if k.frame in joint.perclips
            and any(k.frame in span for span in filling.current)
            and not any(k.frame in span for span in filling.spans)
        ]
        return fill_track(person, kept, fill, filling.elsewhere, self._layout, self._job)

    def _joining(self, joint: JointTrack, track: Track, group: int) -> "_Swap":
        """A joint track in the place of what is there."""
        drawn = drawn_json(joint.track, joint.own)
        mine = [k for k in track.keyframes if k.raw is None or k.frame in joint.own]
        original = drawn if joint.record is None else joint.record.original
        body = joint_json(track, drawn, self._layout.labels[track.label])
        return _Swap(joint.track, body, self._parsed(body), group, mine, original)

    def _restoring(self, joint: JointTrack) -> "_Swap":
        """The drawn track in the place of a joint one."""
        body = drawn_json(joint.track, joint.own) if joint.record is None else joint.record.original
        return _Swap(joint.track, body, self._parsed(body), joint.object)

    def _parsed(self, body: Mapping[str, Any]) -> Track | None:
        found = parse_annotations(_body([{**body, "id": 0}]), f"job {self._job.id}", self._layout.labels).tracks
        return found[0] if found else None

    def _swap(self, swaps: Sequence["_Swap"], owned: Ownership) -> set[int]:
        """Replaces tracks; gives the objects whose track a person has changed meanwhile."""
        left: set[int] = set()
        if self._dry:
            return left
        gone = [swap for swap in swaps if swap.after is None]
        if gone:
            body = _body([s.before.raw for s in gone])
            self._job_writer.send("delete", body)
        part: list[_Swap] = []
        for swap in [*(swap for swap in swaps if swap.after is not None), None]:
            if part and (swap is None or sum(s.length for s in (*part, swap)) > _MOST_AT_ONCE):
                left |= self._send(part, owned)
                part = []
            part += [swap] if swap is not None else []
        return left

    def _send(self, swaps: Sequence["_Swap"], owned: Ownership) -> set[int]:
        """As `_swap`, in one request; it is sent again only where the server still has what it had."""
        highest = owned.highest["tracks"]
        records: dict[int, int] = {}
        for swap in swaps:
            if swap.original is not None:
                since = _NEVER if _has_twin(swap.before, owned) else highest
                record = JointRecord(self._job.id, swap.group, swap.digest, since, swap.original)
                records[id(swap)] = self._journal.intend_joint(record, map(keyframe_digest, swap.mine)).id
        todo = list(swaps)
        left: set[int] = set()
        patience = Patience(self._server.patience, self._server.pause)
        while todo:
            body = _body([{**swap.body, "id": swap.before.id} for swap in todo])
            lost = None
            try:
                reply = self._job_writer.send("update", body)
                came = parse_annotations(reply, f"job {self._job.id}", self._layout.labels).tracks
                if len(came) == len(todo):
                    self._settled(_paired(todo, came), records)
                    return left
            except ConnectionLostError as error:
                patience.wait_or_raise(error)
                lost = error
            except CvatError as error:
                if 400 <= error.status < 500:
                    for noted in records.values():
                        self._journal.forget_joint(noted)
                raise
            there = self._job_writer.read_all().tracks
            made = {joint_digest(t): t for t in there if t.id > highest}
            done = [(swap, made[swap.digest]) for swap in todo if swap.digest in made]
            self._settled(done, records)
            todo = [swap for swap in todo if swap.digest not in made]
            if todo and lost is None:
                raise CvatError(
                    f"job {self._job.id}: the server did not keep {len(todo)} tracks as they were sent: was the job "
                    "changed meanwhile?"
                )
            same = {(t.id, joint_digest(t)) for t in there}
            left |= {swap.group for swap in todo if (swap.before.id, joint_digest(swap.before)) not in same}
            todo = [swap for swap in todo if swap.group not in left]
        return left

    def _settled(self, swaps: Sequence[tuple["_Swap", Track]], records: Mapping[int, int]) -> None:
        """Notes what the server has made of some requests."""
        bare = []
        for swap, track in swaps:
            if swap.original is None:
                self._journal.restore_joint(self._job.id, swap.group, track.digest)
                continue
            self._journal.confirm_joint(records[id(swap)], joint_digest(track))
            marked = {k.frame for k in track.keyframes if is_marked(k.points, k.outside)}
            if not {k.frame for k in swap.mine} <= marked:
                drawn = self._parsed(swap.original)
                bare.append(replace(swap, before=track, body=swap.original, after=drawn, original=None))
        if bare:
            self._send(bare, self._job_writer.read())
            raise CvatError(
                f"job {self._job.id}: this server rounds coordinates, so that nobody could tell Perclip's keyframes "
                "from a person's: the drawn tracks were put back; choose --output track"
            )


@dataclass(frozen=True, eq=False)
class _Swap:
    """A track in the place of another.

    Attributes:
        before: that is on the server.
        body: of the new one, JSON without its id.
        after: what the body says; None: it has no keyframe, the track is to go.
        group: of the object.
        mine: Perclip's keyframes in it.
        original: the drawn track, for a joint one; None: the body is the drawn track.
    """

    before: Track
    body: Mapping[str, Any]
    after: Track | None
    group: int
    mine: Sequence[Shape] = ()
    original: Mapping[str, Any] | None = None

    @property
    def length(self) -> int:
        """Keyframes of the new one."""
        return 0 if self.after is None else len(self.after.keyframes)

    @cached_property
    def digest(self) -> str:
        """Of the new one, which must have keyframes."""
        assert self.after is not None
        return joint_digest(self.after)


def _joint_of(owned: Ownership, person: Track) -> JointTrack:
    """The joint track that a person's keyframes are in; a drawn track counts as one without Perclip's."""
    found = (joint for joint in owned.joint if joint.track.id == person.id)
    return next(found, None) or JointTrack(person, person, frozenset(), frozenset(), None, 0)


def _has_twin(track: Track, owned: Ownership) -> bool:
    """Whether another track has a keyframe like one of a track's: what comes later may then be that one's successor."""
    contents = [k.content for k in track.keyframes]
    others = (a for a in owned.human if isinstance(a, Track) and a.id != track.id)
    return any(k.content in contents for other in others for k in other.keyframes)


def _paired(swaps: Sequence["_Swap"], came: Sequence[Track]) -> list[tuple["_Swap", Track]]:
    """What was sent with what came of it: of the same content, and the rest in order."""
    rest = list(came)
    pairs = []
    for swap in sorted(swaps, key=lambda s: not any(joint_digest(t) == s.digest for t in came)):
        track = next((t for t in rest if joint_digest(t) == swap.digest), rest[0])
        rest.remove(track)
        pairs.append((swap, track))
    return pairs


def _may_be_of(track: Track, joint: JointTrack, owned: Ownership) -> bool:
    """Whether a person's track may show the object of a joint one: by keyframes of Perclip in it, or by its label."""
    other = _joint_of(owned, track)
    return other.object == joint.object if other.object else track.label == joint.track.label


def _is_newer_copy(other: JointTrack, joint: JointTrack) -> bool:
    """Whether another joint track shows the same object with all keyframes of the person, and was sent later."""
    if other.track.id == joint.track.id or other.record is None or other.object != joint.object:
        return False
    there = {k.frame for k in other.person.keyframes} if other.person else set()
    assert joint.record is not None
    here = {k.frame for k in joint.person.keyframes} if joint.person else set()
    return here <= there and (other.record.id, other.track.id) > (joint.record.id, joint.track.id)


def _body(tracks: Sequence[Any]) -> dict[str, Any]:
    return {"version": 0, "shapes": [], "tags": [], "tracks": list(tracks)}
