"""The examples of serverless/README.md, executed in their order."""

import json
import re
from pathlib import Path
from typing import Any

from tests.serverless.calls import Worker, image_text

README = Path(__file__).resolve().parents[2] / "serverless" / "README.md"


def filled(value: Any, images: list[str], state: Any) -> Any:
    """An example with real images and the real state."""
    if isinstance(value, dict):
        return {key: filled(inner, images, state) for key, inner in value.items()}
    if isinstance(value, list):
        return [filled(inner, images, state) for inner in value]
    if value == "<state>":
        return state
    frame = re.fullmatch(r"<frame (\d+)>", value) if isinstance(value, str) else None
    return images[int(frame[1])] if frame else value


def has_form(example: Any, value: Any) -> bool:
    """The same keys and kinds of values; every item of a list is like one of the example's, and the other way round."""
    if example == "<state>":
        return bool(value)
    if isinstance(example, dict):
        return (
            isinstance(value, dict)
            and example.keys() == value.keys()
            and all(has_form(example[key], value[key]) for key in example)
        )
    if isinstance(example, list):
        return (
            isinstance(value, list)
            and all(any(has_form(e, v) for e in example) for v in value)
            and all(any(has_form(e, v) for v in value) for e in example)
        )
    if isinstance(example, (int, float)) and not isinstance(example, bool):
        return isinstance(value, (int, float))
    return type(example) is type(value)


def test_the_examples_are_answered_as_the_page_says(squares):
    worker = Worker()
    images = [image_text(frame) for frame in squares.frames]
    examples = re.findall(r"```json (\w+)\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)
    assert [kind for kind, _ in examples] == ["status", *["request", "answer"] * 3, "request", "error"]
    answer, state = {}, None
    for kind, text in examples:
        example = json.loads(text)
        if kind == "status":
            assert has_form(example, worker.call(b"", "GET")[1])
        elif kind == "request":
            status, answer = worker.call(filled(example, images, state))
        else:
            assert (status == 200) == (kind == "answer")
            assert has_form(example, answer), answer
            state = (answer.get("states") or [None])[0]
            if answer.get("continue"):
                assert {k: answer["continue"][k] for k in ("needed", "next")} == {
                    k: example["continue"][k] for k in ("needed", "next")
                }
            if kind == "error":
                assert answer == example
