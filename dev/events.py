"""Server-sent events, parsed as their bytes arrive.

Source: https://html.spec.whatwg.org/multipage/server-sent-events.html. Stricter than that: Parley and Upstash send each
field of an event on one line, so a field that comes twice is an error.
"""

import json
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

# The fields that an event of Parley's stream always has; an event of Upstash's has only `data`.
PARLEY = ("id", "event", "data")
UPSTASH = ("data",)


class Event(NamedTuple):
    """One event: its id and name, which are `""` if the event has none, and its data as text."""

    id: str
    name: str
    text: str

    @property
    def data(self) -> Any:
        """Return the data, parsed as JSON. Raises ValueError."""
        return json.loads(self.text)


def events_of(parts: Iterable[bytes], required: tuple[str, ...] = PARLEY) -> Iterator[Event]:
    """Yield the events of a stream as its bytes arrive, each with its last byte.

    Lines end with LF or CRLF; comments are ignored. Raises ValueError for an event with a field twice or without a
    required one, and for bytes that are not UTF-8.
    """
    rest = b""
    fields: dict[str, str] = {}
    for part in parts:
        *lines, rest = (rest + part).split(b"\n")
        for line in lines:
            text = line.removesuffix(b"\r").decode()
            if text and not text.startswith(":"):
                name, _, value = text.partition(":")
                if name in fields:
                    raise ValueError(f"an event has two lines of {name!r}")
                fields[name] = value.removeprefix(" ")
            elif not text and fields:
                if lacking := [name for name in required if name not in fields]:
                    raise ValueError(f"an event has no {lacking[0]!r}")
                yield Event(fields.get("id", ""), fields.get("event", ""), fields["data"])
                fields = {}
