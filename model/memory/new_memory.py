"""The memory that fits a network."""

from model.memory.bases_memory import BasesMemory
from model.memory.dense_memory import DenseMemory
from model.memory.memory import Memory
from model.memory.memory_bank import MemoryBank
from model.options import PropagationOptions


def new_memory(
    kind: str,
    objects: tuple[int, ...],
    start: int,
    tokens_per_frame: int,
    options: PropagationOptions,
    end: int | None = None,
    joins: bool = False,
) -> Memory:
    """An empty memory of a group of objects.

    Args:
        kind: `NetworkConfig.memory`.
        objects: ids.
        start: keyframe that the group's stretch begins at.
        tokens_per_frame: positions of a whole frame.
        options: of the run.
        end: keyframe that the stretch ends at; None: it has no other end.
        joins: other objects are propagated already.
    """
    if kind == "bases":
        return BasesMemory(objects, start, end, joins)
    return (DenseMemory if kind == "dense" else MemoryBank)(objects, start, tokens_per_frame, options, end)
