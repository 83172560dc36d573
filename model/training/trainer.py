"""Trains a network step by step; its state can be saved at any step and gone on from exactly."""

import copy
import math
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from model.confidence.calibration import Calibration
from model.device.cpu_features import has_bfloat16
from model.errors import InputError
from model.network.compact_trunk import CompactTrunk
from model.network.config import NetworkConfig
from model.network.input_constants import IMAGE_MEAN, IMAGE_STD
from model.network.pcvos import PCVOS
from model.training.batch_layers import BatchLayers
from model.training.losses import UNKNOWN, bootstrapped_cross_entropy, clip_dice
from model.training.memory_faults import MemoryFaults
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
    """Owns the network, its averaged copy and the optimiser.

    BatchNorm (of the published networks; the compact one has none) keeps the statistics that were loaded: a few crops
    of one training step measure worse ones. In a network that starts from random weights they mean nothing, so there
    the layers learn them, and the average takes them over as they are.
    """

    def __init__(self, network: PCVOS, recipe: Recipe, device: torch.device, from_scratch: bool = False):
        """Takes the network over.

        Args:
            network: to be trained; it is changed in place.
            recipe: of the training.
            device: where to train.
            from_scratch: its weights are random.
        """
        self.recipe = recipe
        self.step = 0
        self._device = device
        self._from_scratch = from_scratch
        # Processors without the instructions emulate bfloat16 many times slower.
        self._autocast = device.type == "cuda" or has_bfloat16()
        compact = network.compact
        self._faults = MemoryFaults(recipe.faults, recipe.blurred if compact else 0.0, recipe.placeless)
        # Torch's annotations lack the memory format.
        on_device: PCVOS = network.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self._network = on_device.eval()
        _freeze(network, recipe)
        self.average = copy.deepcopy(self._network).requires_grad_(False)
        """The averaged network (EMA), the result of the training so far."""
        if from_scratch:
            for module in network.modules():
                module.train(isinstance(module, nn.BatchNorm2d))
        self._optimiser = torch.optim.AdamW(_groups(network, recipe), weight_decay=recipe.weight_decay)
        self._rates = [group["lr"] for group in self._optimiser.param_groups]

    def learn(
        self,
        frames: Tensor,
        masks: Tensor,
        layers: Tensor | None = None,
        decoys: Tensor | None = None,
        void: Tensor | None = None,
    ) -> StepLosses:
        """One step on frames uint8 (B, T, S, S, 3) and masks uint8 (B, T, K, S, S).

        Masks of objects in different layers, int64 (B, K), may overlap; without `layers` no masks do. Each layer has a
        background and a cross-entropy of its own. Decoys, bool (B, T, S, S), are what may be remembered wrongly. Void,
        likewise, is where nothing is taught; no mask may be there.

        Raises:
            InputError: the loss or its gradient is no number any more; the network is left as it was.
        """
        recipe = self.recipe
        done = self.step / recipe.iterations
        for group, rate in zip(self._optimiser.param_groups, self._rates):
            group["lr"] = rate * rate_factor(self.step, recipe.iterations)
        masks = masks.to(self._device, non_blocking=True).float()
        competing = (
            BatchLayers.single(len(masks), masks.shape[2], self._device)
            if layers is None
            else BatchLayers(layers.to(self._device))
        )
        # Drawn anew for each step, so that a training that is resumed goes on with the same.
        random = torch.Generator().manual_seed(recipe.seed * 1_000_003 + self.step)
        with torch.autocast(self._device.type, torch.bfloat16, enabled=self._autocast):
            images = normalise(frames.to(self._device, non_blocking=True))
            probabilities = segment_clips(
                self._network,
                images,
                masks[:, 0],
                recipe.clip_frames,
                faults=self._faults,
                random=random,
                layers=competing,
                decoys=None if decoys is None else decoys.to(self._device, non_blocking=True),
            )
        truth = masks[:, 1:]
        target = competing.classes(truth)
        unknown = None if void is None else void[:, 1:].to(self._device, non_blocking=True)
        if unknown is not None:
            target = torch.where(unknown[competing.samples], UNKNOWN, target)
        entropy = bootstrapped_cross_entropy(probabilities.flatten(0, 1), target.flatten(0, 1), hardest_share(done))
        objects = competing.objects_of(probabilities[:, :, 1:])
        if unknown is not None:
            objects = objects * ~unknown[:, :, None]
        clips = zip(objects.split(recipe.clip_frames, 1), truth.split(recipe.clip_frames, 1))
        dice = torch.stack([clip_dice(p, t) for p, t in clips]).mean()
        self._optimiser.zero_grad(set_to_none=True)
        (entropy + dice).backward()
        gradient = nn.utils.clip_grad_norm_(self._network.parameters(), recipe.largest_gradient).item()
        if not math.isfinite(gradient):
            raise InputError(f"the training diverged in step {self.step}: start again with a lower rate")
        self._optimiser.step()
        self._update_average()
        self.step += 1
        return StepLosses(entropy.item(), dice.item(), gradient)

    @torch.no_grad()
    def _update_average(self) -> None:
        # Early on the average must not remember the untrained network.
        decay = min(self.recipe.average, (self.step + 1) / (self.step + 10))
        torch._foreach_lerp_(list(self.average.parameters()), list(self._network.parameters()), 1 - decay)
        if self._from_scratch:
            for mine, its in zip(self.average.buffers(), self._network.buffers()):
                mine.copy_(its)

    def save(self, path: Path) -> None:
        """Writes the whole state; a kill at any moment leaves the old file or the new one.

        Raises:
            InputError: the file cannot be written.
        """
        state = {
            "recipe": asdict(self.recipe),
            "config": self._network.config.to_json(),
            "calibration": self._network.calibration.to_json(),
            "from_scratch": self._from_scratch,
            "step": self.step,
            "network": self._network.state_dict(),
            "average": self.average.state_dict(),
            "optimiser": self._optimiser.state_dict(),
        }
        new = path.with_suffix(".new")
        try:
            torch.save(state, new)
            os.replace(new, path)
        except (OSError, RuntimeError) as error:  # torch's writer raises RuntimeError on a full disk
            raise InputError(f"{path} cannot be written ({_first_line(error)}): make room, then --resume") from None

    @classmethod
    def resumed(cls, path: Path, recipe: Recipe, device: torch.device) -> "Trainer":
        """A trainer that goes on from a saved state.

        Raises:
            InputError: the file is missing or damaged, or was written by a training of another recipe.
        """
        if not path.is_file():
            raise InputError(f"nothing to resume: there is no {path}")
        try:
            state = torch.load(path, map_location=device, weights_only=True)
            stored = dict(state["recipe"])
        except Exception as error:  # torch raises half a dozen kinds for damaged files
            raise _unreadable(path, error) from None
        for name, value in asdict(recipe).items():
            if stored.get(name) != value:
                raise InputError(
                    f"{path} was written with {name} {stored.get(name)}, not {value}: resume with the same settings"
                )
        try:
            network = PCVOS(NetworkConfig.from_json(state["config"]))
            network.calibration = Calibration.from_json(state["calibration"])
            trainer = cls(network, recipe, device, state["from_scratch"])
            trainer._restore(state)
        except (KeyError, TypeError, ValueError, RuntimeError, AttributeError) as error:
            raise _unreadable(path, error) from None
        return trainer

    def _restore(self, state: dict[str, Any]) -> None:
        self._network.load_state_dict(state["network"])
        self.average.load_state_dict(state["average"])
        self._optimiser.load_state_dict(state["optimiser"])
        self.step = int(state["step"])


def _unreadable(path: Path, error: Exception) -> InputError:
    return InputError(f"{path} is no readable training state ({type(error).__name__}): start anew in another folder")


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:120]


def normalise(frames: Tensor) -> Tensor:
    """Uint8 (..., H, W, 3) RGB -> float32 (..., 3, H, W), normalised as the networks expect it."""
    mean, std = (255 * torch.tensor(v, device=frames.device).view(3, 1, 1) for v in (IMAGE_MEAN, IMAGE_STD))
    return (frames.movedim(-1, -3).float() - mean) / std


def _freeze(network: PCVOS, recipe: Recipe) -> None:
    trunk = network.key_encoder
    if recipe.trunk_rate == 0:
        trunk.requires_grad_(False)
    elif isinstance(trunk, CompactTrunk):
        for part in (trunk.Conv, *trunk.blocks[: recipe.frozen_blocks]):
            part.requires_grad_(False)
        # Training the depthwise convolutions takes a fifth of a step on the CPU.
        trunk.freeze_depthwise()


def _groups(network: PCVOS, recipe: Recipe) -> list[dict[str, Any]]:
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
