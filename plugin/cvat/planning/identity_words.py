"""What was decided about the identity of drawn shapes, for a person to check."""

from collections.abc import Collection, Iterable, Mapping, Sequence

from model.propose_reduce.reduction import LEAST_IOU
from plugin.cvat.planning.identity import Identities
from plugin.cvat.task.drawn import Drawn
from plugin.cvat.task.layout import Label


def decisions_in_words(
    decided: Iterable[Identities], groups: Mapping[str, int], inherited: Collection[int], labels: Mapping[int, Label]
) -> tuple[list[str], list[str]]:
    """Names every drawn shape that was joined with others, and every one that begins an object, though nobody said so.

    Args:
        decided: of each sequence.
        groups: digest of a drawn shape -> group number of its object.
        inherited: group numbers of objects that go on as what earlier runs wrote for them.
        labels: of the task, by id.

    Returns:
        A sentence for each shape that was joined; and one for each that matched nothing.
    """
    joined, unmatched = [], []
    for identities in decided:
        for shapes in identities.assumed:
            if shapes[0].digest in groups:
                name = _name(shapes[0], groups, labels)
                joined.append(f"{name}: {_listed([d.where for d in shapes])}, as no frame has two of this label")
        for a in identities.associations:
            if a.before.digest in groups:
                name = _name(a.before, groups, labels)
                joined.append(f"{name}: {_listed([a.before.where, a.behind.where])}, overlap {a.iou:.2f}")
        for r in identities.repeated:
            if r.instead.digest in groups:
                name, score = _name(r.instead, groups, labels), f"score {r.score:.2f}"
                joined.append(f"{name}: {r.instead.where}, shows what the detector's {r.drawn.where} shows ({score})")
        for u in identities.unmatched:
            group = groups.get(u.drawn.digest)
            if group is None or group in inherited:
                continue
            what = f"{_name(u.drawn, groups, labels)} is a new object: {u.drawn.where} matched nothing drawn before it"
            if u.nearest is not None:
                near = f"nearest is {_name(u.nearest, groups, labels)}, {u.nearest.where}"
                reason = f"overlap {u.iou:.2f} of the {LEAST_IOU} needed" if u.iou < LEAST_IOU else "another one's"
                what += f" ({near}, {reason})"
            unmatched.append(f"{what}; if it is one of those, give both the same group in CVAT")
    return joined, unmatched


def _name(d: Drawn, groups: Mapping[str, int], labels: Mapping[int, Label]) -> str:
    label = labels.get(d.shape.label)
    group = f" (group {groups[d.digest]})" if d.digest in groups else ""
    return f"{label.name if label else 'object'}{group}"


def _listed(parts: Sequence[str]) -> str:
    return " and ".join([", ".join(parts[:-1]), parts[-1]]) if len(parts) > 1 else parts[0]
