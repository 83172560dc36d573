"""`python -m model.training --data ARCHIVE... --out DIR`: trains perclip-lite per clip."""

import argparse
import copy
import csv
import queue
import sys
import threading
import time
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from model.annotated_sequences import read_sequences
from model.checkpoint import load_network, save_network
from model.config import PERCLIP_LITE_CONFIG
from model.errors import PerclipError
from model.framing import IMAGE_MEAN, IMAGE_STD
from model.pcvos import PCVOS
from model.training.clip_sampler import ClipSampler, SampleShape
from model.training.initialise import start_from_trunk
from model.training.losses import bootstrapped_cross_entropy, clip_dice
from model.training.per_clip import segment_clips

_FROZEN_BLOCKS = 3  # stem and first blocks of the trunk: edges and colours are what they are
_TRUNK_RATE = 0.1  # of the learning rate, for the rest of the trunk
_EMA = 0.99
_CLIP = 3.0


def _parse(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m model.training", description=__doc__)
    parser.add_argument("--data", type=Path, nargs="+", required=True, help="DAVIS-style folders or zip archives")
    parser.add_argument("--out", type=Path, required=True, help="folder for checkpoints and the log")
    parser.add_argument("--trunk", type=Path, help="folded MobileNetV2 to start from (not with --weights)")
    parser.add_argument("--weights", type=Path, help="perclip-lite checkpoint to go on from")
    parser.add_argument("--iterations", type=int, default=1000)
    parser.add_argument(
        "--minutes", type=float, default=float("inf"), help="stop early; the schedule follows the clock"
    )
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--crop", type=int, default=256)
    parser.add_argument("--rate", type=float, default=3e-4)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    return parser.parse_args(argv)


def _normalise(frames: np.ndarray) -> Tensor:
    """Uint8 (..., H, W, 3) -> float32 (..., 3, H, W)."""
    images = torch.from_numpy(frames).movedim(-1, -3).float() / 255
    mean, std = (torch.tensor(v).view(3, 1, 1) for v in (IMAGE_MEAN, IMAGE_STD))
    return (images - mean) / std


def _batches(sampler: ClipSampler, batch: int, gap: list[int]) -> "queue.Queue[tuple[Tensor, Tensor]]":
    """Drawn ahead in a thread; the gap is read at each draw."""
    ready: queue.Queue = queue.Queue(4)

    def work() -> None:
        while True:
            drawn = [sampler.draw(gap[0]) for _ in range(batch)]
            frames, masks = (np.stack(part) for part in zip(*drawn))
            ready.put((_normalise(frames), torch.from_numpy(masks).float()))

    threading.Thread(target=work, daemon=True).start()
    return ready


def _network(args: argparse.Namespace, sampler: ClipSampler) -> PCVOS:
    if args.weights is not None:
        return load_network("perclip-lite", args.weights)
    if args.trunk is None:
        raise PerclipError("nothing to start from: give --trunk or --weights")
    network = PCVOS(PERCLIP_LITE_CONFIG).eval()
    images = _normalise(np.concatenate([sampler.draw(5)[0][:1] for _ in range(100)]))
    start_from_trunk(network, args.trunk, images)
    return network


def _optimiser(network: PCVOS, rate: float) -> torch.optim.Optimizer:
    trunk = network.key_encoder
    for part in (trunk.Conv, *trunk.blocks[:_FROZEN_BLOCKS]):
        part.requires_grad_(False)
    slow = [p for p in trunk.parameters() if p.requires_grad]
    ours = {id(p) for p in trunk.parameters()}
    fast = [p for p in network.parameters() if id(p) not in ours]
    groups = [{"params": fast, "lr": rate}, {"params": slow, "lr": rate * _TRUNK_RATE}]
    return torch.optim.AdamW(groups, weight_decay=0.01)


def train(args: argparse.Namespace) -> None:
    """Runs the training that the arguments describe and leaves `perclip-lite.safetensors` in the output folder."""
    torch.set_num_threads(args.threads)
    torch.manual_seed(args.seed)
    args.out.mkdir(parents=True, exist_ok=True)
    sequences = [s for path in args.data for s in read_sequences(path)]
    shape = SampleShape(crop=args.crop)
    sampler = ClipSampler(sequences, shape, np.random.default_rng(args.seed))
    network = _network(args, sampler)
    optimiser = _optimiser(network, args.rate)
    rates = [group["lr"] for group in optimiser.param_groups]
    average = copy.deepcopy(network).requires_grad_(False)
    gap = [5]
    ready = _batches(sampler, args.batch, gap)
    started = time.time()
    with open(args.out / "log.csv", "w", newline="", encoding="utf-8") as file:
        log = csv.writer(file)
        log.writerow(["iteration", "cross_entropy", "dice", "wait_s", "elapsed_s"])
        for iteration in range(args.iterations):
            done = max(iteration / args.iterations, (time.time() - started) / 60 / args.minutes)
            if done >= 1:
                break
            # The gap between clips grows from 5 to 15 and is annealed back to 5 (PCVOS 3.6).
            gap[0] = int(5 + 10 * min(1, done / 0.5, (1 - done) / 0.2))
            warm = min(1, (iteration + 1) / 50)
            for group, rate in zip(optimiser.param_groups, rates):
                group["lr"] = rate * warm * (1.0 if done < 0.7 else 0.1 + 0.9 * (1 - done) / 0.3)
            share = max(0.2, 1 - 2 * done)
            waiting = time.time()
            images, masks = ready.get()
            waited = time.time() - waiting
            with torch.autocast("cpu", torch.bfloat16):
                probabilities = segment_clips(network, images, masks[:, 0], shape.clip_frames)
            truth = masks[:, 1:]
            target = (truth * torch.arange(1, shape.objects + 1).view(-1, 1, 1)).amax(2).long()
            entropy = bootstrapped_cross_entropy(probabilities.flatten(0, 1), target.flatten(0, 1), share)
            dice = torch.stack(
                [
                    clip_dice(p[:, :, 1:], t)
                    for p, t in zip(probabilities.split(shape.clip_frames, 1), truth.split(shape.clip_frames, 1))
                ]
            ).mean()
            optimiser.zero_grad(set_to_none=True)
            (entropy + dice).backward()
            torch.nn.utils.clip_grad_norm_(network.parameters(), _CLIP)
            optimiser.step()
            keep = min(_EMA, (iteration + 1) / (iteration + 10))
            for a, p in zip(average.parameters(), network.parameters()):
                a.lerp_(p.detach(), 1 - keep)
            row = [iteration, entropy.item(), dice.item(), waited, time.time() - started]
            log.writerow([row[0], *(f"{x:.4f}" for x in row[1:])])
            if iteration % 20 == 0:
                file.flush()
                print(" ".join(f"{x:.4g}" for x in row), flush=True)
            if iteration % 100 == 99:
                save_network(average, args.out / "perclip-lite.safetensors")
    save_network(average, args.out / "perclip-lite.safetensors")


if __name__ == "__main__":
    try:
        train(_parse(None))
    except PerclipError as error:
        sys.exit(f"error: {error}")
