"""public/relay.py: which calls a person is asked about, who is asked, and what becomes of the answer."""

import os
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from public import relay
from public.relay import Tool, ToolCall, cancelled, host
from tests.clients.conftest import command
from tests.clients.scripted import Scripted
from tests.clients.test_terminal import ODD, UNSAFE, Terminal, terminal
from tests.support.tools import wait_until

HINTS: dict[str, dict[str, Any]] = {
    "plain": {},
    "read": {"readOnlyHint": True},
    "destroy": {"destructiveHint": True},
    "pay": {"consequentialHint": True, "readOnlyHint": True},
    "odd": {"readOnlyHint": "yes"},
}


class Person:
    """Answers as the test says, and notes what was asked."""

    def __init__(self, *answers: Any) -> None:
        self.asked: list[ToolCall] = []
        self._answers = list(answers)

    def __call__(self, call: ToolCall) -> Any:
        self.asked.append(call)
        answer = self._answers.pop(0) if self._answers else "once"
        return answer() if callable(answer) else answer


def session_of(approve: Any, ask: Any = None) -> relay.Session:
    tools = [Tool(lambda a=0: a, name, annotations=hints) for name, hints in HINTS.items()]
    return host(tools, relay="https://relay.example", approve=approve, ask=ask)


def call(session: relay.Session, name: str, client: Any = None, **arguments: Any) -> str:
    """Call a tool, and return `ran`, or else what the guest learns."""
    params = {"name": name, "arguments": arguments}
    result = session._toolbox.answer({"method": "tools/call", "params": params, "client": client})
    return str(result["content"][0]["text"]) if "isError" in result else "ran"


@pytest.mark.parametrize(
    ("approve", "asked"),
    [
        ("never", []),
        ("first", ["plain", "read", "destroy", "pay", "odd"]),
        ("writes", ["plain", "destroy", "destroy", "pay", "pay", "odd"]),
        ("each", ["plain", "plain", "read", "read", "destroy", "destroy", "pay", "pay", "odd", "odd"]),
    ],
)
def test_policies(approve: str, asked: list[str]) -> None:
    person = Person()
    session = session_of(approve, person)
    for name in HINTS:
        assert [call(session, name), call(session, name)] == ["ran", "ran"]
    assert [seen.name for seen in person.asked] == asked


def test_allowed_for_the_session() -> None:
    person = Person("tool", "deny", "once", "once")
    session = session_of("each", person)
    assert [call(session, "destroy"), call(session, "destroy")] == ["ran", "ran"]
    denied = "The person did not allow this call of plain."
    assert [call(session, "plain"), call(session, "plain"), call(session, "plain")] == [denied, "ran", "ran"]


@pytest.mark.parametrize("answer", ["deny", None, True, "", "yes", ["once"], LookupError])
def test_any_other_answer_denies(answer: Any) -> None:
    """So does an exception, and the call is asked about again."""
    person = Person(answer, "once")
    session = session_of("first", person)
    assert call(session, "plain") == "The person did not allow this call of plain."
    assert call(session, "plain") == "ran"


def test_what_the_person_sees() -> None:
    person = Person()
    session = session_of("each", person)
    call(session, "plain", {"name": "Agent", "version": "1"}, a="x")
    call(session, "plain")
    assert person.asked[0] == ToolCall("plain", {"a": "x"}, "Agent 1", session.tools[0])
    assert person.asked[1].client == "A guest"


def test_arguments_that_do_not_fit() -> None:
    """Nobody is asked."""
    person = Person()
    assert call(session_of("each", person), "plain", b=1).startswith("The arguments do not fit")
    assert person.asked == []


@pytest.mark.parametrize("kind", ["function", "coroutine"])
def test_function_that_decides(kind: str) -> None:
    def decide(asked: ToolCall) -> bool:
        return bool(asked.arguments == {"a": 1})

    async def decide_later(asked: ToolCall) -> bool:
        return decide(asked)

    session = session_of(decide if kind == "function" else decide_later)
    assert call(session, "plain", a=1) == "ran"
    assert call(session, "plain", a=2) == "The person did not allow this call of plain."


def test_coroutine_that_asks() -> None:
    async def ask(_: ToolCall) -> str:
        return "once"

    assert call(session_of("each", ask), "plain") == "ran"


@pytest.mark.parametrize("approve", ["always", "", None, True, ["each"]])
def test_no_policy(approve: Any) -> None:
    with pytest.raises(TypeError, match="approve has to be"):
        session_of(approve, Person())


@pytest.mark.parametrize("approve", ["first", "writes", "each"])
def test_nobody_to_ask(approve: str) -> None:
    """It does not begin, since all calls would be denied, or worse."""
    with pytest.raises(TypeError, match="has nobody to ask"):
        session_of(approve)


def test_no_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(relay, "_ANSWER_SECONDS", 0.1)
    gone = threading.Event()

    def ask(_: ToolCall) -> str:
        assert cancelled().wait(60)
        gone.set()
        return "once"

    told = call(session_of("each", ask), "plain")
    assert told == "The person did not allow this call of plain. There was no answer within two minutes."
    assert gone.wait(60)


def test_call_that_is_withdrawn_while_the_person_decides() -> None:
    """The question is over, and the next one is asked."""
    ran: list[int] = []
    gone = threading.Event()

    def note(number: int) -> None:
        ran.append(number)

    def ask(asked: ToolCall) -> str:
        if asked.arguments["number"] == 1:
            asked_about.set()
            cancelled().wait(60)
            gone.set()
        return "once"

    asked_about = threading.Event()
    with Scripted() as scripted, host([note], relay=scripted.url, approve="each", ask=ask):
        scripted.call("q1", "note", number=1)
        assert asked_about.wait(60)
        scripted.withdraw("q1")
        scripted.call("q2", "note", number=2)
        scripted.answer("q2")
        assert gone.wait(60)
    assert ran == [2]


def test_questions_come_one_after_the_other() -> None:
    """An answer for the tool holds for the calls that wait."""
    asked: list[str] = []
    released = threading.Event()

    def ask(call: ToolCall) -> str:
        asked.append(call.name)
        released.wait(60)
        return "tool"

    session = session_of("each", ask)
    results: list[str] = []
    threads = [threading.Thread(target=lambda: results.append(call(session, "plain"))) for _ in range(5)]
    for thread in threads:
        thread.start()
    wait_until(lambda: asked == ["plain"])
    released.set()
    for thread in threads:
        thread.join()
    assert (asked, results) == (["plain"], ["ran"] * 5)


def test_agent_learns_that_it_waits() -> None:
    released = threading.Event()

    def ask(_: ToolCall) -> str:
        released.wait(60)
        return "once"

    with Scripted() as scripted, host({"work": lambda: None}, relay=scripted.url, approve="each", ask=ask):
        scripted.call("q1", "work")
        wait_until(lambda: bool(scripted.reports))
        assert scripted.reports[0] == {"id": "q1", "progress": 0, "message": "Waiting for the person to allow this"}
        released.set()
        scripted.answer("q1")


# The terminal


@contextmanager
def asking(tmp_path: Path, policy: str = "each") -> Iterator[tuple[Scripted, Terminal]]:
    """Run a host as a command on a terminal, which offers one tool, `add`."""
    (tmp_path / "some.py").write_text("def add(a): return 'ran'\n")
    with Scripted() as scripted, terminal() as shown, (tmp_path / "output").open("wb") as output:
        line = command("host", str(tmp_path / "some.py"), "--approve", policy, "--quiet", "--relay", scripted.url)
        environment = {**os.environ, "PYTHONIOENCODING": "utf-8"}
        with subprocess.Popen(
            line, stdin=shown.secondary, stdout=output, stderr=shown.secondary, env=environment
        ) as process:
            try:
                wait_until(lambda: "Offers add" in shown.told)
                yield scripted, shown
            finally:
                process.terminate()
                assert process.wait(20) == 0


def text_of(scripted: Scripted, request_id: str) -> str:
    return str(scripted.answer(request_id)["result"]["content"][0]["text"])


@pytest.mark.parametrize(
    ("typed", "result"),
    [
        ("y\n", "ran"),
        (" YES \n", "ran"),
        ("t\n", "ran"),
        ("n\n", "The person did not allow this call of add."),
        ("\n", "The person did not allow this call of add."),
        ("yy\n", "The person did not allow this call of add."),
        ("\x04", "The person did not allow this call of add."),
    ],
)
def test_answers(tmp_path: Path, typed: str, result: str) -> None:
    with asking(tmp_path) as (scripted, shown):
        scripted.call("q1", "add", client={"name": "Agent"}, a=1)
        wait_until(lambda: 'Agent calls add with {"a":1}\n' in shown.told and "n (no): " in shown.told)
        shown.type(typed)
        assert text_of(scripted, "q1") == result


def test_type_ahead(tmp_path: Path) -> None:
    """What was typed before the question is no answer to it."""
    with asking(tmp_path) as (scripted, shown):
        shown.type("y\ny")
        wait_until(lambda: shown.told.count("y") >= 2)
        scripted.call("q1", "add", a=1)
        wait_until(lambda: "n (no): " in shown.told)
        assert scripted.answers == []
        shown.type("\n")
        assert text_of(scripted, "q1") == "The person did not allow this call of add."


def test_what_others_have_written(tmp_path: Path) -> None:
    """It cannot control the terminal, or look like another question."""
    with asking(tmp_path) as (scripted, shown):
        scripted.call("q1", "add", client={"name": f"{ODD}\nAgent calls add with {{}}"}, a=[ODD, "x" * 3_000])
        wait_until(lambda: "n (no): " in shown.told)
        shown.type("y\n")
        assert text_of(scripted, "q1") == "ran"
    question = shown.told[shown.told.index("\\x1b]0;title") : shown.told.index("Allow it?")]
    assert not UNSAFE & set(question)
    assert question.count("\n") == 1
    assert "characters more\n" in question


def test_no_terminal(tmp_path: Path) -> None:
    (tmp_path / "some.py").write_text("def add(a): return 'ran'\n")
    line = command("host", str(tmp_path / "some.py"), "--approve", "writes", "--relay", "http://127.0.0.1:9")
    done = subprocess.run(line, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert "has nobody to ask: there is no terminal" in done.stderr
