"""The service that is soaked: the local platform, with everything around it that can be made to fail."""

import asyncio
import os
import secrets
import signal
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from random import Random
from typing import Any

import httpx
import psutil
from upstash_redis import Redis

from dev import PROJECT
from dev.local import environment
from dev.local.deployment import deploy, local_store
from dev.local.function import Function
from dev.local.platform import Platform
from tests.soak.clients import Bare, note
from tests.soak.faults import Cutter, Faults

_CALM_SECONDS = 75
_PATHS = {"sessions": "", "requests": "/requests", "responses": "/responses/q", "stream": "/stream"}
_SKEW_SECONDS = 3600
_FAULTS = ("slow", "html", "lost", "hang")
_FROZEN_SECONDS = (5, 60)
_BURST = 60
_PLACES = 160
# A killed function's caller gets the platform's own 500 for what was under way.
_KILL_EXPLAINS_SECONDS = 3
_NO_LIMITS = httpx.Limits(max_connections=None, max_keepalive_connections=0)
# A sitecustomize.py, which each function's process runs first: it sets the process's clock wrong.
_CLOCK = "import os, time; _now = time.time; time.time = lambda: _now() + float(os.environ['CLOCK_SKEW'])"


@dataclass
class Service:
    """The local platform, with a cutter before and behind its functions.

    `probe` is a session that no host and no guest uses; `lines` is what the functions have printed; `bare` are answers
    of 500 and above that are no refusals of the service's.
    """

    platform: Platform
    clients: Cutter
    store: Cutter
    faults: Faults
    random: Random
    db: Redis
    prefix: str
    lines: list[str]
    bare: Bare = field(default_factory=list)
    _killed_at: list[float] = field(default_factory=list)
    _frozen: list[tuple[Function, threading.Timer]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.url = self.clients.url
        self.probe = self.create()

    def create(self) -> dict[str, Any]:
        """Return a new session."""
        session: dict[str, Any] = httpx.post(f"{self.url}/api/sessions", timeout=30).raise_for_status().json()
        return session

    def fail(self, seconds: float, *, kill: bool, stop: Callable[[], bool]) -> None:
        """Make one thing after another fail for so many seconds; return early if `stop` returns true.

        Without `kill` no process is killed or frozen.
        """
        until = reported = time.monotonic()
        until += seconds
        ways = [self._cut_clients, self._cut_store, self._spoil_answers, self._spoil_messages]
        ways += [self.faults.silence, self._burst, self._crowd, *([self._kill, self._freeze] if kill else [])]
        while time.monotonic() < until and not stop():
            self.random.choice(ways)()
            time.sleep(self.random.uniform(0.1, 1.5))
            self.faults.heal()
            if time.monotonic() - reported > 15:
                reported = time.monotonic()
                print(f"  {until - reported:.0f} s to go, {len(self.lines)} calls of functions", flush=True)

    def unexplained(self) -> list[str]:
        """Return the answers of 500 and above that neither the service nor a killed process explains."""
        return [
            text
            for at, text in self.bare
            if not any(killed < at < killed + _KILL_EXPLAINS_SECONDS for killed in self._killed_at)
        ]

    def never_expire(self) -> list[str]:
        """Return the keys in the store that have no expiry."""
        return [name for name in self.db.keys(f"{self.prefix}*") if self.db.pttl(name) == -1]

    def resources(self) -> dict[str, tuple[int, int]]:
        """Return how many threads and open descriptors the process of each function has, after one request to it."""
        found = {}
        with httpx.Client(base_url=f"{self.url}/api/sessions/{self.probe['code']}", timeout=30) as http:
            http.headers["Authorization"] = f"Bearer {self.probe['token']}"
            for name, path in _PATHS.items():
                http.head(path)
                found[name] = _held(self.platform.function(name))
        return found

    def left_behind(self, before: dict[str, tuple[int, int]]) -> list[str]:
        """Return which connections, threads and descriptors are still there a while after the last call."""
        until = time.monotonic() + _CALM_SECONDS
        while (left := self._left(before)) and time.monotonic() < until:
            time.sleep(1)
        return left

    def _left(self, before: dict[str, tuple[int, int]]) -> list[str]:
        left = [
            f"{name} has {threads} threads and {descriptors} descriptors, {before[name]} before"
            for name, (threads, descriptors) in self.resources().items()
            if threads > before[name][0] or descriptors > before[name][1]
        ]
        for function, _ in self._frozen:
            threads, descriptors = _held(function)
            if threads > 1:
                left.append(f"{function.name}, which was frozen, has {threads} threads, {descriptors} descriptors")
        if self.clients.connections:
            left.append(f"{self.clients.connections} connections of clients are open")
        return left

    def thaw(self) -> None:
        """Let the processes that are frozen go on."""
        for function, timer in self._frozen:
            timer.cancel()
            _signal(function, signal.SIGCONT)

    def stop(self) -> None:
        """Stop the processes that were frozen."""
        for function, timer in self._frozen:
            timer.cancel()
            function.stop()

    def _kill(self) -> None:
        self._killed_at.append(time.monotonic())
        os.kill(self.platform.function(self.random.choice(list(_PATHS))).pid, signal.SIGKILL)

    def _cut_clients(self) -> None:
        self.clients.cut(self._third)

    def _cut_store(self) -> None:
        self.store.cut(self._third)

    def _spoil_answers(self) -> None:
        self.faults.plan(self.random.choice(_FAULTS) if self._third() else "" for _ in count())

    def _spoil_messages(self) -> None:
        """Drop, double or delay messages: late ones come after their answer, and out of order."""
        late = self.random.uniform(0.1, 3), self.random.uniform(0.1, 3)
        ways: tuple[list[float], ...] = ([], [0.0, 0.0], [late[0]], [0.0, late[1]])
        self.faults.deliver(lambda: self.random.choice(ways) if self._third() else [0.0])

    def _freeze(self) -> None:
        """Stop a process for up to a minute. Calls go to another process, as they do in the cloud."""
        if any(function.running and timer.is_alive() for function, timer in self._frozen):
            return
        function = self.platform.detach(self.random.choice(list(_PATHS)))
        if function is None:
            return
        _signal(function, signal.SIGSTOP)
        timer = threading.Timer(self.random.uniform(*_FROZEN_SECONDS), _signal, [function, signal.SIGCONT])
        self._frozen.append((function, timer))
        timer.start()

    def _burst(self) -> None:
        """Call the same function many times at once; more than there are places let wait, too."""
        asyncio.run(self._call_at_once(f"/responses/{secrets.token_hex(4)}", _BURST, seconds=30))

    def _crowd(self) -> None:
        """Let more calls wait than there are places, and hang up."""
        asyncio.run(self._call_at_once("/requests?wait=20&after=999999999999999-0", _PLACES + 40, seconds=1))

    async def _call_at_once(self, path: str, number: int, seconds: float) -> None:
        url = f"{self.url}/api/sessions/{self.probe['code']}{path}"
        headers = {"Authorization": f"Bearer {self.probe['token']}"}
        async with httpx.AsyncClient(timeout=seconds, limits=_NO_LIMITS, headers=headers) as http:
            answers = await asyncio.gather(*(http.get(url) for _ in range(number)), return_exceptions=True)
        for answer in answers:
            if isinstance(answer, httpx.Response):
                note(answer, self.bare)

    def _third(self) -> bool:
        return self.random.random() < 0.3


@contextmanager
def running(random: Random) -> Iterator[Service]:
    """Run the service, with names of its own in the store, which are gone afterwards."""
    prefix = f"soak-{secrets.token_hex(4)}:"
    lines: list[str] = []
    with ExitStack() as holds:
        faults = Faults()
        behind = holds.enter_context(local_store(environment.store(PROJECT).redis, wrap=faults.wrap))
        store = holds.enter_context(Cutter(behind.url))
        folder = Path(holds.enter_context(tempfile.TemporaryDirectory()))
        (folder / "sitecustomize.py").write_text(_CLOCK)
        variables = {
            **environment.of_functions(PROJECT, behind._replace(url=store.url).variables()),
            **environment.UNLIMITED,
            "KV_KEY_PREFIX": prefix,
            "STREAM_SECONDS": "20",
            "SESSION_TTL_SECONDS": "14400",
            "MESSAGE_TTL_SECONDS": "14400",  # the answers are read once more at the end
            "MAX_WAITS": str(_PLACES),
            "PYTHONPATH": str(folder),
        }

        def skewed() -> dict[str, str]:
            return {**variables, "CLOCK_SKEW": str(random.uniform(-_SKEW_SECONDS, _SKEW_SECONDS))}

        deployment = holds.enter_context(deploy(PROJECT, skewed, log=lines.append))
        clients = holds.enter_context(Cutter(deployment.url))
        db = holds.enter_context(Redis(behind.url, behind.token, rest_encoding=None))
        service = Service(deployment.platform, clients, store, faults, random, db, prefix, lines)
        holds.callback(service.stop)
        yield service
        if names := db.keys(f"{prefix}*"):
            db.delete(*names)


def _held(function: Function) -> tuple[int, int]:
    process = psutil.Process(function.pid)
    return process.num_threads(), process.num_fds()


def _signal(function: Function, number: int) -> None:
    with suppress(ProcessLookupError):
        os.kill(function.pid, number)
