"""lib/wait/capacity.py: waiting calls leave room for plain calls, and one network leaves room for its neighbours."""

import os
import threading
from contextlib import ExitStack

import pytest

from lib.problems import Busy
from lib.wait import capacity


def test_all_places(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MAX_WAITS", "3")
    with ExitStack() as held:
        for number in range(3):
            held.enter_context(capacity.take(f"192.0.2.{number}"))
        with pytest.raises(Busy), capacity.take("192.0.2.9"):
            pass
    with ExitStack() as held:
        for number in range(3):
            held.enter_context(capacity.take(f"192.0.2.{number}"))


def test_share_of_one_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """It gets a quarter, its neighbours the rest; a refused call holds nothing."""
    monkeypatch.setenv("MAX_WAITS", "12")
    with ExitStack() as held:
        for _ in range(3):
            held.enter_context(capacity.take("192.0.2.1"))
        for _ in range(20):
            with pytest.raises(Busy), capacity.take("192.0.2.1"):
                pass
        for neighbour in 3 * ("192.0.2.2", "192.0.2.3", "192.0.2.4"):
            held.enter_context(capacity.take(neighbour))
        with pytest.raises(Busy), capacity.take("192.0.2.5"):
            pass
    assert not capacity._taken_by
    assert capacity._taken == 0


def test_one_place(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MAX_WAITS", "1")
    with capacity.take("192.0.2.1"):
        pass


def test_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MAX_WAITS", "50")
    taken, refused = [], []
    gate, over = threading.Barrier(101), threading.Event()

    def wait(network: str) -> None:
        gate.wait()
        try:
            with capacity.take(network):
                taken.append(1)
                over.wait(20)
        except Busy:
            refused.append(1)
        if len(taken) + len(refused) == 100:
            over.set()

    threads = [threading.Thread(target=wait, args=[f"192.0.2.{number % 10}"]) for number in range(100)]
    for thread in threads:
        thread.start()
    gate.wait()
    for thread in threads:
        thread.join()
    assert (len(taken), len(refused)) == (50, 50)


@pytest.mark.parametrize(("limit", "expected"), [(1024, 900), (256, 132), (100, 1), (-1, 3972), (1 << 20, 3972)])
def test_as_many_as_there_are_descriptors(monkeypatch: pytest.MonkeyPatch, limit: int, expected: int) -> None:
    monkeypatch.delenv("MAX_WAITS", raising=False)
    monkeypatch.setattr(os, "sysconf", {"SC_OPEN_MAX": limit}.get)
    assert capacity._room() == expected
