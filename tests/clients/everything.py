"""Both sides of relay.py in one program, for each Python: python everything.py RELAY. Prints `fine` at the end."""

import asyncio
import sys
import threading
import time
from dataclasses import dataclass
from typing import Any, Dict, List, Optional, TypedDict  # noqa: UP035 - as in programs for Python 3.10

from relay import RelayError, cancelled, guest, host  # type: ignore[import-not-found]

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
    asyncio.run(try_asyncio())
    leave_open()
    print("fine", flush=True)
