"""public/page/qr.js: what another program reads from its codes."""

from typing import Any

import numpy as np
import pytest
import zxingcpp
from playwright.sync_api import Page

type Modules = list[list[int]]


def encode(tab: Page, texts: list[str]) -> list[Modules | None]:
    found: list[Modules | None] = tab.evaluate(
        "async (texts) => texts.map((await import('/page/qr.js')).encode)", texts
    )
    return found


def read(modules: Modules) -> Any:
    """Read a code, drawn with three pixels a module and a light edge of four modules."""
    dark = np.pad(np.array(modules, dtype=np.uint8), 4)
    image = np.kron((1 - dark) * 255, np.ones((3, 3))).astype(np.uint8)
    (found,) = zxingcpp.read_barcodes(image)
    return found


@pytest.fixture(scope="module")
def texts() -> list[str]:
    """Give a text of each length that fits."""
    return [("https://parley.example/#ABC1-2345/" * 4)[:length] for length in range(1, 107)]


def test_every_length(tab: Page, texts: list[str]) -> None:
    sizes = {}
    for text, modules in zip(texts, encode(tab, texts), strict=True):
        assert modules
        found = read(modules)
        assert found.text == text
        assert found.ec_level == "M"
        sizes[len(modules)] = len(text)
    assert sizes == {21: 14, 25: 26, 29: 42, 33: 62, 37: 84, 41: 106}, "the standard's capacities"


def test_bytes_of_any_text(tab: Page) -> None:
    text = "https://bücher.example/#ABC1-2345 €😀"
    (modules,) = encode(tab, [text])
    assert modules
    assert read(modules).text == text


def test_text_that_is_too_long(tab: Page) -> None:
    assert encode(tab, ["x" * 107, "ü" * 54]) == [None, None]


def test_damage(tab: Page, texts: list[str]) -> None:
    """The check codewords are right: a spot that covers a part of the message does no harm."""
    for text, modules in zip(texts[::7], encode(tab, texts[::7]), strict=True):
        assert modules
        middle = len(modules) // 2
        for row in range(middle, middle + 3):
            modules[row][middle : middle + 3] = [1 - module for module in modules[row][middle : middle + 3]]
        assert read(modules).text == text
