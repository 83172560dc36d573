"""Fits the calibration of the confidence to samples whose J is known."""

from collections import Counter
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from benchmarks.confidence_samples import Sample
from model.confidence.calibration import Calibration, Tolerance

_GOOD = ("normal", "two keyframes")  # kinds of runs whose evidence is called usual
_USUAL = 0.02  # share of good samples that are allowed to fall short
_EVIDENCE = ("recovered", "contained", "continuity", "accounted")
_MOST = 0.999  # as `Calibration.quality` limits the expected overlap


def fit(samples: Sequence[Sample]) -> Calibration:
    """The calibration whose confidences have the least cross-entropy with J.

    J is a soft target, so that the best confidence is its mean: calibrated. The tolerances end where the worst
    2 % of good runs begin. All kinds of runs count, by the square root of their number of samples, so that none rules.
    """
    good = [s.cues for s in samples if s.kind in _GOOD]
    least = {name: float(np.quantile([getattr(e, name) for f in good for e in f.passes], _USUAL)) for name in _EVIDENCE}
    two = [f.agreed for f in good if len(f.passes) == 2]
    least["agreement"] = float(np.quantile(two, _USUAL)) if two else 0.0
    shortfall = torch.tensor([_shortfalls(s, least) for s in samples], dtype=torch.float64)
    # In units of their own largest size, so that all weights are of one order for the search.
    unit = shortfall.amax(0).clamp(min=1e-6)
    overlap = torch.tensor([s.cues.overlap for s in samples], dtype=torch.float64).clamp(1 - _MOST, _MOST)
    parameters = _search(torch.logit(overlap), shortfall / unit, samples)
    weights = dict(zip(least, (parameters[2:].exp() / unit).tolist()))
    tolerances = {name: Tolerance(round(least[name], 4), round(weights[name], 4)) for name in least}
    return Calibration(round(float(parameters[0]), 4), round(float(parameters[1].exp()), 4), **tolerances)


def _shortfalls(sample: Sample, least: dict[str, float]) -> list[float]:
    passes = sample.cues.passes
    missing = [float(np.mean([max(0.0, least[n] - getattr(e, n)) for e in passes])) for n in _EVIDENCE]
    return [*missing, max(0.0, least["agreement"] - sample.cues.agreed)]


def _search(logit: Tensor, shortfall: Tensor, samples: Sequence[Sample]) -> Tensor:
    """Offset, logarithm of the slope, logarithms of the five weights."""
    j = torch.tensor([s.j for s in samples], dtype=torch.float64)
    count = Counter((s.kind, len(s.cues.passes)) for s in samples)
    share = torch.tensor([count[s.kind, len(s.cues.passes)] ** -0.5 for s in samples], dtype=torch.float64)
    share /= share.sum()
    parameters = torch.zeros(2 + shortfall.shape[1], dtype=torch.float64, requires_grad=True)
    search = torch.optim.LBFGS([parameters], max_iter=500, line_search_fn="strong_wolfe")

    def loss() -> Tensor:
        search.zero_grad()
        quality = torch.sigmoid(parameters[0] + parameters[1].exp() * logit)
        c = (quality * torch.exp(-(shortfall @ parameters[2:].exp()))).clamp(1e-6, 1 - 1e-6)
        entropy = -(share * (j * c.log() + (1 - j) * (1 - c).log())).sum()
        value = entropy + 1e-4 * parameters.square().sum()  # keeps weights that nothing speaks for from running away
        value.backward()
        return value

    search.step(loss)
    return parameters.detach()
