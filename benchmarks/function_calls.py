"""Calls of the function's handler in this process, for benchmarks."""

import base64
import io
import json
from typing import Any

import numpy as np
from PIL import Image

from serverless.perclip_function import PerclipFunction


def answer(function: PerclipFunction, body: Any) -> dict[str, Any]:
    """The parsed answer to a body, JSON or its bytes; raises RuntimeError where the call is refused."""
    found = function.answer("POST", body)
    if found.status != 200:
        raise RuntimeError(found.body)
    return json.loads(found.body)


def image_text(frame: np.ndarray, format: str = "PNG") -> str:
    """A frame, uint8 (H, W, 3) RGB, as an image file in base64."""
    file = io.BytesIO()
    Image.fromarray(frame).save(file, format)
    return base64.b64encode(file.getvalue()).decode()
