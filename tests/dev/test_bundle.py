"""What is deployed: built by the real `vercel build`, started by Vercel's own runtime."""

import json
import os
import re
import signal
import threading
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from dev.events import events_of
from dev.local import bundle
from dev.local.project import Project
from tests.soak.clients import Host, ask
from tests.support.deployments import Parley, deployed, refusal
from tests.support.stores import Store
from tests.support.tools import PATIENCE_SECONDS, PROJECT, wait_until

pytestmark = pytest.mark.long
FUNCTIONS = sorted(path.stem for path in (PROJECT / "api").glob("*.py"))


@pytest.fixture(scope="session")
def any_built(output: Path, usual_store: Store) -> Iterator[Parley]:
    """Give a preview deployment of what was built, with nothing but what Vercel would set in its environment."""
    given = {
        "PATH": os.environ["PATH"],
        "VERCEL": "1",
        "VERCEL_ENV": "preview",
        "VERCEL_GIT_COMMIT_REF": "a/branch",
        "VERCEL_GIT_COMMIT_SHA": "0123abc",
        **usual_store.variables(),
    }
    with deployed(usual_store, given, output) as parley:
        yield parley


@pytest.fixture
def built(any_built: Parley) -> Parley:
    """Give this deployment with an empty store."""
    any_built.store.clear()
    any_built.lines.clear()
    return any_built


def test_one_function_a_file(output: Path) -> None:
    assert sorted(path.name for path in (output / "functions").rglob("*.func")) == [
        f"{name}.func" for name in FUNCTIONS
    ]
    assert (output / "static" / "problems.html").exists()


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_function_holds_what_it_needs(output: Path, name: str) -> None:
    said = bundle.config(output / "functions" / "api" / f"{name}.func")
    ours = {file for file in said["filePathMap"] if not file.startswith("_vendor/")}
    allowed = re.compile(
        r"api/\w+\.py|lib/(\w+/)?\w+\.py|lib/store/scripts/(common/)?\w+\.lua|(api|lib(/\w+)?)/__pycache__/[\w.-]+\.pyc"
    )
    assert {file for file in ours if not allowed.fullmatch(file)} == set()
    assert {f"api/{name}.py", "lib/kv.py", "lib/store/scripts/common/session.lua"} <= ours
    packages = {file.split("/")[1].split("-")[0] for file in said["filePathMap"] if file.startswith("_vendor/")}
    assert packages & {"fakeredis", "pytest", "redis", "requests", "starlette", "uvicorn"} == set()
    assert any(file.endswith(".pyc") for file in said["filePathMap"])
    assert said["runtime"] == "python" + (PROJECT / ".python-version").read_text().strip()
    assert 0 < said["maxDuration"] <= 300
    assert said.get("supportsCancellation", False) == (name in ("mcp", "stream", "requests", "responses"))


def test_local_routes_are_the_deployments(output: Path) -> None:
    """Each path leads to the same function, with the same parameters, here and there."""
    routes = json.loads((output / "config.json").read_text())["routes"]
    rewrites = [
        (re.compile(route["src"]), route["dest"]) for route in routes if route.get("check") and "?" in route["dest"]
    ]
    local = Project(PROJECT)
    assert rewrites
    for path in (
        "/api/sessions/ABC1-2345",
        "/api/sessions/x&c=1",
        "/api/sessions/a/b",
        "/api/sessions/ABC12345/requests",
        "/api/sessions/ABC12345/responses",
        "/api/sessions/ABC12345/responses/q.1",
        "/api/sessions/ABC12345/stream",
        "/api/sessions/ABC12345/stream/",
        "/api/sessions/%2F",
        "/api/nothing",
        "/api/nothing/at/all",
    ):
        there = next(
            (found.expand(dest.replace("$", "\\")) for src, dest in rewrites if (found := src.search(path))), None
        )
        here = local.route(path)
        assert (f"/api/{here.function}?{here.target.partition('?')[2]}" if here else None) == there, path


def test_built_functions_answer(built: Parley) -> None:
    health = built.http.get("/api/health?deep=1")
    assert health.json() | {"store": 0} == {"status": "ok", "store": 0, "environment": "preview", "commit": "0123abc"}
    session = built.create()
    url = f"/api/sessions/{session['code']}"
    assert built.http.get(url).json()["active"] is True
    assert built.http.patch(url, headers=session["host"]).json()["ttl"] == 600
    assert built.http.delete(url, headers=session["host"]).status_code == 204
    assert refusal(built.http.patch(url, headers=session["host"])) == (410, "session_ended")
    assert refusal(built.http.post("/api/sessions", content=b"[" * 10_000)) == (400, "invalid_json")
    assert refusal(built.http.put("/api/sessions")) == (405, "method_not_allowed")


def test_built_round_trip(built: Parley) -> None:
    """A request is pushed, answered and read, the stream arriving event by event."""
    session = built.create()
    url = f"/api/sessions/{session['code']}"
    answers: list[httpx.Response] = []

    def guest() -> None:
        prefer = {"Prefer": "wait=50"}
        answers.append(built.http.post(f"{url}/requests", json={"id": "q", "payload": 1}, headers=prefer))

    with built.http.stream("GET", f"{url}/stream", headers=session["host"]) as stream:
        found = events_of(stream.iter_bytes())
        assert next(found).name == "open"
        asking = threading.Thread(target=guest)
        asking.start()
        request = next(found)
        assert (request.name, request.data["id"]) == ("request", "q")
        # The stream is still open here: what has come has come by itself, not in a lump at the end.
        answered = built.http.post(f"{url}/responses", json={"id": "q", "result": 2}, headers=session["host"])
        assert answered.status_code == 201
        asking.join()
        assert answers[0].json()["result"] == 2
        assert built.http.delete(url, headers=session["host"]).status_code == 204
        assert next(found).data == {"reason": "ended"}


def test_built_functions_are_killed(built: Parley) -> None:
    """Every process dies in the middle of a conversation, and nothing is lost."""
    session = built.create()
    host = Host(built.url, session)
    assert host.connected.wait(PATIENCE_SECONDS)
    killed = set()
    for number, victim in enumerate([*FUNCTIONS, *FUNCTIONS]):
        running = built.platform.function(victim)
        os.kill(running.pid, signal.SIGKILL)
        wait_until(lambda running=running: not running.running)  # type: ignore[misc]
        killed.add(running.pid)
        assert ask(built.http, session["code"], f"q{number}", number) == {"echo": number}
    built.http.delete(f"/api/sessions/{session['code']}", headers=session["host"])
    host.join()
    assert len(killed) == 2 * len(FUNCTIONS)
    assert host.order == [f"q{number}" for number in range(2 * len(FUNCTIONS))]
    assert host.late == []


def test_built_preview_has_names_of_its_own(built: Parley) -> None:
    code = built.create()["code"]
    prefix = built.store.prefix or "preview:a%2Fbranch:"
    names = built.store.db.keys(f"{prefix}*")
    assert f"{prefix}session:{code}" in names
    assert len(names) == len(built.store.db.keys("*")) or built.store.prefix
    built.store.db.delete(*names)
