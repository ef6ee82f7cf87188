"""python -m dev: what a developer sees."""

import json
import re
import socket
import subprocess
import threading
from pathlib import Path

import httpx
import psutil
import pytest
from upstash_redis import Redis

from dev.bench import coldstart
from tests.support.commands import finished, running
from tests.support.deployments import running_parley
from tests.support.stores import redis_server, running_store
from tests.support.tools import PROJECT, need, wait_until

pytestmark = pytest.mark.usefixtures("usual_signals")


def test_serve() -> None:
    need("curl", "apt-get install curl")
    with running("--port", "0", until="Try") as (_, printed):
        assert "Store   embedded, gone when this stops\n" in printed
        curl = re.search(r"^Try     (curl -X POST (http://127\.0\.0\.1:\d+)/api/sessions)$", printed, re.MULTILINE)
        assert curl
        created = subprocess.run(curl[1].split(), capture_output=True, check=True, text=True)
        assert '"code":"' in created.stdout
        assert httpx.get(f"{curl[2]}/").status_code == 200
        store = re.search(r"REST at (\S+) with the token (\w+)", printed)
        assert store
        with Redis(store[1], store[2]) as db:
            (session,) = db.keys("session:*")
            assert 0 < db.ttl(session) <= 600


@pytest.mark.long
def test_serve_with_redis() -> None:
    with redis_server() as url, running("--port", "0", until="Try", REDIS_URL=url) as (_, printed):
        assert f"Store   Redis at {url.removeprefix('redis://')}\n" in printed


@pytest.mark.long
def test_serve_with_a_redis_that_is_down() -> None:
    with running("--port", "0", until="Try", REDIS_URL="redis://:hidden@127.0.0.1:1") as (_, printed):
        assert "Store   Redis at 127.0.0.1:1: Try again in a few seconds. (store_unavailable)\n" in printed
        assert "hidden" not in printed


@pytest.mark.long
def test_serve_with_upstash() -> None:
    """With credentials of a database, no local one is started: the functions go straight to it."""
    with (
        running("store", "--port", "0", until="UPSTASH_REDIS_REST_TOKEN") as (_, printed),
    ):
        given = dict(line.split("=", 1) for line in printed.splitlines() if line.startswith("UPSTASH"))
        with running("--port", "0", until="Try", **given) as (_, serving):
            assert f"Store   Upstash at {given['UPSTASH_REDIS_REST_URL'].removeprefix('http://')}\n" in serving
            assert given["UPSTASH_REDIS_REST_TOKEN"] not in serving
            assert "REST at" not in serving


def test_store_alone() -> None:
    with running("store", "--port", "0", "--token", "mine", until="UPSTASH_REDIS_REST_TOKEN") as (_, printed):
        url = re.search(r"^UPSTASH_REDIS_REST_URL=(.+)$", printed, re.MULTILINE)
        assert url
        assert "UPSTASH_REDIS_REST_TOKEN=mine\n" in printed
        with Redis(url[1], "mine") as db:
            assert db.ping() == "PONG"


@pytest.mark.parametrize("arguments", [[], ["store"]])
def test_port_in_use(arguments: list[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        done = finished(*arguments, "--port", port)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == f"Port {port} is in use: choose another one with --port N, or make dev PORT=N.\n"


@pytest.mark.long
def test_bench(tmp_path: Path) -> None:
    files = ["--json", str(tmp_path / "bench.json"), "--plot", str(tmp_path / "bench.png")]
    done = finished("bench", "--times", "10", "--starts", "0", *files)
    assert done.returncode == 0, done.stderr
    assert all(line.startswith("… ") for line in done.stderr.splitlines())
    number = r" +[\d.]+"
    for calls in (r" +\d", ""):  # and once more over TLS
        names = ("push", "round trip", *(["tools/call"] if calls else []))
        rows = "".join(rf"{name}{number * 4}{calls} *\n" for name in names)
        assert re.search(rf"^floor{number * 3} +1.00 *\n{rows}\n", done.stdout, re.MULTILINE)
    assert re.search(r"^A tool call takes \d+\.\d\d of a round trip\.$", done.stdout, re.MULTILINE)
    assert "\n40 round trips: 2 store calls each.\n" in done.stdout
    found = json.loads((tmp_path / "bench.json").read_text())
    expected = {"round trip": 2, "tools/call": 2}
    assert found["store calls"] == {**dict.fromkeys(found["store calls"], 1), **expected}
    assert {"tools/list", "register tools"} <= found["store calls"].keys()
    assert found["round trip, store calls"] == 2
    assert len(found["milliseconds"]["push"]) == 10
    assert (tmp_path / "bench.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.long
def test_bench_of_starts() -> None:
    """Each function's imports and phases, beside importing the store's client alone."""
    imports = coldstart.imports(["health"], 3)
    assert 0 < imports["upstash_redis"] < imports["api.health"]
    phases = coldstart.phases(["health"], 1)["health"]
    assert phases.keys() == {"bootstrap", "import-fn", "server-ready", "whole"}
    assert phases["whole"] > phases["import-fn"] > 0


@pytest.mark.long
def test_bench_of_a_deployment() -> None:
    """As often as it does by itself, it stays within the deployment's limits."""
    with running_store(None) as store, running_parley(store) as parley:
        done = finished("bench", parley.url)
    assert done.returncode == 0, done.stderr
    assert "round trip" in done.stdout
    assert "floor" not in done.stdout


def test_bench_of_a_database_of_the_clouds() -> None:
    """It has to know the store's token, and would cost money: it says so."""
    done = finished("bench", KV_REST_API_URL="http://127.0.0.1:1", KV_REST_API_TOKEN="x")
    assert done.returncode == 1
    assert done.stderr == "The benchmark needs a local store: unset the variables of your Upstash database.\n"


def test_reload() -> None:
    """A changed file starts the functions anew."""
    with running("--port", "0", until="Try") as (process, _):
        assert process.stdout
        done = threading.Event()

        def touch() -> None:
            # The watch begins at some moment after the last printed line.
            while not done.wait(0.2):
                (PROJECT / "lib" / "kv.py").touch()

        touching = threading.Thread(target=touch)
        touching.start()
        try:
            assert "Reloaded\n" in iter(process.stdout.readline, "")
        finally:
            done.set()
            touching.join()


def test_no_process_stays_behind() -> None:
    with running("--port", "0", until="Try") as (process, _):
        children = psutil.Process(process.pid).children()
        assert children
    wait_until(lambda: not any(child.is_running() for child in children))
