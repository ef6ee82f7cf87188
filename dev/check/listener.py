"""A host's stream, read in a thread of its own, so that the time of each event is known."""

import threading
import time
from collections.abc import Callable
from contextlib import suppress
from queue import Empty, Queue
from typing import Any, NamedTuple

import requests

from dev.check import diagnosis, reading
from dev.check.caller import Failed
from dev.events import events_of


class Received(NamedTuple):
    """An event of the stream; `at` is when it was received, by `time.perf_counter`."""

    name: str
    data: dict[str, Any]
    at: float


class Listener:
    """Reads the stream that `call` opens, from now until it ends."""

    def __init__(self, call: Callable[[], requests.Response]) -> None:
        self._received: Queue[Received | Failed] = Queue()
        # A daemon: a stream that a proxy holds back cannot be closed from here, and must not keep the program running.
        threading.Thread(target=self._listen, args=[call], daemon=True).start()

    def next(self, seconds: float) -> Received | None:
        """Return the next event, or None if none comes in time. Raises Failed when the stream has ended."""
        try:
            received = self._received.get(timeout=max(0.0, seconds))
        except Empty:
            return None
        if isinstance(received, Failed):
            self._received.put(received)
            raise received
        return received

    def rest(self, seconds: float) -> list[Received]:
        """Return the events that come until the stream has ended, or the seconds are over."""
        until = time.monotonic() + seconds
        found: list[Received] = []
        with suppress(Failed):
            while received := self.next(until - time.monotonic()):
                found.append(received)
        return found

    def _listen(self, call: Callable[[], requests.Response]) -> None:
        try:
            with call() as answer:
                if answer.status_code != 200 or "text/event-stream" not in answer.headers.get("Content-Type", ""):
                    raise Failed(*reading.of_answer(answer))
                # Byte by byte: a larger read waits until so many have come.
                for event in events_of(answer.iter_content(1)):
                    if not isinstance(data := event.data, dict):
                        raise ValueError("no JSON object")
                    self._received.put(Received(event.name, data, time.perf_counter()))
            end = Failed(*diagnosis.STREAM_ENDED)
        except Failed as failure:
            end = failure
        except requests.RequestException:
            end = Failed(*diagnosis.STREAM_ENDED)
        except ValueError:
            end = Failed("What came over the stream is not a server-sent event with JSON in it.")
        self._received.put(end)
