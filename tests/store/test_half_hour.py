"""What one network can make the store hold in half an hour of trying, within the limits: simulated by the clock."""

import time
from collections.abc import Iterator
from contextlib import suppress

import pytest

from lib.jsontext import JsonText
from lib.kv import Store as Way
from lib.problems import Problem, RateLimited
from lib.session import budgets, messages, sessions, tools
from lib.session.access import Access
from tests.support.functions import library_uses
from tests.support.stores import Store

pytestmark = pytest.mark.long
NETWORK = "192.0.2.1"
# A thousandth of the real limits, so that the simulation is quick. What it holds is measured in the same unit.
KIB = 1024
STEP_SECONDS = 20
RENEWED_EVERY = 24  # steps: before a session's ten minutes are over
MESSAGE = JsonText(b'"' + b"x" * 998 + b'"')


class Clock:
    """The store's clock, which a test sets forward."""

    def __init__(self) -> None:
        self._real = time.time
        self.ahead = 0.0

    def time(self) -> float:
        return self._real() + self.ahead


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(time, "time", made.time)
    return made


@pytest.fixture
def small(embedded_store: Store, monkeypatch: pytest.MonkeyPatch) -> Iterator[Store]:
    """Give the library an empty embedded store, and limits of a thousandth."""
    embedded_store.clear()
    for name, value in (("RATE_LIMIT_BYTES", 64 * KIB), ("MAX_PAYLOAD_BYTES", KIB), ("SESSION_BYTES", 16 * KIB)):
        monkeypatch.setenv(name, str(value))
    with library_uses(embedded_store, monkeypatch):
        yield embedded_store


def held(store: Store) -> int:
    """Return the bytes of messages and tools that the store holds, with what it needs around each message."""
    counted = sum(int(store.db.hget(name, "~bytes") or 0) for name in store.db.keys(f"{store.prefix}res:*"))
    return counted + sum(store.db.strlen(name) for name in store.db.keys(f"{store.prefix}tools:*"))


def spend(access: Access, number: int) -> None:
    """Send whatever a session takes, until the network may send no more. Raises RateLimited, or what comes before."""
    tools.register(access, JsonText(b'[{"name":"a","description":' + MESSAGE + b"}]"))
    for turn in range(20):
        request_id = f"{number}-{turn}"
        messages.post(access, request_id, MESSAGE)
        if turn % 5 == 0:  # what is answered takes as much again of what may be sent, and no more room
            messages.answer(access, request_id, "", "result", MESSAGE)


def test_half_an_hour(small: Store, clock: Clock) -> None:
    """New sessions, old ones that are renewed, tools, requests and answers, as fast as the limits allow."""
    live: list[Access] = []
    most = refused = 0
    for number in range(30 * 60 // STEP_SECONDS):
        access = Way(NETWORK)
        with suppress(RateLimited):
            for _ in range(2):
                session = sessions.create(access, NETWORK, NETWORK)
                live.append(Access(access, session.code, NETWORK, session.created_at))
        for held_open in live[-40:]:
            # An instance remembers refusals by its own clock, which goes on as ever.
            budgets._refusals.clear()
            try:
                if number % RENEWED_EVERY == 0:
                    sessions.renew(held_open)
                spend(held_open, number)
            except Problem:
                refused += 1
        most = max(most, held(small))
        clock.ahead += STEP_SECONDS
    assert refused > 0
    assert 60 * KIB < most <= 160 * KIB
    clock.ahead += 20 * 60
    assert small.names("req:*") == small.names("res:*") == small.names("tools:*") == []
