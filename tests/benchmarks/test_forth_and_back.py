"""A clip that is played forth and back."""

import pytest

from benchmarks.forth_and_back import ForthAndBack


def test_it_goes_to_the_end_back_and_on_and_ends():
    played = ForthAndBack("abcd", 10)
    assert "".join(played) == "abcdcbabcd" and len(played) == 10
    assert "".join(played[4:8]) == "cbab" and played[-1] == "d"
    with pytest.raises(IndexError):
        played[10]
