"""Calls of the real handler, through Nuclio's own objects."""

import base64
import hashlib
import io
import json
import types
from dataclasses import replace
from typing import Any

import nuclio_sdk
import numpy as np
from PIL import Image

from model.learning.recipe import LearningRecipe
from plugin.shapes import encode_mask
from serverless import main
from serverless.perclip_function import PerclipFunction, Settings

HEIGHT, WIDTH = 96, 128
"""Size of the squares' frames."""

SMALL = Settings(device="cpu", short_side=96)
"""A network that sees 96 lines, quick on the CPU."""


class Worker:
    """One Nuclio worker: a context of its own with the handler behind it."""

    def __init__(self, settings: Settings = SMALL, recipe: LearningRecipe | None = None):
        logger = nuclio_sdk.Logger(level=0)
        self.log = io.StringIO()
        logger.set_handler("default", self.log, nuclio_sdk.logger.JSONFormatter())
        self.context = nuclio_sdk.Context(logger=logger)
        self.context.user_data = types.SimpleNamespace(perclip=PerclipFunction(settings, recipe))

    @staticmethod
    def settings(**changes: Any) -> Settings:
        """The small network's settings with changes."""
        return replace(SMALL, **changes)

    def call(self, body: Any, method: str = "POST") -> tuple[int, dict[str, Any]]:
        """Status and parsed answer."""
        event = nuclio_sdk.Event(body=body, content_type="application/json", method=method, path="/")
        response = main.handler(self.context, event)
        return response.status_code, json.loads(response.body)

    def answered(self, body: Any) -> dict[str, Any]:
        """The answer to a call that must succeed."""
        status, answer = self.call(json.loads(json.dumps(body)))
        assert status == 200 and "error" not in answer, answer
        return answer


def sealed(state: dict[str, Any]) -> dict[str, Any]:
    """A tracker's state with the checksum of what is in it now, as somebody may forge it."""
    fields = {name: value for name, value in state.items() if name != "sum"}
    text = json.dumps(fields, sort_keys=True, separators=(",", ":"))
    return fields | {"sum": hashlib.sha256(text.encode()).hexdigest()[:32]}


def sealed_continuation(body: dict[str, Any]) -> str:
    """The text of a continuation with this content."""
    text = json.dumps(body, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:32] + text


def image_text(frame: np.ndarray, format: str = "PNG") -> str:
    """A frame as CVAT sends it."""
    file = io.BytesIO()
    Image.fromarray(frame).save(file, format)
    return base64.b64encode(file.getvalue()).decode()


def mask_shape(mask: np.ndarray, **fields: Any) -> dict[str, Any]:
    """A mask as a CVAT shape."""
    return {"type": "mask", "points": encode_mask(mask), **fields}
