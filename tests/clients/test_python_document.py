"""docs/python.md: what it says to write works."""

import sys
from typing import Any

import pytest

from public import relay
from public.relay import host
from tests.clients.scripted import Scripted
from tests.support.deployments import Parley
from tests.support.documents import blocks


@pytest.fixture(autouse=True)
def named_relay(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have the client under the name by which users import it."""
    monkeypatch.setitem(sys.modules, "relay", relay)


def run(block: str) -> dict[str, Any]:
    """Run a block of code, and return what it defines."""
    values: dict[str, Any] = {"__name__": "block"}
    exec(compile(block, "docs/python.md", "exec"), values)
    return values


def test_what_can_be_offered(site: Parley, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("PARLEY_URL", site.url)
    [block] = blocks("docs/python.md", "What can be offered", "python")
    session = run(block)["session"]
    assert capsys.readouterr().out == "free_space add\n"
    assert session.reason == "ended"


def test_while_a_call_runs() -> None:
    [block] = blocks("docs/python.md", "While a call runs", "python")
    with Scripted() as scripted, host(run(block)["load"], relay=scripted.url):
        scripted.call("q1", "load", files=["a", "b", "c"])
        assert scripted.answer("q1")["result"]["structuredContent"] is None
        assert scripted.reports[-1] == {"id": "q1", "progress": 2, "total": 3, "message": "c"}
