"""How a confidence is made from what was found out; its numbers depend on the network and travel in its checkpoint."""

import json
import math
from dataclasses import asdict, dataclass
from typing import Any

from model.confidence.cues import Cues

_SUREST = 1 - 1e-3  # no predicted mask is expected to be exact


@dataclass(frozen=True)
class Tolerance:
    """How much of something is usual, and what it costs to fall short.

    Attributes:
        least: nothing is lost from here up.
        weight: trust falls by exp(-weight x shortfall); 0 or more.
    """

    least: float
    weight: float

    def shortfall(self, value: float) -> float:
        """What is missing, 0 or more."""
        return max(0.0, self.least - value)

    def penalty(self, value: float) -> float:
        """What is lost of the logarithm of the trust, 0 or more."""
        return self.weight * self.shortfall(value)


@dataclass(frozen=True)
class Calibration:
    """How a network's confidence is computed: quality x trust.

    Quality looks at the mask alone: its expected J if its probabilities are right, straightened by a logistic curve.
    Trust asks whether they can be right: it is 1 as long as nothing is worse than usual in good runs, and falls
    exponentially with every shortfall. So trust finds failures and leaves the order of good frames to the quality.

    Fitted by `python -m benchmarks.confidence --fit` on training data and on runs that fail on purpose. The defaults
    are for networks that were never fitted, as the public ones: those of perclip-lite, but for continuity, whose scale
    is each network's own, and which is therefore not judged.

    Attributes:
        offset: and
        slope: of quality = sigmoid(offset + slope x logit(expected overlap)).
        recovered: tolerance of `Evidence.recovered`; of two passes the mean penalty counts.
        contained: of `Evidence.contained`, likewise.
        continuity: of `Evidence.continuity`, likewise.
        accounted: of `Evidence.accounted`, likewise.
        agreement: of the agreement of two passes.
    """

    offset: float = 0.33
    slope: float = 0.83
    recovered: Tolerance = Tolerance(0.44, 0.45)
    contained: Tolerance = Tolerance(0.91, 6.0)
    continuity: Tolerance = Tolerance(0.0, 0.0)
    accounted: Tolerance = Tolerance(1.0, 3.0)
    agreement: Tolerance = Tolerance(0.77, 3.6)

    def confidence(self, cues: Cues) -> float:
        """How little a mask needs a human look, and the J to expect of it; 0..1."""
        return self.quality(cues.overlap) * self.trust(cues)

    def quality(self, overlap: float) -> float:
        """The J to expect of a mask of this expected overlap, 0..1, if nothing is wrong."""
        x = min(max(overlap, 1 - _SUREST), _SUREST)
        return 1 / (1 + math.exp(-self.offset - self.slope * math.log(x / (1 - x))))

    def trust(self, cues: Cues) -> float:
        """How far the quality can be believed, 0..1."""
        lost = sum(
            self.recovered.penalty(evidence.recovered)
            + self.contained.penalty(evidence.contained)
            + self.continuity.penalty(evidence.continuity)
            + self.accounted.penalty(evidence.accounted)
            for evidence in cues.passes
        )
        return math.exp(-lost / max(1, len(cues.passes)) - self.agreement.penalty(cues.agreed))

    def to_json(self) -> str:
        """The calibration as one line of JSON, as checkpoints carry it."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> "Calibration":
        """The calibration that `to_json` wrote; raises ValueError, KeyError or TypeError for anything else."""
        fields = json.loads(text)
        values: dict[str, Any] = {k: Tolerance(**v) if isinstance(v, dict) else float(v) for k, v in fields.items()}
        return cls(**values)
