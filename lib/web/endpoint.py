"""HTTP for every function: reads the request, calls an action, sends the answer, logs a line."""

import errno
import secrets
import sys
import time
import traceback
from abc import ABC, abstractmethod
from collections.abc import Callable, Generator, Mapping
from contextlib import closing, nullcontext, suppress
from http.server import BaseHTTPRequestHandler
from importlib.util import find_spec
from io import BufferedReader
from socketserver import TCPServer
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple, cast

from lib import log, settings
from lib.jsontext import write
from lib.kv import Store
from lib.problems import Busy, InternalError, InvalidRequest, MethodNotAllowed, PayloadTooLarge, Problem, StoreProblem
from lib.web import body
from lib.web.call import Call
from lib.web.connection import ClientGone

# A message's envelope (its id, white space) comes on top of its payload.
_ENVELOPE_BYTES = 16 * 1024
# Seconds that a caller may take to read so many bytes of an answer, or of a stream.
_WRITE_SECONDS = 8
_WRITE_SIZE = 64 * 1024

# The runtime makes its server after it has imported this, with the standard library's backlog of 5: of a burst of 20
# calls some were then tried again by the caller's system after 1, 3 and 7 s, and of 200 some got no answer. The number
# is the one that the runtime gives to ASGI applications.
TCPServer.request_queue_size = 2048

# Around each request the runtime imports modules of the optional package `vercel`, and goes on without them. The build
# installs what requirements.txt lists and the runtime, neither of which depends on that package. Each failing import
# would search the whole path, under a lock that all threads share: a sixth of a call's processor time. None in
# `sys.modules` makes it fail at once. tests/dev/test_runtime.py fails when the runtime no longer imports them.
_OPTIONAL_MODULES = ("vercel", "vercel.headers", "vercel.cache.context", "vercel.cache.cache_build")
if find_spec("vercel") is None:
    sys.modules.update(dict.fromkeys(_OPTIONAL_MODULES))  # type: ignore[arg-type]

# The last four are those of MCP clients.
_ALLOWED_HEADERS = (
    "Authorization, Content-Type, Last-Event-ID, Prefer, MCP-Protocol-Version, Mcp-Method, Mcp-Name, Mcp-Session-Id"
)


class Reply(NamedTuple):
    """An answer: `content`, or a `stream` whose first part is `opening`, or no body.

    Content is bytes, which are sent as they are, or anything that JSON can say.
    """

    status: int
    content: object = None
    headers: Mapping[str, str] = MappingProxyType({})
    media_type: str = "application/json"
    stream: Generator[bytes] | None = None
    opening: bytes = b""


type Actions = Mapping[str, Callable[[Call], Reply]]


class Endpoint(ABC, BaseHTTPRequestHandler):
    """The base of each `handler` in `api/`, which only has to say what answers which method."""

    # Seconds that a caller may stay silent while it sends its request line and headers.
    timeout = 15
    disable_nagle_algorithm = True
    # Bytes that a body may have, if that is not what a message may have and an envelope around it.
    most_bytes = 0

    @abstractmethod
    def actions(self, call: Call) -> Actions:
        """Return the methods that the resource knows, and what answers each. HEAD and OPTIONS come by themselves."""

    # Hidden from type checkers, which would otherwise believe that every misspelt attribute exists.
    if not TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any:
            # The server looks for do_METHOD, and answers a method that it does not find with a page of HTML.
            if name.startswith("do_"):
                return self._serve
            raise AttributeError(name)

    def _serve(self) -> None:
        # After each call the runtime starts an event loop, for work that the call may have registered; none does here.
        # A loop has three descriptors: waits that ended together needed more than the process has, and each that found
        # none printed a traceback, and kept what it had opened. Without a list of such work no loop is started.
        self._vc_wait_until = None
        started = time.perf_counter()
        peer = self.client_address[0]
        call = Call(self.command, self.path, self.headers, self._read_body(), self.connection, peer)
        notes: dict[str, object] = {}
        status = None
        try:
            reply = self._reply(call, notes)
            status = reply.status
            with closing(reply.stream) if reply.stream else nullcontext():
                self._send(reply, call.store)
        except ClientGone:
            notes["clientGone"] = True
        except Exception as defect:  # noqa: BLE001 - in a stream that has begun, which ends here
            notes |= _defect(defect)
        if call.refused:
            notes |= _problem(call.refused)
        log.line(
            level="error" if (status or 0) >= 500 or "defect" in notes or "cause" in notes else "info",
            method=call.method[:16],
            route=call.target.route,
            status=status,
            ms=_milliseconds(time.perf_counter() - started),
            storeCalls=call.store.calls,
            storeMs=_milliseconds(call.store.seconds),
            requestId=(call.platform_id or secrets.token_hex(8))[:64],
            **notes,
        )

    def _reply(self, call: Call, notes: dict[str, object]) -> Reply:
        """Return the answer, which may be a refusal. Raises ClientGone."""
        try:
            reply = self._answer(call)
            if reply.stream and not reply.opening:  # its refusals come before its first part
                return reply._replace(opening=next(reply.stream))
            if reply.content is None or isinstance(reply.content, bytes):
                return reply
            # Written as JSON here, where a failure still gets an answer.
            return reply._replace(content=write(reply.content))
        except ClientGone:
            raise
        except Problem as problem:
            notes |= _problem(problem)
            return _refusal(problem)
        except Exception as defect:  # noqa: BLE001 - a caller gets an answer, whatever it is
            if isinstance(defect, OSError) and defect.errno in (errno.EMFILE, errno.ENFILE):
                # More calls have come at once than the process has descriptors: no file can be read, no socket opened.
                notes |= _problem(Busy())
                return _refusal(Busy())
            notes |= _defect(defect)
            return _refusal(InternalError())

    def _read_body(self) -> bytes | Problem:
        try:
            stream = cast(BufferedReader, self.rfile)
            limit = self.most_bytes or settings.max_payload() + _ENVELOPE_BYTES
            return body.read(self.headers, stream, self.connection, limit)
        except PayloadTooLarge as problem:
            return PayloadTooLarge(settings.max_payload(), problem.size)
        except Problem as problem:
            return problem
        except OSError:
            return InvalidRequest("The body did not arrive.")

    def _answer(self, call: Call) -> Reply:
        actions = dict(self.actions(call))
        if "GET" in actions:
            actions["HEAD"] = actions["GET"]
        allow = ", ".join([*actions, "OPTIONS"])
        if call.method == "OPTIONS":
            return Reply(204, headers=_preflight(allow))
        if call.method not in actions:
            raise MethodNotAllowed(call.method[:16], allow)
        return actions[call.method](call)

    def _send(self, reply: Reply, store: Store) -> None:
        content = reply.content if isinstance(reply.content, bytes) else b""
        headers = _common_headers(store) | dict(reply.headers)
        if reply.content is not None:
            headers["Content-Type"] = reply.media_type
        if reply.status != 204 and not reply.stream:
            headers["Content-Length"] = str(len(content))
        self.close_connection = True
        self.connection.settimeout(_WRITE_SECONDS)
        # Without this a request that could not be read counts as HTTP/0.9, which has no status and no headers.
        self.request_version = self.protocol_version
        self.send_response_only(reply.status)
        for name, value in headers.items():
            self.send_header(name, value)
        self._write(self.end_headers)
        if self.command == "HEAD":
            return
        self._write_parts(content or reply.opening)
        for part in reply.stream or ():
            self._write_parts(part)

    def _write_parts(self, content: bytes) -> None:
        """Write in parts, each of which has its time: otherwise a slow line could not take a large answer."""
        view = memoryview(content)
        for start in range(0, len(content), _WRITE_SIZE):
            self._write(self.wfile.write, view[start : start + _WRITE_SIZE])

    def _write(self, write: Callable[..., object], *parts: bytes | memoryview) -> None:
        """Write to the caller. Raises ClientGone if that fails: every other error is a defect, and gets an answer."""
        try:
            write(*parts)
        except OSError:
            raise ClientGone from None

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """Refuse a request that the server itself could not read, in place of the server's page of HTML."""
        with suppress(ClientGone):
            self._send(_refusal(InvalidRequest("The request line or the headers are not well formed.")), Store())

    def log_message(self, format: str, *args: Any) -> None:
        """Write nothing: the server's lines contain the query, and with it a token."""

    # The platform's runtime overrides log_message, but not this method.
    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        """Write nothing, as above."""


def _refusal(problem: Problem) -> Reply:
    return Reply(problem.status, write(problem.body()), problem.headers, "application/problem+json")


def _common_headers(store: Store) -> dict[str, str]:
    return {
        "Cache-Control": "no-store",
        "Access-Control-Allow-Origin": settings.allowed_origin(),
        "Access-Control-Expose-Headers": "Location, Retry-After, Preference-Applied, Server-Timing, Mcp-Session-Id",
        "Server-Timing": f'kv;dur={_milliseconds(store.seconds)};desc="{store.calls} calls"',
    }


def _preflight(allow: str) -> dict[str, str]:
    return {
        "Allow": allow,
        "Access-Control-Allow-Methods": allow,
        "Access-Control-Allow-Headers": _ALLOWED_HEADERS,
        "Access-Control-Max-Age": "86400",
    }


def _problem(problem: Problem) -> dict[str, object]:
    """Return the log's fields for a problem."""
    return {"problem": problem.code, **({"cause": problem.cause} if isinstance(problem, StoreProblem) else {})}


def _defect(defect: Exception) -> dict[str, object]:
    """Return the log's fields for a defect: its type and place, and no data."""
    place = traceback.extract_tb(defect.__traceback__)[-1]
    return {"problem": InternalError.code, "defect": f"{type(defect).__name__} in {place.name}:{place.lineno}"}


def _milliseconds(seconds: float) -> float:
    return round(seconds * 1000, 1)
