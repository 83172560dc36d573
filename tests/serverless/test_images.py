"""Images as CVAT sends them, and texts that are none."""

import base64

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from model.errors import InputError
from serverless.images import decode_base64_image
from tests.model.data.test_image_file import blocks, file_of


@pytest.mark.parametrize(
    "prefix", ["", "data:image/png;base64,", "data:image/svg+xml;base64,", "DATA:image/x-ms-bmp;BASE64,"]
)
def test_base64_comes_with_or_without_a_prefix(prefix):
    image = blocks()
    assert np.array_equal(decode_base64_image(prefix + base64.b64encode(file_of(image)).decode()).rgb(), image)


GOOD = base64.b64encode(file_of(blocks())).decode()


NO_TEXT = [None, 7, b"iVBO", ["iVBO"], {"image": "iVBO"}, float("nan"), True]
NO_BASE64 = ["", "=", "====", "a", "iVB", "iVBO====", "ä" * 8, "\ud800" * 4, "iVBO\0AAA", "data:image/png;base64,"]
CHANGED = [GOOD[:-1], GOOD + "=", GOOD + "\n", GOOD[:40] + "\n" + GOOD[40:], " " + GOOD, GOOD[:100] + "=" + GOOD[101:]]
CHANGED += ["data:text/html;base64," + GOOD, "data:image/png," + GOOD, GOOD[:-4] + "_-" + GOOD[-2:]]


@pytest.mark.parametrize("text", NO_TEXT + NO_BASE64 + CHANGED)
def test_hostile_base64_is_refused(text):
    with pytest.raises(InputError, match="image") as caught:
        decode_base64_image(text)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 300


def test_a_long_text_is_refused_before_it_is_decoded(monkeypatch):
    size = len(base64.b64decode(GOOD))
    assert decode_base64_image(GOOD, max_bytes=size).rgb().shape == (40, 31, 3)
    monkeypatch.setattr(base64, "b64decode", None)
    with pytest.raises(InputError, match="more than"):
        decode_base64_image(GOOD, max_bytes=size - 3)


def test_base64_minds_the_limit_of_pixels():
    with pytest.raises(InputError, match="more than 100 pixels"):
        decode_base64_image(GOOD, max_pixels=100)


@given(st.text(max_size=100))
@settings(max_examples=100, deadline=None)
def test_arbitrary_text_is_refused(text):
    with pytest.raises(InputError):
        decode_base64_image(text)
