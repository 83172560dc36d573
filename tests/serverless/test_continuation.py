"""What a chain of calls carries on comes back as it was."""

import base64
import hashlib
import json

import pytest

from model.propagation.run_record import PassRecord, RunRecord
from serverless.call_error import CallError
from serverless.continuation import read_continuation, write_continuation


def test_states_of_a_memory_travel_as_they_are():
    states = {(0, None): bytes(range(256)), (2, 9): b""}
    passed = PassRecord(reached=4, memory={(0, None): ()}, states=states)
    text = write_continuation(RunRecord(passes={(0, 1): passed}, done={0, 1}), "call", {})
    record = read_continuation(text, "call", 12, (1,), (8, 12)).record
    assert record.passes[0, 1].states == states and record.passes[0, 1].reached == 4


@pytest.mark.parametrize(("stretch", "state"), [([0, 99], "AAAA"), ([0, None], "no base64!"), ([0, None], 7)])
def test_states_that_are_none_are_refused(stretch, state):
    text = write_continuation(RunRecord(passes={(0, 1): PassRecord(states={(0, None): b"x"})}), "call", {})
    body = json.loads(text[32:])
    body["passes"][0]["states"] = [[*stretch, state]]
    forged = json.dumps(body, separators=(",", ":"))
    with pytest.raises(CallError, match="start the range again"):
        read_continuation(hashlib.sha256(forged.encode()).hexdigest()[:32] + forged, "call", 12, (1,), (8, 12))
    assert base64.b64decode(json.loads(text[32:])["passes"][0]["states"][0][2]) == b"x"
