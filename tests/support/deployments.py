"""A deployment on the local platform, and the calls that tests make to it."""

import json
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import httpx
import pytest

from dev.local import environment
from dev.local.function import Function, from_bundle, from_source
from dev.local.platform import Platform
from dev.local.project import Project
from dev.local.server import Server
from tests.support.stores import Store, usual_store
from tests.support.tools import PATIENCE_SECONDS, PROJECT, wait_until

SENT_AS_JSON = {"Content-Type": "application/json"}
# An event of Python's audit hooks: a deployment begins, which will start processes.
STARTS_FUNCTIONS = "parley.deployment"


@dataclass
class Api:
    """The service at an address. `lines` is what its functions print."""

    http: httpx.Client
    store: Store
    url: str
    lines: list[str]

    def create(self) -> dict[str, Any]:
        """Create a session and return it, with the headers of a host's call as `host`."""
        answer = self.http.post("/api/sessions")
        assert answer.status_code == 201, answer.text
        session: dict[str, Any] = answer.json()
        return session | {"host": {"Authorization": f"Bearer {session['token']}"}}

    @contextmanager
    def caller(self, address: str) -> Iterator[httpx.Client]:
        """Give a client in another network, which is an address of the loopback."""
        transport = httpx.HTTPTransport(local_address=address)
        with httpx.Client(base_url=self.url, timeout=PATIENCE_SECONDS, transport=transport) as http:
            try:
                http.get("/api/health")
            except httpx.ConnectError:
                pytest.skip(f"{address} is not an address of this machine: only Linux has them all")
            yield http

    def log(self, answer: httpx.Response) -> dict[str, Any]:
        """Return the line that a request to the platform logged, which may come a moment after its answer."""
        request_id = answer.headers["x-vercel-id"]
        wait_until(lambda: any(request_id in line for line in self.lines))
        found: dict[str, Any] = json.loads(next(line for line in self.lines if request_id in line))
        return found


@dataclass
class Parley(Api):
    """A running deployment."""

    platform: "_OnDemand"

    def restart(self, name: str) -> None:
        """Stop a function if it runs: its next call starts a new instance, which knows nothing of earlier calls."""
        if function := self.platform.detach(name):
            function.stop()


class _OnDemand(Platform):
    """The local platform, which starts each function at its first call: most deployments of tests need few of them."""

    def __enter__(self) -> Self:
        return self

    def is_idle(self) -> bool:
        """Return whether no call runs in a function. One whose client has hung up may, to tell the store so."""
        with self._lock:
            return not any(function.running and function.calls for function in self._functions.values())


@contextmanager
def running_parley(store: Store, **variables: str) -> Iterator[Parley]:
    """Run the project's functions on the local platform. `variables` are added to their environment."""
    with deployed(store, clean_environment() | store.variables() | variables) as parley:
        yield parley


@contextmanager
def running_site(**variables: str) -> Iterator[Parley]:
    """Run a deployment with a store of its own and with room for every test's sessions. All its functions run."""
    with usual_store() as store, running_parley(store, **environment.UNLIMITED, **variables) as parley:
        parley.platform.reload()
        yield parley


@contextmanager
def deployed(store: Store, variables: dict[str, str], build: Path | None = None) -> Iterator[Parley]:
    """Run the project's functions with these variables and no others, from `vercel build`'s output if it is given."""
    sys.audit(
        STARTS_FUNCTIONS
    )  # from here, since the test does not hear of what is raised where they start, in a thread
    lines: list[str] = []

    def start(name: str) -> Function:
        if build:
            return from_bundle(name, build / "functions" / "api" / f"{name}.func", variables, lines.append)
        return from_source(name, PROJECT, variables, lines.append)

    platform = _OnDemand(Project(PROJECT), start, pytest.fail)
    with (
        Server(platform, parser="h11") as front,
        platform,
        httpx.Client(base_url=front.url, timeout=PATIENCE_SECONDS) as http,
    ):
        yield Parley(http, store, front.url, lines, platform)


def clean_environment() -> dict[str, str]:
    """Return this process's environment without the variables that could lead to a store of the developer's."""
    kept = environment.of_functions(Path("/nonexistent"), {})
    return {
        name: value for name, value in kept.items() if not name.startswith(("KV_", "UPSTASH_", "SESSION_", "RATE_"))
    }


class Pair:
    """A session with its host's and its guest's calls."""

    def __init__(self, parley: Api) -> None:
        self.parley = parley
        self.session = parley.create()
        self.code = self.session["code"]
        self.url = f"/api/sessions/{self.code}"
        self.host = self.session["host"]

    def post(self, payload: str = "1", request_id: str | None = None, query: str = "") -> httpx.Response:
        named = f'"id":{json.dumps(request_id)},' if request_id else ""
        body = f'{{{named}"payload":{payload}}}'.encode()
        return self.parley.http.post(f"{self.url}/requests{query}", content=body, headers=SENT_AS_JSON)

    def read(self, request_id: str, query: str = "") -> httpx.Response:
        return self.parley.http.get(f"{self.url}/responses/{request_id}{query}")

    def unanswered(self, query: str = "") -> httpx.Response:
        return self.parley.http.get(f"{self.url}/requests{query}", headers=self.host)

    def answer(self, request_id: str, text: str = "1", kind: str = "result") -> httpx.Response:
        body = f'{{"id":{json.dumps(request_id)},"{kind}":{text}}}'.encode()
        return self.parley.http.post(f"{self.url}/responses", content=body, headers=self.host | SENT_AS_JSON)

    def withdraw(self, request_id: str) -> httpx.Response:
        return self.parley.http.delete(f"{self.url}/requests/{request_id}")

    def offer(self, tools: str) -> httpx.Response:
        body = f'{{"tools":{tools}}}'.encode()
        return self.parley.http.put(f"{self.url}/tools", content=body, headers=self.host | SENT_AS_JSON)

    def tools(self) -> httpx.Response:
        return self.parley.http.get(f"{self.url}/tools")

    def listeners(self) -> list[str]:
        """Return the roles, `host` or `guest`, of the function instances in which calls wait, as the store has them."""
        lines = self.parley.store.db.hget(f"{self.parley.store.prefix}res:{self.code}", "~listeners") or ""
        return re.findall(r"^\d+ (host|guest) ", lines, re.MULTILINE)


def refusal(answer: httpx.Response) -> tuple[int, str]:
    """Return status and code of a problem document, and check its shape."""
    assert answer.headers["content-type"] == "application/problem+json"
    problem = answer.json()
    assert problem.keys() == {"type", "title", "status", "detail", "code"}
    assert problem["status"] == answer.status_code
    return answer.status_code, problem["code"]
