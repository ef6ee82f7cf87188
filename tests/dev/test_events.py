"""dev/events.py: server-sent events, however their bytes are cut."""

import pytest

from dev.events import UPSTASH, Event, events_of

ONE = b'id: 1-0\nevent: request\ndata: {"id":"q"}\n\n'
PARSED = Event("1-0", "request", '{"id":"q"}')


@pytest.mark.parametrize(
    ("stream", "events"),
    [
        (b"", []),
        (b"\n\n", []),
        (ONE, [PARSED]),
        (ONE + ONE, [PARSED, PARSED]),
        (ONE.replace(b"\n", b"\r\n"), [PARSED]),
        (ONE.replace(b": ", b":"), [PARSED]),
        (b": a comment\n\n" + ONE, [PARSED]),
        (b":\n\n:\n\n" + ONE, [PARSED]),
        (ONE.replace(b"event", b":\n: data: no\nevent"), [PARSED]),
        (b"event: x\ndata:  two spaces \nid: 1:2\n\n", [Event("1:2", "x", " two spaces ")]),
        (b"id: 1\nevent\ndata:\n\n", [Event("1", "", "")]),
        (b"id: 1\nevent: x\nretry: 9\ndata: 1\n\n", [Event("1", "x", "1")]),
        ("id: 1\nevent: x\ndata: \u2028ä\x0b\x85\n\n".encode(), [Event("1", "x", "\u2028ä\x0b\x85")]),
        (ONE + b"id: 2-0\nevent: request\ndata: cut off\n", [PARSED]),
        (ONE + b"id: 2-0\nevent: request\ndata: cut off", [PARSED]),
    ],
)
def test_events(stream: bytes, events: list[Event]) -> None:
    """The bytes come at once, one by one, and cut in two at every place."""
    assert list(events_of([stream])) == events
    assert list(events_of([bytes([byte]) for byte in stream])) == events
    for cut in range(len(stream)):
        assert list(events_of([stream[:cut], stream[cut:]])) == events


@pytest.mark.parametrize(
    ("stream", "told"),
    [
        (ONE[:-1] + b"data: again\n\n", "two lines of 'data'"),
        (ONE.replace(b"id: 1-0\n", b""), "no 'id'"),
        (ONE.replace(b"event: request\n", b""), "no 'event'"),
        (b"id: 1-0\nevent: x\n\n", "no 'data'"),
        (b"<html>\n\n", "no 'id'"),
        (b"data: \xff\n\n", "utf-8"),
    ],
)
def test_what_is_no_event(stream: bytes, told: str) -> None:
    """The events before it have been yielded."""
    found = events_of([ONE + stream])
    assert next(found) == PARSED
    with pytest.raises(ValueError, match=told):
        next(found)


def test_events_of_upstash() -> None:
    found = list(events_of([b"data: subscribe,a,1\n\ndata: message,a,b\n\n"], UPSTASH))
    assert [event.text for event in found] == ["subscribe,a,1", "message,a,b"]
    assert found[0] == Event("", "", "subscribe,a,1")
    with pytest.raises(ValueError, match="no 'data'"):
        list(events_of([b"id: 1\n\n"], UPSTASH))


def test_event_is_known_with_its_last_byte() -> None:
    """Nothing more is read before an event that has come is given."""
    parts = iter([ONE[:-1], b"\n", ONE])
    assert next(events_of(parts)) == PARSED
    assert list(parts) == [ONE]


def test_data() -> None:
    assert PARSED.data == {"id": "q"}
    with pytest.raises(ValueError, match="Expecting value"):
        _ = Event("1", "x", "no JSON").data
