"""A server for an ASGI application on this machine, in a thread of its own."""

import socket
import threading
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Self

import uvicorn
from starlette.types import ASGIApp, Receive, Send

HOST = "127.0.0.1"


class Server:
    """Serves while the `with` block runs. Port 0 is any free port. Raises OSError if the port is in use.

    `certificate` is a file with a private key and the certificates for it: with one the server serves HTTPS.
    """

    def __init__(self, app: ASGIApp, port: int = 0, parser: str = "httptools", certificate: Path | None = None) -> None:
        self._socket = socket.create_server((HOST, port))
        self.port: int = self._socket.getsockname()[1]
        self.url = f"{'https' if certificate else 'http'}://{HOST}:{self.port}"
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
                ssl_certfile=certificate,
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

    def __exit__(self, *_: object) -> None:
        self._server.should_exit = True
        self._thread.join()
        self._socket.close()


async def lifespan(receive: Receive, send: Send, close: Callable[[], Awaitable[None]] | None = None) -> None:
    """Handle the lifespan events of ASGI: wait until the server stops, then call `close`."""
    while (await receive())["type"] == "lifespan.startup":
        await send({"type": "lifespan.startup.complete"})
    if close:
        await close()
    await send({"type": "lifespan.shutdown.complete"})
