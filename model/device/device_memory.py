"""How much of a GPU's memory this process may take."""

import torch


def bound_device_memory(device: torch.device, gigabytes: float | None) -> None:
    """Sets the bound for all that torch allocates on a GPU in this process from now on; None: all of it."""
    index = torch.cuda.current_device() if device.index is None else device.index
    total = torch.cuda.get_device_properties(index).total_memory
    torch.cuda.set_per_process_memory_fraction(1.0 if gigabytes is None else min(1.0, gigabytes * 1e9 / total), index)
