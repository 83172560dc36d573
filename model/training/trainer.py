"""Trains a network step by step; its state can be saved at any step and gone on from exactly."""

import copy
import os
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from model.errors import InputError
from model.framing import IMAGE_MEAN, IMAGE_STD
from model.pcvos import PCVOS
from model.training.losses import bootstrapped_cross_entropy, clip_dice
from model.training.per_clip import segment_clips
from model.training.recipe import Recipe
from model.training.schedule import hardest_share, rate_factor


@dataclass(frozen=True)
class StepLosses:
    """What one step saw: bootstrapped cross-entropy, clip dice (0..1), and the gradient's norm before clipping."""

    cross_entropy: float
    dice: float
    gradient: float


class Trainer:
    """Owns the network, its averaged copy and the optimiser."""

    def __init__(self, network: PCVOS, recipe: Recipe, device: torch.device):
        self.recipe = recipe
        self.step = 0
        self._device = device
        self._network = network.to(device, memory_format=torch.channels_last).eval()
        _freeze(network, recipe)
        self.average = copy.deepcopy(self._network).requires_grad_(False)
        """The averaged network (EMA), the result of the training so far."""
        self._optimiser = torch.optim.AdamW(_groups(network, recipe), weight_decay=recipe.weight_decay)
        self._rates = [group["lr"] for group in self._optimiser.param_groups]

    def learn(self, frames: Tensor, masks: Tensor) -> StepLosses:
        """One step on frames uint8 (B, T, S, S, 3) and masks uint8 (B, T, K, S, S)."""
        recipe = self.recipe
        done = self.step / recipe.iterations
        for group, rate in zip(self._optimiser.param_groups, self._rates):
            group["lr"] = rate * rate_factor(self.step, recipe.iterations)
        masks = masks.to(self._device, non_blocking=True).float()
        with torch.autocast(self._device.type, torch.bfloat16):
            images = normalise(frames.to(self._device, non_blocking=True))
            probabilities = segment_clips(self._network, images, masks[:, 0], recipe.clip_frames)
        truth = masks[:, 1:]
        ids = torch.arange(1, truth.shape[2] + 1, device=self._device).view(-1, 1, 1)
        target = (truth * ids).amax(2).long()
        entropy = bootstrapped_cross_entropy(probabilities.flatten(0, 1), target.flatten(0, 1), hardest_share(done))
        clips = zip(probabilities.split(recipe.clip_frames, 1), truth.split(recipe.clip_frames, 1))
        dice = torch.stack([clip_dice(p[:, :, 1:], t) for p, t in clips]).mean()
        self._optimiser.zero_grad(set_to_none=True)
        (entropy + dice).backward()
        gradient = nn.utils.clip_grad_norm_(self._network.parameters(), recipe.largest_gradient)
        self._optimiser.step()
        self._update_average()
        self.step += 1
        return StepLosses(entropy.item(), dice.item(), gradient.item())

    @torch.no_grad()
    def _update_average(self) -> None:
        # Early on the average must not remember the untrained network.
        decay = min(self.recipe.average, (self.step + 1) / (self.step + 10))
        torch._foreach_lerp_(list(self.average.parameters()), list(self._network.parameters()), 1 - decay)

    def save(self, path: Path) -> None:
        """Writes the whole state; a kill at any moment leaves the old file or the new one."""
        state = {
            "recipe": asdict(self.recipe),
            "step": self.step,
            "network": self._network.state_dict(),
            "average": self.average.state_dict(),
            "optimiser": self._optimiser.state_dict(),
        }
        new = path.with_suffix(".new")
        torch.save(state, new)
        os.replace(new, path)

    def resume(self, path: Path) -> None:
        """Goes on from a saved state.

        Raises:
            InputError: the file is missing or damaged, or was written by a training of another recipe.
        """
        if not path.is_file():
            raise InputError(f"nothing to resume: there is no {path}")
        try:
            state = torch.load(path, map_location=self._device, weights_only=True)
            stored = state["recipe"]
        except Exception as error:  # torch raises half a dozen kinds for damaged files
            raise InputError(f"{path} is no readable training state ({type(error).__name__}): start anew") from None
        for name, value in asdict(self.recipe).items():
            if stored.get(name) != value:
                raise InputError(
                    f"{path} was written with {name} {stored.get(name)}, not {value}: resume with the same settings"
                )
        self._network.load_state_dict(state["network"])
        self.average.load_state_dict(state["average"])
        self._optimiser.load_state_dict(state["optimiser"])
        self.step = state["step"]


def normalise(frames: Tensor) -> Tensor:
    """Uint8 (..., H, W, 3) RGB -> float32 (..., 3, H, W), normalised as the networks expect it."""
    mean, std = (255 * torch.tensor(v, device=frames.device).view(3, 1, 1) for v in (IMAGE_MEAN, IMAGE_STD))
    return (frames.movedim(-1, -3).float() - mean) / std


def _freeze(network: PCVOS, recipe: Recipe) -> None:
    trunk = network.key_encoder
    if recipe.trunk_rate == 0:
        trunk.requires_grad_(False)
    elif network.config.trunk == "mobilenet_v2":
        for part in (trunk.Conv, *trunk.blocks[: recipe.frozen_blocks]):
            part.requires_grad_(False)
        # Training the depthwise convolutions takes a fifth of a step on the CPU.
        for block in trunk.blocks:
            block.depthwise.requires_grad_(False)


def _groups(network: PCVOS, recipe: Recipe) -> list[dict]:
    """Parameters with their learning rates: the trunk's own; none of weight decay for scales and positions."""
    trunk, plain, rest = [], [], []
    for name, parameter in network.named_parameters():
        if not parameter.requires_grad:
            continue
        if name.startswith("key_encoder."):
            trunk.append(parameter)
        elif parameter.ndim < 2:
            plain.append(parameter)
        else:
            rest.append(parameter)
    groups = [
        {"params": rest, "lr": recipe.rate},
        {"params": plain, "lr": recipe.rate, "weight_decay": 0.0},
        {"params": trunk, "lr": recipe.rate * recipe.trunk_rate},
    ]
    return [group for group in groups if group["params"]]
