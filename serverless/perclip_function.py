"""Perclip as a function: one network, and an answer to every call."""

import base64
import hashlib
import json
import math
import os
import time
import traceback
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from model.data.image_file import encode_jpeg
from model.errors import InputError
from model.keyframe import Keyframe
from model.learning.recipe import LearningRecipe
from model.network.checkpoint import load_network
from model.network.checkpoint_files import SHIPPED, shipped_path, weights_in_words
from model.network.config import DEFAULT_NETWORK, NETWORKS
from model.options import PropagationOptions
from model.propagation.propagator import Propagator
from model.propagation.run_record import RunRecord
from model.tracking.bounded_cache import BoundedCache
from model.tracking.frame_tracker import FrameTracker
from plugin.shapes import encode_mask
from serverless.call_error import CallError
from serverless.chain_learning import ChainLearning
from serverless.clip_call import answer_clip
from serverless.clip_request import VERSION
from serverless.fields import an_object
from serverless.track_call import TrackCalls

NAME = "perclip"

_DEVICES = ("cuda", "cpu")
# Networks that have learned may take this part of what a worker may keep between tracker calls, besides.
_FOR_LEARNED = 1 / 4


@dataclass(frozen=True)
class Settings:
    """What an operator sets, as environment variables of `function.yaml`.

    Attributes:
        network: PERCLIP_NETWORK, its name.
        weights: PERCLIP_WEIGHTS, a checkpoint; None: those that ship.
        device: PERCLIP_DEVICE, "auto", "cpu", "cuda" or "cuda:1".
        short_side: PERCLIP_SHORT_SIDE, shorter side of the network's input in pixels.
        max_seconds: PERCLIP_MAX_SECONDS, budget of a clip call.
        cache_megabytes: PERCLIP_CACHE_MB, what a worker may keep between tracker calls; a fourth of it, besides, for
            networks that have learned.
        learn_on: PERCLIP_LEARN_ON, the kinds of device on which a clip call may learn.
    """

    network: str = DEFAULT_NETWORK
    weights: Path | None = None
    device: str = "auto"
    short_side: int = 480
    max_seconds: float = 20.0
    cache_megabytes: float = 256.0
    learn_on: tuple[str, ...] = ("cuda",)

    @classmethod
    def of(cls, environment: Mapping[str, str] = os.environ) -> "Settings":
        """The settings of an environment; raises InputError for a number that is none, or weights that are not said."""

        def number(name: str, default: float, least: float = 1e-9) -> float:
            text = environment.get(name) or str(default)
            try:
                value = float(text)
            except ValueError:
                value = math.nan
            if not least <= value < math.inf:
                raise InputError(f"{name}={text!r} must be a number {'above 0' if least else 'of 0 or more'}")
            return value

        weights = environment.get("PERCLIP_WEIGHTS")
        network = environment.get("PERCLIP_NETWORK") or cls.network
        if network in NETWORKS and network not in SHIPPED and not weights:
            raise InputError(
                f"PERCLIP_NETWORK={network} ships without weights: put its public checkpoint into model/weights before "
                "deploying, and set PERCLIP_WEIGHTS to its path in the image, /opt/nuclio/model/weights/FILE"
            )
        return cls(
            network,
            Path(weights) if weights else None,
            environment.get("PERCLIP_DEVICE") or cls.device,
            int(number("PERCLIP_SHORT_SIDE", cls.short_side)),
            number("PERCLIP_MAX_SECONDS", cls.max_seconds),
            number("PERCLIP_CACHE_MB", cls.cache_megabytes, least=0),
            _devices(environment.get("PERCLIP_LEARN_ON") or ",".join(cls.learn_on)),
        )


@dataclass(frozen=True)
class Answer:
    """What goes back.

    Attributes:
        outcome: "answered", "refused" (the call cannot be answered as it is) or "failed" (a fault of ours).
        status: of HTTP.
        body: JSON text.
        log: facts of the call for the log: never pixels. `kind` is "status", "track", "clip" or, of what could not be
            read so far, "malformed".
    """

    outcome: str
    status: int
    body: str
    log: Mapping[str, Any]


class PerclipFunction:
    """Loads a network once and answers calls. Serves one call at a time.

    Args:
        settings: of the operator.
        recipe: how clip calls learn; None: as `perclip propagate --learn`.

    Raises:
        InputError: the settings name no such network or device.
        CheckpointError: the weights cannot be used.
    """

    def __init__(self, settings: Settings, recipe: LearningRecipe | None = None):
        self._settings = settings
        options = PropagationOptions(device=settings.device, short_side=settings.short_side)
        network = load_network(settings.network, settings.weights)
        weights = settings.weights or shipped_path(settings.network)
        self._digest = hashlib.sha256(weights.read_bytes()).hexdigest()[:16]
        # What a state or a continued chain must come from.
        self._propagator = Propagator(network, options)
        top_k = self._propagator.options.top_k
        self._identity = f"{self._digest} {settings.network} {settings.short_side} {top_k}"
        room = int(settings.cache_megabytes * 2**20)
        self._tracks = TrackCalls(FrameTracker(self._propagator.network, options), self._identity, BoundedCache(room))
        self._learning = ChainLearning(
            network,
            options,
            settings.max_seconds,
            settings.learn_on,
            LearningRecipe() if recipe is None else recipe,
            BoundedCache(int(room * _FOR_LEARNED)),
        )

    def warm_up(self) -> float:
        """Segments a few empty frames, so that the first caller does not wait longer; gives the seconds it took."""
        began = time.perf_counter()
        label_map = np.zeros((480, 854), np.uint8)
        label_map[200:300, 300:500] = 1
        frames = np.zeros((7, 480, 854, 3), np.uint8)
        list(
            self._propagator.with_options(memory=self._propagator.flat_policy).run(
                list(frames), [Keyframe(0, label_map)], record=RunRecord()
            )
        )
        image = base64.b64encode(encode_jpeg(frames[0], 85)).decode()
        shape = {"type": "mask", "points": encode_mask(label_map)}
        states = self._tracks.answer({"image": image, "shapes": [shape]})["states"]
        self._tracks.answer({"image": image, "states": states})
        return time.perf_counter() - began

    def status(self) -> dict[str, Any]:
        """What an empty GET is answered with."""
        return {
            "name": NAME,
            "ready": True,
            "clip_version": VERSION,
            "network": self._settings.network,
            "weights": self._digest,
            "weights_terms": weights_in_words(self._settings.network, self._settings.weights),
            "device": str(self._propagator.device),
            "dtype": self._propagator.number_format,
            "max_seconds": self._settings.max_seconds,
            "short_side": self._settings.short_side,
            "top_k": self._propagator.options.top_k,
            "learning": self._learning.status(),
        }

    def answer(self, method: str, body: Any) -> Answer:
        """Answers one call.

        Args:
            method: of HTTP.
            body: parsed JSON, or its bytes or text; empty for a question about the status.
        """
        began = time.perf_counter()
        through_cvat, kind, trace, outcome = False, "malformed", None, "answered"
        try:
            if method in ("GET", "HEAD") or body in (None, b"", ""):
                kind, reply = "status", self.status()
            else:
                fields = an_object(_parsed(body), "the body")
                clip, through_cvat = _clip_of(fields)
                if isinstance(clip, dict) and clip.get("ask") == "status":  # CVAT passes no empty call on
                    kind, reply = "status", self.status()
                else:
                    kind = "track" if clip is None else "clip"
                    reply = self._tracks.answer(fields) if clip is None else self._clip(clip, began)
            status, error = 200, None
        except CallError as refused:
            outcome = "refused"
            reply, status, error = {"error": refused.to_json()}, refused.status, refused.code
        except (MemoryError, torch.OutOfMemoryError):
            too_large = CallError(
                "not enough memory for this call: send fewer objects or a shorter range", "too_large", 413
            )
            outcome = "refused"
            reply, status, error = {"error": too_large.to_json()}, too_large.status, too_large.code
        except Exception:  # a fault of ours: the worker lives on, and the log tells
            fault = {"code": "internal", "message": "Perclip failed on this call: its log says why; please report it"}
            outcome, trace = "failed", traceback.format_exc(limit=-8)
            reply, status, error = {"error": fault}, 500, "internal"
        if through_cvat:
            # CVAT's server answers 500 without states, and swallows the text of other statuses.
            reply, status = {"states": [], "shapes": []} | reply, 200
        facts = {"kind": kind, "status": status, "seconds": round(time.perf_counter() - began, 4), "error": error}
        if trace is not None:
            facts["trace"] = trace
        if kind == "clip" and error is None:
            facts |= {"frames": len(reply["frames"]), "more": reply["continue"] is not None, "timing": reply["timing"]}
            if "learning" in reply:
                facts["learning"] = "awaits frames" if reply["learning"] is None else reply["learning"]["outcome"]
        return Answer(outcome, status, json.dumps(reply, separators=(",", ":"), allow_nan=False), facts)

    def _clip(self, clip: Any, began: float) -> dict[str, Any]:
        return answer_clip(self._propagator, self._learning, clip, self._identity, self._settings.max_seconds, began)


def _devices(text: str) -> tuple[str, ...]:
    """The kinds of device that PERCLIP_LEARN_ON names; none for the word none."""
    words = tuple(word.strip() for word in text.split(","))
    if words == ("none",):
        return ()
    if not set(words) <= set(_DEVICES):
        raise InputError(f"PERCLIP_LEARN_ON={text!r} must be cuda, cpu, both with a comma between them, or none")
    return words


def _parsed(body: Any) -> Any:
    """JSON of bytes or text; what is parsed already stays."""
    if not isinstance(body, (bytes, bytearray, str)):
        return body
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        raise CallError("the body is not JSON: send an object with Content-Type application/json", "not_json") from None


def _clip_of(fields: Mapping[str, Any]) -> tuple[Any, bool]:
    """The object `clip`, or None, and whether it came in the first shape, as it does through CVAT."""
    if fields.get("clip") is not None:
        return fields["clip"], False
    shapes = fields.get("shapes")
    if isinstance(shapes, list) and shapes and isinstance(shapes[0], dict) and shapes[0].get("clip") is not None:
        return shapes[0]["clip"], True
    return None, False
