"""Options made fit for a network: what was left to it is filled in, what it cannot do is refused."""

import dataclasses

from model.errors import InputError
from model.network.config import NetworkConfig
from model.options import PropagationOptions

# As published: STM and SWEM segment frame by frame, PCVOS (and STCN here) clips of 5.
_CLIP_LENGTH = {"tokens": 5, "dense": 1, "bases": 1}
_PAPERS_TOP_K, _COMPACT_TOP_K = 20, 5
"""The compact networks do better with 5 on both archives (`benchmarks/results/top_k.md`)."""
_POLICY = {"tokens": "every", "dense": "previous", "bases": "every"}
_REFUSED = {
    "tokens": {},
    "dense": {"memory": ("bounded",), "top_k": (), "progressive_interval": ()},
    "bases": {
        "memory": ("previous", "spread", "bounded"),
        "memory_tokens": (),
        "top_k": (),
        "progressive_interval": (),
    },
}
"""By kind of memory: options that do nothing there; of `memory` the policies, of others all values but the default."""

_REASONS = {
    "dense": "it reads every position of the frames that it keeps",
    "bases": "its memory is a fixed number of bases, which every frame is absorbed into",
}


def fitted(options: PropagationOptions, config: NetworkConfig) -> PropagationOptions:
    """The options as they are for a network; done twice, the same.

    Raises:
        InputError: an option that the network has no use for was changed.
    """
    kind = config.memory
    top_k = options.top_k or (_PAPERS_TOP_K if config.trunk == "resnet50" else _COMPACT_TOP_K)
    defaults = PropagationOptions()
    for name, values in _REFUSED[kind].items():
        value = getattr(options, name)
        if value in values or (not values and value not in (getattr(defaults, name), None)):
            raise InputError(
                f"{config.name} has no use for {name}={value!r}, as {_REASONS[kind]}: leave that option out"
            )
    return dataclasses.replace(
        options,
        clip_length=options.clip_length or _CLIP_LENGTH[kind],
        top_k=top_k if kind == "tokens" else None,
        memory=_POLICY[kind] if options.memory == "auto" else options.memory,
        progressive_interval=options.progressive_interval if kind == "tokens" else None,
    )


def flat_policy(config: NetworkConfig) -> str:
    """The policy of a run of any length that can be recorded: "spread", or "auto" of a network that needs none."""
    return "auto" if config.memory == "bases" else "spread"
