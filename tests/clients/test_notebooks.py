"""public/relay.py in notebooks: sessions that go on after their cell, with a real Jupyter kernel."""

import importlib
import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from public import relay
from public.relay import RelayError, Tool, guest, host
from tests.clients.conftest import RELAY_PY
from tests.clients.scripted import Scripted
from tests.support.deployments import Parley
from tests.support.tools import PROJECT, wait_until

NOTEBOOK = PROJECT / "docs" / "notebook.ipynb"


class Kernel:
    """A Jupyter kernel, which runs cells."""

    def __init__(self, client: Any) -> None:
        self._client = client

    def run(self, source: str) -> dict[str, Any]:
        """Run a cell, and return what it shows by media type. What it prints is in `printed`."""
        shown: dict[str, Any] = {"printed": ""}

        def note(message: dict[str, Any]) -> None:
            content = message["content"]
            if message["msg_type"] == "stream" and content["name"] == "stdout":
                shown["printed"] += content["text"]
            elif message["msg_type"] in ("execute_result", "display_data"):
                shown.update(content["data"])
            elif message["msg_type"] == "error":
                pytest.fail("\n".join(content["traceback"]))

        self._client.execute_interactive(source, output_hook=note, timeout=120)
        return shown


@contextmanager
def kernel(site: Parley, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Kernel]:
    """Start a kernel whose relay is the site, and stop it as Jupyter does."""
    manager_module: Any = importlib.import_module("jupyter_client.manager")
    monkeypatch.setenv("PARLEY_URL", site.url)
    monkeypatch.setenv("PYDEVD_DISABLE_FILE_VALIDATION", "1")
    manager = manager_module.KernelManager()
    manager.start_kernel(cwd=str(folder))
    client = manager.client()
    client.start_channels()
    try:
        client.wait_for_ready(timeout=120)
        yield Kernel(client)
    finally:
        client.stop_channels()
        manager.shutdown_kernel()
        manager.context.destroy()


def is_active(site: Parley, code: str) -> bool:
    return bool(site.http.get(f"/api/sessions/{code}").json()["active"])


def test_notebook(site: Parley, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The one among the documents runs from its first cell to its last."""
    cells = [cell for cell in json.loads(NOTEBOOK.read_text("utf-8"))["cells"] if cell["cell_type"] == "code"]
    assert all(cell["outputs"] == [] and cell["execution_count"] is None for cell in cells)
    with kernel(site, tmp_path, monkeypatch) as running:
        shown = [running.run("".join(cell["source"])) for cell in cells]
    assert (tmp_path / "relay.py").read_bytes() == RELAY_PY.read_bytes()
    started, table, totals, plot, ended = shown[2:]
    assert f"{site.url}/mcp/" in started["text/html"]
    assert "Tools: rows, totals, plot" in started["text/html"]
    assert [line.split()[-1] for line in table["printed"].splitlines()] == ["sold", "15", "18", "20", "16"]
    assert totals["text/plain"] == "[{'region': 'north', 'sold': 92}, {'region': 'south', 'sold': 59}]"
    assert plot["image/png"].startswith("iVBOR")
    assert "State: ended" in ended["text/html"]


def test_cells(site: Parley, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A cell that is run again goes on with its session; the kernel's end is the session's."""
    cell = (
        f"import sys; sys.path.insert(0, {str(RELAY_PY.parent)!r})\n"
        "from relay import host\n"
        "def add(a: int, b: int = NUMBER): return a + b\n"
        "async def later(): return NUMBER\n"
        "session = host([add, later]).start()\n"
        "print(session.code)"
    )
    with kernel(site, tmp_path, monkeypatch) as running:
        code = running.run(cell.replace("NUMBER", "1"))["printed"].strip()
        asking = guest(code, relay=site.url)
        assert asking.call_tool("add", {"a": 1})["structuredContent"] == 2
        assert running.run(cell.replace("NUMBER", "5"))["printed"].strip() == code
        assert asking.call_tool("add", {"a": 1})["structuredContent"] == 6
        assert asking.call_tool("later")["structuredContent"] == 5
        assert asking.tools()[0]["inputSchema"]["properties"]["b"]["default"] == 5
        other = running.run(cell.replace("[add, later]", "[add]").replace("NUMBER", "1"))["printed"].strip()
        assert other != code
        running.run("session.end()")
        again = running.run(cell.replace("[add, later]", "[add]").replace("NUMBER", "1"))["printed"].strip()
        assert again not in (code, other)
        assert [is_active(site, one) for one in (code, other, again)] == [True, False, True]
    wait_until(lambda: not is_active(site, code) and not is_active(site, again))


def test_session_that_nobody_ends(site: Parley) -> None:
    """It ends with the program."""
    program = (
        f"import sys; sys.path.insert(0, {str(RELAY_PY.parent)!r})\n"
        "from relay import host\n"
        f"print(host([print], lambda payload: payload, relay={site.url!r}).start().code)\n"
    )
    line = [sys.executable, "-W", "error", "-c", program]
    done = subprocess.run(line, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert not is_active(site, done.stdout.strip())


def test_start_outside_of_notebooks(site: Parley) -> None:
    """A program may have two sessions with the same tools."""
    first, second = (host([add], relay=site.url).start() for _ in range(2))
    assert first.code != second.code
    assert first.start() is first
    assert repr(first).startswith(f"<Session {first.code[:4]}-{first.code[4:]}: connect")
    for session in (first, second):
        session.end()
    assert repr(first).endswith(": ended>")
    with pytest.raises(ValueError, match="has ended"):
        first.start()
    with pytest.raises(RelayError):
        guest(first.code, relay=site.url).call_tool("add")


def add(a: int) -> int:
    return a


class Elements(HTMLParser):
    """The elements, attributes and texts of some HTML."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.found: list[Any] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attributes: Any) -> None:
        self.found.append((tag, dict(attributes)))

    def handle_data(self, data: str) -> None:
        self.found.append(data)


@pytest.mark.parametrize("path", ["", "/a'b\"><script>alert(1)</script>&amp;"])
def test_html(path: str) -> None:
    """Everything is escaped, whatever is in a relay's URL or in what it says."""
    session = host([add], relay=f"https://relay.example{path}")
    assert "The session has not begun." in session._repr_html_()
    assert repr(session) == "<Session not begun: connecting>"
    session._api.code = "<b>ABC12"
    session._status.end("<i>&")
    found = Elements(session._repr_html_()).found
    url = f"https://relay.example{path}/mcp/<b>ABC12"
    assert [tag for tag in found if isinstance(tag, tuple) and tag[0] not in ("div", "br", "strong")] == [
        ("a", {"href": url})
    ]
    texts = "".join(text for text in found if isinstance(text, str))
    assert texts == f"<b>A-BC12{url}Tools: addState: <i>&"


def test_state_of_a_session_that_has_just_begun(monkeypatch: pytest.MonkeyPatch) -> None:
    """A cell keeps what it has shown first, which should not be `connecting` for good."""
    monkeypatch.setattr(relay, "_SHOWN_AFTER_SECONDS", 60)
    with Scripted() as scripted, host([add], relay=scripted.url) as session:
        assert "State: connected" in session._repr_html_()


def test_tools_that_are_replaced() -> None:
    session = host([add], relay="https://relay.example")
    session._replace_tools(host(Tool(add, title="T"), relay="https://relay.example")._toolbox)
    assert session.tools[0]["title"] == "T"
    assert relay._started_before(session) is None
