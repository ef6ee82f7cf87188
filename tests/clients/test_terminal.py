"""public/relay.py as a command on a terminal: what others have written cannot control it."""

import json
import os
import subprocess
import termios
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from tests.clients.conftest import command
from tests.clients.scripted import CODE, Scripted
from tests.support.tools import wait_until

ODD = "\x1b]0;title\x07\x1b[31mred\x7f\x9b1m\r\ttab\nline\u202egpj.exe\u2066\u200e ü €"
SHOWN = "\\x1b]0;title\\x07\\x1b[31mred\\x7f\\x9b1m\\x0d\ttab\nline\\u202egpj.exe\\u2066\\u200e ü €"
UNSAFE = set(ODD) - set(SHOWN)


class Terminal:
    """A terminal, which keeps what is written to it: `told`."""

    def __init__(self) -> None:
        self._primary, self.secondary = os.openpty()
        attributes = termios.tcgetattr(self.secondary)
        attributes[1] &= ~termios.OPOST  # so that LF stays LF
        termios.tcsetattr(self.secondary, termios.TCSANOW, attributes)
        self._read = b""
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    @property
    def told(self) -> str:
        return self._read.decode("utf-8", "replace")

    def type(self, text: str) -> None:
        """Type something."""
        os.write(self._primary, text.encode())

    def close(self) -> None:
        """Wait for the end of what is written."""
        os.close(self.secondary)
        self._thread.join()
        os.close(self._primary)

    def _run(self) -> None:
        with suppress(OSError):  # which is the end
            while part := os.read(self._primary, 4096):
                self._read += part


@contextmanager
def terminal() -> Iterator[Terminal]:
    made = Terminal()
    try:
        yield made
    finally:
        made.close()


ANSWERS = [
    (["ask", CODE, "1"], {"result": ODD}),
    (["ask", CODE, "1"], {"result": [ODD]}),
    (["ask", CODE, "1"], {"error": ODD}),
    (["ask", CODE, "1"], {"error": {"message": ODD}}),
    (["call", CODE, "some"], {"result": ODD}),
    (["call", CODE, "some"], {"result": {"content": [{"type": "text", "text": ODD}], "isError": True}}),
    (["tools", CODE], {}),
]


def run(arguments: list[str], response: dict[str, Any], output: Any) -> None:
    """Run a guest's command whose request gets a response, and a list of tools with odd names."""
    with Scripted() as scripted:
        scripted.response = json.dumps({"id": "q1", "status": "answered", **response})
        scripted.tools = json.dumps({"tools": [{"name": ODD}]}, ensure_ascii=False)
        line = command(*arguments, "--relay", scripted.url)
        environment = {**os.environ, "PYTHONIOENCODING": "utf-8"}
        subprocess.run(line, stdout=output, stderr=output, env=environment, timeout=60, check=False)


@pytest.mark.parametrize(("arguments", "response"), ANSWERS)
def test_terminal_gets_no_controls(arguments: list[str], response: dict[str, Any]) -> None:
    with terminal() as shown:
        run(arguments, response, shown.secondary)
    assert "gpj.exe" in shown.told
    assert not UNSAFE & set(shown.told)
    if ODD in response.values():
        assert shown.told == f"{SHOWN}\n"


@pytest.mark.parametrize(("arguments", "response"), ANSWERS)
def test_pipe_gets_what_was_sent(arguments: list[str], response: dict[str, Any], tmp_path: Path) -> None:
    with (tmp_path / "output").open("wb") as output:
        run(arguments, response, output)
    told = (tmp_path / "output").read_bytes().decode()
    assert "\u202egpj.exe\u2066" in told
    if ODD in response.values():
        assert told == f"{ODD}\n"


def test_half_of_a_surrogate_pair(tmp_path: Path) -> None:
    """UTF-8 has no bytes for it."""
    with (tmp_path / "output").open("wb") as output:
        run(["ask", CODE, "1"], {"result": "a\ud83d"}, output)
    assert (tmp_path / "output").read_bytes() == b"a\\ud83d\n"


def test_log_on_a_terminal(tmp_path: Path) -> None:
    """What guests send, and what functions raise, is in a host's log."""
    (tmp_path / "odd.py").write_text("def fail(why): raise LookupError(why)\n")
    with Scripted() as scripted, terminal() as shown, (tmp_path / "output").open("wb") as output:
        line = command("host", str(tmp_path / "odd.py"), "--verbose", "--relay", scripted.url)
        with subprocess.Popen(line, stdout=output, stderr=shown.secondary) as process:
            scripted.call("q1", "fail", why=ODD)
            scripted.answer("q1")
            wait_until(lambda: "answer q1" in shown.told)
            process.terminate()
            process.wait(20)
    assert "LookupError: \\x1b]0;title" in shown.told
    assert not UNSAFE & set(shown.told)
