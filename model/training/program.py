"""The training program: reads the data, makes or loads the network, and trains it to the end of its recipe."""

import os
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from safetensors import SafetensorError
from tqdm import tqdm

from model.data.annotated_sequences import AnnotatedSequence
from model.errors import InputError
from model.inference.prepared_network import choose_device
from model.network.checkpoint import load_network, save_network
from model.network.compact_trunk import TRUNKS
from model.network.config import network_config
from model.network.pcvos import PCVOS
from model.program.folder_lock import FolderLock
from model.training.initialise import start_from_trunk, trunk_name
from model.training.recipe import Recipe
from model.training.samples.batches import draw_batches
from model.training.samples.sample_shape import SampleShape
from model.training.samples.sources import read_sources, read_videos
from model.training.samples.stills import Stills
from model.training.samples.training_samples import TrainingSamples
from model.training.trainer import Trainer, normalise
from model.training.training_log import TrainingLog
from model.training.validation import leading_frames, validate

_STATE = "state.pt"
_IMAGES_FOR_STATISTICS = 100

ReadSources = Callable[[Sequence[Path]], tuple[list[AnnotatedSequence], Stills | None]]
ReadValidation = Callable[[Path], list[AnnotatedSequence]]


@dataclass(frozen=True)
class Run:
    """What to train from and where to put it; of these, only data, weights and trunk matter to the result.

    Attributes:
        data: annotated videos and stills.
        out: folder for the checkpoint, the state and the log.
        weights: checkpoint to fine-tune; the public ones and Perclip's own.
        trunk: folded public weights of a compact trunk, for a network that starts anew.
        resume: go on from the state in `out`, which also knows what was started from.
        validation: annotated videos to measure accuracy on, or None.
        validation_frames: of each of them; None for all.
        every: steps between two validations (and curves).
        save_every: steps between two saved states.
        stop_after: leave at this step with the state saved, as if interrupted; None: at the end.
        device: "auto", "cpu", "cuda" or "cuda:1".
        read: how the data sets are read.
        read_validation: how the videos for validation are read.

    Raises:
        InputError: a value is out of its range, or both `weights` and `trunk` are given.
    """

    data: Sequence[Path]
    out: Path
    weights: Path | None = None
    trunk: Path | None = None
    resume: bool = False
    validation: Path | None = None
    validation_frames: int | None = 20
    every: int = 500
    save_every: int = 100
    stop_after: int | None = None
    device: str = "auto"
    read: ReadSources = read_sources
    read_validation: ReadValidation = read_videos

    def __post_init__(self) -> None:
        for name in ("every", "save_every", "stop_after", "validation_frames"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise InputError(f"{name} {value}: give 1 or more")
        if self.weights is not None and self.trunk is not None:
            raise InputError("weights and trunk exclude one another: a network is fine-tuned, or starts from a trunk")


def train(run: Run, recipe: Recipe) -> Path:
    """Trains, or goes on training; gives the path of the averaged network's checkpoint.

    Raises:
        InputError: data or state cannot be used, `out` cannot be written, another run works there, it already holds a
            training that is not to be resumed, or the training diverged.
        CheckpointError: the weights to start from cannot be used.
    """
    device = choose_device(run.device)
    with ExitStack() as stack:
        if run.resume and run.out.is_dir():  # before its state is read: a live run would go on from there, too
            lock = stack.enter_context(FolderLock(run.out))
        _refuse_other_training(run)
        torch.manual_seed(recipe.seed)
        # What is quickly found to be wrong is found before the data is read.
        resumed = Trainer.resumed(run.out / _STATE, recipe, device) if run.resume else None
        network = None if run.resume else _network(run, recipe)
        held_out = []
        if run.validation is not None:
            held_out = leading_frames(run.read_validation(run.validation), run.validation_frames)
        sequences, stills = run.read(run.data)
        shape = SampleShape(
            clip_frames=recipe.clip_frames, crop=recipe.crop, objects=recipe.objects, nested=recipe.nested
        )
        samples = TrainingSamples(sequences, stills, shape, recipe.seed)
        trainer = resumed
        if network is not None:
            lock = stack.enter_context(FolderLock(run.out))
            _refuse_other_training(run)
            trainer = _start(network, run, recipe, samples, device)
        assert trainer is not None
        checkpoint = _Training(run, recipe, trainer, held_out).run(samples)
        lock.check()
    return checkpoint


def _refuse_other_training(run: Run) -> None:
    """Raises InputError where the folder holds a training that is not to be resumed."""
    if (run.out / _STATE).exists() and not run.resume:
        raise InputError(f"{run.out} holds a training: go on with --resume, or give another folder")


def _network(run: Run, recipe: Recipe) -> PCVOS:
    """The network to start with: loaded, or with random weights."""
    if run.weights is not None:
        if not recipe.refinement:
            raise InputError("--refinement 0 is for a new network: leave --weights out")
        network = load_network(recipe.network, run.weights)
        assert isinstance(network, PCVOS)  # the recipe takes no others
        return network
    config = network_config(recipe.network)
    if not recipe.refinement:
        config = config.without_refinement()
    if config.trunk in TRUNKS:
        if run.trunk is None:
            raise InputError(f"nothing to start {recipe.network} from: give --trunk or --weights")
        if not run.trunk.is_file():
            raise InputError(f"no weights file at {run.trunk}: check the path of --trunk")
        config = replace(config, trunk=trunk_name(run.trunk))
    elif run.trunk is not None:
        raise InputError(f"{recipe.network} does not start from a trunk of its own: leave --trunk out")
    return PCVOS(config)


def _start(network: PCVOS, run: Run, recipe: Recipe, samples: TrainingSamples, device: torch.device) -> Trainer:
    if run.trunk is not None:
        images = [samples.sample(i).frames[:1] for i in range(_IMAGES_FOR_STATISTICS)]
        start_from_trunk(network, run.trunk, torch.cat([normalise(torch.from_numpy(image)) for image in images]))
    return Trainer(network, recipe, device, from_scratch=run.weights is None and run.trunk is None)


class _Training:
    """The loop: steps, and what is written while they go on."""

    def __init__(self, run: Run, recipe: Recipe, trainer: Trainer, held_out: Sequence[AnnotatedSequence]):
        self._run, self._recipe, self._trainer, self._held_out = run, recipe, trainer, held_out
        self._checkpoint = run.out / f"{recipe.network}.safetensors"

    def run(self, samples: TrainingSamples) -> Path:
        """Trains to the end, or to where the run is to stop; gives the checkpoint's path."""
        try:
            (self._run.out / "recipe.json").write_text(self._recipe.to_json() + "\n", encoding="utf-8")
            log = TrainingLog(self._run.out, self._trainer.step)
            self._steps(samples, log)
            if not self._checkpoint.is_file():  # killed between the last state and its checkpoint
                self._keep()
        except (OSError, SafetensorError) as error:
            reason = getattr(error, "strerror", None) or type(error).__name__
            raise InputError(f"{self._run.out} cannot be written ({reason}): make room, then --resume") from None
        return self._checkpoint

    def _steps(self, samples: TrainingSamples, log: TrainingLog) -> None:
        run, recipe, trainer = self._run, self._recipe, self._trainer
        last = min(recipe.iterations, run.stop_after or recipe.iterations)
        with (
            # Closed rather than left to be collected: the worker processes must not outlive the training.
            closing(draw_batches(samples, recipe, trainer.step)) as batches,
            tqdm(initial=trainer.step, total=recipe.iterations, desc=recipe.network, unit="step") as bar,
        ):
            while trainer.step < last:
                started = time.perf_counter()
                batch = next(batches)
                wait = time.perf_counter() - started
                losses = trainer.learn(*batch)
                log.step(trainer.step - 1, losses, wait, time.perf_counter() - started)
                bar.update()
                bar.set_postfix(entropy=f"{losses.cross_entropy:.3f}", dice=f"{losses.dice:.3f}", wait=f"{wait:.2f}s")
                if trainer.step % run.save_every == 0 or trainer.step == last:
                    self._keep()
                if trainer.step % run.every == 0 or trainer.step == recipe.iterations:
                    self._validate(log, bar)
                if trainer.step % run.every == 0 or trainer.step == last:
                    _draw(log, bar)

    def _keep(self) -> None:
        """Saves the state, and the averaged network as a checkpoint."""
        self._trainer.save(self._run.out / _STATE)
        new = self._checkpoint.with_suffix(".new")
        save_network(self._trainer.average, new)
        os.replace(new, self._checkpoint)

    def _validate(self, log: TrainingLog, bar: tqdm) -> None:
        if self._held_out:
            measures = validate(self._trainer.average, self._held_out)
            log.validation(self._trainer.step, measures.j, measures.f)
            bar.write(f"step {self._trainer.step}: validation J {measures.j:.3f} F {measures.f:.3f}", file=sys.stderr)


def _draw(log: TrainingLog, bar: tqdm) -> None:
    try:
        log.draw()
    except ImportError:
        bar.write("no curves.png: python -m pip install matplotlib", file=sys.stderr)
