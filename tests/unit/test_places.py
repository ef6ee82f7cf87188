"""lib/wait/capacity.py: calls that wait leave room for the others, and one address leaves room for its neighbours."""

import resource
import threading
from contextlib import ExitStack

import pytest

from lib.problems import Busy
from lib.wait import capacity


def test_all_places(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MAX_WAITS", "3")
    with ExitStack() as held:
        for _ in range(3):
            held.enter_context(capacity.take())
        with pytest.raises(Busy), capacity.take():
            pass
        with pytest.raises(Busy), capacity.take("192.0.2.1"):
            pass
    with ExitStack() as held:
        for _ in range(3):
            held.enter_context(capacity.take())


def test_guests_of_one_address(monkeypatch: pytest.MonkeyPatch) -> None:
    """They get a quarter, hosts and others the rest; a refused call holds nothing."""
    monkeypatch.setenv("MAX_WAITS", "8")
    with ExitStack() as held:
        for _ in range(2):
            held.enter_context(capacity.take("192.0.2.1"))
        for _ in range(20):
            with pytest.raises(Busy), capacity.take("192.0.2.1"):
                pass
        for guest in ("192.0.2.2", "192.0.2.2", "192.0.2.3", "", "", ""):
            held.enter_context(capacity.take(guest))
        with pytest.raises(Busy), capacity.take():
            pass
    assert not capacity._guests
    assert capacity._taken == 0


def test_one_place_is_for_guests_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MAX_WAITS", "1")
    with capacity.take("192.0.2.1"):
        pass


def test_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MAX_WAITS", "50")
    taken, refused = [], []
    gate, over = threading.Barrier(101), threading.Event()

    def wait() -> None:
        gate.wait()
        try:
            with capacity.take():
                taken.append(1)
                over.wait(20)
        except Busy:
            refused.append(1)
        if len(taken) + len(refused) == 100:
            over.set()

    threads = [threading.Thread(target=wait) for _ in range(100)]
    for thread in threads:
        thread.start()
    gate.wait()
    for thread in threads:
        thread.join()
    assert (len(taken), len(refused)) == (50, 50)


@pytest.mark.parametrize(
    ("limit", "expected"), [(1024, 900), (256, 132), (100, 1), (resource.RLIM_INFINITY, 3972), (1 << 20, 3972)]
)
def test_as_many_as_there_are_descriptors(monkeypatch: pytest.MonkeyPatch, limit: int, expected: int) -> None:
    monkeypatch.delenv("MAX_WAITS", raising=False)
    monkeypatch.setattr(resource, "getrlimit", lambda _: (limit, limit))
    assert capacity._room() == expected
