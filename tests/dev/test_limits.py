"""A built function instance with the descriptors of the cloud, and more callers than it has room for."""

import asyncio
import json
import subprocess
import sys
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import psutil
import pytest

from dev.local.deployment import LocalStore, local_store
from lib.problems import Busy, SessionEnded, StoreUnavailable
from tests.instance.functions import DESCRIPTORS, Answer, Functions, Session, burst, call, instances
from tests.support.deployments import clean_environment
from tests.support.tools import PROJECT, wait_until

pytestmark = pytest.mark.long
PLACES = DESCRIPTORS - 124
WAITS = 1500
WAIT_SECONDS = 55
# They come in groups, each after a plain call has come through, since the local store is slow on a busy machine.
GROUP = 100
PLAIN = 100


@pytest.fixture(scope="module")
def store() -> Iterator[LocalStore]:
    with local_store(None) as running:
        yield running


@pytest.fixture
def functions(output: Path, store: LocalStore) -> Iterator[Functions]:
    with instances(store, output) as running:
        yield running


async def unanswered(functions: Functions) -> str:
    """Return the path of the response to a request that nobody answers."""
    return await (await Session.create(functions)).ask("q")


@pytest.mark.parametrize("size", [20, 60, 200])
def test_bursts(functions: Functions, size: int) -> None:
    """Calls that come at the same time are all answered."""

    async def run() -> list[Answer]:
        return await burst(functions.responses.port, await unanswered(functions), size)

    assert Counter(answer.status for answer in asyncio.run(run())) == {202: size}


def defects(functions: Functions) -> list[dict[str, Any]]:
    """Return the entries of the log about defects."""
    return [entry for entry in functions.log() if "defect" in entry]


def lacks_descriptors(functions: Functions) -> list[dict[str, Any]]:
    """Return the entries of the log about calls that got no connection to the store for want of a descriptor."""
    return [entry for entry in functions.log() if entry.get("cause") == "OSError"]


async def patient(make_call: Callable[[], Awaitable[Answer]]) -> Answer:
    """Make a call, and again as long as the store is too slow for it, as the local one may be on a busy machine."""
    while StoreUnavailable.title.encode() in (answer := await make_call()).body:
        pass
    return answer


def test_more_calls_at_once_than_descriptors(functions: Functions) -> None:
    """A fresh instance, which has to load modules and scripts for its first calls, has no descriptor left for that."""

    async def run() -> list[Answer]:
        path, port = await unanswered(functions), functions.responses.port
        calls = (call(port, "GET", f"{path}?wait=5", address=f"192.0.2.{number % 7}") for number in range(2000))
        return await asyncio.gather(*calls)

    assert {answer.status for answer in asyncio.run(run())} <= {202, 503}
    assert defects(functions) == []


class Waits(NamedTuple):
    """What became of more waiting calls than there are places, and of plain calls beside them."""

    outcomes: Counter[str]
    plain: Counter[int]


async def waits(functions: Functions) -> Waits:
    """Let more calls wait than there are places, from many addresses, and make plain calls of another one beside."""
    session = await Session.create(functions)
    path, port = await session.ask("q"), functions.responses.port
    process = psutil.Process(functions.responses.pid)

    async def plain() -> Counter[int]:
        return Counter([(await call(port, "GET", path, address="198.51.100.1")).status for _ in range(PLAIN)])

    await plain()
    before = held(process)
    waiting = []
    for number in range(WAITS):
        wait = partial(call, port, "GET", f"{path}?wait={WAIT_SECONDS}", address=f"192.0.2.{number % 200}")
        waiting.append(asyncio.create_task(patient(wait)))
        if len(waiting) % GROUP == 0:
            await call(port, "GET", path, address="198.51.100.1")
    await refused(waiting)
    beside = await plain()
    answer = {"id": "q", "result": 1}
    await call(port, "POST", f"{session.path}/responses", answer, token=session.token)
    answers = await asyncio.gather(*waiting)
    outcomes = Counter(f"{one.status} {json.loads(one.body or b'{}').get('code', '')}".strip() for one in answers)
    # When the listener has closed, and idle connections to the store have, nothing is left. On a fast machine
    # that takes half a minute.
    async with asyncio.timeout(150):
        while any(now > then for now, then in zip(held(process), before, strict=True)):
            await call(port, "GET", path, address="198.51.100.1")  # on which the instance closes what is old
            await asyncio.sleep(1)
    return Waits(outcomes, beside)


async def refused(waiting: list["asyncio.Task[Answer]"]) -> None:
    """Return when no call was refused for a second: those that are left wait."""
    done = -1
    while (now := sum(task.done() for task in waiting)) != done:
        done = now
        await asyncio.sleep(1)


def held(process: psutil.Process) -> tuple[int, int]:
    return process.num_threads(), process.num_fds()


@pytest.mark.timeout(240)
def test_more_waits_than_places(functions: Functions) -> None:
    """Each that gets no place is refused as busy; plain calls get through as always; and nothing is left behind."""
    seen = asyncio.run(waits(functions))
    assert seen.outcomes == {"200": PLACES, "503 busy": WAITS - PLACES}
    assert seen.plain == {202: PLAIN}
    assert defects(functions) == lacks_descriptors(functions) == []


AGENTS = 23  # whose calls wait in one session: a network may have 25 requests there that wait for an answer
ONE_NETWORK = "192.0.2.1"


async def call_tool(functions: Functions, session: Session, address: str) -> str:
    """Send a request as an MCP client that shows a token. Returns what its result says, without its last sentence."""
    params = {"name": "send_request", "arguments": {"payload": 1}}
    message = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params}
    path = session.path.replace("/api/sessions", "/mcp")
    post = partial(call, functions.mcp.port, "POST", path, message, token=session.token, address=address)
    answer = await patient(post)
    result = json.loads(answer.body)["result"]
    assert result["isError"]
    return str(result["content"][0]["text"]).partition(".")[0]


async def many_waits(functions: Functions, kind: str, number: int) -> tuple[list[Session], list["asyncio.Task[str]"]]:
    """Let one network, which shows tokens of its own sessions, wait so many times. Returns the sessions, and the waits.

    A wait returns the title of the problem that it is refused with.
    """
    streams = {"guest": 1, "host": number, "agent": number // AGENTS}[kind]
    sessions = [await Session.create(functions) for _ in range(streams)]
    path = await sessions[0].ask("q")
    if kind == "agent":
        for turn, session in enumerate(sessions):
            assert await session.open(f"198.18.{turn}.1") == 200  # or the calls would end for want of a host

    async def wait(turn: int) -> str:
        session = sessions[turn % streams]
        if kind == "host":
            return "" if await session.open(ONE_NETWORK) == 200 else Busy.title
        if kind == "agent":
            return await call_tool(functions, session, ONE_NETWORK)
        url = f"{path}?wait=20"
        read = partial(call, functions.responses.port, "GET", url, token=session.token, address=ONE_NETWORK)
        answer = await patient(read)
        return str(json.loads(answer.body).get("title", ""))

    waiting = []
    for turn in range(number):
        waiting.append(asyncio.create_task(wait(turn)))
        if len(waiting) % GROUP == 0:  # as above
            await call(functions.responses.port, "GET", path, address="198.51.100.1")
    return sessions, waiting


@pytest.mark.timeout(240)
@pytest.mark.parametrize("kind", ["guest", "host", "agent"])
def test_waits_with_a_token_of_ones_own(functions: Functions, kind: str) -> None:
    """A token lifts no limit: one network gets a quarter of the places, and its neighbours wait, stream and read."""
    number, accepted = PLACES + 20, PLACES // 4

    async def run() -> Counter[str]:
        sessions, waiting = await many_waits(functions, kind, number)
        async with asyncio.timeout(60):
            while sum(task.done() for task in waiting) < (number if kind == "host" else number - accepted):
                await asyncio.sleep(0.1)
        neighbour = await Session.create(functions)
        url = f"{await neighbour.ask('r')}?wait=1"
        assert (await call(functions.responses.port, "GET", url, address="198.51.100.1")).status == 202
        assert await neighbour.open("198.51.100.1") == 200
        agent = asyncio.create_task(call_tool(functions, neighbour, "198.51.100.1"))
        assert await neighbour.push() > 0
        assert not agent.done()
        for session in [neighbour, *sessions]:
            await call(functions.sessions.port, "DELETE", session.path, token=session.token)
        for session in [neighbour, *(sessions if kind != "guest" else [])]:
            session.close()
        assert await agent == SessionEnded.title
        return Counter(await asyncio.gather(*waiting))

    found = asyncio.run(run())
    assert found.pop(Busy.title) == number - accepted
    assert list(found.values()) == [accepted]
    assert defects(functions) == lacks_descriptors(functions) == []


@pytest.mark.timeout(240)
def test_sixty_reads_of_a_backlog(functions: Functions) -> None:
    """One network reads 15 MiB of characters that are wide in Python, at once: the instance stays small for others."""

    async def run() -> tuple[Counter[int], Counter[int], int]:
        session, port = await Session.create(functions), functions.requests.port
        text = "😀" * (1024 * 1024 // 4 - 1)
        for _ in range(15):
            assert (await call(port, "POST", f"{session.path}/requests", {"payload": text})).status == 202
        process, largest = psutil.Process(functions.requests.pid), 0
        url = f"{session.path}/requests"
        reads = [call(port, "GET", url, token=session.token, address="192.0.2.1") for _ in range(60)]
        reading = asyncio.gather(*reads)
        neighbour, plain = await Session.create(functions), []
        while not reading.done():
            answer = await call(
                port, "GET", f"{neighbour.path}/requests", token=neighbour.token, address="198.51.100.1"
            )
            plain.append(answer.status)
            largest = max(largest, process.memory_info().rss)
        return Counter(answer.status for answer in await reading), Counter(plain), largest

    read, plain, largest = asyncio.run(run())
    assert read.keys() <= {200, 503}
    assert read[200] > 0
    assert plain.keys() == {200}
    assert largest < 250 * 1024 * 1024


@pytest.mark.timeout(240)
def test_as_many_streams_as_places(functions: Functions) -> None:
    """900 streams of five networks, which get a quarter each at most, and 100 plain calls at the same time.

    One more stream is refused, and all that are open go on.
    """

    async def run() -> None:
        process, port = psutil.Process(functions.stream.pid), functions.stream.port
        sessions = [await Session.create(functions) for _ in range(PLACES + 5)]
        gate = asyncio.Semaphore(50)

        async def open_one(number: int) -> int:
            async with gate:
                return await sessions[number].open(f"192.0.2.{number % 5}")

        assert set(await asyncio.gather(*map(open_one, range(PLACES)))) == {200}
        assert process.num_fds() < PLACES + 30, "one descriptor a stream"
        assert {await session.open("192.0.2.1") for session in sessions[PLACES:]} == {503}
        first = sessions[0]
        plain = [call(port, "HEAD", f"{first.path}/stream", token=first.token) for _ in range(100)]
        assert {answer.status for answer in await asyncio.gather(*plain)} == {200}
        for session in sessions[:PLACES:9]:
            assert await session.push() > 0
        assert functions.ended_streams() == []
        for session in sessions:
            session.close()
        await asyncio.to_thread(wait_until, lambda: process.num_threads() <= 2)

    asyncio.run(run())


def test_benchmark_that_is_killed() -> None:
    """The processes of the local platform, of its store and of its functions end with that of the benchmark."""
    command = [sys.executable, "-m", "dev", "bench", "--starts", "0", "--times", "1000"]
    with subprocess.Popen(command, cwd=PROJECT, env=clean_environment(), stderr=subprocess.PIPE, text=True) as bench:
        assert bench.stderr
        assert "calls" in bench.stderr.readline()
        started = psutil.Process(bench.pid).children(recursive=True)
        assert len(started) > 2
        bench.kill()
        wait_until(lambda: not any(process.is_running() for process in started))
