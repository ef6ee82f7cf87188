"""What the tests run against: a local Upstash before an embedded and a real Redis, and the whole local platform."""

import json
import os
import secrets
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest
from upstash_redis import Redis

from dev import environment, upstash
from dev.faults import Faults
from dev.function import Function, from_source
from dev.platform import Platform
from dev.project import Project
from dev.server import Server
from lib import kv

PROJECT = Path(__file__).resolve().parent.parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the longest test, so that the others run beside it and not before it."""
    items.sort(key=lambda item: item.path.name != "test_soak.py")


def need(tool: str, install: str) -> str:
    """Return the path of a tool. Without it the test is skipped on a user's machine, and fails in CI."""
    path = shutil.which(tool)
    if path:
        return path
    reason = f"{tool} is not installed: {install}"
    if os.environ.get("CI") == "true":
        pytest.fail(reason)
    pytest.skip(reason)


@dataclass
class Store:
    """A local Upstash that the test owns. `db` is the vendor's client on it; names start with `prefix`."""

    url: str
    token: str
    prefix: str
    faults: Faults
    db: Redis

    def variables(self) -> dict[str, str]:
        """Return what a function needs to know to use this store."""
        prefix = {"KV_KEY_PREFIX": self.prefix} if self.prefix else {}
        return {"KV_REST_API_URL": self.url, "KV_REST_API_TOKEN": self.token, **prefix}

    def names(self, pattern: str = "*") -> list[str]:
        """Return the keys in the store, without the prefix."""
        return sorted(name.removeprefix(self.prefix) for name in self.db.keys(self.prefix + pattern))

    def clear(self) -> None:
        """Forget every fault and every key of ours."""
        self.faults.heal()
        if names := self.db.keys(f"{self.prefix}*"):
            self.db.delete(*names)
        self.faults.heal()


@contextmanager
def running_store(redis_url: str | None, prefix: str = "") -> Iterator[Store]:
    token = secrets.token_hex(8)
    faults = Faults(upstash.local(token, redis_url))
    with Server(faults) as server, Redis(server.url, token, rest_encoding=None, rest_retries=0) as db:
        yield Store(server.url, token, prefix, faults, db)


@contextmanager
def redis_server() -> Iterator[str]:
    """Run a real Redis on a free port, without a trace on the disk."""
    program = need("redis-server", "apt-get install redis-server, or brew install redis")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with tempfile.TemporaryDirectory() as folder:
        process = subprocess.Popen(
            [program, "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", folder],
            stdout=subprocess.DEVNULL,
        )
        try:
            while True:
                try:
                    socket.create_connection(("127.0.0.1", port), 1).close()
                    break
                except ConnectionRefusedError:
                    assert process.poll() is None, "redis-server did not start"
                    time.sleep(0.02)
            yield f"redis://127.0.0.1:{port}"
        finally:
            process.terminate()
            process.wait()


@pytest.fixture(scope="session", params=["embedded", "redis"])
def any_store(request: pytest.FixtureRequest) -> Iterator[Store]:
    """Give a store on an embedded Redis, and once more on a real one: REDIS_URL, or one that is started here.

    Whatever else is in the database at REDIS_URL stays: the tests' names have a prefix of their own there.
    """
    with ExitStack() as running:
        if request.param == "embedded":
            given, prefix = None, ""
        elif url := os.environ.get("REDIS_URL"):
            given, prefix = url, f"parley-test-{secrets.token_hex(4)}:"
        else:
            given, prefix = running.enter_context(redis_server()), ""
        store = running.enter_context(running_store(given, prefix))
        yield store
        store.clear()


@pytest.fixture
def store(any_store: Store) -> Store:
    """Give an empty store that does not fail."""
    any_store.clear()
    return any_store


@pytest.fixture
def kv_store(store: Store, monkeypatch: pytest.MonkeyPatch) -> Iterator[Store]:
    """Give the store to the library in this very process."""
    for name, value in store.variables().items():
        monkeypatch.setenv(name, value)
    yield store
    while kv._clients:
        kv._clients.popitem()[1].close()  # type: ignore[no-untyped-call]


@dataclass
class Parley:
    """A running deployment. `lines` is what its functions print."""

    http: httpx.Client
    store: Store
    platform: Platform
    url: str
    lines: list[str] = field(default_factory=list)

    def create(self) -> dict[str, Any]:
        """Create a session and return it, with the headers of a host's call as `host`."""
        answer = self.http.post("/api/sessions")
        assert answer.status_code == 201, answer.text
        session: dict[str, Any] = answer.json()
        return session | {"host": {"Authorization": f"Bearer {session['token']}"}}

    def log(self, answer: httpx.Response) -> dict[str, Any]:
        """Return the line that a request logged, which may come a moment after its answer."""
        request_id = answer.headers["x-vercel-id"]
        wait_until(lambda: any(request_id in line for line in self.lines))
        found: dict[str, Any] = json.loads(next(line for line in self.lines if request_id in line))
        return found


def wait_until(condition: Callable[[], bool], seconds: float = 10) -> None:
    """Return as soon as the condition holds; fail if it does not within the time."""
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until, "waited in vain"
        time.sleep(0.005)


@contextmanager
def running_parley(store: Store, **variables: str) -> Iterator[Parley]:
    """Run the project's functions on the local platform. `variables` are added to their environment."""
    lines: list[str] = []

    def start(name: str) -> Function:
        return from_source(name, PROJECT, clean_environment() | store.variables() | variables, lines.append)

    with (
        Platform(Project(PROJECT), start, complain=pytest.fail) as platform,
        Server(platform, parser="h11") as front,
        httpx.Client(base_url=front.url, timeout=20) as http,
    ):
        yield Parley(http, store, platform, front.url, lines)


def clean_environment() -> dict[str, str]:
    """Return this process's environment without what could lead to a store of the developer's."""
    kept = environment.of_functions(Path("/nonexistent"), {})
    return {
        name: value for name, value in kept.items() if not name.startswith(("KV_", "UPSTASH_", "SESSION_", "RATE_"))
    }


@pytest.fixture(scope="session")
def any_parley(any_store: Store) -> Iterator[Parley]:
    """Give a deployment for the whole run."""
    any_store.clear()
    with running_parley(any_store) as parley:
        yield parley


@pytest.fixture
def parley(any_parley: Parley, store: Store) -> Parley:
    """Give a deployment with an empty store."""
    any_parley.lines.clear()
    assert any_parley.store is store
    return any_parley
