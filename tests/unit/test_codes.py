"""lib/session/codes.py: drawn at random, read forgivingly."""

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lib.problems import InvalidCode
from lib.session import codes

CODES = st.text(codes.ALPHABET, min_size=8, max_size=8)


def test_alphabet() -> None:
    assert len(set(codes.ALPHABET)) == 32
    assert not set("ILOU") & set(codes.ALPHABET)


def test_draw() -> None:
    drawn = {codes.draw() for _ in range(2000)}
    assert len(drawn) == 2000
    assert all(codes.parse(code) == code for code in drawn)
    assert set("".join(drawn)) == set(codes.ALPHABET)


@given(CODES)
def test_parse_as_typed(code: str) -> None:
    typed = code.replace("0", "o").replace("1", "l")
    for written in (code, code.lower(), typed, typed.upper(), f"{code[:4]}-{code[4:]}", " ".join(code), f" {code}- "):
        assert codes.parse(written) == code


@pytest.mark.parametrize(
    "text", ["", "ABC1234", "ABC123456", "ABCD123U", "ABC_1234", "ABC1234\n", "ABC1234é", "\u0410BC12345", "\u0131" * 8]
)
def test_parse_what_is_no_code(text: str) -> None:
    with pytest.raises(InvalidCode):
        codes.parse(text)


@given(st.text())
def test_parse_anything(text: str) -> None:
    with suppress(InvalidCode):
        assert set(codes.parse(text)) <= set(codes.ALPHABET)
