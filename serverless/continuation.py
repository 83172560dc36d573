"""The text by which a chain of calls goes on: how far the run has come, as JSON that nobody need understand."""

import base64
import binascii
import hashlib
import json
import re
from collections.abc import Mapping
from typing import Any, NamedTuple

from model.confidence.cues import Evidence
from model.learning.record import LearningRecord
from model.memory.memory import Stretch
from model.propagation.prediction import PackedPrediction, PackedPredictions
from model.propagation.run_record import PassRecord, RunRecord
from serverless.call_error import CallError

VERSION = 4
_LONGEST = 48 * 2**20  # characters
_DIGEST = re.compile(r"[0-9a-f]{32}")


def digest(value: Any) -> str:
    """Digest of a JSON value, 32 hexadecimal digits."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:32]


class Continuation(NamedTuple):
    """What a chain goes on from: the record of its run, what polygons are to continue, and what came of learning.

    `learning` is None where the chain does not learn, or has not yet.
    """

    record: RunRecord
    polygons: dict[str, Any]
    learning: LearningRecord | None


def write_continuation(
    record: RunRecord, call: str, polygons: Mapping[str, Any], learning: LearningRecord | None = None
) -> str:
    """The text for a run that has paused.

    Args:
        record: of the run.
        call: digest of what all calls of a chain must have in common.
        polygons: what the next answer's polygons are to continue, JSON.
        learning: what came of it in the chain's first call; None: nothing so far.
    """
    passes = [
        {
            "span": [first, step],
            "reached": p.reached,
            "complete": p.complete,
            "memory": [[*stretch, list(kept)] for stretch, kept in p.memory.items()],
            "states": [[*stretch, base64.b64encode(state).decode()] for stretch, state in p.states.items()],
            "ends": [[index, _packed_to_json(packed)] for index, packed in p.ends.items()],
            "waiting": [[index, _packed_to_json(packed)] for index, packed in p.waiting.items()],
        }
        for (first, step), p in record.passes.items()
    ]
    body = {"version": VERSION, "call": call, "done": sorted(record.done), "passes": passes, "polygons": polygons}
    if learning is not None:
        body["learning"] = learning.to_json()
    text = json.dumps(body, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:32] + text


def read_continuation(
    text: Any, call: str, frames: int, objects: tuple[int, ...], logits: tuple[int, int]
) -> Continuation:
    """What a text says.

    Args:
        text: as `write_continuation` gave it.
        call: digest of what all calls of a chain must have in common.
        frames: in the chain; frame numbers are below it.
        objects: ids of the chain.
        logits: rows and columns of every packed prediction.

    Raises:
        CallError: it is not whole, of another version or of another chain.
    """
    if not isinstance(text, str) or len(text) > _LONGEST or not _DIGEST.match(text):
        raise CallError("continue must be the text that the answer before gave, unchanged", "bad_continue")
    body = text[32:]
    if hashlib.sha256(body.encode("utf-8", "replace")).hexdigest()[:32] != text[:32]:
        raise CallError("continue is damaged or cut off: send the text of the answer before, unchanged", "bad_continue")
    try:
        fields = json.loads(body)
        if fields["version"] != VERSION:
            raise CallError("continue is of another version of Perclip: start the range again", "bad_continue")
        if fields["call"] != call:
            raise CallError(
                "continue belongs to a chain with other frames, keyframes or options, or of another network: send the "
                "same ones, or start again without it",
                "bad_continue",
            )
        record = RunRecord(done={_index(i, frames) for i in fields["done"]})
        for p in fields["passes"]:
            first, step = p["span"]
            record.passes[_index(first, frames), 1 if step == 1 else -1] = PassRecord(
                reached=None if p["reached"] is None else _index(p["reached"], frames),
                complete=p["complete"] is True,
                memory={
                    _stretch(start, end, frames): tuple(_index(i, frames) for i in kept)
                    for start, end, kept in p["memory"]
                },
                states={
                    _stretch(start, end, frames): base64.b64decode(state, validate=True)
                    for start, end, state in p["states"]
                },
                ends={_index(i, frames): _packed_from_json(v, objects, logits) for i, v in p["ends"]},
                waiting={_index(i, frames): _packed_from_json(v, objects, logits) for i, v in p["waiting"]},
            )
        polygons = fields["polygons"]
        if not isinstance(polygons, dict):
            raise TypeError
        learning = _learning(fields.get("learning"))
    except (KeyError, TypeError, ValueError, AttributeError, RecursionError, OverflowError):
        raise CallError("continue is no text of Perclip: start the range again", "bad_continue") from None
    return Continuation(record, polygons, learning)


def _learning(fields: Any) -> LearningRecord | None:
    if fields is None:
        return None
    record = LearningRecord.from_json(fields)
    # A chain learns once: there is no earlier.
    if (
        not record.over
        or record.outcome == "earlier"
        or not _DIGEST.fullmatch(record.key)
        or not _DIGEST.fullmatch(record.weights or "")
    ):
        raise ValueError
    return record


def _index(value: Any, frames: int) -> int:
    if type(value) is not int or not 0 <= value < frames:
        raise ValueError
    return value


def _stretch(start: Any, end: Any, frames: int) -> Stretch:
    return _index(start, frames), None if end is None else _index(end, frames)


def _packed_to_json(packed: PackedPredictions) -> list[list[Any]]:
    return [[o, base64.b64encode(p.data).decode(), list(p.evidence)] for o, p in packed.items()]


def _packed_from_json(items: Any, objects: tuple[int, ...], logits: tuple[int, int]) -> PackedPredictions:
    packed = {}
    for obj, data, evidence in items:
        if obj not in objects or not all(type(e) in (int, float) and -1e9 < e < 1e9 for e in evidence):
            raise ValueError
        try:
            content = base64.b64decode(data, validate=True)
        except binascii.Error:
            raise ValueError from None
        packed[obj] = PackedPrediction(*logits, content, Evidence(*map(float, evidence)))
    return packed
