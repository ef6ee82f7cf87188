"""lib/session/budgets.py: what is certain to be refused again costs nothing, and nothing else is refused."""

import time
from collections.abc import Iterator

import pytest

from lib.problems import RateLimited
from lib.session import budgets
from lib.session.budgets import Spending


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[float]]:
    """Forget all refusals, and give a clock that a test may move."""
    now = [1000.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    budgets._refusals.clear()
    yield now
    budgets._refusals.clear()


def seconds(counter: str, amount: int = 1, code: str = "", *, may_repeat: bool = False) -> int:
    """Return the seconds after which a call may be tried again; 0 if the store has to be asked."""
    try:
        budgets.require(Spending(counter, amount), code, may_repeat=may_repeat)
    except RateLimited as problem:
        return problem.seconds
    return 0


def test_until_the_counter_expires(clock: list[float]) -> None:
    assert seconds("a") == 0
    budgets.remember("a", RateLimited(60, "a"))
    assert (seconds("a"), seconds("b")) == (60, 0)
    clock[0] += 59.5
    assert seconds("a") == 1
    clock[0] += 0.5
    assert seconds("a") == 0
    assert not budgets._refusals


def test_room(clock: list[float]) -> None:
    """A smaller message may fit."""
    budgets.remember("a", RateLimited(60, "a", 100))
    assert [seconds("a", amount) for amount in (0, 100, 101)] == [0, 0, 60]


def test_exempt_codes(clock: list[float]) -> None:
    """What a network has begun goes on."""
    budgets.remember("misses", RateLimited(60, "misses", 0, ["ABC12345"]))
    assert [seconds("misses", code=code) for code in ("ABC12345", "XYZ12345", "")] == [0, 60, 60]


def test_calls_that_may_repeat(clock: list[float]) -> None:
    """The store is asked for the first ten, also if it refuses each of them again."""
    asked = 0
    budgets.remember("a", RateLimited(60, "a"))
    for _ in range(1000):
        if not seconds("a", may_repeat=True):
            asked += 1
            budgets.remember("a", RateLimited(60, "a"))
    assert asked == 10
    clock[0] += 61
    budgets.remember("a", RateLimited(60, "a"))
    assert seconds("a", may_repeat=True) == 0, "another window"


def test_few_are_remembered(clock: list[float]) -> None:
    """The oldest are forgotten first, and what has expired before those."""
    for number in range(budgets._MOST_REMEMBERED):
        budgets.remember(f"n{number}", RateLimited(60, "n"))
    budgets.remember("new", RateLimited(60, "new"))
    assert len(budgets._refusals) == budgets._MOST_REMEMBERED
    assert (seconds("n0"), seconds("n1"), seconds("new")) == (0, 60, 60)
    clock[0] += 61
    budgets.remember("newer", RateLimited(60, "newer"))
    assert len(budgets._refusals) == 1
