"""README.md: what it says to paste works, and what it lists is what there is."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from lib import settings
from lib.problems import Problem
from tests.support.deployments import Parley
from tests.support.tools import PROJECT, wait_until
from tests.support.values import leaves

README = (PROJECT / "README.md").read_text("utf-8")


def blocks(chapter: str, parley: Parley, folder: Path) -> list[str]:
    """Return what a chapter says to paste, for this deployment."""
    text = README.partition(f"## {chapter}\n")[2].partition("\n## ")[0]
    found = re.findall(r"```sh\n(.*?)```", text, re.DOTALL)
    return [f"set -eu\n{one}".replace("http://127.0.0.1:3000", parley.url).replace("~/", f"{folder}/") for one in found]


def test_a_session_as_pasted(parley: Parley, tmp_path: Path) -> None:
    script = "\n".join(blocks("A first session", parley, tmp_path) + blocks("The health", parley, tmp_path))
    done = subprocess.run(["sh", "-c", script], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.count('"active":true') == 3
    assert done.stdout.endswith('"environment":"development","commit":null}')
    expected = {("POST", 201), ("GET", 200), ("PATCH", 200), ("DELETE", 204)}
    wait_until(lambda: {(line["method"], line["status"]) for line in map(json.loads, parley.lines)} >= expected)


def test_a_round_trip_as_pasted(parley: Parley, tmp_path: Path) -> None:
    """Three terminals: the host listens, a guest asks, the host answers."""
    listen, ask, answer = blocks("A round trip", parley, tmp_path)
    with subprocess.Popen(["sh", "-c", f"exec 2>&1\n{listen}"], stdout=subprocess.PIPE, text=True) as host:
        assert host.stdout
        try:
            session, _, opened, *_ = [host.stdout.readline() for _ in range(5)]
            assert session.startswith('{"code":"')
            assert opened == "event: open\n"
            with subprocess.Popen(["sh", "-c", ask], stdout=subprocess.PIPE, text=True) as guest:
                request = [host.stdout.readline() for _ in range(4)]
                assert request[1] == "event: request\n"
                assert '"payload":{"question":"6 x 7?"}' in request[2]
                answered = subprocess.run(["sh", "-c", answer], capture_output=True, text=True, check=True)
                assert answered.stdout == '{"id":"q1","status":"answered"}'
                assert guest.communicate(timeout=20)[0].startswith('{"id":"q1","status":"answered","result":42,')
        finally:
            host.kill()
            subprocess.run(["pkill", "-f", f"{parley.url}/api/sessions/.*/stream"], check=False)


def test_every_variable_is_listed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each variable that the code reads has a row, and its default is the one that holds."""
    for name in list(os.environ):
        if name.startswith(("SESSION_", "RATE_", "MAX_", "CORS_", "KV_", "UPSTASH_", "VERCEL")):
            monkeypatch.delenv(name)
    table = README.partition("## Configure")[2].partition("\n## ")[0]
    listed = set(re.findall(r"`([A-Z_]+)`", table))
    read = set(re.findall(r'"((?:[A-Z]+_)+[A-Z]+)"', (PROJECT / "lib" / "settings.py").read_text("utf-8")))
    assert listed == {name for name in read if not name.startswith("VERCEL")}
    defaults = dict(re.findall(r"^\| `([A-Z_]+)` \|[^|]*\| (\d+) \|$", table, re.MULTILINE))
    numbers = [one for one in vars(settings).values() if isinstance(one, settings.Number)]
    assert defaults == {one.variable: str(one.default) for one in numbers if one.default}


def test_operations_know_every_field_and_problem(parley: Parley) -> None:
    """Each field that is logged has a row, and so has each problem, and there are no others."""
    text = (PROJECT / "docs" / "operations.md").read_text("utf-8")
    log, problems = (text.partition(f"## {title}\n")[2].partition("\n## ")[0] for title in ("The log", "The problems"))
    refused = parley.http.get("/api/sessions/nothing")
    parley.store.faults.fail("html")
    logged = {*parley.log(refused), *parley.log(parley.http.get("/api/health"))}
    named = set(re.findall(r"^\| `(\w+)` \|", log, re.MULTILINE))
    assert named == logged | {"clientGone", "defect", "event"}
    rows = re.findall(r"^\| (`[^|]+) \|", problems, re.MULTILINE)
    assert sorted(re.findall(r"\w+", " ".join(rows))) == sorted(kind.code for kind in leaves(Problem))


def test_every_command_is_documented() -> None:
    targets = re.search(r"^\.PHONY: (.+)$", (PROJECT / "Makefile").read_text("utf-8"), re.MULTILINE)
    assert targets
    for target in targets[1].split():
        assert f"make {target}" in README, target
    usage = subprocess.check_output([sys.executable, "-m", "dev", "--help"], cwd=PROJECT, text=True)
    parts = re.search(r"\{([\w,]+)\}", usage)
    assert parts
    for part in parts[1].split(","):
        assert f"make {part}" in README or f"python -m dev {part}" in README, part


def test_every_part_is_listed() -> None:
    layout = README.partition("## Layout")[2]
    for folder in ("api", "lib", "public", "dev", "docs", "tests"):
        assert f"`{folder}/`" in layout
    for name in re.findall(r"`(\w+\.py)`", layout):
        assert list(PROJECT.glob(f"*/{name}")), name
