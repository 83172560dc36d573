"""Which group numbers still mean the objects that Perclip gave them to.

CVAT's page knows the numbers of its own job alone, and gives a number again once nothing there bears it. So a number
means Perclip's object where something bears it that shows this object: what Perclip wrote, also when a person has
edited it, or a drawn shape that an earlier run has seen. Where all of that is gone, whoever bears it is another object.
"""

from collections.abc import Collection, Mapping

from plugin.cvat.journal.ownership import Ownership
from plugin.cvat.planning.blocked_frames import drawn_digests
from plugin.cvat.task.annotations import Tag

_DRAWN = "manual"  # CVAT's page says "semi-auto" of what a program wrote and a person has edited


def borne_groups(
    owned: Mapping[int, Ownership], members: Mapping[str, int], ever: Collection[tuple[int, int]]
) -> set[tuple[int, int]]:
    """Job and group number of the objects of Perclip that something in the job bears.

    Args:
        owned: annotations by owner, by job.
        members: digest of a drawn shape -> group number of its object, as earlier runs found.
        ever: job and group number of all that Perclip has ever written.
    """
    found = set()
    for job, o in owned.items():
        found |= {(job, item.object) for item, annotation in o.own if not isinstance(annotation, Tag)}
        found |= {(job, joint.object) for joint in o.joint if joint.track.group == joint.object}
        edited = {(job, a.group) for a in o.edited if not isinstance(a, Tag) and a.source != _DRAWN}
        found |= edited & set(ever)
        for annotation in o.human:
            if not isinstance(annotation, Tag) and annotation.group:
                seen = {members.get(digest) for digest in drawn_digests(annotation)}
                found |= {(job, annotation.group)} if annotation.group in seen else set()
    return {(job, group) for job, group in found if group}


def gone_groups(
    owned: Mapping[int, Ownership],
    members: Mapping[str, int],
    ever: Collection[tuple[int, int]],
    borne: Collection[tuple[int, int]],
) -> set[int]:
    """Group numbers of objects of Perclip of which nothing is left anywhere.

    Args:
        owned: as for `borne_groups`.
        members: likewise.
        ever: likewise.
        borne: what `borne_groups` makes of these.
    """
    seen = {group for _, group in borne}
    for o in owned.values():
        seen |= {joint.object for joint in o.joint}
        for annotation in o.human:
            if not isinstance(annotation, Tag):
                seen |= {members[digest] for digest in drawn_digests(annotation) if digest in members}
    elsewhere = {group for job, group in ever if job not in owned}
    return ({group for _, group in ever} | set(members.values())) - seen - elsewhere
