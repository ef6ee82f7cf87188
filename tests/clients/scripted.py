"""A relay in place of a deployment, which says to a host what a test wants, also what a relay never says."""

import json
import queue
import threading
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple, Self
from urllib.parse import urlsplit

from tests.support.tools import wait_until

CODE = "ABC12345"
_EXPIRES_AT = "2026-11-28T00:00:00.000Z"


class Event(NamedTuple):
    """An event of the host's stream. The data is JSON text, the cursor its id."""

    name: str
    data: str
    cursor: str = ""


class Scripted:
    """Serves one host while the `with` block runs, at `url`. If the host `polls`, it gets no stream.

    The session lives for `ttl` seconds, and `renewals` counts how often it was renewed.

    `answers` has the bodies of the host's answers in their order, `reports` those of its progress, and `requests` those
    of guests' requests. Guests get `response`, and `tools`, as they are. Those that accept a stream get `events`, if
    there are some, in place of `response`.
    """

    def __init__(self, *, polls: bool = False, ttl: float = 600) -> None:
        self.answers: list[dict[str, Any]] = []
        self.reports: list[dict[str, Any]] = []
        self.requests: list[dict[str, Any]] = []
        self.response = self.tools = self.events = ""
        self.renewals = 0
        self._polls = polls
        self._ttl = ttl
        self._events: queue.Queue[Event] = queue.Queue()
        methods = {
            f"do_{method}": lambda handler: self._serve(handler) for method in ("GET", "POST", "PUT", "PATCH", "DELETE")
        }
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), methods))
        self._server.daemon_threads = True
        self._server.block_on_close = False
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, args=[0.05], daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def post(self, request_id: str, payload: str, cursor: str = "") -> None:
        """Send the host a request, whose payload is JSON text."""
        data = f'{{"id":"{request_id}","payload":{payload},"createdAt":"{_EXPIRES_AT}"}}'
        self._events.put(Event("request", data, cursor or f"1-{request_id}"))

    def call(self, request_id: str, tool: str, /, client: Any = None, **arguments: Any) -> None:
        """Send the host the call of a tool, by a client that says who it is."""
        params = {"name": tool, "arguments": arguments}
        who = {} if client is None else {"client": client}
        self.post(request_id, json.dumps({"method": "tools/call", "params": params, **who}))

    def tell(self, name: str, **data: Any) -> None:
        """Send the host another event."""
        self._events.put(Event(name, json.dumps(data)))

    def cut(self) -> None:
        """End the stream as if the network had."""
        self._events.put(Event("cut", ""))

    def withdraw(self, request_id: str) -> None:
        """Tell the host that a request is withdrawn."""
        self._events.put(Event("withdrawn", json.dumps({"id": request_id})))

    def answer(self, request_id: str) -> dict[str, Any]:
        """Return the host's answer to a request, as soon as it is there."""
        wait_until(lambda: any(answer["id"] == request_id for answer in self.answers))
        return next(answer for answer in self.answers if answer["id"] == request_id)

    def _serve(self, handler: BaseHTTPRequestHandler) -> None:
        body = handler.rfile.read(int(handler.headers.get("Content-Length", 0)))
        match handler.command, urlsplit(handler.path).path.removeprefix(f"/api/sessions/{CODE}"):
            case "GET", "/stream":
                if not self._polls:
                    self._stream(handler)
            case "GET", "/requests":
                _reply(handler, 200, self._list(0 if "wait=0" in handler.path else 20))
            case "POST", "/requests":
                self.requests.append(json.loads(body))
                if self.events and handler.headers["Accept"] == "text/event-stream":
                    _reply(handler, 200, self.events, "text/event-stream; charset=utf-8")
                else:
                    _reply(handler, 200, self.response)
            case "POST", "/progress":
                self.reports.append(json.loads(body))
                _reply(handler, 204)
            case "GET", "/tools":
                _reply(handler, 200, self.tools)
            case "POST", "/responses":
                self.answers.append(json.loads(body))
                _reply(handler, 201, json.dumps({"id": self.answers[-1]["id"], "status": "answered"}))
            case ("POST", "/api/sessions") | ("PATCH", ""):
                self.renewals += handler.command == "PATCH"
                session = {"code": CODE, "token": "t", "expiresAt": f"time {self.renewals}", "ttl": self._ttl}
                _reply(handler, 200, json.dumps(session))
            case "DELETE", "":
                self._events.put(Event("ended", '{"reason":"ended"}'))
                _reply(handler, 204)
            case _:
                _reply(handler, 204)

    def _stream(self, handler: BaseHTTPRequestHandler) -> None:
        _reply(handler, 200)
        event = Event("open", json.dumps({"code": CODE, "expiresAt": _EXPIRES_AT}), "0-0")
        while True:
            handler.wfile.write(f"id: {event.cursor}\nevent: {event.name}\ndata: {event.data}\n\n".encode())
            if event.name == "ended":
                return
            event = self._events.get()
            if event.name == "cut":
                return

    def _list(self, seconds: float) -> str:
        """Return what a call that waits gets: the first requests that come."""
        found = []
        with suppress(queue.Empty):
            found.append(self._events.get(timeout=seconds or 0.001))
            while True:
                found.append(self._events.get_nowait())
        requests = [event for event in found if event.name == "request"]
        texts = [f'{event.data[:-1]},"cursor":"{event.cursor}"}}' for event in requests]
        return f'{{"requests":[{",".join(texts)}],"cursor":"{requests[-1].cursor if requests else "0-0"}"}}'


class _Handler(BaseHTTPRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:
        pass


def _reply(handler: BaseHTTPRequestHandler, status: int, body: str = "", media_type: str = "") -> None:
    """Answer with a body that the end of the connection ends."""
    handler.send_response(status)
    if media_type:
        handler.send_header("Content-Type", media_type)
    handler.end_headers()
    handler.wfile.write(body.encode())
