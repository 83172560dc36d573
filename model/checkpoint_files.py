"""Where the checkpoints lie that ship with Perclip."""

from pathlib import Path

SHIPPED = {"perclip-lite": Path(__file__).parent / "weights" / "perclip-lite.safetensors"}
