"""The part of Vercel that serves a project: static files, routes and functions behind one address.

Each function runs in a process of its own under Vercel's runtime.
"""

import asyncio
import ipaddress
import secrets
import threading
from collections.abc import Callable, Collection
from typing import Self
from urllib.parse import urlsplit

from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import PlainTextResponse
from starlette.staticfiles import StaticFiles
from starlette.types import Message, Receive, Scope, Send

from dev.local import invocation
from dev.local.function import Function, FunctionBroken
from dev.local.project import Project, Route
from dev.local.server import lifespan

_MISDIRECTED = (
    "MISDIRECTED_REQUEST\nThe local platform serves localhost and loopback addresses alone. "
    "To call it under another name, start it with that name: python -m dev --host NAME, or make dev ARGS='--host NAME'."
)


class Platform:
    """An ASGI application, whose functions run while the `with` block does.

    `start` starts the function with a name; `complain` gets one line for each function that does not start. `names` are
    the host names, beside those of this machine, under which it may be called.
    """

    def __init__(
        self,
        project: Project,
        start: Callable[[str], Function],
        complain: Callable[[str], None],
        names: Collection[str] = (),
    ) -> None:
        self._project = project
        self._start = start
        self._complain = complain
        self._names = frozenset(name.lower() for name in names)
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

    def detach(self, name: str) -> Function | None:
        """Return the function with this name if it runs, and give its next call to a new one.

        The caller has to stop the one that is returned.
        """
        with self._lock:
            return self._functions.pop(name, None)

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
        added = {name.lower().encode(): value.encode() for name, value in self._project.headers(path).items()}
        request_id = added[b"x-vercel-id"] = b"local::" + secrets.token_hex(8).encode()

        async def answer(message: Message) -> None:
            if message["type"] == "http.response.start":
                own = [(name, value) for name, value in message["headers"] if name.lower() not in added]
                message["headers"] = [*own, *added.items()]
            await send(message)

        try:
            await self._serve(path, Request(scope, receive), request_id, answer)
        except HTTPException as error:
            await PlainTextResponse(f"{error.detail}\n", error.status_code)(scope, receive, answer)
        except ClientDisconnect:
            pass

    async def _serve(self, path: str, request: Request, request_id: bytes, send: Send) -> None:
        # A page can let its name lead to this machine (DNS rebinding): a visitor's browser then sends the page's calls
        # here, and lets the page read the answers. Only `Host` tells such calls from those of the visitor.
        if not self._is_host(request.headers.get("host", "")):
            raise HTTPException(421, _MISDIRECTED)
        query = request.scope["query_string"].decode("latin-1")
        if route := self._project.route(f"{path}?{query}" if query else path):
            body = await invocation.body_of(request)
            function = await self._running(route)
            answer = invocation.exchange(function.port, invocation.onward(request, route.target, request_id), body)
            await invocation.relay(answer, self._project.max_duration(route.function), request.receive, send)
        elif f"{path}/".startswith("/api/"):
            raise HTTPException(404, "NOT_FOUND")
        else:
            await self._static(request.scope, request.receive, send)

    def _is_host(self, header: str) -> bool:
        """Tell whether a `Host` header, with or without a port, is this machine's, or has one of the further names."""
        try:
            name = urlsplit(f"//{header}").hostname or ""
            return name == "localhost" or name in self._names or ipaddress.ip_address(name).is_loopback
        except ValueError:
            return False

    async def _running(self, route: Route) -> Function:
        function = self._functions.get(route.function)
        if function and function.running:
            return function
        try:
            return await asyncio.to_thread(self.function, route.function)
        except FunctionBroken as broken:
            self._complain(str(broken))
            raise HTTPException(500, "FUNCTION_INVOCATION_FAILED") from None
