"""The network of a config."""

from model.network.config import NetworkConfig
from model.network.pcvos import PCVOS
from model.network.segmentation_network import SegmentationNetwork
from model.network.stm import STM
from model.network.swem import SWEM

_ARCHITECTURES: dict[str, type[SegmentationNetwork]] = {"stm": STM, "swem": SWEM}


def new_network(config: NetworkConfig) -> SegmentationNetwork:
    """A network of random weights."""
    return _ARCHITECTURES.get(config.name, PCVOS)(config)
