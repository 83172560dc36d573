"""Batches for the network, drawn ahead by worker processes."""

import os
from collections.abc import Iterator

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from model.training.recipe import Recipe
from model.training.samples import TrainingSamples
from model.training.schedule import largest_gap, still_share


class _Samples(Dataset):
    """Sample number i belongs to step i // batch, whose schedule it follows."""

    def __init__(self, samples: TrainingSamples, recipe: Recipe):
        self._samples, self._recipe = samples, recipe

    def __getitem__(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        done = index // self._recipe.batch / self._recipe.iterations
        sample = self._samples.sample(index, largest_gap(done), still_share=still_share(done, self._recipe.still_share))
        return sample.frames, sample.masks


def draw_batches(samples: TrainingSamples, recipe: Recipe, first_step: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Frames uint8 (B, T, S, S, 3) and masks uint8 (B, T, K, S, S) of all steps from a given one on.

    K is the largest number of objects that a sample of the batch has. The same steps give the same batches, whatever
    was drawn before.
    """
    first = first_step * recipe.batch
    # Here and not in the workers: a forked process waits for ever for OpenCV threads that only its parent has.
    cv2.setNumThreads(1)
    workers = min(8, max(1, (os.cpu_count() or 2) - 1))
    loader = DataLoader(
        _Samples(samples, recipe),
        batch_size=recipe.batch,
        sampler=range(first, recipe.iterations * recipe.batch),
        num_workers=workers,
        prefetch_factor=4,
        worker_init_fn=_one_thread,
        # Workers share the decoded data with this process instead of copying it.
        multiprocessing_context="fork",
        pin_memory=torch.cuda.is_available(),
    )
    for frames, masks in loader:
        used = masks.flatten(3).any(3).any(1).sum(1).max()  # used objects come first
        yield frames, masks[:, :, : max(1, int(used))]


def _one_thread(_worker: int) -> None:
    torch.set_num_threads(1)
