"""Parley while everything around it fails: connections are cut, functions killed, the store slow or wrong.

What fails when is drawn from a seed. Afterwards nothing may have been lost, doubled, disordered or left behind.
"""

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
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

import httpx
import psutil
from upstash_redis import Redis

from dev.local import environment, upstash
from dev.local.function import Function, from_source
from dev.local.platform import Platform
from dev.local.project import Project
from dev.local.server import Server
from dev.soak.clients import Host, ask
from dev.soak.cutter import Cutter
from dev.soak.faults import Faults

_SESSIONS = 6
_GUESTS = 2
_CALM_SECONDS = 60
_PATHS = {"sessions": "", "requests": "/requests", "responses": "/responses/q", "stream": "/stream"}
_SKEW_SECONDS = 3600
# What a function's process runs before anything else: a clock that is wrong.
_CLOCK = "import os, time; _now = time.time; time.time = lambda: _now() + float(os.environ['CLOCK_SKEW'])"


@dataclass
class Service:
    """The local platform, with a cutter on each side of its functions. `probe` is a session that nobody uses."""

    platform: Platform
    url: str
    clients: Cutter
    store: Cutter
    faults: Faults
    db: Redis
    prefix: str
    probe: dict[str, Any]
    lines: list[str]


@dataclass
class Exchange:
    """What a guest asked, and what it was told."""

    code: str
    id: str
    payload: int
    result: Any


def run(project: Path, seconds: float, seed: int) -> list[str]:
    """Let everything fail for so many seconds. Returns what was wrong afterwards, a line each."""
    random = Random(seed)  # noqa: S311 - it has to come again
    print(f"Soak for {seconds:g} s, seed {seed}, on {environment.store(project)}", flush=True)
    with _service(project, random) as service:
        with httpx.Client(base_url=service.url, timeout=30) as http:
            sessions = [http.post("/api/sessions").raise_for_status().json() for _ in range(_SESSIONS)]
        before = _resources(service)
        hosts = [Host(service.url, session) for session in sessions]
        over = threading.Event()
        with ThreadPoolExecutor(_SESSIONS * _GUESTS) as threads:
            guests = [
                threads.submit(_guest, service.url, session["code"], f"guest{number}", random.random(), over)
                for session in sessions
                for number in range(_GUESTS)
            ]
            _fail(service, random, seconds, guests)
            over.set()
        wrong = [f"a guest: {guest.exception()!r}" for guest in guests if guest.exception()]
        wrong += [f"a host was told that its session is {host.reason}" for host in hosts if host.reason]
        exchanges = [exchange for guest in guests if not guest.exception() for exchange in guest.result()]
        wrong += _wrong_answers(service, exchanges) + _wrong_order(hosts, sessions)
        names = service.db.keys(f"{service.prefix}*")
        wrong += [f"{name} never expires" for name in names if service.db.pttl(name) == -1]
        with httpx.Client(base_url=service.url, timeout=30) as http:
            for session in sessions:
                headers = {"Authorization": f"Bearer {session['token']}"}
                http.delete(f"/api/sessions/{session['code']}", headers=headers).raise_for_status()
        for host in hosts:
            host.join()
        wrong += _left_behind(service, before) + _defects(service.lines)
    deliveries = sum(sum(host.seen.values()) for host in hosts)
    print(f"{len(exchanges)} requests, {deliveries} deliveries, {len(service.lines)} calls of functions")
    return wrong


@contextmanager
def _service(project: Path, random: Random) -> Iterator[Service]:
    with ExitStack() as running:
        token = secrets.token_hex(16)
        faults = Faults(upstash.local(token, environment.store(project).redis))
        behind = running.enter_context(Server(faults))
        store = running.enter_context(Cutter(behind.port))
        prefix = f"soak-{secrets.token_hex(4)}:"
        folder = Path(running.enter_context(tempfile.TemporaryDirectory()))
        (folder / "sitecustomize.py").write_text(_CLOCK)
        variables = {
            **environment.of_functions(project, {"KV_REST_API_URL": store.url, "KV_REST_API_TOKEN": token}),
            **environment.UNLIMITED,
            "KV_KEY_PREFIX": prefix,
            "STREAM_SECONDS": "20",
            "PYTHONPATH": str(folder),
        }
        lines: list[str] = []

        def start(name: str) -> Function:
            skew = random.uniform(-_SKEW_SECONDS, _SKEW_SECONDS)
            return from_source(name, project, {**variables, "CLOCK_SKEW": str(skew)}, lines.append)

        platform = running.enter_context(Platform(Project(project), start))
        front = running.enter_context(Server(platform, parser="h11"))
        clients = running.enter_context(Cutter(front.port))
        db = running.enter_context(Redis(behind.url, token, rest_encoding=None))
        probe = httpx.post(f"{clients.url}/api/sessions", timeout=30).raise_for_status().json()
        yield Service(platform, clients.url, clients, store, faults, db, prefix, probe, lines)
        if names := db.keys(f"{prefix}*"):
            db.delete(*names)


def _guest(url: str, code: str, name: str, pace: float, over: threading.Event) -> list[Exchange]:
    """Ask one question after the other, each as often as it takes."""
    exchanges: list[Exchange] = []
    with httpx.Client(base_url=url, timeout=30) as http:
        while not over.wait(pace / 2):
            number = len(exchanges)
            request_id = f"{name}-{number}"
            exchanges.append(Exchange(code, request_id, number, ask(http, code, request_id, number)))
    return exchanges


def _fail(service: Service, random: Random, seconds: float, guests: list[Future[list[Exchange]]]) -> None:
    """Let one thing after the other fail; return early if a guest has given up."""
    until = time.monotonic() + seconds
    said = time.monotonic()
    while time.monotonic() < until and not any(guest.done() for guest in guests):
        match random.choice(("kill", "clients", "store", "trouble", "nothing")):
            case "kill":
                os.kill(service.platform.function(random.choice(list(_PATHS))).pid, signal.SIGKILL)
            case "clients":
                service.clients.cut(lambda: random.random() < 0.3)
            case "store":
                service.store.cut(lambda: random.random() < 0.3)
            case "trouble":
                service.faults.fail_by_chance(random, 0.3, ["slow", "html", "lost", "hang"])
        time.sleep(random.uniform(0.1, 1.5))
        service.faults.heal()
        if time.monotonic() - said > 15:
            said = time.monotonic()
            print(f"  {until - said:.0f} s to go, {len(service.lines)} calls of functions", flush=True)


def _wrong_answers(service: Service, exchanges: list[Exchange]) -> list[str]:
    """Every request that was accepted has its answer, the one that its guest was told."""
    wrong = []
    with httpx.Client(base_url=service.url, timeout=30) as http:
        for exchange in exchanges:
            answer = http.get(f"/api/sessions/{exchange.code}/responses/{exchange.id}")
            expected = {"echo": exchange.payload}
            if exchange.result != expected or answer.status_code != 200 or answer.json().get("result") != expected:
                wrong.append(f"{exchange.id} was told {exchange.result}, and is answered with {answer.text}")
    return wrong


def _wrong_order(hosts: list[Host], sessions: list[dict[str, Any]]) -> list[str]:
    """Each host has heard of each guest's requests in their order, and of none after its answer."""
    wrong = []
    for host, session in zip(hosts, sessions, strict=True):
        wrong += [f"{request_id} came again after its answer was taken" for request_id in host.late]
        for number in range(_GUESTS):
            heard = [one for one in host.order if one.startswith(f"guest{number}-")]
            if heard != [f"guest{number}-{turn}" for turn in range(len(heard))]:
                wrong.append(f"the requests of guest {number} of {session['code']} came as {heard}")
    return wrong


def _resources(service: Service) -> dict[str, tuple[int, int]]:
    """Return how many threads and open descriptors each function has when it has nothing to do."""
    found = {}
    probe = service.probe
    with httpx.Client(base_url=f"{service.url}/api/sessions/{probe['code']}", timeout=30) as http:
        http.headers["Authorization"] = f"Bearer {probe['token']}"
        for name, path in _PATHS.items():
            http.head(path)
            process = psutil.Process(service.platform.function(name).pid)
            found[name] = (process.num_threads(), process.num_fds())
    return found


def _left_behind(service: Service, before: dict[str, tuple[int, int]]) -> list[str]:
    """Return what stays when nobody asks for anything any more: connections, threads, descriptors."""
    until = time.monotonic() + _CALM_SECONDS
    while True:
        left = [
            f"{name} has {threads} threads and {descriptors} descriptors, {before[name]} before"
            for name, (threads, descriptors) in _resources(service).items()
            if threads > before[name][0] or descriptors > before[name][1]
        ]
        if service.clients.connections:
            left.append(f"{service.clients.connections} connections of clients are open")
        if not left or time.monotonic() > until:
            return left
        time.sleep(1)


def _defects(lines: list[str]) -> list[str]:
    """What a function logs is one line of JSON a call, and none of them tells of a defect."""
    entries = [json.loads(line) for line in lines]
    return [f"a defect: {entry}" for entry in entries if "defect" in entry or entry.get("status") == 500]
