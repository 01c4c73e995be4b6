"""How long files are waited for, as the environment says it."""

from __future__ import annotations

import pytest
from flops_fit.errors import UserError
from flops_fit.files.patience import seconds_from


def test_seconds_are_those_of_the_environment_or_the_usual_ones():
    assert seconds_from({"SECONDS": "2.5"}, "SECONDS", 600) == 2.5
    assert seconds_from({"SECONDS": "0"}, "SECONDS", 600) == 0
    assert seconds_from({}, "SECONDS", 600) == 600


@pytest.mark.parametrize("text", ["abc", "-1", "nan"])
def test_seconds_that_are_none_are_refused(text):
    with pytest.raises(UserError, match=f"SECONDS: found '{text}', expected a number of seconds"):
        seconds_from({"SECONDS": text}, "SECONDS", 600)
