"""The training program: reads the data, makes or loads the network, and trains it to the end of its recipe."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from tqdm import tqdm

from model.annotated_sequences import AnnotatedSequence, read_sequences
from model.checkpoint import load_network, save_network
from model.config import network_config
from model.errors import InputError
from model.inference import choose_device
from model.pcvos import PCVOS
from model.training.batches import draw_batches
from model.training.initialise import start_from_trunk
from model.training.recipe import Recipe
from model.training.sample_shape import SampleShape
from model.training.samples import TrainingSamples
from model.training.sources import read_sources
from model.training.still_clips import Stills
from model.training.trainer import Trainer, normalise
from model.training.training_log import TrainingLog
from model.training.validation import validate

_STATE = "state.pt"
_IMAGES_FOR_STATISTICS = 100

ReadSources = Callable[[Sequence[Path]], tuple[list[AnnotatedSequence], Stills | None]]


@dataclass(frozen=True)
class Run:
    """What to train from and where to put it; nothing here changes the result of a finished training but the data.

    Attributes:
        data: annotated videos and stills.
        out: folder for the checkpoint, the state and the log.
        weights: checkpoint to fine-tune; the public ones and Perclip's own.
        trunk: folded MobileNetV2 for a compact network that starts anew.
        resume: go on from the state in `out`.
        validation: annotated videos to measure accuracy on, or None.
        validation_frames: of each of them.
        every: steps between two validations (and curves); the state is saved every `save_every`.
        save_every: steps.
        stop_after: leave at this step with the state saved, as if interrupted; None: at the end.
        device: "auto", "cpu", "cuda" or "cuda:1".
        read: how the data sets are read.
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


def train(run: Run, recipe: Recipe) -> Path:
    """Trains, or goes on training; gives the path of the finished (or so far best averaged) checkpoint.

    Raises:
        InputError: data or state cannot be used, or `out` already holds a training that is not to be resumed.
        CheckpointError: the weights to start from cannot be used.
    """
    device = choose_device(run.device)
    state = run.out / _STATE
    if state.exists() and not run.resume:
        raise InputError(f"{run.out} holds a training: go on with --resume, or give another folder")
    if run.resume and not state.exists():
        raise InputError(f"nothing to resume: there is no {state}")
    held_out = [] if run.validation is None else read_sequences(run.validation)
    sequences, stills = run.read(run.data)
    shape = SampleShape(clip_frames=recipe.clip_frames, crop=recipe.crop, objects=recipe.objects)
    samples = TrainingSamples(sequences, stills, shape, recipe.seed)
    torch.manual_seed(recipe.seed)
    trainer = Trainer(_start(run, recipe, samples), recipe, device)
    if run.resume:
        trainer.resume(state)
    run.out.mkdir(parents=True, exist_ok=True)
    (run.out / "recipe.json").write_text(recipe.to_json() + "\n", encoding="utf-8")
    log = TrainingLog(run.out, trainer.step)
    checkpoint = run.out / f"{recipe.network}.safetensors"

    def keep() -> None:
        trainer.save(state)
        save_network(trainer.average, checkpoint)

    last = min(recipe.iterations, run.stop_after or recipe.iterations)
    batches = draw_batches(samples, recipe, trainer.step)
    with tqdm(initial=trainer.step, total=recipe.iterations, desc=recipe.network, unit="step") as bar:
        while trainer.step < last:
            started = time.perf_counter()
            frames, masks = next(batches)
            wait = time.perf_counter() - started
            losses = trainer.learn(frames, masks)
            log.step(trainer.step - 1, losses, wait, time.perf_counter() - started)
            bar.update()
            bar.set_postfix(entropy=f"{losses.cross_entropy:.3f}", dice=f"{losses.dice:.3f}", wait=f"{wait:.2f}s")
            if trainer.step % run.save_every == 0 or trainer.step == last:
                keep()
            if trainer.step % run.every == 0 or trainer.step == recipe.iterations:
                if held_out:
                    measures = validate(trainer.average, held_out, run.validation_frames)
                    log.validation(trainer.step, measures.j, measures.f)
                    bar.write(f"step {trainer.step}: validation J {measures.j:.3f} F {measures.f:.3f}")
                log.draw()
    return checkpoint


def _start(run: Run, recipe: Recipe, samples: TrainingSamples) -> PCVOS:
    """The network to train: loaded, started from a trunk, or new."""
    if run.weights is not None:
        return load_network(recipe.network, run.weights)
    network = PCVOS(network_config(recipe.network))
    if network.config.trunk != "mobilenet_v2":
        return network
    if run.trunk is None:
        raise InputError(f"nothing to start {recipe.network} from: give --trunk or --weights")
    if not run.resume:
        images = [samples.sample(i).frames[:1] for i in range(_IMAGES_FOR_STATISTICS)]
        start_from_trunk(network, run.trunk, torch.cat([normalise(torch.from_numpy(image)) for image in images]))
    return network
