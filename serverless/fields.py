"""Fields of a JSON object that somebody sent: of the right kind and in their range, or a clear refusal."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from serverless.call_error import CallError

_REQUIRED = object()


def an_object(value: Any, what: str) -> Mapping[str, Any]:
    """The value, which must be a JSON object; `what` begins the error."""
    if not isinstance(value, dict):
        raise CallError(f"{what} must be an object, not {_kind(value)}")
    return value


def a_list(value: Any, what: str, most: int) -> Sequence[Any]:
    """The value, which must be a list of at most `most` items."""
    if not isinstance(value, list):
        raise CallError(f"{what} must be a list, not {_kind(value)}")
    if len(value) > most:
        raise CallError(f"{what} has {len(value)} items; at most {most} are taken in one call")
    return value


def whole(fields: Mapping[str, Any], name: str, low: int, high: int, default: Any = _REQUIRED) -> Any:
    """A whole number low..high, also as 5.0; the default where it is missing or null."""
    value = _present(fields, name, default)
    if value is default:
        return default
    if isinstance(value, float) and math.isfinite(value) and value == int(value):
        value = int(value)
    if type(value) is not int:
        raise CallError(f"{name} must be a whole number, not {_kind(value)}")
    return _within(value, name, low, high)


def number(fields: Mapping[str, Any], name: str, low: float, high: float, default: Any = _REQUIRED) -> Any:
    """A number low..high; the default where it is missing or null."""
    value = _present(fields, name, default)
    if value is default:
        return default
    if type(value) not in (int, float):
        raise CallError(f"{name} must be a number, not {_kind(value)}")
    return float(_within(value, name, low, high))


def one_of(fields: Mapping[str, Any], name: str, choices: Sequence[str], default: Any = _REQUIRED) -> Any:
    """One of some words; the default where it is missing or null."""
    value = _present(fields, name, default)
    if value is not default and value not in choices:
        raise CallError(f"{name} must be one of {', '.join(choices)}")
    return value


def _present(fields: Mapping[str, Any], name: str, default: Any) -> Any:
    value = fields.get(name)
    if value is not None:
        return value
    if default is _REQUIRED:
        raise CallError(f"{name} is missing")
    return default


def _within(value: float, name: str, low: float, high: float) -> Any:
    if not low <= value <= high:  # so is nan refused
        raise CallError(f"{name} must lie in {low:g}..{high:g}, not {_kind(value)}")
    return value


def _kind(value: Any) -> str:
    """What a value is, never its whole text."""
    kinds = {dict: "an object", list: "a list", str: "a text", bool: "true or false", type(None): "null"}
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return f"{value:g}" if isinstance(value, float) or abs(value) < 1e15 else "a huge number"
    return kinds.get(type(value), "something else")
