"""A store that fails and connections that break, on demand."""

import asyncio
import socket
import struct
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from itertools import repeat
from typing import Self
from urllib.parse import urlsplit

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from dev.local.server import HOST

HTML = b"<html><body><h1>502 Bad Gateway</h1></body></html>"
_SLOW_SECONDS = 1.0
_READ_SIZE = 64 * 1024
_RESET = struct.pack("ii", 1, 0)


class Faults:
    """An ASGI layer in front of the local Upstash, which passes calls on unless they are to fail. `calls` counts all.

    A fault is `hang`: no answer; `slow`: the answer takes a second longer; `lost`: the command runs, and its answer is
    lost; a key of `answers`: this answer, a status and a body, in place of the application's; or `""`: none.
    """

    answers: Mapping[str, tuple[int, bytes]] = {"html": (502, HTML)}
    _app: ASGIApp
    _plan: Iterator[str]
    _arrive: Callable[[], list[float]]

    def __init__(self) -> None:
        self._silenced_at = 0
        self._subscriptions = 0
        self.heal()

    def wrap(self, app: ASGIApp) -> Self:
        """Stand in front of an application."""
        self._app = app
        return self

    def plan(self, faults: Iterator[str]) -> None:
        """Give the next calls these faults, one each."""
        self._plan = faults

    def deliver(self, arrive: Callable[[], list[float]]) -> None:
        """Let each message over a subscription arrive after these seconds, once for each of them."""
        self._arrive = arrive

    def silence(self) -> None:
        """Let the subscriptions that stand bring nothing more, without an end."""
        self._silenced_at = self._subscriptions

    def heal(self) -> None:
        """Stop every fault except silence, which ends with its subscriptions, and count from zero."""
        self._plan = repeat("")
        self._arrive = lambda: [0.0]
        self.calls = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request, or make it fail."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        self.calls += 1
        fault = next(self._plan)
        subscribes = scope["path"].startswith("/subscribe")
        if fault == "slow":
            await asyncio.sleep(_SLOW_SECONDS)
        if fault in ("", "slow"):
            await self._app(scope, receive, self._messages(send) if subscribes else send)
        elif fault == "hang":
            while (await receive())["type"] != "http.disconnect":
                pass
        else:
            if fault == "lost" and not subscribes:
                await self._app(scope, receive, _nowhere)
            status, body = (502, HTML) if fault == "lost" else self.answers[fault]
            headers = [(b"content-length", str(len(body)).encode())]
            await send({"type": "http.response.start", "status": status, "headers": headers})
            await send({"type": "http.response.body", "body": body})

    def _messages(self, send: Send) -> Send:
        """Return what sends a subscription's messages on as they are to arrive."""
        self._subscriptions += 1
        number, late = self._subscriptions, set[asyncio.Task[None]]()

        async def send_after(seconds: float, message: Message) -> None:
            await asyncio.sleep(seconds)
            with suppress(RuntimeError, OSError):  # the subscription has ended in the meantime
                await send(message)

        async def pass_on(message: Message) -> None:
            if not message.get("body", b"").startswith(b"data: message"):
                await send(message)
            elif number > self._silenced_at:
                for seconds in self._arrive():
                    if not seconds:
                        await send(message)
                        continue
                    late.add(task := asyncio.create_task(send_after(seconds, message)))
                    task.add_done_callback(late.discard)

        return pass_on


class Cutter:
    """A proxy for the server at `target`, a URL, while the `with` block runs. `url` is where it listens."""

    def __init__(self, target: str) -> None:
        self._target = urlsplit(target).port
        self._open: set[asyncio.StreamWriter] = set()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        starting = asyncio.start_server(self._serve, HOST, 0, backlog=1024)
        self._server = asyncio.run_coroutine_threadsafe(starting, self._loop).result()
        self.url = f"http://{HOST}:{self._server.sockets[0].getsockname()[1]}"
        return self

    def __exit__(self, *_: object) -> None:
        asyncio.run_coroutine_threadsafe(self._close(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    @property
    def connections(self) -> int:
        """Return how many connections are open."""
        return len(self._open)

    def cut(self, chosen: Callable[[], bool]) -> None:
        """Reset each connection for which `chosen` returns true, whatever it is transferring."""
        self._loop.call_soon_threadsafe(self._cut, chosen)

    def _cut(self, chosen: Callable[[], bool]) -> None:
        for writer in sorted(self._open, key=id):
            if chosen():
                writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
                writer.transport.abort()

    async def _close(self) -> None:
        self._server.close()
        self._cut(lambda: True)
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._open.add(writer)
        try:
            there, onward = await asyncio.open_connection(HOST, self._target)
            try:
                async with asyncio.TaskGroup() as both:
                    both.create_task(_pass_on(reader, onward))
                    both.create_task(_pass_on(there, writer))
            finally:
                onward.transport.abort()
        except* OSError:
            pass
        finally:
            self._open.discard(writer)
            writer.close()


async def _nowhere(_: Message) -> None:
    await asyncio.sleep(0)


async def _pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Pass bytes on until the reader's side closes. Then raises ConnectionResetError, which ends both directions."""
    while part := await reader.read(_READ_SIZE):
        writer.write(part)
        await writer.drain()
    raise ConnectionResetError
