"""What changes while a training goes on, and the settings that it refuses."""

import json
import math

import pytest

from model.errors import InputError
from model.training.recipe import Recipe
from model.training.schedule import hardest_share, largest_gap, rate_factor, still_share


def test_the_gap_rises_from_5_to_15_and_falls_back():
    gaps = [largest_gap(i / 1000) for i in range(1001)]
    assert (gaps[0], gaps[250], gaps[500], gaps[799], gaps[900], gaps[1000]) == (5, 10, 15, 15, 10, 5)
    assert set(gaps) == set(range(5, 16))
    assert gaps[:501] == sorted(gaps[:501]) and gaps[500:] == sorted(gaps[500:], reverse=True)


def test_the_rate_warms_up_and_falls_to_a_fiftieth():
    factors = [rate_factor(step, 4000) for step in range(4000)]
    assert factors[0] == pytest.approx(0.01)
    assert factors[49] == pytest.approx(0.5, rel=0.01)
    assert factors[100:] == sorted(factors[100:], reverse=True)
    assert factors[2000] == pytest.approx(0.02 + 0.98 / 2)
    assert factors[-1] == pytest.approx(0.02, rel=0.01)


@pytest.mark.parametrize("steps", [6, 10, 20, 39])
def test_few_steps_go_as_far_as_40(steps):
    """A slow machine's learning moves the network as much as a fast one's."""
    factors = [rate_factor(step, steps) for step in range(steps)]
    assert sum(factors) == pytest.approx(sum(rate_factor(step, 40) for step in range(40)), rel=0.2)
    assert max(factors) < 0.9 and factors.index(max(factors)) >= 1  # there is a rise
    assert factors[-1] < max(factors) / 3


@pytest.mark.parametrize("steps", [40, 41, 100, 4000])
def test_from_40_steps_on_the_rise_takes_100(steps):
    assert rate_factor(0, steps) == 0.01
    assert rate_factor(19, steps) == 0.2 * (0.02 + 0.98 * (1 + math.cos(math.pi * 19 / steps)) / 2)


def test_shares_of_hard_pixels_and_of_stills():
    assert hardest_share(0) == 1
    assert hardest_share(0.3) == pytest.approx(1 - 0.85 / 2)
    assert hardest_share(0.6) == hardest_share(1.0) == pytest.approx(0.15)
    assert [still_share(done, 0.3) for done in (0, 0.5, 1)] == pytest.approx([0.3, 0.225, 0.15])


@pytest.mark.parametrize(
    ("setting", "says"),
    [
        ({"crop": 100}, "crop 100: give a multiple of 16"),
        ({"crop": 48}, "64 or more"),
        ({"iterations": 0}, "iterations 0"),
        ({"batch": 0}, "batch 0"),
        ({"clip_frames": 0}, "clip_frames 0"),
        ({"objects": 0}, "objects 0"),
        ({"seed": -1}, "seed -1"),
        ({"frozen_blocks": -1}, "frozen_blocks -1"),
        ({"rate": 0.0}, "rate 0.0"),
        ({"rate": math.nan}, "rate nan"),
        ({"largest_gradient": 0.0}, "largest_gradient"),
        ({"trunk_rate": -0.1}, "trunk_rate"),
        ({"weight_decay": math.inf}, "weight_decay"),
        ({"average": 1.0}, "average 1.0"),
        ({"still_share": 1.5}, "still_share 1.5"),
        ({"network": "unet"}, "unknown network 'unet'"),
    ],
    ids=str,
)
def test_settings_out_of_range_are_refused_in_one_line(setting, says):
    with pytest.raises(InputError, match=says) as caught:
        Recipe(**setting)
    assert "\n" not in str(caught.value)


def test_a_recipe_is_written_whole():
    recipe = Recipe(rate=1e-4, seed=7)
    assert Recipe(**json.loads(recipe.to_json())) == recipe
