"""An ASGI application on a port of this machine, in a thread of its own."""

import socket
import threading
import time
from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import Self

import uvicorn
from starlette.types import ASGIApp, Receive, Send

HOST = "127.0.0.1"


class Server:
    """Serves while the `with` block runs. Port 0 is one that is free. Raises OSError where the port is in use."""

    def __init__(self, app: ASGIApp, port: int = 0, parser: str = "httptools") -> None:
        self._socket = socket.socket()
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            self._socket.bind((HOST, port))
        except OSError:
            self._socket.close()
            raise
        self.port: int = self._socket.getsockname()[1]
        self.url = f"http://{HOST}:{self.port}"
        self._server = uvicorn.Server(
            uvicorn.Config(
                app,
                http="h11" if parser == "h11" else "httptools",
                lifespan="on",
                log_level="warning",
                access_log=False,
                server_header=False,
                proxy_headers=False,
                backlog=2048,
                timeout_graceful_shutdown=1,
            )
        )
        self._thread = threading.Thread(target=self._server.run, kwargs={"sockets": [self._socket]}, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        while not self._server.started:
            if not self._thread.is_alive():
                raise RuntimeError("the server did not start")
            time.sleep(0.005)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.should_exit = True
        self._thread.join()
        self._socket.close()


async def lifespan(receive: Receive, send: Send, close: Callable[[], Awaitable[None]] | None = None) -> None:
    """Be there until the server stops, and then close what the application holds."""
    while (await receive())["type"] == "lifespan.startup":
        await send({"type": "lifespan.startup.complete"})
    if close:
        await close()
    await send({"type": "lifespan.shutdown.complete"})
