"""A host's stream, read in a thread of its own, so that the time of each event is known."""

import threading
import time
from collections.abc import Callable
from queue import Empty, Queue
from typing import Any, NamedTuple

import requests

from dev.check import diagnosis, reading
from dev.check.caller import Failed
from dev.check.diagnosis import Diagnosis
from dev.events import events_of


class Received(NamedTuple):
    """An event of the stream; `at` is when it was received, by `time.perf_counter`."""

    name: str
    data: dict[str, Any]
    at: float


class Listener:
    """Reads the stream that `call` opens, from now until it ends."""

    def __init__(self, call: Callable[[], requests.Response]) -> None:
        self._received: Queue[Received | Diagnosis] = Queue()
        # A daemon: a stream that a proxy holds back cannot be closed from here, and must not keep the program running.
        threading.Thread(target=self._read, args=(call,), daemon=True).start()

    def next(self, seconds: float) -> Received | Diagnosis | None:
        """Return the next event, or why there are no more if the stream has ended, or None if none came in time."""
        try:
            received = self._received.get(timeout=max(0.0, seconds))
        except Empty:
            return None
        if isinstance(received, Diagnosis):
            self._received.put(received)
        return received

    def rest(self, seconds: float) -> list[Received]:
        """Return the events that come until the stream has ended, or the seconds are over."""
        until = time.monotonic() + seconds
        found: list[Received] = []
        while isinstance(received := self.next(until - time.monotonic()), Received):
            found.append(received)
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
                        self._received.put(Received(event.name, data, time.perf_counter()))
                    end = diagnosis.STREAM_ENDED
                else:
                    end = reading.of_answer(answer)
        except Failed as failure:
            end = failure.found
        except requests.RequestException:
            end = diagnosis.STREAM_ENDED
        except ValueError:
            end = diagnosis.NO_EVENTS
        self._received.put(end)
