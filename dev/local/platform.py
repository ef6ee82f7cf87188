"""The part of Vercel that serves a project: static files, routes and functions behind one address.

Each function runs in a process of its own under Vercel's runtime. A request reaches it as on Vercel: with the caller's
path and the rewrite's parameters, the platform's headers in place of the caller's, and a body of at most 4.5 MB.
"""

import asyncio
import secrets
import threading
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from typing import Self

import h11
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import PlainTextResponse
from starlette.staticfiles import StaticFiles
from starlette.types import Message, Receive, Scope, Send

from dev.local.function import Function, FunctionBroken
from dev.local.project import Project, Route
from dev.local.server import lifespan

BODY_LIMIT = 4_500_000
_READ_SIZE = 64 * 1024

_HOP_BY_HOP = (b"connection", b"keep-alive", b"transfer-encoding")
_PLATFORM_ONLY = (b"x-vercel-", b"x-forwarded-", b"x-real-ip", b"forwarded")


class Platform:
    """An ASGI application, whose functions run while the `with` block does.

    `start` starts the function with a name; `complain` gets one line for each function that does not start.
    """

    def __init__(self, project: Project, start: Callable[[str], Function], complain: Callable[[str], None]) -> None:
        self._project = project
        self._start = start
        self._complain = complain
        self._functions: dict[str, Function] = {}
        self._closed = False
        self._lock = threading.Lock()
        self._static = StaticFiles(directory=project.public, html=True)

    def __enter__(self) -> Self:
        try:
            self.reload()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._closed = True
        self._stop_functions()

    def function(self, name: str) -> Function:
        """Return the function with this name, started again if its process has ended. Raises FunctionBroken."""
        with self._lock:
            if self._closed:
                raise FunctionBroken(f"/api/{name} is not started again, since the platform stops")
            function = self._functions.get(name)
            if function is None or not function.running:
                if function:
                    function.stop()
                function = self._functions[name] = self._start(name)
            return function

    def detach(self, name: str) -> Function:
        """Return the function with this name, and give its next call to a new one: the caller has to stop this one."""
        function = self.function(name)
        with self._lock:
            if self._functions.get(name) is function:
                del self._functions[name]
        return function

    def reload(self) -> None:
        """Read `vercel.json` again, and start every function again. Raises ValueError as `Project` does."""
        self._project = Project(self._project.folder)
        self._stop_functions()
        for name in self._project.functions:
            try:
                self.function(name)
            except FunctionBroken as broken:
                self._complain(str(broken))

    def _stop_functions(self) -> None:
        with self._lock:
            for function in self._functions.values():
                function.stop()
            self._functions.clear()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] == "lifespan":
            await lifespan(receive, send)
            return
        path = scope["raw_path"].decode("latin-1")
        query = scope["query_string"].decode("latin-1")
        request_id = b"local::" + secrets.token_hex(8).encode()
        added = {name.lower().encode(): value.encode() for name, value in self._project.headers(path).items()}
        added[b"x-vercel-id"] = request_id

        async def answer(message: Message) -> None:
            if message["type"] == "http.response.start":
                own = [(name, value) for name, value in message["headers"] if name.lower() not in added]
                message["headers"] = [*own, *added.items()]
            await send(message)

        route = self._project.route(f"{path}?{query}" if query else path)
        try:
            if route:
                await self._invoke(route, request_id, scope, receive, answer)
            elif f"{path}/".startswith("/api/"):
                raise HTTPException(404, "NOT_FOUND")
            else:
                await self._static(scope, receive, answer)
        except HTTPException as error:
            await PlainTextResponse(f"{error.detail}\n", error.status_code)(scope, receive, answer)
        except ClientDisconnect:
            pass

    async def _invoke(self, route: Route, request_id: bytes, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        body = bytearray()
        async for part in request.stream():
            body += part
            if len(body) > BODY_LIMIT:
                raise HTTPException(413, "FUNCTION_PAYLOAD_TOO_LARGE")
        try:
            function = self._functions.get(route.function)
            if function is None or not function.running:
                function = await asyncio.to_thread(self.function, route.function)
        except FunctionBroken as broken:
            self._complain(str(broken))
            raise HTTPException(500, "FUNCTION_INVOCATION_FAILED") from None
        headers = _function_headers(scope, request_id)
        onward = h11.Request(method=scope["method"], target=route.target.encode("latin-1"), headers=headers)
        answer = exchange(function.port, onward, bytes(body))
        relaying = asyncio.ensure_future(_relay(answer, self._project.max_duration(route.function), send))
        leaving = asyncio.ensure_future(_client_gone(receive))
        try:
            await asyncio.wait({relaying, leaving}, return_when=asyncio.FIRST_COMPLETED)
            if relaying.done():
                relaying.result()
        finally:
            relaying.cancel()
            leaving.cancel()
            await asyncio.gather(relaying, leaving, return_exceptions=True)


async def _relay(answer: AsyncGenerator[h11.Event], seconds: int, send: Send) -> None:
    """Send a function's answer on as it comes, for at most the seconds that the function may run."""
    begun = False
    try:
        async with asyncio.timeout(seconds), aclosing(answer):
            async for event in answer:
                if isinstance(event, h11.Response):
                    dropped = (*_HOP_BY_HOP, b"x-vercel-internal-")
                    headers = [(name, value) for name, value in event.headers if not name.startswith(dropped)]
                    await send({"type": "http.response.start", "status": event.status_code, "headers": headers})
                    begun = True
                elif isinstance(event, h11.Data):
                    await send({"type": "http.response.body", "body": bytes(event.data), "more_body": True})
            await send({"type": "http.response.body", "body": b""})
    except (TimeoutError, OSError, h11.RemoteProtocolError) as error:
        if begun:
            raise
        if isinstance(error, TimeoutError):
            raise HTTPException(504, "FUNCTION_INVOCATION_TIMEOUT") from None
        raise HTTPException(500, "FUNCTION_INVOCATION_FAILED") from None


async def exchange(port: int, request: h11.Request, body: bytes) -> AsyncGenerator[h11.Event]:
    """Send a request to a function, and yield the events of its answer up to its end.

    Raises OSError or RemoteProtocolError if the function does not answer completely.
    """
    http = h11.Connection(h11.CLIENT)
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        parts = [http.send(request), http.send(h11.Data(data=body)) if body else b"", http.send(h11.EndOfMessage())]
        writer.write(b"".join(part or b"" for part in parts))
        while not isinstance(event := http.next_event(), h11.EndOfMessage):
            if event is h11.NEED_DATA:
                http.receive_data(await reader.read(_READ_SIZE))
            elif isinstance(event, h11.Event):
                yield event
    finally:
        writer.close()


def _function_headers(scope: Scope, request_id: bytes) -> list[tuple[bytes, bytes]]:
    """Return the headers for the function: the caller's, without those that only the platform sets, and these."""
    address = scope["client"][0].encode()
    dropped = (*_HOP_BY_HOP, *_PLATFORM_ONLY)
    headers = [(name, value) for name, value in scope["headers"] if not name.startswith(dropped)]
    if any(name == b"transfer-encoding" for name, _ in scope["headers"]):
        headers = [(name, value) for name, value in headers if name != b"content-length"]
        headers.append((b"transfer-encoding", b"chunked"))
    host = next((value for name, value in headers if name == b"host"), b"localhost")
    return [
        *headers,
        (b"connection", b"close"),
        (b"x-real-ip", address),
        (b"x-forwarded-for", address),
        (b"x-vercel-forwarded-for", address),
        (b"x-forwarded-proto", b"http"),
        (b"x-forwarded-host", host),
        (b"x-vercel-id", request_id),
        (b"x-vercel-internal-invocation-id", request_id),
        (b"x-vercel-internal-request-id", b"1"),
    ]


async def _client_gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
