"""One built function instance with the descriptors of the cloud, and more callers than it has room for."""

import asyncio
import json
import statistics
from pathlib import Path

import psutil
import pytest

from dev.bench import bursts
from dev.local.deployment import LocalStore, local_store
from tests.support.tools import wait_until

pytestmark = pytest.mark.platform
STREAMS = bursts.DESCRIPTORS - 124


@pytest.fixture
def local(request: pytest.FixtureRequest) -> LocalStore:
    return request.getfixturevalue("any_local")  # type: ignore[no-any-return]


@pytest.fixture(scope="module")
def any_local() -> object:
    with local_store(None) as store:
        yield store


def test_bursts(output: Path, local: LocalStore) -> None:
    """Calls that come at the same time are all answered, 200 at once as well."""

    async def run() -> list[int]:
        path = await bursts.pending_request(functions)
        return [(await bursts.burst(functions["responses"].port, path, size)).failed for size in bursts.SIZES]

    with bursts.instances(local, output, "sessions", "requests", "responses") as functions:
        assert asyncio.run(run()) == [0, 0, 0]


@pytest.mark.timeout(240)
@pytest.mark.parametrize("addresses", [1, 200])
def test_more_waits_than_places(output: Path, local: LocalStore, addresses: int) -> None:
    """Each that gets no place is told so; plain calls get through as always; and nothing is left behind."""

    async def run() -> bursts.Waits:
        path = await bursts.pending_request(functions)
        return await bursts.waits(functions["responses"], path, addresses)

    with bursts.instances(local, output, "sessions", "requests", "responses") as functions:
        seen = asyncio.run(run())
    waiting = STREAMS // 4 if addresses == 1 else STREAMS
    assert seen.outcomes == {"202": waiting, "503 busy": 1500 - waiting}
    assert statistics.median(seen.beside) < 3 * statistics.median(seen.alone)
    assert max(seen.left) <= 0


class Stream:
    """A host's stream, straight from the function."""

    def __init__(self, session: dict[str, str]) -> None:
        self.session = session
        self.status = 0

    async def open(self, port: int) -> None:
        self._reader, self._writer = await asyncio.open_connection("127.0.0.1", port)
        path = f"/api/sessions/{self.session['code']}/stream"
        lines = [f"GET {path} HTTP/1.1", "x-real-ip: 192.0.2.1", f"Authorization: Bearer {self.session['token']}"]
        self._writer.write("\r\n".join([*lines, "", ""]).encode())
        self.status = int((await self._reader.readline()).split()[1])
        if self.status == 200:
            await self._reader.readuntil(b"event: open\n")

    async def hear(self, port: int, request_id: str) -> bool:
        """Post a request, and tell whether it is what the stream brings next."""
        body = json.dumps({"id": request_id, "payload": 1})
        await bursts.call(port, "POST", f"/api/sessions/{self.session['code']}/requests", body=body)
        await asyncio.wait_for(self._reader.readuntil(b"event: request\n"), 10)
        return request_id.encode() in await self._reader.readline()

    def close(self) -> None:
        self._writer.close()


@pytest.mark.timeout(240)
def test_as_many_streams_as_places(output: Path, local: LocalStore) -> None:
    """900 streams and 100 plain calls at the same time; one more stream is refused, and all that are open go on."""

    async def run() -> None:
        stream, requests = functions["stream"], functions["requests"]
        process = psutil.Process(stream.pid)
        answers = [await bursts.call(functions["sessions"].port, "POST", "/api/sessions") for _ in range(STREAMS + 5)]
        streams = [Stream(json.loads(answer.body)) for answer in answers]
        gate = asyncio.Semaphore(50)

        async def open_one(one: Stream) -> None:
            async with gate:
                await one.open(stream.port)

        await asyncio.gather(*(open_one(one) for one in streams[:STREAMS]))
        assert {one.status for one in streams[:STREAMS]} == {200}
        assert process.num_fds() < STREAMS + 30, "one descriptor a stream"
        for one in streams[STREAMS:]:
            await one.open(stream.port)
        assert {one.status for one in streams[STREAMS:]} == {503}
        session = streams[0].session
        path = f"/api/sessions/{session['code']}/stream"
        plain = [bursts.call(stream.port, "HEAD", path, token=session["token"]) for _ in range(100)]
        assert {answer.status for answer in await asyncio.gather(*plain)} == {200}
        for number in range(0, STREAMS, 9):
            assert await streams[number].hear(requests.port, f"q{number}")
        for one in streams:
            one.close()
        await asyncio.to_thread(wait_until, lambda: process.num_threads() <= 2)

    with bursts.instances(local, output, "sessions", "requests", "stream") as functions:
        asyncio.run(run())
