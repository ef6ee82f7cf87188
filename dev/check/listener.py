"""A host's stream, read in a thread of its own, so that it is known when each event came."""

import threading
import time
from collections.abc import Callable
from queue import Empty, Queue
from typing import Any, NamedTuple

import requests

from dev.check import diagnosis
from dev.check.caller import Failed
from dev.check.diagnosis import Diagnosis
from dev.events import events_of


class Event(NamedTuple):
    """A server-sent event; `at` is when it came, as `time.perf_counter` tells it."""

    name: str
    data: dict[str, Any]
    at: float


class Listener:
    """Reads the stream that `call` opens, from now until it ends."""

    def __init__(self, call: Callable[[], requests.Response]) -> None:
        self._arrived: Queue[Event | Diagnosis] = Queue()
        # A daemon: a stream that is held back cannot be left from outside, and must not keep the program.
        threading.Thread(target=self._read, args=(call,), daemon=True).start()

    def next(self, seconds: float) -> Event | Diagnosis | None:
        """Return the next event; why there are no more where the stream is over; None where the time is up."""
        try:
            arrived = self._arrived.get(timeout=max(0.0, seconds))
        except Empty:
            return None
        if isinstance(arrived, Diagnosis):
            self._arrived.put(arrived)
        return arrived

    def rest(self, seconds: float) -> list[Event]:
        """Return the events that come until the stream is over, or the time is up."""
        until = time.monotonic() + seconds
        found: list[Event] = []
        while isinstance(arrived := self.next(until - time.monotonic()), Event):
            found.append(arrived)
        return found

    def _read(self, call: Callable[[], requests.Response]) -> None:
        try:
            with call() as answer:
                if answer.status_code == 200 and "text/event-stream" in answer.headers.get("Content-Type", ""):
                    # Byte by byte: a larger read waits until so many have come.
                    for event in events_of(answer.iter_content(1)):
                        data = event.data
                        if not isinstance(data, dict):
                            raise ValueError("no JSON object")
                        self._arrived.put(Event(event.name, data, time.perf_counter()))
                    end = diagnosis.STREAM_ENDED
                else:
                    end = diagnosis.of_answer(answer)
        except Failed as failure:
            end = failure.found
        except requests.RequestException:
            end = diagnosis.STREAM_ENDED
        except ValueError:
            end = diagnosis.NO_EVENTS
        self._arrived.put(end)
