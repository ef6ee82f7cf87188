"""public/relay.py: how far a call is, from a tool through the relay to whoever waits for it."""

import asyncio
import contextvars
import decimal
import json
import logging
import os
import subprocess
import threading
from collections.abc import Callable
from fractions import Fraction
from typing import Any

import pytest
from mcp import Client

from public import relay
from public.relay import RelayError, guest, host, progress
from tests.clients.conftest import command
from tests.clients.gate import Gate
from tests.clients.scripted import CODE, Scripted
from tests.clients.test_terminal import terminal
from tests.support.deployments import Parley
from tests.support.tools import wait_until


class Odd:
    def __float__(self) -> float:
        raise LookupError("odd")

    def __str__(self) -> str:
        raise LookupError("odd")


def reports_of(work: Callable[[], Any]) -> list[dict[str, Any]]:
    """Return what a host sends while a tool works, without the call's id, and the answer at the end."""
    with Scripted() as scripted, host({"work": work}, relay=scripted.url):
        scripted.call("q1", "work")
        answer = scripted.answer("q1")
        assert "isError" not in answer["result"], answer
        assert {report.pop("id") for report in scripted.reports} <= {"q1"}
        return scripted.reports


@pytest.mark.parametrize(
    ("arguments", "sent"),
    [
        ((3,), {"progress": 3}),
        ((3, 10), {"progress": 3, "total": 10}),
        ((0, 0, "begun"), {"progress": 0, "total": 0, "message": "begun"}),
        ((0.5, None, "ü\u2028\ud83d"), {"progress": 0.5, "message": "ü\u2028\ud83d"}),
        ((-1, 1), {"progress": -1, "total": 1}),
        ((2.0, 4.0), {"progress": 2, "total": 4}),
        ((True,), {"progress": 1}),
        ((decimal.Decimal("1.5"), Fraction(5, 2)), {"progress": 1.5, "total": 2.5}),
        ((1, 2, "x" * 2_000), {"progress": 1, "total": 2, "message": "x" * 1_000}),
        ((1, 2, ["a"]), {"progress": 1, "total": 2, "message": "['a']"}),
    ],
)
def test_report(arguments: tuple[Any, ...], sent: dict[str, Any]) -> None:
    assert reports_of(lambda: progress(*arguments)) == [sent]


@pytest.mark.parametrize(
    "arguments",
    [
        (float("nan"),),
        (float("inf"),),
        (1, float("-inf")),
        (None,),
        ("many",),
        (1, "ten"),
        (10**400,),
        (Odd(),),
        (1, 2, Odd()),
        (1j,),
    ],
)
def test_report_that_is_none(arguments: tuple[Any, ...]) -> None:
    """It is left out, and the call goes on."""
    assert reports_of(lambda: progress(*arguments)) == []


def test_many_reports() -> None:
    """The first goes out at once, the last in any case, and few between."""

    def work() -> None:
        for number in range(10_001):
            progress(number, 10_000)

    found = [report["progress"] for report in reports_of(work)]
    assert found[-1] == 10_000
    assert found == sorted(set(found))
    assert len(found) < 100


def test_report_arrives_while_the_tool_works() -> None:
    released = threading.Event()

    def work() -> None:
        progress(1, message="first")
        released.wait(60)
        progress(2)

    with Scripted() as scripted, host([work], relay=scripted.url):
        scripted.call("q1", "work")
        wait_until(lambda: bool(scripted.reports))
        assert scripted.answers == []
        released.set()
        scripted.answer("q1")
    assert [report["progress"] for report in scripted.reports] == [1, 2]


def test_calls_beside_each_other() -> None:
    """Each report is that of its call, in threads and in asyncio."""

    async def later(number: int) -> None:
        await asyncio.sleep(0)
        await asyncio.to_thread(progress, number)

    def soon(number: int) -> None:
        context = contextvars.copy_context()
        thread = threading.Thread(target=context.run, args=[progress, number])
        thread.start()
        thread.join()

    with Scripted() as scripted, host([later, soon], relay=scripted.url):
        for number in range(6):
            scripted.call(f"q{number}", "soon" if number % 2 else "later", number=number)
        for number in range(6):
            scripted.answer(f"q{number}")
    assert sorted((report["id"], report["progress"]) for report in scripted.reports) == [
        (f"q{number}", number) for number in range(6)
    ]


def test_reports_of_a_withdrawn_call() -> None:
    """Nobody gets them."""
    begun, ended = threading.Event(), threading.Event()

    def work() -> None:
        begun.set()
        relay.cancelled().wait(60)
        progress(1)
        ended.set()

    with Scripted() as scripted, host([work, loiter], relay=scripted.url):
        scripted.call("q1", "work")
        assert begun.wait(60)
        scripted.withdraw("q1")
        assert ended.wait(60)
        scripted.call("q2", "loiter")
        scripted.answer("q2")
    assert scripted.reports == []


def loiter() -> None:
    """Do nothing."""


def test_report_after_the_call() -> None:
    """A thread that a tool has left behind reports for nobody."""
    reports: list[Callable[..., None]] = []

    def work() -> None:
        context = contextvars.copy_context()
        reports.append(lambda: context.run(progress, 5))

    assert reports_of(work) == []
    reports[0]()


def test_outside_of_a_call() -> None:
    progress(1, 2, "three")


def test_relay_that_takes_no_reports(monkeypatch: pytest.MonkeyPatch) -> None:
    """The answer does not wait for a report that does not get through, and the call does not fail."""
    monkeypatch.setattr(relay, "_LAST_REPORT_SECONDS", 0.1)
    released = threading.Event()

    def hold(_: Any, report: dict[str, Any]) -> None:
        released.wait(60)
        raise RelayError("no", "request_not_found", 404)

    send = relay._HostApi.call

    def call(self: Any, method: str, path: str, *names: str, **options: Any) -> Any:
        return hold(self, {}) if path == "/progress" else send(self, method, path, *names, **options)

    monkeypatch.setattr(relay._HostApi, "call", call)

    def work() -> str:
        progress(1)
        return "worked"

    with Scripted() as scripted, host([work], relay=scripted.url):
        scripted.call("q1", "work")
        assert scripted.answer("q1")["result"]["content"][0]["text"] == "worked"
        released.set()


# Guests


def event(name: str, data: Any) -> str:
    return f"event: {name}\ndata: {data if isinstance(data, str) else json.dumps(data)}\n\n"


RESPONSE = event("response", {"id": "q1", "status": "answered", "result": 5})


@pytest.mark.parametrize(
    ("events", "seen"),
    [
        (RESPONSE, []),
        (f": keep-alive\n\n{RESPONSE}", []),
        (event("progress", {"progress": 1}) + RESPONSE, [(1, None, "")]),
        (
            event("progress", {"progress": 1, "total": 2.5, "message": "a\u2028b"})
            + event("progress", {"progress": 2, "total": None, "message": None})
            + RESPONSE,
            [(1, 2.5, "a\u2028b"), (2, None, "")],
        ),
        (event("unknown", {}) + RESPONSE + event("progress", {"progress": 9}), []),
    ],
)
def test_guest(events: str, seen: list[Any]) -> None:
    found: list[Any] = []
    with Scripted() as scripted:
        scripted.events = events
        note = lambda *report: found.append(report)  # noqa: E731
        assert guest(CODE, relay=scripted.url).request(1, id="q1", on_progress=note) == 5
    assert found == seen


def test_guest_of_a_relay_without_progress() -> None:
    with Scripted() as scripted:
        scripted.response = '{"id":"q1","status":"answered","result":5}'
        assert guest(CODE, relay=scripted.url).request(1, on_progress=print) == 5


def test_guest_that_does_not_care() -> None:
    """It asks for no stream."""
    with Scripted() as scripted:
        scripted.events = "no"
        scripted.response = '{"id":"q1","status":"answered","result":5}'
        assert guest(CODE, relay=scripted.url).request(1) == 5


@pytest.mark.parametrize(
    ("data", "code", "status"),
    [
        ({"code": "session_ended", "detail": "Over.", "status": 410}, "session_ended", 410),
        ({"code": "session_ended", "detail": "Over."}, "session_ended", None),
        ({"code": "session_ended", "detail": "Over.", "status": "410"}, "session_ended", None),
    ],
)
def test_problem_in_the_stream(data: Any, code: str, status: int | None) -> None:
    with Scripted() as scripted:
        scripted.events = event("progress", {"progress": 1}) + event("problem", data)
        with pytest.raises(RelayError, match="Over") as raised:
            guest(CODE, relay=scripted.url).request(1, on_progress=lambda *_: None)
    assert (raised.value.code, raised.value.status) == (code, status)


@pytest.mark.parametrize(
    "events",
    [
        event("progress", {"progress": 1}),
        event("problem", "no JSON"),
        event("problem", {}),
        event("response", {"id": "q1"}),
        event("progress", [1]),
    ],
)
def test_stream_that_breaks_off(events: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The guest asks again, as it does without a stream."""
    monkeypatch.setattr(relay, "_backoff", lambda *_: 0.01)
    with Scripted() as scripted:
        scripted.events = events

        def recover() -> None:
            wait_until(lambda: len(scripted.requests) > 1)
            scripted.events = RESPONSE

        thread = threading.Thread(target=recover)
        thread.start()
        assert guest(CODE, relay=scripted.url).request(1, id="q1", on_progress=lambda *_: None) == 5
        thread.join()


def test_on_progress_that_raises() -> None:
    """The request is withdrawn, and the caller gets the exception."""

    def refuse(*_: Any) -> None:
        raise LookupError("enough")

    with Scripted() as scripted:
        scripted.events = event("progress", {"progress": 1}) + RESPONSE
        with pytest.raises(LookupError, match="enough"):
            guest(CODE, relay=scripted.url).request(1, on_progress=refuse)


def test_asyncio() -> None:
    """It is called in the event loop's thread."""
    found: list[Any] = []

    async def run(url: str) -> Any:
        def note(*report: Any) -> None:
            asyncio.get_running_loop()  # which raises an exception elsewhere
            found.append((*report, threading.get_ident()))

        calling = guest(CODE, relay=url)
        first = await calling.arequest(1, on_progress=note)
        return first, (await calling.acall_tool("x", on_progress=note))["structuredContent"]

    with Scripted() as scripted:
        scripted.events = event("progress", {"progress": 1, "message": "m"}) + RESPONSE
        assert asyncio.run(run(scripted.url)) == (5, 5)
    assert found == [(1, None, "m", threading.get_ident())] * 2


def test_call_on_a_terminal() -> None:
    """The line is rewritten, and empty in the end; what somebody else has written cannot control the terminal."""
    with Scripted() as scripted, terminal() as shown:
        scripted.tools = '{"tools":[]}'
        scripted.events = event("progress", {"progress": 3, "total": 10, "message": "rows\x1b[2J\n\u202e"}) + RESPONSE
        line = command("call", CODE, "x", "--relay", scripted.url)
        environment = {**os.environ, "PYTHONIOENCODING": "utf-8"}
        done = subprocess.run(
            line, stdout=subprocess.PIPE, stderr=shown.secondary, env=environment, timeout=60, check=False
        )
    assert (done.returncode, done.stdout) == (0, b"5\n")
    assert shown.told == "\r\x1b[K3/10 rows\\x1b[2J\\n\\u202e\r\x1b[K"


def test_call_in_a_pipe() -> None:
    with Scripted() as scripted:
        scripted.tools = '{"tools":[]}'
        scripted.events = event("progress", {"progress": 3}) + RESPONSE
        scripted.response = '{"id":"q1","status":"answered","result":"plain"}'
        line = command("call", CODE, "x", "--relay", scripted.url)
        done = subprocess.run(line, capture_output=True, timeout=60, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"plain\n", b"")


# The relay


@pytest.mark.parametrize("polls", [False, True])
def test_through_the_relay(site: Parley, gate: Gate, polls: bool) -> None:
    """A guest that waits has the first report while the tool works, and the last one before the result."""
    gate.rule = lambda call: "cut" if polls and call.kind == "stream" else ""
    released = threading.Event()
    seen: list[Any] = []

    def work() -> str:
        progress(1, 3, "one\u2028ü")
        released.wait(60)
        progress(2.5, 3)
        progress(3, 3, "three")
        return "worked"

    def note(*report: Any) -> None:
        seen.append(report)
        released.set()

    with host([work], relay=gate.url) as session:
        wait_until(lambda: session.state == ("polling" if polls else "connected"))
        result = guest(session.code, relay=site.url).call_tool("work", on_progress=note)
    assert result["content"][0]["text"] == "worked"
    assert (seen[0], seen[-1]) == ((1, 3, "one\u2028ü"), (3, 3, "three"))


def test_session_that_ends_meanwhile(site: Parley) -> None:
    """A refusal that comes in the stream is raised as any other."""

    def work() -> None:
        progress(1)
        relay.cancelled().wait(60)

    with host([work], relay=site.url) as session, pytest.raises(RelayError) as raised:
        guest(session.code, relay=site.url).call_tool("work", on_progress=lambda *_: session.end())
    assert (raised.value.code, raised.value.status) == ("session_ended", 410)


def test_no_session(site: Parley) -> None:
    """A refusal that comes before the stream begins is raised as any other."""
    with pytest.raises(RelayError) as raised:
        guest("ABC12345", relay=site.url).call_tool("work", on_progress=print)
    assert (raised.value.code, raised.value.status) == ("session_not_found", 404)


@pytest.mark.parametrize("mode", ["auto", "legacy"])
def test_mcp_client(site: Parley, mode: str, caplog: pytest.LogCaptureFixture) -> None:
    """The official client sees the reports, and the host sees the client."""
    caplog.set_level(logging.INFO, "relay.calls")
    released = threading.Event()
    seen: list[Any] = []

    def work() -> str:
        progress(1, 3, "one")
        released.wait(60)
        progress(3, 3, "three")
        return "worked"

    async def note(progress: float, total: float | None, message: str | None) -> None:
        seen.append((progress, total, message))
        if message == "one":
            released.set()

    async def ask(url: str) -> Any:
        async with Client(url, mode=mode) as client:
            await client.list_tools()
            return await client.call_tool("work", {}, progress_callback=note)

    with host([work], relay=site.url) as session:
        result = asyncio.run(ask(session.mcp_url))
        wait_until(lambda: any("called work: done" in line for line in caplog.messages))
        wait_until(lambda: any("has listed the tools" in line for line in caplog.messages))
    assert result.content[0].text == "worked"
    reports = [report for report in seen if report[1] == 3]  # beside those of the relay
    assert reports == [(1, 3, "one"), (3, 3, "three")]
    assert all(line.startswith("mcp ") for line in caplog.messages)
