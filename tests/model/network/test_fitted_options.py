"""Options that are left to a network."""

from dataclasses import replace

import pytest

from model import PropagationOptions
from model.network.config import PCVOS_CONFIG, PERCLIP_LITE_CONFIG, network_config
from model.network.fitted_options import fitted


@pytest.mark.parametrize(
    ("config", "positions"),
    [
        (PERCLIP_LITE_CONFIG, 5),
        (replace(PERCLIP_LITE_CONFIG, trunk="efficientnet_lite2"), 5),
        (PCVOS_CONFIG, 20),
        (network_config("stcn"), 20),
        (network_config("stm"), None),
    ],
)
def test_how_many_positions_are_read_is_up_to_the_network_unless_somebody_says(config, positions):
    options = fitted(PropagationOptions(), config)
    assert options.top_k == positions and fitted(options, config) == options
    if positions is not None:
        assert fitted(PropagationOptions(top_k=9), config).top_k == 9
