"""What the engine asks of a memory: a group of objects, what they remember, and what a query reads of it."""

from typing import Protocol

from torch import Tensor

Stretch = tuple[int, int | None]  # keyframes at both ends; None: it has no other end


class Memory(Protocol):
    """Memory of a group of objects that share all their memory frames.

    The group's stretch begins at a keyframe and ends at another, or nowhere. Keyframes must be added before any
    predicted frame. What a frame leaves is a key (N, key_dim) of N positions, as queries are, and for each object
    (N, C): what the network's `encode_value` gave.

    Attributes:
        objects: ids, in the order in which they were given.
        stretch: no two groups of a pass share both ends.
        frames: predicted frames that must be memorised again to come to this memory, in the order of the pass.
    """

    objects: tuple[int, ...]

    @property
    def stretch(self) -> Stretch:
        """As above."""
        ...

    @property
    def frames(self) -> tuple[int, ...]:
        """As above."""
        ...

    def restrict(self, objects: tuple[int, ...]) -> None:
        """Forget all but these objects."""
        ...

    def add_keyframe(self, key: Tensor, values: dict[int, Tensor]) -> None:
        """Memorise a keyframe for good."""
        ...

    def add(self, index: int, key: Tensor, values: dict[int, Tensor]) -> None:
        """Memorise the predicted frame `index`; what was temporary is forgotten."""
        ...

    def add_temporary(self, key: Tensor, values: dict[int, Tensor]) -> None:
        """Memorise a frame until the next `add`."""
        ...

    def state(self) -> bytes | None:
        """What predicted frames have left here, where that is not to be had from `frames`; None: it is."""
        ...

    def restore(self, state: bytes) -> None:
        """Take over such a state, behind the keyframes; frames that it holds are not memorised again.

        Raises:
            ValueError: it is none of a memory of this size.
        """
        ...

    def read(self, queries: Tensor) -> dict[int, Tensor]:
        """Readout of each object for queries (Q, key_dim): (Q, C'), as the network's `decode` takes it."""
        ...
