"""What a read costs an instance, beside the least that a function can do.

Parley's `sessions` function reads a session; a bare handler and a FastAPI function read one value. All are built by
`vercel build`, run under Vercel's own runtime on one store, and are called in turn, by one caller and by sixteen, who
are processes of their own. Figures are medians of the rounds; only their ratios say something.
"""

import json
import shutil
import statistics
import tempfile
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack, contextmanager
from multiprocessing import get_context
from pathlib import Path
from typing import NamedTuple

import httpx
import psutil

from dev import PROJECT
from dev.bench.report import progress, table
from dev.local import bundle, environment, function
from dev.local.deployment import LocalStore
from dev.local.function import Function
from tests.instance.callers import call_at_once

_COMPARED = Path(__file__).with_name("compared")
_REQUIREMENTS = {"bare": ["upstash-redis"], "fast": ["upstash-redis", "fastapi"]}
_CALLERS = (1, 16)

type Figures = dict[str, dict[str, dict[str, float]]]


class Cost(NamedTuple):
    """What a call costs: milliseconds of the processor; and how many calls a second the instance serves."""

    milliseconds: float
    rate: float


class Target(NamedTuple):
    """A function that runs, and the path that is called."""

    function: Function
    path: str


def measure(store: LocalStore, build: Path, rounds: int, calls: int) -> Figures:
    """Measure each function `rounds` times, with so many calls each, and print a table for each number of callers.

    `build` is the output of `vercel build` for Parley. Returns the rows of the tables, by that number.
    """
    progress("the processor's time of a read, beside a bare handler and a FastAPI function")
    with _targets(store, build) as targets, ProcessPoolExecutor(1, get_context("spawn")) as callers:
        for target in targets.values():
            _cost(target, 16, 160, callers)
        costs: dict[tuple[str, int], list[Cost]] = {}
        for _ in range(rounds):
            for name, target in targets.items():
                for number in _CALLERS:
                    costs.setdefault((name, number), []).append(_cost(target, number, calls, callers))
    found = {}
    for number in _CALLERS:
        rows = found[str(number)] = _rows({name: _median(costs[name, number]) for name in targets})
        table(f"{number} callers" if number > 1 else "1 caller", rows)
    return found


def _rows(costs: dict[str, Cost]) -> dict[str, dict[str, float]]:
    """Return the rows of a table."""
    bare = costs["bare"]
    return {
        name: {
            "ms a call": cost.milliseconds,
            "x bare": cost.milliseconds / bare.milliseconds,
            "calls a second": round(cost.rate),
            "x bare's": cost.rate / bare.rate,
        }
        for name, cost in costs.items()
    }


@contextmanager
def _targets(store: LocalStore, build: Path) -> Iterator[dict[str, Target]]:
    """Build and run what is compared, beside Parley as it is built."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        headers = {"Authorization": f"Bearer {store.token}"}
        value = json.dumps({"n": "x" * 150})
        httpx.post(store.url, json=["SET", "compared", value], headers=headers).raise_for_status()

        def run(name: str, output: Path | None) -> Function:
            started = function.start(name, output, PROJECT, _variables(store), lambda _: None)
            stack.callback(started.stop)
            return started

        sessions = run("sessions", build)
        created = httpx.post(f"http://127.0.0.1:{sessions.port}/api/sessions", headers={"x-real-ip": "192.0.2.1"})
        code = created.raise_for_status().json()["code"]
        compared = {
            name: Target(run(name, stack.enter_context(bundle.built(_project(folder, name)))), f"/api/{name}")
            for name in _REQUIREMENTS
        }
        yield {**compared, "parley": Target(sessions, f"/api/sessions/{code}?code={code}")}


def _variables(store: LocalStore) -> dict[str, str]:
    given = {**environment.of_functions(Path("/nonexistent"), store.variables()), **environment.UNLIMITED}
    return {**given, "VERCEL_ENV": "production", "SESSION_TTL_SECONDS": "7200"}


def _project(folder: Path, name: str) -> Path:
    """Make a project with one function, which is built as Parley is."""
    project = folder / name
    (project / "api").mkdir(parents=True)
    (project / "public").mkdir()
    shutil.copyfile(_COMPARED / f"{name}.py", project / "api" / f"{name}.py")
    shutil.copyfile(PROJECT / ".python-version", project / ".python-version")
    ours = json.loads((PROJECT / "vercel.json").read_text("utf-8"))
    kept = {
        key: ours[key] for key in ("framework", "fluid", "buildCommand", "installCommand", "outputDirectory", "build")
    }
    (project / "vercel.json").write_text(json.dumps(kept), "utf-8")
    (project / "requirements.txt").write_text("\n".join(_REQUIREMENTS[name]) + "\n", "utf-8")
    return project


def _cost(target: Target, callers: int, calls: int, pool: ProcessPoolExecutor) -> Cost:
    process = psutil.Process(target.function.pid)
    before = process.cpu_times()
    seconds = pool.submit(call_at_once, target.function.port, target.path, callers, calls // callers).result()
    after = process.cpu_times()
    used = after.user + after.system - before.user - before.system
    made = calls // callers * callers
    return Cost(used / made * 1000, made / seconds)


def _median(costs: list[Cost]) -> Cost:
    return Cost(*(statistics.median(figures) for figures in zip(*costs, strict=True)))
