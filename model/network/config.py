"""Which network: the sizes of those that Perclip knows, and what of the engine fits them."""

import json
from dataclasses import asdict, dataclass, replace

from model.errors import InputError

MEMORIES = ("tokens", "dense", "bases")
"""tokens: keys shared by the objects, top-k read (PCVOS, STCN); dense: keys of each object, all of them read (STM);
bases: a fixed number that frames are absorbed into (SWEM)."""

FRAMINGS = ("pad", "pad-first", "fit")
"""To multiples of 16. pad: behind the normalisation; pad-first: before it, with black; fit: resized instead."""


@dataclass(frozen=True)
class NetworkConfig:
    """The sizes that define a network; all feature sizes are channels.

    Attributes:
        name: "pcvos", "stcn", "stm", "swem" or "perclip-lite".
        trunk: "resnet50" (the papers' network, with the papers' value encoder and decoder) or one of
            `model.network.compact_trunk` (the compact one, with light ones).
        key_dim: key that the memory is searched by.
        value_dim: value that the memory gives back for one object.
        thin_dim: image features that join the value in the decoder.
        local_key_dim: key of the intra-clip refinement; None for a network without refinement.
        refinement_blocks: attention blocks of the refinement; every second one works on shifted windows.
        refinement_mlp_dim: hidden size of the refinement's MLP.
        decoder_dims: widths at strides 16, 8 and 4.
        position_dim: channels of the key that tell the place in the frame (`model.network.position_code`); 0 for none.
        memory: how what was seen is kept and read, one of `MEMORIES`.
        framing: how frames are fitted to the network's strides, one of `FRAMINGS`.
    """

    name: str
    trunk: str
    key_dim: int
    value_dim: int
    thin_dim: int
    local_key_dim: int | None
    refinement_blocks: int
    refinement_mlp_dim: int
    decoder_dims: tuple[int, int, int]
    position_dim: int = 0
    memory: str = "tokens"
    framing: str = "pad"

    def to_json(self) -> str:
        """The config as one line of JSON, as checkpoints carry it."""
        return json.dumps(asdict(self))

    def without_refinement(self) -> "NetworkConfig":
        """The same sizes, but for the intra-clip refinement, which is left out."""
        return replace(self, local_key_dim=None, refinement_blocks=0, refinement_mlp_dim=0)

    @classmethod
    def from_json(cls, text: str) -> "NetworkConfig":
        """The config that `to_json` wrote; raises ValueError, KeyError or TypeError for anything else."""
        fields = json.loads(text)
        return cls(**{**fields, "decoder_dims": tuple(fields["decoder_dims"])})


PCVOS_CONFIG = NetworkConfig("pcvos", "resnet50", 64, 512, 512, 256, 2, 2048, (512, 256, 256))
STCN_CONFIG = NetworkConfig("stcn", "resnet50", 64, 512, 512, None, 0, 0, (512, 256, 256))
STM_CONFIG = NetworkConfig(
    "stm", "resnet50", 128, 512, 512, None, 0, 0, (256, 256, 256), memory="dense", framing="pad-first"
)
SWEM_CONFIG = NetworkConfig(
    "swem", "resnet50", 128, 512, 512, None, 0, 0, (512, 256, 256), memory="bases", framing="fit"
)
PERCLIP_LITE_CONFIG = NetworkConfig(
    "perclip-lite", "efficientnet_lite2", 64, 128, 128, 64, 2, 256, (128, 64, 48), position_dim=12
)

NETWORKS = {
    **{config.name: config for config in (PCVOS_CONFIG, STCN_CONFIG, STM_CONFIG, SWEM_CONFIG, PERCLIP_LITE_CONFIG)},
    "perclip-lite-open": PERCLIP_LITE_CONFIG,
}
"""By name; two names of one config are two checkpoints that ship."""

DEFAULT_NETWORK = "perclip-lite"


def network_config(name: str) -> NetworkConfig:
    """The config of a network by name; raises InputError for an unknown one."""
    if name not in NETWORKS:
        raise InputError(f"unknown network {name!r}; choose one of {', '.join(NETWORKS)}")
    return NETWORKS[name]
