"""A host and a guest as users write them: they try again if the network or the store fails."""

import threading
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import httpx

from dev.events import Event, events_of

_PAUSE_SECONDS = 0.05
_PATIENCE_SECONDS = 120

# Answers of 500 and above that are no problem documents, with the time of each by `time.monotonic`.
type Bare = list[tuple[float, str]]


class Unexpected(Exception):
    """The service has done something that its contract rules out."""


class Host:
    """A host that reads its session's stream and answers each request with its payload, until the session ends.

    `seen` counts deliveries by request id, `order` has the ids in the order of their first delivery, and `late` those
    that were delivered again after their answer was taken. `answers` counts the answers that were taken, and `reason`
    is why the session has ended. With a `name` the host names itself and numbers its attempts, as relay.js does. `bare`
    gets the answers that the service should not give.
    """

    def __init__(self, url: str, session: dict[str, Any], name: str = "", bare: Bare | None = None) -> None:
        self.url = f"{url}/api/sessions/{session['code']}"
        self.headers = {"Authorization": f"Bearer {session['token']}"}
        self.seen: Counter[str] = Counter()
        self.order: list[str] = []
        self.late: list[str] = []
        self.answers = 0
        self.reason = ""
        self.connected = threading.Event()
        self._name = name
        self._attempt = 0
        self._bare = bare
        self._answered: set[str] = set()
        self._cursor: dict[str, str] = {}
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def join(self) -> None:
        """Wait until the session has ended. Raises Unexpected if it does not within a minute."""
        self._thread.join(60)
        if self._thread.is_alive() or not self.reason:
            raise Unexpected("the host's session does not end")

    def _run(self) -> None:
        while not self.reason:
            with suppress(httpx.HTTPError), httpx.Client(timeout=30, headers=self.headers) as http:
                self._attempt += 1
                named = {"host": self._name, "attempt": str(self._attempt)} if self._name else {}
                with http.stream("GET", f"{self.url}/stream", headers=self._cursor, params=named) as answer:
                    if answer.status_code in (404, 410):
                        self.reason = "gone"
                    elif answer.status_code == 200:
                        for event in events_of(answer.iter_bytes()):
                            self._take(event, http)
                    else:
                        note(answer, self._bare)
                        time.sleep(_PAUSE_SECONDS)

    def _take(self, event: Event, http: httpx.Client) -> None:
        self._cursor = {"Last-Event-ID": event.id}
        if event.name == "open":
            self.connected.set()
        elif event.name == "ended":
            self.reason = event.data["reason"]
        elif event.name == "request":
            request_id = event.data["id"]
            if request_id in self._answered:
                self.late.append(request_id)
            if not self.seen[request_id]:
                self.order.append(request_id)
            self.seen[request_id] += 1
            body = {"id": request_id, "result": {"echo": event.data["payload"]}}
            answer = _persistently(lambda: http.post(f"{self.url}/responses", json=body), self._bare)
            # 410: the answer was taken, but the reply to the host got lost, and the session has since ended.
            if answer.status_code not in (200, 201, 410):
                raise Unexpected(answer.text)
            self._answered.add(request_id)
            self.answers += answer.status_code == 201


def ask(http: httpx.Client, code: str, request_id: str, payload: Any, bare: Bare | None = None) -> Any:
    """Send a request again and again until it has a result, and return that. Raises Unexpected."""
    url = f"/api/sessions/{code}/requests?wait=20"
    until = time.monotonic() + _PATIENCE_SECONDS
    while time.monotonic() < until:
        answer = _persistently(lambda: http.post(url, json={"id": request_id, "payload": payload}), bare)
        if answer.status_code == 200:
            return answer.json()["result"]
        if answer.status_code != 202:
            raise Unexpected(answer.text)
    raise Unexpected(f"{request_id} is not answered")


def note(answer: httpx.Response, bare: Bare | None) -> None:
    """Take note of an answer of 500 and above that is not a refusal of the service's own."""
    problem = answer.headers.get("Content-Type", "") == "application/problem+json"
    if answer.status_code >= 500 and bare is not None and not problem:
        bare.append((time.monotonic(), f"{answer.request.method} {answer.url.path}: {answer.status_code}"))


def _persistently(call: Callable[[], httpx.Response], bare: Bare | None) -> httpx.Response:
    """Return the first answer below 500. Raises Unexpected if there is none within two minutes."""
    until = time.monotonic() + _PATIENCE_SECONDS
    while time.monotonic() < until:
        with suppress(httpx.HTTPError):
            answer = call()
            if answer.status_code < 500:
                return answer
            note(answer, bare)
        time.sleep(_PAUSE_SECONDS)
    raise Unexpected("the service does not answer")
