"""Loads and saves networks: the public PCVOS, STCN, STM and SWEM checkpoints, and Perclip's own."""

import pickle
from pathlib import Path

import safetensors
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from model.confidence.calibration import Calibration
from model.errors import CheckpointError
from model.network.checkpoint_files import named_in_utf8, shipped_path
from model.network.config import NETWORKS, NetworkConfig, network_config
from model.network.networks import new_network
from model.network.segmentation_network import SegmentationNetwork

# Parameter names that give an architecture away, the most telling first.
_MARKS = {
    "perclip-lite": ("key_encoder.blocks.", "decoder.guess."),
    "XMem": ("key_proj.d_proj.", "decoder.hidden_update."),
    "Cutie": ("object_transformer.", "pixel_encoder."),
    "stm": ("Encoder_M.", "KV_M_r4."),
    "swem": ("swem_core.",),
    "SAM 2": ("sam_mask_decoder.", "memory_attention."),
    "pcvos": ("refine_transformer.",),
    "stcn": ("key_comp.", "key_proj.key_proj."),
}


def load_network(name: str, weights: str | Path | None = None) -> SegmentationNetwork:
    """A network with its weights, in eval mode, float32 on the CPU.

    Args:
        name: one of `model.network.config.NETWORKS`.
        weights: a public `.pth` checkpoint or one of Perclip's `.safetensors`; None: the one that ships with
            Perclip under this name.

    Raises:
        InputError: unknown name.
        CheckpointError: the file is missing, unreadable or made for another network; names the first mismatch.
    """
    config = network_config(name)
    path = shipped_path(name) if weights is None else Path(weights)
    tensors, stored, calibration = _read(path)
    if stored is not None and stored.name == config.name:
        config = stored  # sizes of this very checkpoint
    network = new_network(config)
    if calibration is not None:
        network.calibration = calibration
    _check(path, config.name, tensors, network.state_dict())
    network.load_state_dict(tensors, strict=True)
    return network.eval()


def save_network(network: SegmentationNetwork, path: str | Path, dtype: torch.dtype = torch.float16) -> None:
    """Writes a network as safetensors; floating-point tensors in `dtype`, config and calibration in the metadata."""
    tensors = {
        name: (t.to(dtype) if t.is_floating_point() else t).contiguous() for name, t in network.state_dict().items()
    }
    metadata = {"config": network.config.to_json(), "calibration": network.calibration.to_json()}
    save_file(tensors, str(path), metadata=metadata)


def write_calibration(path: Path, calibration: Calibration) -> None:
    """Replaces the calibration in one of Perclip's own checkpoints; the weights stay as they are, bit for bit.

    Raises:
        CheckpointError: the file is no such checkpoint, or cannot be written.
    """
    tensors, config, _ = _read(path)
    if config is None:
        raise CheckpointError(f"{path} does not name its network: a calibration fits Perclip's own checkpoints only")
    metadata = {"config": config.to_json(), "calibration": calibration.to_json()}
    new = path.with_name(path.name + ".new")
    try:
        save_file(tensors, str(new), metadata=metadata)
        new.replace(path)
    except (safetensors.SafetensorError, OSError) as error:
        new.unlink(missing_ok=True)
        raise CheckpointError(f"cannot write {path} ({_first_line(error)}): make it writable") from None


def _read(path: Path) -> tuple[dict[str, Tensor], NetworkConfig | None, Calibration | None]:
    """The tensors of a checkpoint file and, of Perclip's own ones, the config and the calibration if it was fitted."""
    if not path.is_file():
        raise CheckpointError(f"no weights file at {path}: check the path")
    if path.suffix == ".safetensors":
        try:
            with named_in_utf8(path) as name:
                tensors = load_file(name)
                with safetensors.safe_open(name, "pt") as file:
                    metadata = file.metadata() or {}
            config = NetworkConfig.from_json(metadata["config"]) if "config" in metadata else None
            calibration = Calibration.from_json(metadata["calibration"]) if "calibration" in metadata else None
        except (safetensors.SafetensorError, ValueError, KeyError, TypeError, OSError) as error:
            raise CheckpointError(f"{path} is no readable checkpoint ({_first_line(error)}): get it again") from None
        return tensors, config, calibration
    try:
        # weights_only: a checkpoint from elsewhere must not be able to run code.
        content = torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, ValueError, EOFError, OSError, KeyError) as error:
        raise CheckpointError(f"{path} is no readable checkpoint ({_first_line(error)}): get it again") from None
    for wrapper in ("network", "model", "state_dict"):
        if isinstance(content, dict) and isinstance(content.get(wrapper), dict):
            content = content[wrapper]
    if not isinstance(content, dict) or not content or not all(isinstance(t, Tensor) for t in content.values()):
        raise CheckpointError(f"{path} holds no network weights: give a file of parameter tensors")
    return {name.removeprefix("module."): t for name, t in content.items()}, None, None


def _check(path: Path, name: str, tensors: dict[str, Tensor], expected: dict[str, Tensor]) -> None:
    """Raises CheckpointError unless names and shapes agree."""
    found = next((n for n, marks in _MARKS.items() if any(k.startswith(marks) for k in tensors)), None)
    if found is not None and found != name:
        hint = f"load it as {found!r}" if found in NETWORKS else "Perclip cannot run it"
        raise CheckpointError(f"{path} is a checkpoint of {found}, not of {name!r}: {hint}")
    for key, tensor in expected.items():
        if key not in tensors:
            raise CheckpointError(f"{path} does not fit {name!r}: it has no {key!r}")
        if tensors[key].shape != tensor.shape:
            raise CheckpointError(
                f"{path} does not fit {name!r}: {key!r} is {tuple(tensors[key].shape)}, expected {tuple(tensor.shape)}"
            )
    extra = next((key for key in tensors if key not in expected), None)
    if extra is not None:
        raise CheckpointError(f"{path} does not fit {name!r}: it has {extra!r}, which the network has not")


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:120]
