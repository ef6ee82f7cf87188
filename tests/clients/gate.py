"""A proxy in front of a deployment, which makes calls fail as a test says."""

import http.client
import json
import socket
import struct
import threading
from collections.abc import Callable
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple, Self
from urllib.parse import urlsplit

_RESET = struct.pack("ii", 1, 0)
_READ_SIZE = 64 * 1024


class Call(NamedTuple):
    """A call as the gate saw it: its kind is the path's last part that is neither a code nor an id, its line is all."""

    method: str
    kind: str
    target: str


class Answer(NamedTuple):
    """What the gate answers in place of the deployment."""

    status: int
    body: str = ""
    retry_after: int | str = 0


# What happens to a call: it passes, or is answered by the gate, or "cut" before the deployment sees it, or "lost", when
# the deployment has answered, or "held" for good.
type Fate = Answer | str
type Rule = Callable[[Call], Fate]


def problem(status: int, code: str, retry_after: int | str = 0) -> Answer:
    """Return an answer that is a refusal, as the relay writes them."""
    body = {"type": f"/problems.html#{code}", "title": code, "status": status, "detail": code, "code": code}
    return Answer(status, json.dumps(body), retry_after)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: Any) -> None:
        pass


class Gate:
    """Passes calls on to the deployment at `target`, a URL, while the `with` block runs. `url` is where it listens.

    `calls` has all calls in their order, `tokens` the tokens of hosts' calls. Each call has the fate that `rule` tells,
    `""` if it passes.
    """

    def __init__(self, target: str) -> None:
        self.calls: list[Call] = []
        self.tokens: list[str] = []
        self.rule: Rule = lambda _: ""
        self._target = urlsplit(target)
        self._open: set[socket.socket] = set()
        self._closed = threading.Event()
        made = {
            f"do_{method}": lambda handler: self._serve(handler) for method in ("GET", "POST", "PUT", "PATCH", "DELETE")
        }
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), made))
        self._server.daemon_threads = True
        self._server.block_on_close = False
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, args=[0.05], daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._closed.set()
        self.cut()
        self._server.shutdown()
        self._server.server_close()

    def cut(self) -> None:
        """Reset all connections, whatever they transfer."""
        for connection in list(self._open):
            _reset(connection)

    def once(self, fate: Fate, chosen: Callable[[Call], bool], times: int = 1) -> None:
        """Let the next calls that are chosen have a fate, and all others pass."""
        left = [fate] * times
        self.rule = lambda call: left.pop() if left and chosen(call) else ""

    def _serve(self, handler: BaseHTTPRequestHandler) -> None:
        body = handler.rfile.read(int(handler.headers.get("Content-Length", 0)))
        parts = [part for part in urlsplit(handler.path).path.split("/") if part]
        call = Call(handler.command, parts[3] if len(parts) > 3 else parts[1], handler.path)
        self.calls.append(call)
        if token := handler.headers.get("Authorization"):
            self.tokens.append(token.removeprefix("Bearer "))
        fate = self.rule(call)
        self._open.add(handler.connection)
        try:
            if isinstance(fate, Answer):
                _answer(handler, fate)
            elif fate == "held":
                self._closed.wait()
            elif fate == "cut":
                _reset(handler.connection)
            else:
                self._pass_on(handler, body, lost=fate == "lost")
        except (OSError, http.client.HTTPException):  # an end has hung up
            handler.close_connection = True
        finally:
            self._open.discard(handler.connection)

    def _pass_on(self, handler: BaseHTTPRequestHandler, body: bytes, *, lost: bool) -> None:
        headers = {name: value for name, value in handler.headers.items() if name.lower() not in ("host", "connection")}
        onward = http.client.HTTPConnection(self._target.hostname or "", self._target.port, timeout=120)
        try:
            onward.request(handler.command, handler.path, body or None, headers)
            onward_socket = onward.sock
            self._open.add(onward_socket)
            answer = onward.getresponse()
            if lost:
                answer.read()
                _reset(handler.connection)
                return
            handler.send_response(answer.status)
            for name, value in answer.getheaders():
                if name.lower() not in ("connection", "date", "server", "transfer-encoding"):
                    handler.send_header(name, value)
            handler.send_header("Connection", "close")
            handler.end_headers()
            while part := answer.read1(_READ_SIZE):
                handler.wfile.write(part)
        finally:
            with suppress(NameError):
                self._open.discard(onward_socket)
            onward.close()
            handler.close_connection = True


def _answer(handler: BaseHTTPRequestHandler, answer: Answer) -> None:
    body = answer.body.encode()
    handler.send_response(answer.status)
    if answer.retry_after:
        handler.send_header("Retry-After", str(answer.retry_after))
    handler.send_header("Content-Length", str(len(body)))
    handler.end_headers()
    handler.wfile.write(body)


def _reset(connection: socket.socket) -> None:
    """Reset a connection, also under a thread that reads or writes."""
    with suppress(OSError):
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        connection.shutdown(socket.SHUT_RDWR)
