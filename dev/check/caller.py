"""Calls to a deployment, each with the answer that it has to get, and the events of a host's stream."""

import threading
import time
from collections.abc import Callable
from contextlib import suppress
from queue import Empty, Queue
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import requests
from urllib3.exceptions import HTTPError

from dev.check import diagnosis, reading
from dev.check.diagnosis import Diagnosis
from dev.events import PARLEY, events_of

# To connect, and for an answer: the platform stops a function that hangs after thirty seconds.
_TIMEOUT = (10, 35)
_READ_SIZE = 64 * 1024


class Failed(Exception):
    """The deployment is not as it should be; `found` says how, and what to do."""

    def __init__(self, seen: str, advice: str = diagnosis.OTHER_CODE) -> None:
        super().__init__(seen)
        self.found = Diagnosis(seen, advice)


class Caller:
    """A client of the deployment at `url`, for one thread at a time. Every call has a time limit."""

    def __init__(self, url: str, bypass: str = "") -> None:
        self.url = url
        self.bypass = bypass
        self._http = requests.Session()
        # Without this, requests replaces the host's token by what a .netrc file has for the deployment.
        self._http.auth = lambda request: request
        if bypass:
            self._http.headers[reading.BYPASS_HEADER] = bypass

    def another(self) -> "Caller":
        """Return a caller of the same deployment for another thread."""
        return Caller(self.url, self.bypass)

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def call(self, method: str, path: str, status: int, code: str = "", **options: Any) -> requests.Response:
        """Send a request as `send` does. Raises Failed unless the answer has this status, and this problem's code."""
        return expect(self.send(method, path, **options), status, code)

    def send(self, method: str, path: str, token: str = "", **options: Any) -> requests.Response:
        """Send a request with these options of `requests`, and return the answer. Raises Failed if none comes."""
        headers = options.pop("headers", {}) | ({"Authorization": f"Bearer {token}"} if token else {})
        options |= {"headers": headers, "timeout": _TIMEOUT, "allow_redirects": False}
        try:
            return self._http.request(method, f"{self.url}{path}", **options)
        except (requests.RequestException, ValueError) as error:
            raise Failed(*reading.of_error(error, urlsplit(self.url).netloc)) from None


def expect(answer: requests.Response, status: int, code: str = "") -> requests.Response:
    """Return the answer. Raises Failed unless it has this status, and this problem's code (`""`: no problem)."""
    if answer.status_code != status or reading.problem(answer).get("code", "") != code:
        raise Failed(*reading.of_answer(answer))
    return answer


def parsed(answer: requests.Response) -> dict[str, Any]:
    """Return the JSON object that an answer has as its body. Raises Failed."""
    if not isinstance(found := reading.body(answer), dict):
        raise Failed(*reading.of_answer(answer))
    return found


def require(condition: object, seen: str, advice: str = diagnosis.OTHER_CODE) -> None:
    """Raise Failed unless the condition holds."""
    if not condition:
        raise Failed(seen, advice)


class Received(NamedTuple):
    """An event of a stream; `at` is when it was received, by `time.perf_counter`."""

    name: str
    data: dict[str, Any]
    at: float


class Listener:
    """Reads the stream that `call` opens, in a thread of its own, so that the time of each event is known.

    `fields` are those that each event has.
    """

    def __init__(self, call: Callable[[], requests.Response], fields: tuple[str, ...] = PARLEY) -> None:
        self._fields = fields
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
                # Not iter_content(), which waits until as many bytes have come as it may give.
                for event in events_of(iter(lambda: answer.raw.read1(_READ_SIZE), b""), self._fields):
                    if not isinstance(data := event.data, dict):
                        raise ValueError("no JSON object")
                    if event.name != "guest":  # which comes whenever an agent lists the tools
                        self._received.put(Received(event.name, data, time.perf_counter()))
            end = Failed(*diagnosis.STREAM_ENDED)
        except Failed as failure:
            end = failure
        except (requests.RequestException, HTTPError):
            end = Failed(*diagnosis.STREAM_ENDED)
        except ValueError:
            end = Failed("What came over the stream is not a server-sent event with JSON in it.")
        self._received.put(end)
