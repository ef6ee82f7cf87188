"""A TCP proxy before a port of this machine, which cuts connections on demand."""

import asyncio
import socket
import struct
import threading
from collections.abc import Callable
from types import TracebackType
from typing import Self

from dev.local.server import HOST

_READ_SIZE = 64 * 1024
_RESET = struct.pack("ii", 1, 0)


class Cutter:
    """Passes on what comes, while the `with` block runs. `url` is where it listens."""

    def __init__(self, port: int) -> None:
        self._target = port
        self._open: set[asyncio.StreamWriter] = set()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        self._server = asyncio.run_coroutine_threadsafe(
            asyncio.start_server(self._serve, HOST, 0, backlog=1024), self._loop
        ).result()
        self.url = f"http://{HOST}:{self._server.sockets[0].getsockname()[1]}"
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        asyncio.run_coroutine_threadsafe(self._close(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    @property
    def connections(self) -> int:
        """Return how many connections are open."""
        return len(self._open)

    def cut(self, chosen: Callable[[], bool]) -> None:
        """Reset the connections that are chosen, in the middle of whatever they carry."""
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


async def _pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Pass on until one side closes, and then close the other one."""
    while part := await reader.read(_READ_SIZE):
        writer.write(part)
        await writer.drain()
    raise ConnectionResetError
