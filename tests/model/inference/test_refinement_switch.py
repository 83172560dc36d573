"""The option that leaves the intra-clip refinement out."""

import numpy as np
import pytest

from model import InputError, PropagationOptions, Propagator, load_network


def test_without_refinement_the_network_is_one_that_has_none(lite, squares):
    def results(refinement: bool, removed: bool) -> list[np.ndarray]:
        network = load_network("perclip-lite")
        if removed:
            network.input_proj = network.refine_transformer = None
        options = PropagationOptions(
            short_side=None, dtype="float32", device="cpu", refinement=refinement, keep_probabilities=True
        )
        run = Propagator(network, options).run(squares.frames[:6], [squares.keyframe(0)])
        return [r.probabilities for r in run]

    full, without, removed = results(True, False), results(False, False), results(True, True)
    np.testing.assert_array_equal(without, removed)
    assert np.abs(full[3] - without[3]).max() > 0.01


def test_the_refinement_is_fixed_when_the_network_is_prepared(lite):
    with pytest.raises(InputError, match="refinement is fixed"):
        lite.with_options(refinement=False)
