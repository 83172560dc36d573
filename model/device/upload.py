"""Frames on their way to the device."""

import torch
from torch import Tensor


class Upload:
    """Copies to a GPU beside what it computes: on a stream of its own, from memory that is locked in place.

    The caller goes on at once; what it has the GPU do with the copy waits for the copy alone. On the CPU nothing is
    copied. (Not measured on a GPU yet.)
    """

    def __init__(self, device: torch.device):
        self._device = device
        self._stream = torch.cuda.Stream(device) if device.type == "cuda" else None

    def __call__(self, pixels: Tensor) -> Tensor:
        """A CPU tensor on the device."""
        if self._stream is None:
            return pixels.to(self._device)
        with torch.cuda.stream(self._stream):
            there = pixels.pin_memory().to(self._device, non_blocking=True)
        computing = torch.cuda.current_stream(self._device)
        computing.wait_stream(self._stream)
        there.record_stream(computing)  # its memory is not given away before it was read
        return there
