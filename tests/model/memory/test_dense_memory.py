"""STM's memory: every position is read, with the object's own keys, and frames stay as the policy says."""

import pytest
import torch

from model import PropagationOptions
from model.memory.dense_memory import DenseMemory


def _memory(policy: str, frames: int) -> tuple[DenseMemory, list[torch.Tensor]]:
    torch.manual_seed(0)
    memory = DenseMemory((1, 2), 0, 6, PropagationOptions(memory=policy, memory_tokens=None))
    kept = [torch.randn(6, 5 + 4) for _ in range(frames)]
    memory.add_keyframe(torch.zeros(6, 4), {1: kept[0], 2: -kept[0]})
    for index, value in enumerate(kept[1:], 1):
        memory.add(index, torch.zeros(6, 4), {1: value, 2: -value})
    return memory, kept


@pytest.mark.parametrize(
    ("policy", "frames", "read"), [("previous", 7, (0, 5, 6)), ("previous", 6, (0, 5)), ("every", 4, (0, 1, 2, 3))]
)
def test_reads_all_positions_of_the_frames_that_stay(policy, frames, read):
    memory, kept = _memory(policy, frames)
    queries = torch.randn(300, 4)
    found = memory.read(queries)
    for obj, sign in ((1, 1), (2, -1)):
        everything = sign * torch.cat([kept[i] for i in read])
        value, key = everything[:, :5], everything[:, 5:]
        expected = torch.softmax(queries.double() @ key.double().T / 4**0.5, 1) @ value.double()
        assert (found[obj] - expected).abs().max() < 1e-5
