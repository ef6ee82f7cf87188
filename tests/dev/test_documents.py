"""README.md and docs/: what they say to paste works, and what they say is printed, or is there, is."""

import json
import os
import re
import shlex
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from lib import settings
from lib.problems import Problem
from tests.support import documents
from tests.support.commands import finished, running
from tests.support.deployments import Parley
from tests.support.documents import blocks
from tests.support.stores import redis_server
from tests.support.tools import PATIENCE_SECONDS, PROJECT, need, wait_until
from tests.support.values import leaves

pytestmark = pytest.mark.usefixtures("usual_signals")

# What cannot be pasted here, as it needs an account.
IN_THE_CLOUD = {
    "npm install --global vercel\nvercel link\n",
    "make check URL=https://your-project.vercel.app\n",
}
TARGETS = re.findall(r"^\.PHONY: (.+)$", (PROJECT / "Makefile").read_text("utf-8"), re.MULTILINE)[0].split()


def pasted(*texts: str) -> subprocess.CompletedProcess[str]:
    """Run what is to be pasted into one terminal, to its end."""
    need("curl", "apt-get install curl")
    return subprocess.run(["sh", "-euc", "\n".join(texts)], capture_output=True, text=True, check=False)


def recipe(arguments: list[str]) -> list[str]:
    """Return what make would run with these arguments, which it has to know."""
    make = [need("make", "install make"), "--no-print-directory", "-n"]
    return subprocess.check_output([*make, *arguments], cwd=PROJECT, text=True).splitlines()


def of_dev(command: str) -> list[str]:
    """Return the arguments of `python -m dev` in a command, or in what make runs for it."""
    words = shlex.split(command)
    if words[0] == "make":
        words = shlex.split(recipe(words[1:])[-1])
    assert words[:3] == [".venv/bin/python", "-m", "dev"]
    return words[3:]


@contextmanager
def terminal(text: str, folder: Path) -> Iterator["subprocess.Popen[str]"]:
    """Run what is to be pasted into a terminal of its own, while the `with` block runs."""
    need("curl", "apt-get install curl")
    process = subprocess.Popen(
        ["sh", "-c", f"exec 2>&1\n{text}"], stdout=subprocess.PIPE, text=True, cwd=folder, start_new_session=True
    )
    try:
        yield process
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGINT)
        process.communicate(timeout=PATIENCE_SECONDS)


def lines(process: "subprocess.Popen[str]", number: int) -> list[str]:
    assert process.stdout
    return [process.stdout.readline() for _ in range(number)]


def test_try_it() -> None:
    """The first step; the others are taken in tests/browser/test_readme.py."""
    run, _, _ = blocks("README.md", "Try it", "sh")
    printed, _ = blocks("README.md", "Try it", "text")
    with running(*of_dev(f"{run.strip()} PORT=0"), until="Store") as (_, shown):
        anywhere = re.sub(r"127\.0\.0\.1:\d+", "127.0.0.1:3000", shown)
        assert [line for line in anywhere.splitlines(keepends=True) if line[0] != "{"] == printed.splitlines(True)


def test_a_laptops_functions(parley: Parley, tmp_path: Path) -> None:
    """As pasted, in two terminals, with this Python as python3."""
    (tmp_path / "python3").symlink_to(sys.executable)
    path = f"PATH={tmp_path}:$PATH\n"
    (functions,) = blocks("README.md", "Give an agent your laptop's functions", "python")
    offer, call = blocks("README.md", "Give an agent your laptop's functions", "sh", parley.url)
    offered, called = blocks("README.md", "Give an agent your laptop's functions", "text", parley.url)
    (tmp_path / "tools.py").write_text(functions, "utf-8")
    with terminal(path + offer, tmp_path) as host:
        shown = lines(host, 3)
        code = shown[0].strip()
        told = offered.replace("ABC1-2345", code).replace("ABC12345", code.replace("-", ""))
        assert "".join(shown) == told
        done = pasted(f"cd {tmp_path}", path + call.replace("ABC1-2345", code))
        assert (done.returncode, done.stdout, done.stderr) == (0, called, "")
    assert not parley.http.get(f"/api/sessions/{code}").json()["active"], "Ctrl+C has ended it"


def test_a_session(parley: Parley) -> None:
    done = pasted(*blocks("docs/api.md", "A first session", "sh", parley.url))
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.count('"active":true') == 3
    expected = {("POST", 201), ("GET", 200), ("PATCH", 200), ("DELETE", 204)}
    wait_until(lambda: {(line["method"], line["status"]) for line in map(json.loads, parley.lines)} >= expected)


def test_a_round_trip(parley: Parley, tmp_path: Path) -> None:
    """Three terminals: the host listens, a guest asks, the host answers."""
    listen, ask, answer = (
        block.replace("~/", f"{tmp_path}/") for block in blocks("docs/api.md", "A round trip", "sh", parley.url)
    )
    with terminal(listen, tmp_path) as host:
        session, _, opened, *_ = lines(host, 5)
        assert session.startswith('{"code":"')
        assert opened == "event: open\n"
        with terminal(ask, tmp_path) as guest:
            request = lines(host, 4)
            assert request[1] == "event: request\n"
            assert '"payload":{"question":"6 x 7?"}' in request[2]
            assert pasted(answer).stdout == '{"id":"q1","status":"answered"}'
            (response,) = lines(guest, 1)
            assert response.startswith('{"id":"q1","status":"answered","result":42,')


def test_operations(parley: Parley) -> None:
    (health,) = blocks("docs/operations.md", "The health", "sh", parley.url)
    assert pasted(health).stdout.endswith('"environment":"development","commit":null}')
    (deployed,) = blocks("README.md", "Deploy", "sh", parley.url)
    by_hand, for_programs = blocks("docs/operations.md", "Check a deployment", "sh", parley.url)
    assert deployed == by_hand
    (sentence,) = blocks("README.md", "Deploy", "text")
    assert [sentence] == blocks("docs/operations.md", "Check a deployment", "text")
    # On a busy machine the store may take its time.
    done = finished(*of_dev(by_hand), "--latency", "5000")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.endswith(f"\n{sentence}")
    assert "--latency 30" in for_programs
    done = finished(*of_dev(for_programs.replace("--latency 30", "--latency 5000")))
    assert (done.returncode, json.loads(done.stdout)["ok"]) == (0, True)


def test_stores() -> None:
    on_redis, alone = blocks("docs/development.md", "The store", "sh")
    variable, command = on_redis.strip().split(" ", 1)
    assert variable.startswith("REDIS_URL=")
    with redis_server() as url, running(*of_dev(f"{command} PORT=0"), until="Store", REDIS_URL=url) as (_, shown):
        assert f"Redis at {url.removeprefix('redis://')}\n" in shown
    with running(*of_dev(alone.replace("8079", "0")), until="UPSTASH_REDIS_REST_TOKEN") as (_, shown):
        assert "UPSTASH_REDIS_REST_TOKEN=secret\n" in shown


def test_make() -> None:
    """Every target is told, and what is told of make is there."""
    (told,) = blocks("README.md", "Versions and tests", "sh")
    everything = told + documents.chapters("docs/development.md")["Commands"]
    assert set(re.findall(r"make (\w+)", everything)) == set(TARGETS)
    for command in re.findall(r"^make \w+", told, re.MULTILINE):
        subprocess.run(
            [need("make", "install make"), "-n", *command.split()[1:]],
            cwd=PROJECT,
            check=True,
            stdout=subprocess.DEVNULL,
        )


def test_every_block_is_tried() -> None:
    """Some test asks for the blocks of each chapter, in each language; it has to name every one of them."""
    sources = "\n".join(file.read_text("utf-8") for file in (PROJECT / "tests").rglob("test_*.py"))
    tried = set(re.findall(r'blocks\("([\w./]+)", "([^"]+)", "(\w+)"', sources))
    there = {
        (document, title, language)
        for document in documents.DOCUMENTS
        for title, text in documents.chapters(document).items()
        for language in re.findall(r"^ *```(\w+)$", text, re.MULTILINE)
        if not IN_THE_CLOUD.issuperset(blocks(document, title, language))
    }
    assert there == tried


def test_every_link_leads_somewhere() -> None:
    """To a file, and to a chapter of it."""
    for document in documents.DOCUMENTS:
        for target in re.findall(r"\]\(([^)]+)\)", documents.read(document)):
            path, _, anchor = target.partition("#")
            file = (PROJECT / document).parent / path if path else PROJECT / document
            assert file.exists(), (document, target)
            if anchor and file.suffix == ".md":
                titles = re.findall(r"^#+ (.+)$", file.read_text("utf-8"), re.MULTILINE)
                assert anchor in {re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles}, target


def test_every_variable_is_listed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each variable that the code reads has a row, and its default is the one that holds."""
    for name in list(os.environ):
        if name.startswith(("SESSION_", "RATE_", "MAX_", "CORS_", "KV_", "UPSTASH_", "VERCEL")):
            monkeypatch.delenv(name)
    table = documents.chapters("docs/operations.md")["Configure"]
    listed = set(re.findall(r"`([A-Z_]+)`", table))
    read = set(re.findall(r'"((?:[A-Z]+_)+[A-Z]+)"', (PROJECT / "lib" / "settings.py").read_text("utf-8")))
    assert listed == {name for name in read if not name.startswith("VERCEL")}
    defaults = dict(re.findall(r"^\| `([A-Z_]+)` \|[^|]*\| (\d+) \|$", table, re.MULTILINE))
    numbers = [one for one in vars(settings).values() if isinstance(one, settings.Number)]
    assert defaults == {one.variable: str(one.default) for one in numbers if one.default}


def test_operations_know_every_field_and_problem(parley: Parley) -> None:
    """Each field that is logged has a row, and so has each problem, and there are no others."""
    chapters = documents.chapters("docs/operations.md")
    log, problems = chapters["The log"], chapters["The problems"]
    refused = parley.http.get("/api/sessions/nothing")
    parley.store.faults.fail("html")
    logged = {*parley.log(refused), *parley.log(parley.http.post("/api/sessions"))}
    named = set(re.findall(r"^\| `(\w+)` \|", log, re.MULTILINE))
    assert named == logged | {"clientGone", "defect", "event"}
    rows = re.findall(r"^\| (`[^|]+) \|", problems, re.MULTILINE)
    assert sorted(re.findall(r"\w+", " ".join(rows))) == sorted(kind.code for kind in leaves(Problem))


def test_every_part_is_described() -> None:
    """docs/architecture.md knows each file of the service and each script, and no others."""
    chapters = documents.chapters("docs/architecture.md")
    parts = chapters["What it is made of"]
    files = {file for file in (PROJECT / "lib").rglob("*.py") if file.name != "__init__.py"}
    assert set(re.findall(r"`(lib/[\w/]+\.py)`", parts)) == {f"{file.relative_to(PROJECT)}" for file in files}
    for folder in ("api", "public", "dev", "tests"):
        assert f"`{folder}/" in parts
    text = documents.read("docs/architecture.md")
    for script in (PROJECT / "lib").rglob("*.lua"):
        assert re.search(rf"`{script.stem}(\.lua)?`", text), script.name


def test_every_tool_of_development_is_documented() -> None:
    usage = subprocess.check_output([sys.executable, "-m", "dev", "--help"], cwd=PROJECT, text=True)
    parts = re.search(r"\{([\w,]+)\}", usage)
    assert parts
    text = documents.read("docs/development.md")
    for part in parts[1].split(","):
        assert part in TARGETS or f"python -m dev {part}" in text, part
