"""lib/web/preference.py: RFC 7240 as far as it is about waiting."""

import pytest

from lib.problems import InvalidRequest
from lib.web import preference


@pytest.mark.parametrize(
    ("query", "preferences", "seconds", "told"),
    [
        ({}, [], 0, False),
        ({"wait": "7"}, [], 7, False),
        ({"wait": "0007"}, [], 7, False),
        ({"wait": "56"}, [], 55, True),
        ({"wait": "9" * 5000}, [], 55, True),
        ({}, ["wait=7"], 7, True),
        ({}, ["respond-async, WAIT = 7; x=y"], 7, True),
        ({}, ["respond-async", "wait=7"], 7, True),
        ({}, ['wait="7"'], 7, True),
        ({}, ["wait=7, wait=8"], 7, True),
        ({}, ["wait=99"], 55, True),
        ({"wait": "3"}, ["wait=7"], 3, False),
        ({}, ["wait=x"], 0, False),
        ({}, ["wait=-1"], 0, False),
        ({}, ["wait"], 0, False),
        ({}, ['a="x, wait=7"'], 0, False),
        ({}, ['a="\\", wait=7"'], 0, False),
        ({}, ['a="x, wait=7'], 0, False),
        ({}, ['a="x", wait=7'], 7, True),
    ],
)
def test_wait(query: dict[str, str], preferences: list[str], seconds: int, told: bool) -> None:
    found = preference.wait(query, preferences)
    assert found == (seconds, told)
    assert found.headers == ({"Preference-Applied": f"wait={seconds}"} if told else {})


@pytest.mark.parametrize("text", ["", "x", "-1", "1.5", "²", " 1"])
def test_no_number(text: str) -> None:
    with pytest.raises(InvalidRequest):
        preference.wait({"wait": text}, [])
