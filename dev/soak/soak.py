"""The soak test: connections are cut, functions killed, and the store made slow or wrong, while hosts and guests talk.

A seed decides what fails when. Afterwards no request may be lost, delivered after its answer, out of order, or left
behind in the store, and no thread or socket may be left behind in a function.
"""

import argparse
import json
import os
import secrets
import signal
import tempfile
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from itertools import count
from pathlib import Path
from random import Random
from typing import Any, NamedTuple

import httpx
import psutil
from upstash_redis import Redis

from dev import PROJECT
from dev.local import environment
from dev.local.deployment import deploy, local_store
from dev.local.platform import Platform
from dev.soak.clients import Host, ask
from dev.soak.faults import Cutter, Faults

_SESSIONS = 6
_GUESTS = 2
_CALM_SECONDS = 60
_PATHS = {"sessions": "", "requests": "/requests", "responses": "/responses/q", "stream": "/stream"}
_SKEW_SECONDS = 3600
_FAULTS = ("slow", "html", "lost", "hang")
# A sitecustomize.py, which each function's process runs first: it sets the process's clock wrong.
_CLOCK = "import os, time; _now = time.time; time.time = lambda: _now() + float(os.environ['CLOCK_SKEW'])"


class Exchange(NamedTuple):
    """A request of a guest's, and the result that the guest got."""

    code: str
    id: str
    payload: int
    result: Any


class Service(NamedTuple):
    """The local platform, with a cutter before and behind its functions.

    `probe` is a session that no host and no guest uses; `lines` is what the functions have printed.
    """

    platform: Platform
    clients: Cutter
    store: Cutter
    faults: Faults
    db: Redis
    prefix: str
    probe: dict[str, Any]
    lines: list[str]

    def fail(self, random: Random, seconds: float, guests: list[Future[list[Exchange]]]) -> None:
        """Make one thing after the other fail for so many seconds; return early if a guest has failed."""
        until = time.monotonic() + seconds
        reported = time.monotonic()
        while time.monotonic() < until and not any(guest.done() for guest in guests):
            match random.choice(("kill", "clients", "store", "trouble", "nothing")):
                case "kill":
                    os.kill(self.platform.function(random.choice(list(_PATHS))).pid, signal.SIGKILL)
                case "clients":
                    self.clients.cut(lambda: random.random() < 0.3)
                case "store":
                    self.store.cut(lambda: random.random() < 0.3)
                case "trouble":
                    self.faults.plan(random.choice(_FAULTS) if random.random() < 0.3 else "" for _ in count())
            time.sleep(random.uniform(0.1, 1.5))
            self.faults.heal()
            if time.monotonic() - reported > 15:
                reported = time.monotonic()
                print(f"  {until - reported:.0f} s to go, {len(self.lines)} calls of functions", flush=True)

    def wrong_answers(self, exchanges: list[Exchange]) -> list[str]:
        """Return which requests have no answer, or another one than their guest got."""
        wrong = []
        with httpx.Client(base_url=self.clients.url, timeout=30) as http:
            for code, request_id, payload, result in exchanges:
                answer = http.get(f"/api/sessions/{code}/responses/{request_id}")
                if not (answer.is_success and answer.json().get("result") == result == {"echo": payload}):
                    wrong.append(f"{request_id} got {result}, and is answered with {answer.text}")
        return wrong

    def resources(self) -> dict[str, tuple[int, int]]:
        """Return how many threads and open descriptors the process of each function has, after one request to it."""
        found = {}
        with httpx.Client(base_url=f"{self.clients.url}/api/sessions/{self.probe['code']}", timeout=30) as http:
            http.headers["Authorization"] = f"Bearer {self.probe['token']}"
            for name, path in _PATHS.items():
                http.head(path)
                process = psutil.Process(self.platform.function(name).pid)
                found[name] = (process.num_threads(), process.num_fds())
        return found

    def left_behind(self, before: dict[str, tuple[int, int]]) -> list[str]:
        """Return which connections, threads and descriptors are still there a minute after the last call."""
        until = time.monotonic() + _CALM_SECONDS
        while True:
            left = [
                f"{name} has {threads} threads and {descriptors} descriptors, {before[name]} before"
                for name, (threads, descriptors) in self.resources().items()
                if threads > before[name][0] or descriptors > before[name][1]
            ]
            if self.clients.connections:
                left.append(f"{self.clients.connections} connections of clients are open")
            if not left or time.monotonic() > until:
                return left
            time.sleep(1)


def command(arguments: argparse.Namespace) -> None:
    """Run the test for `seconds` with `seed`, and print what is wrong. Raises ValueError if anything is."""
    if wrong := run(arguments.seconds, arguments.seed):
        print(*wrong, sep="\n")
        raise ValueError(f"Seed {arguments.seed}: {len(wrong)} things are wrong.")
    print("Nothing lost, doubled, out of order or left behind.")


def run(seconds: float, seed: int) -> list[str]:
    """Run the test for so many seconds. Returns what is wrong afterwards, one line each."""
    random = Random(seed)  # noqa: S311 - the same seed has to give the same numbers
    print(f"Soak for {seconds:g} s, seed {seed}, on {environment.store(PROJECT)}", flush=True)
    with _service(random) as service:
        url = service.clients.url
        sessions = [_create(url) for _ in range(_SESSIONS)]
        before = service.resources()
        hosts = [Host(url, session) for session in sessions]
        over = threading.Event()
        with ThreadPoolExecutor(_SESSIONS * _GUESTS) as threads:
            guests = [
                threads.submit(_guest, url, session["code"], f"guest{number}", random.random(), over)
                for session in sessions
                for number in range(_GUESTS)
            ]
            service.fail(random, seconds, guests)
            over.set()
        wrong = [f"a guest failed: {guest.exception()!r}" for guest in guests if guest.exception()]
        wrong += [f"a host's stream ended, with the reason {host.reason!r}" for host in hosts if host.reason]
        exchanges = [exchange for guest in guests if not guest.exception() for exchange in guest.result()]
        wrong += service.wrong_answers(exchanges) + _wrong_order(hosts)
        names = service.db.keys(f"{service.prefix}*")
        wrong += [f"{name} never expires" for name in names if service.db.pttl(name) == -1]
        for host in hosts:
            httpx.delete(host.url, headers=host.headers, timeout=30).raise_for_status()
            host.join()
        wrong += service.left_behind(before)
    entries = [json.loads(line) for line in service.lines]
    wrong += [f"a defect: {entry}" for entry in entries if "defect" in entry or entry.get("status") == 500]
    deliveries = sum(sum(host.seen.values()) for host in hosts)
    print(f"{len(exchanges)} requests, {deliveries} deliveries, {len(service.lines)} calls of functions")
    return wrong


@contextmanager
def _service(random: Random) -> Iterator[Service]:
    lines: list[str] = []
    prefix = f"soak-{secrets.token_hex(4)}:"
    with ExitStack() as running:
        faults = Faults()
        behind = running.enter_context(local_store(environment.store(PROJECT).redis, wrap=faults.wrap))
        store = running.enter_context(Cutter(behind.url))
        folder = Path(running.enter_context(tempfile.TemporaryDirectory()))
        (folder / "sitecustomize.py").write_text(_CLOCK)
        variables = {
            **environment.of_functions(PROJECT, behind._replace(url=store.url).variables()),
            **environment.UNLIMITED,
            "KV_KEY_PREFIX": prefix,
            "STREAM_SECONDS": "20",
            "PYTHONPATH": str(folder),
        }

        def skewed() -> dict[str, str]:
            return {**variables, "CLOCK_SKEW": str(random.uniform(-_SKEW_SECONDS, _SKEW_SECONDS))}

        deployment = running.enter_context(deploy(PROJECT, skewed, log=lines.append))
        clients = running.enter_context(Cutter(deployment.url))
        db = running.enter_context(Redis(behind.url, behind.token, rest_encoding=None))
        yield Service(deployment.platform, clients, store, faults, db, prefix, _create(clients.url), lines)
        if names := db.keys(f"{prefix}*"):
            db.delete(*names)


def _create(url: str) -> dict[str, Any]:
    session: dict[str, Any] = httpx.post(f"{url}/api/sessions", timeout=30).raise_for_status().json()
    return session


def _guest(url: str, code: str, name: str, pace: float, over: threading.Event) -> list[Exchange]:
    """Post one request after the other, each until it is answered, until `over` is set."""
    exchanges: list[Exchange] = []
    with httpx.Client(base_url=url, timeout=30) as http:
        while not over.wait(pace / 2):
            number = len(exchanges)
            request_id = f"{name}-{number}"
            exchanges.append(Exchange(code, request_id, number, ask(http, code, request_id, number)))
    return exchanges


def _wrong_order(hosts: list[Host]) -> list[str]:
    """Return which hosts got a guest's requests out of order, or a request again after its answer was taken."""
    wrong = []
    for host in hosts:
        wrong += [f"{request_id} came again after its answer was taken" for request_id in host.late]
        for number in range(_GUESTS):
            came = [one for one in host.order if one.startswith(f"guest{number}-")]
            if came != [f"guest{number}-{turn}" for turn in range(len(came))]:
                wrong.append(f"the requests of guest {number} to {host.url} came as {came}")
    return wrong
