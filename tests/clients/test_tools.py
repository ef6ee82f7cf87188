"""public/relay.py: what can be offered as tools, with more to say about them, and while a session runs."""

import logging
import types
from pathlib import Path
from typing import Any

import pytest

from public import relay
from public.relay import RelayError, Tool, guest, host
from tests.clients.conftest import serving
from tests.clients.gate import Gate, problem
from tests.clients.scripted import Scripted
from tests.support.deployments import Parley
from tests.support.tools import wait_until

NOWHERE = "https://relay.example"
FULL: dict[str, Any] = {
    "title": "Add up",
    "description": "Adds.",
    "output_schema": {"type": "integer"},
    "annotations": {"readOnlyHint": True, "consequentialHint": "low"},
    "meta": {"a/b": {"c": [1]}},
}
SHOWN = {
    "title": "Add up",
    "description": "Adds.",
    "outputSchema": {"type": "integer"},
    "annotations": {"readOnlyHint": True, "consequentialHint": "low"},
    "_meta": {"a/b": {"c": [1]}},
}


def add(a: int, b: int = 0) -> int:
    """Add two numbers."""
    return a + b


def odd(a: complex) -> None:
    """Take what JSON does not have."""


def definitions(tools: Any) -> list[dict[str, Any]]:
    return host(tools, relay=NOWHERE).tools


def names(tools: Any) -> list[str]:
    return [definition["name"] for definition in definitions(tools)]


def answer(session: relay.Session, tool: str, arguments: Any) -> Any:
    return session._toolbox.answer({"method": "tools/call", "params": {"name": tool, "arguments": arguments}})


def test_tool_that_says_more() -> None:
    schema = definitions([add])[0]["inputSchema"]
    assert definitions(Tool(add, "sum", **FULL)) == [{"name": "sum", **SHOWN, "inputSchema": schema}]


@pytest.mark.parametrize(("options", "name"), [({}, "add"), ({"name": "sum"}, "sum")])
def test_decorator(options: dict[str, Any], name: str) -> None:
    """The function stays what it is."""

    def add(a: int) -> int:
        """Not this."""
        return a

    decorate: Any = relay.tool(**FULL, **options)
    assert decorate(add) is add
    plain: Any = relay.tool(lambda: None)
    assert (add(1), plain()) == (1, None)
    [definition] = definitions([add])
    assert (definition["name"], definition["title"], definition["description"]) == (name, "Add up", "Adds.")
    assert definitions(Tool(add, title="Other"))[0]["title"] == "Other"


def test_decorator_of_a_method() -> None:
    class Account:
        balance = 5

        @relay.tool(annotations={"readOnlyHint": True})
        def read(self) -> int:
            return self.balance

    session = host(Account(), relay=NOWHERE)
    assert session.tools[0]["annotations"] == {"readOnlyHint": True}
    assert answer(session, "read", {})["structuredContent"] == 5


@pytest.mark.parametrize("schema", [{"type": "object", "properties": {"x": {"$ref": "#/$defs/X"}}}, {}])
def test_schema_of_ones_own(schema: dict[str, Any]) -> None:
    """The function gets the arguments as they are, if they are an object."""
    session = host(Tool(lambda given: [given], "raw", input_schema=schema), relay=NOWHERE)
    assert session.tools == [{"name": "raw", "inputSchema": schema}]
    assert answer(session, "raw", {"a": "1"})["structuredContent"] == [{"a": "1"}]
    assert answer(session, "raw", None)["structuredContent"] == [{}]
    assert answer(session, "raw", [1])["content"][0]["text"] == (
        "The arguments do not fit: this must be of the type object, not [1]."
    )


@pytest.mark.parametrize(
    ("made", "why"),
    [
        (lambda: Tool(add, "a b"), "a tool's name has 1 to 128"),
        (lambda: Tool(add, "x" * 129), "a tool's name has 1 to 128"),
        (lambda: Tool(add, "é"), "a tool's name has 1 to 128"),
        (lambda: Tool(lambda: None), "<lambda> cannot be a tool"),
        (lambda: Tool(odd), "no JSON Schema"),
        (lambda: Tool(5), "this is no function"),  # type: ignore[arg-type]
        (lambda: Tool(add, meta={"a": object()}), "object is no JSON"),
        (lambda: Tool(add, annotations={"a": float("nan")}), "not JSON compliant"),
        (lambda: host([odd], relay=NOWHERE), "odd cannot be a tool"),
        (lambda: host(odd, relay=NOWHERE), "odd cannot be a tool"),
        (lambda: host("add", relay=NOWHERE), "takes functions, a module or an object"),
        (lambda: host(Path, relay=NOWHERE), "takes functions, a module or an object"),
        (lambda: host([5], relay=NOWHERE), "this is no function"),
        (lambda: host(object(), relay=NOWHERE), "needs tools"),
        (lambda: host({"a b": add}, relay=NOWHERE), "a tool's name has 1 to 128"),
    ],
)
def test_what_cannot_be_a_tool(made: Any, why: str) -> None:
    """Whoever offers it learns that at the start."""
    with pytest.raises(TypeError, match=why):
        made()


class Things:
    kind = "things"

    def first(self) -> int:
        return 1

    @property
    def trap(self) -> int:
        raise LookupError

    @classmethod
    def second(cls) -> str:
        return cls.kind

    @staticmethod
    def third() -> int:
        return 3

    def _private(self) -> None: ...

    class Inner: ...


def module(**values: Any) -> types.ModuleType:
    made = types.ModuleType("made")
    vars(made).update(values)
    return made


def own() -> None: ...


own.__module__ = "made"


@pytest.mark.parametrize(
    ("tools", "found"),
    [
        (add, ["add"]),
        (len, ["len"]),
        ([add, own], ["add", "own"]),
        ((function for function in (add, own)), ["add", "own"]),
        ({"one": add, "two": add}, ["one", "two"]),
        ({"one": Tool(add, "two")}, ["two"]),
        (Tool(add), ["add"]),
        (Things(), ["first", "second", "third"]),
        (module(own=own, add=add, _own=own, Things=Things, x=5), ["own"]),
        (module(own=own, add=add, __all__=["add", "missing", "x"], x=5), ["add"]),
        (module(other=own, more=Tool(add, "sum")), ["other", "sum"]),
    ],
)
def test_what_can_be_offered(tools: Any, found: list[str]) -> None:
    assert names(tools) == found


def test_function_that_is_left_out(caplog: pytest.LogCaptureFixture) -> None:
    """The others are offered, and the warning says where to look."""
    assert names([add, odd, add, own]) == ["add", "own"]
    warned = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    line = odd.__code__.co_firstlineno
    assert warned[0].startswith(
        f"{__file__}:{line}: odd cannot be a tool: TypeError: for <class 'complex'> there is no"
    )
    assert warned[1].startswith(f"{__file__}:{add.__code__.co_firstlineno}: add cannot be a tool: another tool")
    assert len(warned) == 2


def test_function_of_a_file_that_is_left_out(tmp_path: Path) -> None:
    file = tmp_path / "some.py"
    file.write_text("from relay import tool\n@tool(title='T')\ndef good(): ...\n\ndef bad(a: 'Missing'): ...\n")
    with Scripted() as scripted, serving(scripted, file=file) as served:
        assert served.code
        told = served.errors.read_text("utf-8")
    assert f"{file}:5: bad cannot be a tool: NameError: name 'Missing' is not defined. It is left out.\n" in told
    assert told.endswith("Offers good. Ctrl+C ends the session.\n")


def test_tools_that_change(site: Parley) -> None:
    with host([add], relay=site.url) as session:
        asking = guest(session.code, relay=site.url)
        session.add_tool(Tool(own, "other", title="T"))
        assert [(tool["name"], tool.get("title")) for tool in asking.tools()] == [("add", None), ("other", "T")]
        assert asking.call_tool("other")["structuredContent"] is None
        with pytest.raises(TypeError, match="there is a tool add already"):
            session.add_tool(add)
        with pytest.raises(TypeError, match="no JSON Schema"):
            session.add_tool(odd)
        session.remove_tool("other")
        with pytest.raises(LookupError, match="there is no tool other"):
            session.remove_tool("other")
        assert [tool["name"] for tool in asking.tools()] == ["add"]
        with pytest.raises(RelayError) as raised:
            asking.call_tool("other")
        assert raised.value.error["code"] == "unknown_tool"
        session.remove_tool("add")
        assert asking.tools() == session.tools == []


def test_tools_that_the_relay_refuses(gate: Gate) -> None:
    """They are then not changed."""
    with host([add], relay=gate.url) as session:
        gate.rule = lambda call: problem(429, "rate_limited") if call.kind == "tools" else ""
        with pytest.raises(RelayError, match="rate_limited"):
            session.add_tool(own)
        with pytest.raises(RelayError, match="rate_limited"):
            session.remove_tool("add")
        assert [tool["name"] for tool in session.tools] == ["add"]


def test_tools_before_the_session_begins() -> None:
    session = host([add], relay=NOWHERE)
    session.add_tool(own)
    session.remove_tool("add")
    assert [tool["name"] for tool in session.tools] == ["own"]
    assert session.expires_at == ""


def test_renewal(site: Parley) -> None:
    with host([add], relay=site.url, auto_renew=False) as session:
        before = session.expires_at
        found = guest(session.code, relay=site.url).session()
        assert (found["code"], found["expiresAt"], found["active"]) == (session.code, before, True)
        assert not session.auto_renew
        session.renew()
        assert session.expires_at > before
        session.auto_renew = True
        assert session.auto_renew
    with pytest.raises(RelayError) as raised:
        session.renew()
    assert raised.value.code == "session_ended"


@pytest.mark.parametrize("wanted", [False, True])
def test_automatic_renewal(wanted: bool) -> None:
    """Without it the session is not renewed, until it is switched on."""
    with Scripted(ttl=0.1) as scripted, host([add], relay=scripted.url, auto_renew=wanted) as session:
        if not wanted:
            scripted.call("q1", "add", a=1)
            scripted.answer("q1")
            assert scripted.renewals == 0
            session.auto_renew = True
        wait_until(lambda: scripted.renewals > 0)


def test_session_that_is_not_there(site: Parley) -> None:
    with pytest.raises(RelayError) as raised:
        guest("ABC12345", relay=site.url).session()
    assert raised.value.code == "session_not_found"
