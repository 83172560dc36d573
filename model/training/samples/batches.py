"""Batches for the network, drawn ahead by worker processes."""

import os
import sys
from collections.abc import Generator
from typing import Any

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, default_collate

from model.errors import PerclipError
from model.training.recipe import Recipe
from model.training.samples.training_samples import TrainingSamples
from model.training.schedule import largest_gap, paste_share, still_share

_Arrays = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray]


class _Samples(Dataset[_Arrays | PerclipError]):
    """Sample number i belongs to step i // batch, whose schedule it follows.

    Objects beyond the step's number of them stay in the frames, as decoys.
    """

    def __init__(self, samples: TrainingSamples, recipe: Recipe):
        self._samples, self._recipe = samples, recipe

    def __getitem__(self, index: int) -> _Arrays | PerclipError:
        done = index // self._recipe.batch / self._recipe.iterations
        share = still_share(done, self._recipe.still_share)
        # All samples of a step have as many objects at most: a step takes as long as its fullest sample.
        most = 1 + (index // self._recipe.batch) % self._recipe.objects
        try:
            sample = self._samples.sample(index, largest_gap(done), still_share=share, paste=paste_share(done))
        except PerclipError as error:
            # Returned, as the loader makes a page of text of what a worker raises.
            return error
        sample = sample.with_objects(most)
        return sample.frames, sample.masks, sample.layers, sample.decoys, sample.void


def draw_batches(
    samples: TrainingSamples, recipe: Recipe, first_step: int
) -> Generator[tuple[Tensor, Tensor, Tensor, Tensor, Tensor], None, None]:
    """What `Trainer.learn` takes, for all steps from a given one on.

    Frames uint8 (B, T, S, S, 3), masks uint8 (B, T, K, S, S), layers int64 (B, K), decoys and void bool (B, T, S, S).
    K is the largest number of objects that a sample of the batch has. The same steps give the same batches, whatever
    was drawn before. The worker processes end when the iterator is exhausted or closed.

    Raises:
        InputError: the data shows no object that is large enough, or a file is damaged.
    """
    first = first_step * recipe.batch
    # Here and not in the workers: a forked process waits for ever for OpenCV threads that only its parent has.
    cv2.setNumThreads(1)
    loader = DataLoader(
        _Samples(samples, recipe),
        batch_size=recipe.batch,
        sampler=range(first, recipe.iterations * recipe.batch),
        collate_fn=_collate,
        pin_memory=torch.cuda.is_available(),
        **_workers(),
    )
    for batch in loader:
        if isinstance(batch, PerclipError):
            raise batch
        frames, masks, layers, decoys, void = batch
        used = masks.flatten(3).any(3).any(1).sum(1).max()  # used objects come first
        most = max(1, int(used))
        yield frames, masks[:, :, :most], layers[:, :most], decoys, void


def _workers() -> dict[str, Any]:
    """Options of the loader.

    Workers are forked, so that they share the decoded data instead of copying it; where forking is missing (Windows)
    or unsafe (macOS), the training process draws the samples itself. By then the parent may be using a GPU, which is
    safe as long as nothing that a worker calls touches it: samples are NumPy and OpenCV.
    """
    if sys.platform != "linux":
        return {}
    return {
        "num_workers": min(8, max(1, (os.cpu_count() or 2) - 1)),
        "prefetch_factor": 4,
        "worker_init_fn": _one_thread,
        "multiprocessing_context": "fork",
    }


def _one_thread(_worker: int) -> None:
    torch.set_num_threads(1)


def _collate(drawn: list[_Arrays | PerclipError]) -> Any:
    failed = next((sample for sample in drawn if isinstance(sample, PerclipError)), None)
    return default_collate(drawn) if failed is None else failed
