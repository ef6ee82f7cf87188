"""public/relay.py: how many calls a host works on at once, and what becomes of the others."""

import asyncio
import logging
import threading
import time
from typing import Any

import pytest

from public import relay
from public.relay import cancelled, host
from tests.clients.scripted import Scripted
from tests.support.tools import wait_until


class Work:
    """Tools that note how they run."""

    def __init__(self) -> None:
        self.begun: list[int] = []
        self.ended: list[int] = []
        self.most = 0
        self.released = threading.Event()
        self._lock = threading.Lock()

    def hold(self, number: int) -> int:
        """Go on until the test releases it, whether anybody waits or not."""
        self._begin(number)
        self.released.wait(60)
        return self._end(number)

    def care(self, number: int) -> int:
        """Go on until the test releases it, or nobody waits, and then take a little longer."""
        self._begin(number)
        while not self.released.is_set() and not cancelled().wait(0.01):
            pass
        time.sleep(0.2)
        return self._end(number)

    async def later(self, number: int) -> int:
        """Go on until the test releases it, without a thread."""
        self._begin(number)
        while not self.released.is_set():
            await asyncio.sleep(0.01)
        return self._end(number)

    def _begin(self, number: int) -> None:
        with self._lock:
            self.begun.append(number)
            self.most = max(self.most, len(self.begun) - len(self.ended))

    def _end(self, number: int) -> int:
        with self._lock:
            self.ended.append(number)
        return number


def busy(answer: dict[str, Any]) -> bool:
    return "error" in answer and answer["error"]["code"] == "busy"


def test_thousand_requests() -> None:
    """As many as there are workers run, 100 wait, and the others are refused at once, without a thread for each."""
    work, threads = Work(), threading.active_count()
    with Scripted() as scripted, host([work.hold], relay=scripted.url, workers=4):
        for number in range(1_000):
            scripted.call(f"q{number}", "hold", number=number)
        wait_until(lambda: len(scripted.answers) == 896, 60)
        assert all(busy(answer) for answer in scripted.answers)
        assert work.begun == [0, 1, 2, 3]
        assert threading.active_count() - threads < 40
        work.released.set()
        wait_until(lambda: len(scripted.answers) == 1_000, 60)
    assert work.most == 4
    assert sorted(work.ended) == list(range(104))


@pytest.mark.parametrize("tool", ["hold", "later"])
def test_no_more_than_the_workers_run(tool: str) -> None:
    """Coroutines count, too."""
    work = Work()
    with Scripted() as scripted, host([getattr(work, tool)], relay=scripted.url, workers=2):
        for number in range(6):
            scripted.call(f"q{number}", tool, number=number)
        wait_until(lambda: len(work.begun) == 2)
        scripted.call("unknown", "unknown")
        work.released.set()
        wait_until(lambda: len(scripted.answers) == 7)
    assert work.most == 2
    assert sorted(work.ended) == list(range(6))


def wait_for_withdrawal(caplog: pytest.LogCaptureFixture, request_id: str) -> None:
    """Wait until the host knows that a request is withdrawn."""
    wait_until(lambda: f"withdrawn {request_id}" in caplog.messages)


def test_call_that_is_withdrawn_while_it_waits(caplog: pytest.LogCaptureFixture) -> None:
    """It is not begun, and another one gets its place."""
    caplog.set_level(logging.INFO, "relay")
    work = Work()
    with Scripted() as scripted, host([work.hold], relay=scripted.url, workers=1):
        for number in range(101):
            scripted.call(f"q{number}", "hold", number=number)
        wait_until(lambda: work.begun == [0])
        scripted.call("more", "hold", number=0)
        assert busy(scripted.answer("more"))
        for number in range(1, 101):
            scripted.withdraw(f"q{number}")
        wait_for_withdrawal(caplog, "q100")
        scripted.call("last", "hold", number=101)
        scripted.call("and", "hold", number=102)
        work.released.set()
        wait_until(lambda: len(scripted.answers) == 4)
    assert work.begun == [0, 101, 102]


def test_withdrawn_calls_whose_functions_go_on(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """They do not keep the others waiting, up to three for each worker; then nothing more begins until one ends."""
    monkeypatch.setattr(relay, "_ABANDONED_AFTER_SECONDS", 0)
    caplog.set_level(logging.INFO, "relay")
    work = Work()
    with Scripted() as scripted, host([work.hold], relay=scripted.url, workers=2):
        for number in range(8):
            scripted.call(f"q{number}", "hold", number=number)
            wait_until(lambda: len(work.begun) > number)  # noqa: B023 - it is called at once
            scripted.withdraw(f"q{number}")
        wait_for_withdrawal(caplog, "q7")
        for number in range(8, 110):
            scripted.call(f"q{number}", "hold", number=number)
        wait_until(lambda: len(scripted.answers) == 2)
        assert all(busy(answer) for answer in scripted.answers)
        assert len(work.begun) == 8
        work.released.set()
        wait_until(lambda: len(scripted.answers) == 102)
    assert sorted(work.ended) == list(range(108))


def test_withdrawn_call_is_given_some_time(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    """Only then another one takes its place."""
    monkeypatch.setattr(relay, "_ABANDONED_AFTER_SECONDS", 0.2)
    caplog.set_level(logging.INFO, "relay")
    work = Work()
    with Scripted() as scripted, host([work.hold], relay=scripted.url, workers=1):
        scripted.call("q0", "hold", number=0)
        wait_until(lambda: work.begun == [0])
        scripted.call("q1", "hold", number=1)
        scripted.withdraw("q0")
        wait_until(lambda: work.begun == [0, 1])
        work.released.set()
        scripted.answer("q1")


def test_withdrawn_call_whose_function_stops(monkeypatch: pytest.MonkeyPatch) -> None:
    """The next one begins after it: with one worker, two never run beside each other."""
    monkeypatch.setattr(relay, "_ABANDONED_AFTER_SECONDS", 60)
    work = Work()
    with Scripted() as scripted, host([work.care], relay=scripted.url, workers=1):
        for number in range(3):
            scripted.call(f"q{number}", "care", number=number)
            wait_until(lambda: len(work.begun) > number)  # noqa: B023 - it is called at once
            scripted.withdraw(f"q{number}")
        wait_until(lambda: work.ended == [0, 1, 2])
    assert work.most == 1


def test_host_that_is_busy_says_so_to_guests() -> None:
    """The error has a message, for people and agents."""
    work = Work()
    with Scripted() as scripted, host([work.hold], relay=scripted.url, workers=1):
        for number in range(102):
            scripted.call(f"q{number}", "hold", number=number)
        assert scripted.answer("q101")["error"] == {
            "name": "RelayError",
            "message": "The host is busy: 100 requests wait for it already. Try again later.",
            "code": "busy",
        }
        work.released.set()
