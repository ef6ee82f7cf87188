"""Both sides of relay.py in one program, for each Python: python everything.py RELAY. Prints `fine` at the end."""

import asyncio
import datetime
import decimal
import enum
import pathlib
import sys
import threading
import time
import uuid
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from typing import (  # noqa: UP035 - as in programs for Python 3.10
    Annotated,
    Any,
    Dict,
    List,
    Literal,
    NamedTuple,
    Optional,
    Set,
    Tuple,
    TypedDict,
    Union,
)

from relay import RelayError, Tool, cancelled, guest, host, progress, tool  # type: ignore[import-not-found]

relay = sys.argv[1]


@dataclass
class Point:
    """A place."""

    x: float
    y: float = 0.0


class Options(TypedDict, total=False):
    """How to do it."""

    deep: bool


def move(point: Point, by: List[float], options: Optional[Options] = None, more: Dict[str, int] = {}) -> Point:  # noqa: B006, UP006, UP045
    """Move a point."""
    return Point(point.x + by[0], point.y + by[1])


class Color(enum.Enum):
    """A color."""

    RED = "red"


class Pair(NamedTuple):
    """Two numbers."""

    left: int
    right: int = 2


@dataclass
class Node:
    """A tree."""

    value: int
    children: "List[Node]" = field(default_factory=list)  # noqa: UP006


@tool(title="Types", annotations={"readOnlyHint": True})  # type: ignore[untyped-decorator]
def take(
    color: Color,
    at: datetime.datetime,
    day: datetime.date,
    pair: Pair,
    tree: Node,
    size: Annotated[int, "how many"],
    path: pathlib.Path,
    number: decimal.Decimal,
    key: uuid.UUID,
    data: bytes,
    several: Tuple[int, str],  # noqa: UP006
    distinct: Set[int],  # noqa: UP006
    row: Sequence[int],
    either: Union[int, Literal["x"], None],  # noqa: UP007
    nothing: int = None,  # type: ignore[assignment]  # noqa: RUF013
    *rest: int,
    **more: int,
) -> Any:
    """Take all kinds of things.

    Parameters
    ----------
    row : sequence
        In a row.
    """
    progress(1, 2, "taking")
    assert at == datetime.datetime(2026, 1, 2, 3, tzinfo=datetime.timezone.utc)  # noqa: UP017
    assert (day, pair, tree.children[0].value, size) == (datetime.date(2026, 1, 2), Pair(1), 5, 7)
    assert (path, number, key.int, data) == (pathlib.Path("a"), decimal.Decimal("0.1"), 1, b"x")
    assert (several, distinct, row) == ((1, "a"), {1}, [1, 2])
    assert [either, nothing] == [None, None]
    return {"color": color, "rest": rest, "more": more, "nan": float("nan"), "set": {2, 1}, "gone": iter([1])}


TAKEN = {
    "color": "red",
    "at": "2026-01-02T03:00:00Z",
    "day": "2026-01-02",
    "pair": {"left": 1},
    "tree": {"value": 1, "children": [{"value": "5"}]},
    "size": "7",
    "path": "a",
    "number": "0.1",
    "key": "00000000-0000-0000-0000-000000000001",
    "data": "eA==",
    "several": '[1, "a"]',
    "distinct": [1, 1],
    "row": [1, 2],
    "either": "null",
    "nothing": None,
    "rest": [3],
    "z": 4,
}


async def count_up() -> AsyncIterator[int]:
    """Return numbers, one after the other."""
    yield 1
    yield 2


async def later(text: str) -> str:
    """Return a text after a while."""
    await asyncio.sleep(0.05)
    return text


def never() -> None:
    """Wait until nobody waits."""
    assert cancelled().wait(30)
    stopped.set()


def raise_odd_things(what: str) -> None:
    """Raise what is no Exception, or what is special to coroutines."""
    raise {"exit": SystemExit("exit"), "interrupt": KeyboardInterrupt(), "stop": StopIteration("stop")}[what]


def double(a: int) -> int:
    """Double a number."""
    return 2 * a


stopped = threading.Event()


def refusal(work: Any) -> Any:
    """Return the code of the error that a call raises."""
    try:
        work()
    except RelayError as error:
        return error.code
    return "nothing"


def try_threads() -> None:
    """Try a program without asyncio."""
    with host(
        [move, later, never, raise_odd_things, double], on_request=lambda payload: [payload], relay=relay
    ) as session:
        one = guest(session.code, relay=relay)
        assert one.call_tool("move", {"point": {"x": 1}, "by": [1, 2]})["structuredContent"] == {"x": 2.0, "y": 2.0}
        assert one.call_tool("later", {"text": "ü"}) == {"content": [{"type": "text", "text": "ü"}]}
        assert one.request({"a": None}) == [{"a": None}]
        assert refusal(lambda: one.call_tool("never", timeout=0.3)) == "timeout"
        assert stopped.wait(5)
        for what, text in (("exit", "SystemExit: exit"), ("interrupt", "KeyboardInterrupt"), ("stop", "StopIteration")):
            result = one.call_tool("raise_odd_things", {"what": what})
            assert result["isError"], result
            assert text in result["content"][0]["text"], result
        assert one.call_tool("double", {"a": 4})["structuredContent"] == 8
        assert session.reason == ""
        deep = "[" * 950 + "]" * 950
        assert refusal(lambda: one.request({"deep": deep})) == "nothing"
    assert session.wait() == session.reason == "ended"
    assert refusal(lambda: one.request(1)) == "session_ended"


def try_types() -> None:
    """Try what people write in their functions, and tools that change."""
    with host([take, count_up], relay=relay, approve=lambda call: call.name != "double") as session:
        one = guest(session.code, relay=relay)
        assert one.tools()[0]["title"] == "Types"
        assert one.tools()[0]["inputSchema"]["properties"]["row"]["description"] == "In a row."
        reports: List[Any] = []  # noqa: UP006
        result = one.call_tool("take", TAKEN, on_progress=lambda *report: reports.append(report))
        assert reports == [(1, 2, "taking")], reports
        told = {"color": "red", "rest": [3], "more": {"z": 4}, "nan": None, "set": [1, 2], "gone": [1]}
        assert result["structuredContent"] == told, result
        assert one.call_tool("count_up")["structuredContent"] == [1, 2]
        session.add_tool(Tool(double, "double", meta={"a": [1]}))
        assert one.tools()[2]["_meta"] == {"a": [1]}
        assert "did not allow" in one.call_tool("double", {"a": 1})["content"][0]["text"]
        session.remove_tool("double")
        session.renew()
        assert one.session()["expiresAt"] == session.expires_at


async def try_asyncio() -> None:
    """Try an asyncio program, whose coroutines share its loop."""
    loops = []

    async def which() -> str:
        loops.append(asyncio.get_running_loop())
        return "this"

    async with host([which, never, double], relay=relay) as session:
        one = guest(session.code, relay=relay)
        results = await asyncio.gather(*(one.acall_tool("which") for _ in range(3)), one.acall_tool("double", {"a": 1}))
        assert [result["content"][0]["text"] for result in results] == ["this", "this", "this", "2"]
        assert set(loops) == {asyncio.get_running_loop()}
        assert len(await one.atools()) == 3
        stopped.clear()
        asking = asyncio.ensure_future(one.acall_tool("never"))
        await asyncio.sleep(0.5)
        asking.cancel()
        try:
            await asking
        except asyncio.CancelledError:
            pass
        else:
            raise AssertionError
        assert await asyncio.get_running_loop().run_in_executor(None, stopped.wait, 5)
        # As in a notebook, where a loop runs already. The host is in another thread, since this one is blocked.
    with host([double], relay=relay) as session:
        assert guest(session.code, relay=relay).call_tool("double", {"a": 1})["structuredContent"] == 2
    async with host([never], relay=relay) as session:
        session.end()
        assert await session.await_end() == "ended"


def leave_open() -> None:
    """Leave a session, a guest and a call that nobody ends: the program ends all the same."""
    session = host([never, lambda_sleep], relay=relay)
    session.__enter__()
    one = guest(session.code, relay=relay)
    assert refusal(lambda: one.call_tool("lambda_sleep", timeout=0.3)) == "timeout"
    globals()["kept"] = (session, one)


def lambda_sleep() -> None:
    """Sleep, whatever happens."""
    time.sleep(60)


if __name__ == "__main__":
    try_threads()
    try_types()
    asyncio.run(try_asyncio())
    leave_open()
    print("fine", flush=True)
