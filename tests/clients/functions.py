"""Functions as a user has them in a file, to be offered with `python relay.py host`."""

import asyncio
import datetime
import sys
import time
from dataclasses import dataclass

from relay import cancelled  # type: ignore[import-not-found]

print("loaded")


@dataclass
class Place:
    """A place on a map."""

    latitude: float
    longitude: float
    name: str | None = None


def add(a: int, b: int = 10) -> int:
    """Add two numbers.

    Args:
        a: The first one.
        b: The second one.
    """
    print("adding", a, b)
    return a + b


def total(values: list[float]) -> float:
    """Add some numbers."""
    return sum(values)


def move(place: Place, north: float) -> Place:
    """Move a place."""
    return Place(place.latitude + north, place.longitude, place.name)


def greet(name: str, *, loud: bool = False) -> str:
    """Greet somebody."""
    return f"HELLO {name.upper()}" if loud else f"hello {name}"


def day() -> datetime.date:
    """Return a date."""
    return datetime.date(2026, 11, 24)


def fail(why: str) -> None:
    """Raise an error."""
    raise LookupError(why)


def leave() -> None:
    """Want to end the program."""
    sys.exit("no")


def sleep(seconds: float) -> str:
    """Take a while, and do not care whether anybody waits."""
    time.sleep(seconds)
    return f"slept {seconds:g} s"


def work(seconds: float) -> str:
    """Take a while, unless nobody waits any more."""
    print("working", flush=True)
    print("stopped" if cancelled().wait(seconds) else "worked", flush=True)
    return "worked"


async def later(text: str, seconds: float = 0.1) -> str:
    """Return a text after a while."""
    print("waiting", flush=True)
    try:
        await asyncio.sleep(seconds)
    except asyncio.CancelledError:
        print("cancelled", flush=True)
        raise
    return text


def picture() -> dict[str, object]:
    """Return an image."""
    return {"content": [{"type": "image", "data": "AAAA", "mimeType": "image/png"}]}


def _private() -> None:
    """Not for guests."""
