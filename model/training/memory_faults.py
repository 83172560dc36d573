"""Faults put into what a training remembers, so that the network learns to live with its own.

A network that only ever remembers masks that are nearly right trusts the last one, and a part that is lost once never
comes back.
"""

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from model.network.compact_value_encoder import SUB_PIXEL
from model.training.batch_layers import BatchLayers

_KINDS = ("missing", "beside", "decoy", "swapped", "dots", "shifted", "lost")
_SHARES = (0.46, 0.14, 0.18, 0.12, 0.03, 0.05, 0.02)
_CELL = 16  # pixels
_LASTING = 0.2  # of the steps, in which a fault is remembered several times


@dataclass(frozen=True)
class MemoryFaults:
    """How often what is remembered has faults; all of them are functions of a seed.

    Attributes:
        share: of the objects of a clip that get one, 0..1.
        blurred: of the samples, in which a value's mask channels tell no more than how much of a cell is covered.
        placeless: of the samples, in which the position code is weaker or missing.
    """

    share: float
    blurred: float
    placeless: float

    def spoil(
        self,
        masks: Tensor,
        random: torch.Generator,
        layers: BatchLayers | None = None,
        decoys: Tensor | None = None,
    ) -> Tensor:
        """Masks as they are remembered.

        A round piece of an object is missing (most often), a piece of what is beside it or of a decoy is added, a piece
        belongs to another object, is seen only in dots of one cell's distance, all of it lies elsewhere or is lost. In
        the frames of a clip the same is wrong. Where nothing is changed the gradient flows on.

        Args:
            masks: probabilities of objects in frames of a clip, float32 (B, T, K, H, W).
            random: what is drawn from, on the CPU.
            layers: only objects of one layer take pixels from each other; None: all are of one.
            decoys: where objects are that nobody asks for, bool (B, T, H, W); without any, what is beside is added.
        """
        if self.share == 0:
            return masks
        if layers is None:
            layers = BatchLayers.single(len(masks), masks.shape[2], masks.device)
        spoiled = []
        drawn = torch.rand(len(masks), masks.shape[2], generator=random) < self.share
        for b, (sample, draws) in enumerate(zip(masks, drawn)):
            alike = layers.alike(b).tolist()
            before = random.get_state()
            for t, frame in enumerate(sample):
                random.set_state(before)
                decoy = None if decoys is None else decoys[b, t]
                spoiled.append(_spoil_frame(frame, draws, alike, random, decoy) if draws.any() else frame)
        return torch.stack(spoiled).unflatten(0, masks.shape[:2])

    def lasts(self, random: torch.Generator) -> bool:
        """Whether all frames of a clip are remembered with the same faults, rather than the last one alone."""
        return bool(self.share) and bool(torch.rand((), generator=random) < _LASTING)

    def blur_mask_channels(self, values: Tensor, random: torch.Generator) -> Tensor:
        """Values (B, K, C, h, w) whose last channels are the mask at sub-pixels; in some samples only its mean."""
        fixed = SUB_PIXEL**2
        drawn = torch.rand(len(values), generator=random) < self.blurred
        if not drawn.any():
            return values
        mean = values[:, :, -fixed:].mean(2, keepdim=True).expand(-1, -1, fixed, -1, -1)
        drawn = drawn.to(values.device).view(-1, 1, 1, 1, 1)
        return torch.cat([values[:, :, :-fixed], torch.where(drawn, mean, values[:, :, -fixed:])], 2)

    def weaken_places(self, keys: Tensor, channels: int, random: torch.Generator) -> Tensor:
        """Keys (B, T, C, h, w) whose last channels tell the place; in some samples these are weaker or 0."""
        factors = torch.ones(len(keys))
        drawn = torch.rand(len(keys), generator=random) < self.placeless
        factors[drawn] = torch.rand(len(keys), generator=random)[drawn].sub(0.3).clamp(min=0)
        if channels == 0 or not drawn.any():
            return keys
        factors = factors.to(keys).view(-1, 1, 1, 1, 1)
        return torch.cat([keys[:, :, :-channels], keys[:, :, -channels:] * factors], 2)


def _spoil_frame(
    masks: Tensor, draws: Tensor, alike: list[list[bool]], random: torch.Generator, decoy: Tensor | None
) -> Tensor:
    """Masks (K, H, W) of one frame, of which the drawn ones get a fault; those `alike` share a layer."""
    objects, size_of_frame = list(masks.unbind(0)), (masks.shape[1], masks.shape[2])
    for k in torch.nonzero(draws)[:, 0].tolist():
        inside = torch.nonzero(objects[k].detach() > 0.5)
        if len(inside) == 0:
            continue
        kind = _KINDS[int(torch.multinomial(torch.tensor(_SHARES), 1, generator=random))]
        size = math.sqrt(len(inside))
        # The same part of the way through the object, where it has moved from frame to frame.
        place = inside[int(len(inside) * _uniform(random, 0, 1))].float()
        radius = size * _uniform(random, 0.2, 0.7)
        tempting = torch.nonzero(decoy) if kind == "decoy" and decoy is not None else inside[:0]
        if len(tempting):
            place = tempting[int(len(tempting) * _uniform(random, 0, 1))].float()
            radius = math.sqrt(len(tempting)) * _uniform(random, 0.3, 0.9)
        elif kind == "decoy":
            kind = "beside"
        if kind == "beside":
            angle = _uniform(random, 0, 2 * math.pi)
            place = place + 0.6 * size * torch.tensor([math.sin(angle), math.cos(angle)], device=place.device)
            radius = size * _uniform(random, 0.15, 0.45)
        blob = _blob(place, radius, size_of_frame, random)
        beside = [i for i in range(len(objects)) if i != k and alike[k][i]]
        others = [i for i in beside if objects[i].detach().amax() > 0.5]
        if kind == "lost":
            objects[k] = objects[k] * 0
        elif kind == "shifted":
            dy, dx = (round(size * _uniform(random, -0.25, 0.25)) for _ in range(2))
            objects[k] = _shifted(objects[k], dy, dx)
        elif kind == "beside":
            taken = torch.maximum(objects[k], blob)
            objects = [mask * (1 - blob) if i in beside else mask for i, mask in enumerate(objects)]
            objects[k] = taken
        elif kind == "decoy":
            assert decoy is not None
            objects[k] = torch.maximum(objects[k], blob * decoy)
        elif kind == "dots":
            objects[k] = objects[k] * (1 - blob * _dots(size_of_frame, random, masks.device))
        else:
            piece = objects[k] * blob
            objects[k] = objects[k] - piece
            if kind == "swapped" and others:
                taker = others[int(torch.randint(len(others), (), generator=random))]
                objects[taker] = objects[taker] + piece
    return torch.stack(objects).clamp(0, 1)


def _uniform(random: torch.Generator, low: float, high: float) -> float:
    return low + (high - low) * torch.rand((), generator=random).item()


def _blob(place: Tensor, radius: float, size: tuple[int, int], random: torch.Generator) -> Tensor:
    """A soft ellipse of random direction around a place (y, x), 0..1, float32 (H, W)."""
    stretch, angle = math.exp(_uniform(random, -0.5, 0.5)), _uniform(random, 0, math.pi)
    y = torch.arange(size[0], device=place.device)[:, None] - place[0]
    x = torch.arange(size[1], device=place.device)[None, :] - place[1]
    along, across = x * math.cos(angle) + y * math.sin(angle), y * math.cos(angle) - x * math.sin(angle)
    distance = torch.sqrt((along / stretch) ** 2 + (across * stretch) ** 2)
    return torch.sigmoid((radius - distance) / 1.5)


def _dots(size: tuple[int, int], random: torch.Generator, device: torch.device) -> Tensor:
    """1 but for a dot in every cell, float32 (H, W): how a mask looks whose value is read from the wrong place."""
    width = int(torch.randint(4, 11, (), generator=random))
    top, left = torch.randint(_CELL - width + 1, (2,), generator=random).tolist()
    cell = torch.ones(_CELL, _CELL, device=device)
    cell[top : top + width, left : left + width] = 0
    return cell.repeat(-(-size[0] // _CELL), -(-size[1] // _CELL))[: size[0], : size[1]]


def _shifted(mask: Tensor, dy: int, dx: int) -> Tensor:
    """Moved by whole pixels, at most half the frame; what comes in is 0."""
    height, width = mask.shape
    top, left = max(dy, 0), max(dx, 0)
    padded = F.pad(mask, (left, max(-dx, 0), top, max(-dy, 0)))
    return padded[max(-dy, 0) : max(-dy, 0) + height, max(-dx, 0) : max(-dx, 0) + width]
