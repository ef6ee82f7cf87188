"""lib/session/codes.py: drawn at random, read forgivingly."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lib.problems import InvalidCode
from lib.session import codes

CODES = st.text(codes.ALPHABET, min_size=8, max_size=8)
# What a person may type, and which character of a code it stands for.
READ_AS = {typed: digit for digit in codes.ALPHABET for typed in (digit, digit.lower())}
READ_AS |= dict.fromkeys("oO", "0") | dict.fromkeys("iIlL", "1")


def test_alphabet() -> None:
    assert len(set(codes.ALPHABET)) == 32
    assert not set("ILOU") & set(codes.ALPHABET)


def test_draw() -> None:
    drawn = {codes.draw() for _ in range(2000)}
    assert len(drawn) == 2000
    assert all(codes.parse(code) == code for code in drawn)
    assert set("".join(drawn)) == set(codes.ALPHABET)


@pytest.mark.parametrize(("typed", "digit"), READ_AS.items())
def test_parse_each_character(typed: str, digit: str) -> None:
    assert codes.parse(typed * 8) == digit * 8


@given(CODES)
def test_parse_as_typed(code: str) -> None:
    for written in (code, code.lower(), f"{code[:4]}-{code[4:]}", " ".join(code), f" {code}- "):
        assert codes.parse(written) == code


@pytest.mark.parametrize(
    "text", ["", "ABC1234", "ABC123456", "ABCD123U", "ABC_1234", "ABC1234\n", "ABC1234é", "\u0410BC12345", "\u0131" * 8]
)
def test_parse_what_is_no_code(text: str) -> None:
    with pytest.raises(InvalidCode):
        codes.parse(text)


@given(st.text() | st.text([*READ_AS, " ", "-", "u", "_", "\u017f"], min_size=6, max_size=10))
def test_parse_anything(text: str) -> None:
    """Spaces and hyphens aside, eight characters that stand for one of a code are a code, and nothing else is."""
    characters = [character for character in text if character not in " -"]
    if len(characters) == 8 and READ_AS.keys() >= set(characters):
        assert codes.parse(text) == "".join(READ_AS[character] for character in characters)
    else:
        with pytest.raises(InvalidCode):
            codes.parse(text)
