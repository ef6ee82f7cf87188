"""public/relay.js and public/relay.py: one table of what happens to tools and their calls, for both."""

from typing import Any

import pytest

from tests.clients.gate import Answer, Fate, Gate, problem
from tests.clients.sides import Guested, Hosted, Program, Start, answers, call_of, offers, reports
from tests.support.deployments import Parley
from tests.support.tools import long, wait_until

BARE_502 = Answer(502, "Bad gateway")

ANY_SCALAR = [{"type": "string"}, {"type": "number"}, {"type": "boolean"}]
ANY_ARRAY: dict[str, Any] = {"type": "array", "items": {}}
RUN: dict[str, Any] = {
    "name": "run",
    "description": "Do what a test wants.",
    "inputSchema": {
        "type": "object",
        "properties": {"payload": {"anyOf": [*ANY_SCALAR, {"type": "object"}, {"type": "null"}, ANY_ARRAY]}},
        "required": ["payload"],
        "additionalProperties": False,
    },
}


def test_tools_are_registered_before_the_code_is_given_out(site: Parley, gate: Gate, start: Start) -> None:
    hosted = Hosted(site, gate, start)
    assert [(call.method, call.kind) for call in gate.calls[:2]] == [("POST", "sessions"), ("PUT", "tools")]
    assert site.http.get(f"/api/sessions/{hosted.code}/tools").json() == {"tools": [RUN]}


def test_tool(hosted: Hosted) -> None:
    result = hosted.ask(call_of("run", {"payload": {"a": [1, None, "ü"]}}))["result"]
    echo = {"echo": {"a": [1, None, "ü"]}}
    assert result == {"content": [{"type": "text", "text": '{"echo":{"a":[1,null,"ü"]}}'}], "structuredContent": echo}
    assert hosted.ask(call_of("run", {"payload": {"large": 3}}), "q2")["result"] == {
        "content": [{"type": "text", "text": "xxx"}]
    }
    failed = hosted.ask(call_of("run", {"payload": {"raise": "no way"}}), "q3")["result"]
    assert failed["isError"]
    assert failed["content"][0]["text"].endswith("no way")
    assert hosted.ask(call_of("run", {"payload": {"large": 1_200_000}}), "q4")["error"]["code"] == "payload_too_large"


@pytest.mark.parametrize("arguments", [[1], "text", 5])
def test_tool_whose_arguments_are_no_object(hosted: Hosted, arguments: Any) -> None:
    result = hosted.ask(call_of("run", arguments))["result"]
    assert result["isError"]
    assert "object" in result["content"][0]["text"]
    assert hosted.program.ran() == []


def test_unknown_tool(hosted: Hosted) -> None:
    assert hosted.ask(call_of("other", {}))["error"] == {
        "code": "unknown_tool",
        "message": "There is no tool other.",
    }


def test_what_looks_like_a_tool_call(hosted: Hosted) -> None:
    """It is a request like any other."""
    for number, payload in enumerate([{"method": "tools/call"}, {"method": "tools/call", "params": {"name": 1}}]):
        assert hosted.ask(payload, f"q{number}")["result"] == {"echo": payload}


@pytest.mark.parametrize("fate", ["cut", "lost"])
def test_result_of_a_tool_that_does_not_arrive(hosted: Hosted, fate: str) -> None:
    hosted.gate.once(fate, answers, times=2)
    assert hosted.ask(call_of("run", {"payload": 1}))["result"]["structuredContent"] == {"echo": 1}
    assert hosted.program.ran() == [1]


def test_call_that_is_withdrawn(hosted: Hosted) -> None:
    hosted.post(call_of("run", {"payload": {"hold": True}}))
    hosted.program.hear("ran")
    hosted.withdraw()
    assert hosted.program.hear("cancelled") == {"hold": True}
    assert not any(answers(call) for call in hosted.gate.calls)


class Pair:
    """A host's program, and a guest's program of the same client for its session."""

    def __init__(self, hosted: Hosted, guest: Program) -> None:
        self.hosted, self.guest = hosted, guest

    def begin(self, tool: str, payload: Any = None, **options: Any) -> None:
        """Call a tool, or `list` the tools."""
        self.guest.say({"code": self.hosted.code, "tool": tool, "payload": payload, **options})

    def call(self, tool: str, payload: Any = None, **options: Any) -> dict[str, Any]:
        self.begin(tool, payload, **options)
        told: dict[str, Any] = self.guest.hear()
        return told

    def names(self) -> list[str]:
        """Return the names of the tools that a guest sees."""
        return [tool["name"] for tool in self.call("list")["result"]]


@pytest.fixture
def pair(hosted: Hosted, gate: Gate, start: Start) -> Pair:
    return Pair(hosted, start("guest", gate.url))


UNKNOWN = {"code": "unknown_tool", "message": "There is no tool other."}


def test_tools_of_another_program(pair: Pair) -> None:
    """A guest lists and calls them, and gives up a call."""
    assert pair.call("list") == {"result": [RUN]}
    assert pair.call("run", {"payload": 1})["result"]["structuredContent"] == {"echo": 1}
    assert pair.call("run", {})["result"].keys() >= {"content"}
    assert pair.call("other", {})["error"] == UNKNOWN
    assert pair.call("run", {"payload": {"hold": True}}, seconds=0.5)["code"] == "timeout"
    assert pair.hosted.program.hear("cancelled") == {"hold": True}


# Progress


def test_progress_reaches_the_guest(pair: Pair) -> None:
    """It does while the tool works, as the tool has reported it."""
    pair.begin("run", {"payload": {"reports": [[1, 3, "ü"]], "hold": True}}, reports=True)
    assert pair.guest.hear("progress") == {"progress": 1, "total": 3, "message": "ü"}
    pair.hosted.program.say("release")
    assert "structuredContent" in pair.guest.hear("result")


def test_many_reports(pair: Pair) -> None:
    """The last one arrives before the result, and few of the others do."""
    many = [[number, 1_000] for number in range(1, 1_001)]
    pair.begin("run", {"payload": {"reports": many}}, reports=True)
    pair.guest.hear("result")
    seen = [told["progress"] for told in pair.guest.told if "progress" in told]
    assert seen[-1] == {"progress": 1_000, "total": 1_000}
    numbers = [report["progress"] for report in seen]
    assert numbers == sorted(set(numbers))
    assert len(numbers) < 50


@pytest.mark.parametrize("fate", ["cut", "lost", BARE_502, problem(404, "request_not_found")])
def test_report_that_fails(hosted: Hosted, gate: Gate, fate: Fate) -> None:
    """It does not fail the call."""
    gate.rule = lambda call: fate if reports(call) else ""
    payload = {"reports": [[1, 2], [2, 2]]}
    assert hosted.ask(call_of("run", {"payload": payload}))["result"]["structuredContent"] == {"echo": payload}
    assert any(reports(call) for call in gate.calls)


def test_guest_whose_connection_is_cut(alone: Guested) -> None:
    """It sees what is reported after it has connected again."""
    alone.asks(1, id="q1", reports=True)
    wait_until(lambda: alone.site.store.names(f"req:{alone.code}") != [])
    alone.report("q1", progress=1)
    assert alone.program.hear("progress") == {"progress": 1}
    alone.gate.cut()
    sent = 1

    def later_report_arrives() -> bool:
        nonlocal sent
        sent += 1
        alone.report("q1", progress=sent, total=100)
        alone.program.collect()
        return any(told.get("progress", {}).get("total") == 100 for told in alone.program.told)

    wait_until(later_report_arrives)
    alone.answer("q1", "done")
    assert alone.program.hear("result") == "done"
    alone.end()


# Tools that change


def test_tools_that_come_and_go(pair: Pair) -> None:
    pair.hosted.program.say("add")
    wait_until(lambda: pair.names() == ["run", "more"])
    assert pair.call("more", {"payload": 1})["result"]["structuredContent"] == {"echo": 1}
    pair.hosted.program.say("remove")
    wait_until(lambda: pair.names() == ["run"])
    assert pair.call("more", {"payload": 1})["error"]["code"] == "unknown_tool"
    assert pair.call("run", {"payload": 2})["result"]["structuredContent"] == {"echo": 2}


def test_tool_that_goes_while_it_works(pair: Pair) -> None:
    """The call goes on."""
    pair.hosted.program.say("add")
    wait_until(lambda: pair.names() == ["run", "more"])
    pair.begin("more", {"payload": {"hold": True}})
    pair.hosted.program.hear("ran")
    pair.hosted.program.say("remove")
    wait_until(lambda: len([call for call in pair.hosted.gate.calls if offers(call)]) == 3)
    pair.hosted.program.say("release")
    assert pair.guest.hear("result")["structuredContent"] == {"echo": {"hold": True}}


@pytest.mark.parametrize("fate", ["lost", long("cut"), long(BARE_502), long(problem(503, "store_unavailable", 1))])
def test_list_that_does_not_arrive(pair: Pair, fate: Fate) -> None:
    """It is sent until the relay has it."""
    pair.hosted.gate.once(fate, offers, times=2)
    pair.hosted.program.say("add")
    wait_until(lambda: pair.names() == ["run", "more"])


# Approval

DENIED = {"content": [{"type": "text", "text": "The person did not allow this call of run."}], "isError": True}


class Asked(Hosted):
    """A host that asks the test before each call."""

    def __init__(self, site: Parley, gate: Gate, start: Start) -> None:
        super().__init__(site, gate, start, "asking")
        self.program.state("connected")

    def call(self, number: int, answer: str = "") -> Any:
        """Call the tool, give the answer if the test is asked for one, and return the result."""
        self.post(call_of("run", {"payload": number}), f"q{number}")
        if answer:
            self.program.hear("asked", "run")
            self.program.say(answer)
        return self.ask(call_of("run", {"payload": number}), f"q{number}")["result"]


@pytest.fixture
def asked(site: Parley, gate: Gate, start: Start) -> Asked:
    return Asked(site, gate, start)


def test_call_that_is_denied(asked: Asked) -> None:
    """Its tool does not run. The next call is asked about again."""
    assert asked.call(1, "deny") == DENIED
    assert asked.call(2, "anything else") == DENIED
    assert asked.program.ran() == []
    assert asked.call(3, "once")["structuredContent"] == {"echo": 3}


def test_call_that_is_allowed_once(asked: Asked) -> None:
    assert asked.call(1, "once")["structuredContent"] == {"echo": 1}
    assert asked.call(2, "deny") == DENIED
    assert asked.program.ran() == [1]


def test_tool_that_is_allowed_for_the_session(asked: Asked) -> None:
    """Nobody is asked again, also after the stream was cut."""
    assert asked.call(1, "tool")["structuredContent"] == {"echo": 1}
    asked.gate.cut()
    asked.program.state("connected")
    assert asked.call(2)["structuredContent"] == {"echo": 2}
    assert asked.program.ran() == [1, 2]
    assert len([told for told in asked.program.told if "asked" in told]) == 1


def test_guest_learns_that_a_person_decides(asked: Asked, start: Start) -> None:
    guest = start("guest", asked.gate.url)
    guest.say({"code": asked.code, "tool": "run", "payload": {"payload": 1}, "reports": True})
    assert guest.hear("progress") == {"progress": 0, "message": "Waiting for the person to allow this"}
    asked.program.say("once")
    assert guest.hear("result")["structuredContent"] == {"echo": 1}


def test_call_that_is_withdrawn_while_a_person_decides(asked: Asked) -> None:
    """The question is over, and the next call is asked about."""
    asked.post(call_of("run", {"payload": 1}), "q1")
    asked.program.hear("asked", "run")
    asked.withdraw("q1")
    asked.program.hear("unasked", "run")
    assert asked.call(2, "once")["structuredContent"] == {"echo": 2}
    assert asked.program.ran() == [2]
