"""public/relay.py: what `host` shows on a terminal, to be read aloud or scanned."""

import os
import string
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zxingcpp

from public import relay
from tests.clients.conftest import command
from tests.clients.scripted import CODE, Scripted
from tests.clients.test_terminal import terminal
from tests.support.tools import wait_until


def read(modules: list[list[bool]]) -> Any:
    """Return what a scanner reads."""
    image = np.pad(~np.array(modules), 4, constant_values=True).astype(np.uint8) * 255
    return zxingcpp.read_barcodes(np.kron(image, np.ones((4, 4), np.uint8)))


@pytest.mark.parametrize("length", [0, 1, 16, 17, 18, 31, 32, 33, 52, 53, 54, 77, 78, 79, 105, 106])
def test_qr_code(length: int) -> None:
    """Every version is read, also when it is full."""
    text = ("https://relay.example/#ABC1-2345&" * 9)[:length]
    assert [found.text for found in read(relay._qr_code(text))] == [text] * bool(length)


def test_qr_code_of_any_text() -> None:
    assert read(relay._qr_code("https://relay.example/ü€"))[0].text == "https://relay.example/ü€"


def test_qr_code_of_what_is_too_long() -> None:
    with pytest.raises(ValueError, match="too long for a QR code"):
        relay._qr_code("x" * 107)


def test_large_letters() -> None:
    """All are different, and as wide as the others."""
    letters = [relay._GLYPHS[letter] for letter in string.ascii_uppercase + string.digits + "-"]
    assert len({tuple(letter) for letter in letters}) == 37
    assert {len(row) for letter in letters for row in letter} == {6}
    assert {len(letter) for letter in letters} == {5}
    assert max(map(len, relay._large("ABCD-1234").splitlines())) < 80


def modules_of(drawn: str) -> list[list[bool]]:
    """Return the modules that are drawn in half blocks, with their border."""
    rows: list[list[bool]] = []
    for line in drawn.splitlines():
        rows += [[block in " ▄" for block in line], [block in " ▀" for block in line]]
    return rows[:-1]


def test_host_on_a_terminal(tmp_path: Path) -> None:
    """The code is shown large, and a QR code leads to the page for guests."""
    (tmp_path / "some.py").write_text("def add(): return 1\n")
    with Scripted() as scripted, terminal() as shown:
        line = command("host", str(tmp_path / "some.py"), "--qr", "--relay", scripted.url)
        environment = {**os.environ, "PYTHONIOENCODING": "utf-8"}
        with subprocess.Popen(line, stdout=shown.secondary, stderr=shown.secondary, env=environment) as process:
            wait_until(lambda: "Offers add" in shown.told)
            process.terminate()
            assert process.wait(20) == 0
    code = f"{CODE[:4]}-{CODE[4:]}"
    assert shown.told.startswith(f"{code}\n{scripted.url}/mcp/{CODE}\n\n{relay._large(code)}\n\n")
    drawn = shown.told.split("\n\n")[2].partition("Offers")[0]
    [found] = read(modules_of(drawn))
    assert found.text == f"{scripted.url}/#{code}"
