"""public/relay.py: what a host does when clocks jump, and when they stand still."""

import time

import pytest

from public import relay
from public.relay import host
from tests.clients.scripted import Scripted
from tests.support.tools import long, wait_until


class Clocks:
    """The module `time` for the client. `jump` seconds are added to the wall clock; the other one can be stopped."""

    sleep = staticmethod(time.sleep)

    def __init__(self) -> None:
        self.jump = 0.0
        self._stopped_at: float | None = None

    def time(self) -> float:
        return time.time() + self.jump

    def monotonic(self) -> float:
        return time.monotonic() if self._stopped_at is None else self._stopped_at

    def stop(self) -> None:
        """Stop the clock that only goes forward, which on some machines stands still while they sleep."""
        self._stopped_at = time.monotonic()


@pytest.fixture
def clocks(monkeypatch: pytest.MonkeyPatch) -> Clocks:
    made = Clocks()
    monkeypatch.setattr(relay, "time", made)
    return made


@pytest.mark.parametrize("seconds", [-3600, long(3600)])
def test_clock_that_is_set(clocks: Clocks, seconds: float) -> None:
    """The session is renewed as before."""
    with Scripted(ttl=1.5) as scripted, host(on_request=print, relay=scripted.url) as session:
        clocks.jump = seconds
        wait_until(lambda: scripted.renewals >= 4)
        assert session.reason == ""


def test_clock_that_stands_still(clocks: Clocks) -> None:
    """The other one tells that the machine has slept."""
    with Scripted(ttl=1.5) as scripted, host(on_request=print, relay=scripted.url):
        clocks.stop()
        wait_until(lambda: scripted.renewals >= 4)


def test_connection_that_breaks(monkeypatch: pytest.MonkeyPatch) -> None:
    """A virtual machine may have been paused, of which neither clock knows: the relay knows what time is left."""
    monkeypatch.setattr(relay, "_SHORT_STREAM_SECONDS", 0)
    with Scripted() as scripted, host(on_request=lambda payload: payload, relay=scripted.url):
        scripted.post("q1", "1")
        scripted.answer("q1")
        assert scripted.renewals == 0
        scripted.cut()
        wait_until(lambda: scripted.renewals == 1)
