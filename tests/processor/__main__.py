"""What a read costs an instance, beside the least that a function can do: `make processor`.

Parley's `sessions` function reads a session; a bare handler and a FastAPI function read one value. All are built by
`vercel build`, run under Vercel's own runtime on one store, and are called in turn, by one caller and by sixteen, who
are processes of their own. Figures are medians of the rounds; only their ratios say something.
"""

import argparse
import json
import shutil
import statistics
import sys
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
from dev.bench import isolated
from dev.local import bundle, environment, function
from dev.local.deployment import LocalStore
from dev.local.function import Function
from tests.processor.callers import call_at_once

_COMPARED = Path(__file__).with_name("compared")
_REQUIREMENTS = {"bare": ["upstash-redis"], "fast": ["upstash-redis", "fastapi"]}
_CALLERS = (1, 16)


class Cost(NamedTuple):
    """What a call costs: milliseconds of the processor; and how many calls a second the instance serves."""

    milliseconds: float
    rate: float


class Target(NamedTuple):
    """A function that runs, and the path that is called."""

    function: Function
    path: str


def main() -> int:
    """Measure as the command line says, and print a table. Returns the exit code."""
    parser = argparse.ArgumentParser("python -m tests.processor", description="Measure what a read costs.")
    parser.add_argument("--rounds", type=int, default=3, help="how often each is measured (default: 3)")
    parser.add_argument("--calls", type=int, default=1600, help="calls in a round (default: 1600)")
    given = parser.parse_args()
    vercel = shutil.which("vercel")
    if not vercel:
        print("This needs the Vercel CLI: npm install --global vercel", file=sys.stderr)
        return 1
    with _targets(vercel) as targets, ProcessPoolExecutor(1, get_context("spawn")) as callers:
        for target in targets.values():
            _measure(target, 16, 160, callers)
        found: dict[tuple[str, int], list[Cost]] = {}
        for _ in range(given.rounds):
            for name, target in targets.items():
                for number in _CALLERS:
                    found.setdefault((name, number), []).append(_measure(target, number, given.calls, callers))
    for number in _CALLERS:
        print(f"{number} callers" if number > 1 else "1 caller")
        bare = _median(found["bare", number])
        for name in targets:
            cost = _median(found[name, number])
            of_bare = f"{cost.milliseconds / bare.milliseconds:.2f} and {cost.rate / bare.rate:.2f} of bare's"
            print(f"  {name:10} {cost.milliseconds:.2f} ms a call, {cost.rate:.0f} calls a second: {of_bare}")
    return 0


@contextmanager
def _targets(vercel: str) -> Iterator[dict[str, Target]]:
    """Build and run what is compared."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        _, store, _ = stack.enter_context(isolated.platform())
        headers = {"Authorization": f"Bearer {store.token}"}
        httpx.post(
            store.url, json=["SET", "compared", json.dumps({"n": "x" * 150})], headers=headers
        ).raise_for_status()

        def run(name: str, output: Path) -> Function:
            started = function.start(name, output, PROJECT, _variables(store), lambda _: None)
            stack.callback(started.stop)
            return started

        sessions = run("sessions", bundle.build(PROJECT, _empty(folder, "parley"), vercel))
        created = httpx.post(f"http://127.0.0.1:{sessions.port}/api/sessions", headers={"x-real-ip": "192.0.2.1"})
        code = created.raise_for_status().json()["code"]
        compared = {
            name: Target(run(name, bundle.build(_project(folder, name), _empty(folder, name), vercel)), f"/api/{name}")
            for name in _REQUIREMENTS
        }
        yield {**compared, "parley": Target(sessions, f"/api/sessions/{code}?code={code}")}


def _variables(store: LocalStore) -> dict[str, str]:
    given = {**environment.of_functions(Path("/nonexistent"), store.variables()), **environment.UNLIMITED}
    return {**given, "VERCEL_ENV": "production", "SESSION_TTL_SECONDS": "7200"}


def _empty(folder: Path, name: str) -> Path:
    made = folder / f"{name}-built"
    made.mkdir()
    return made


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


def _measure(target: Target, callers: int, calls: int, pool: ProcessPoolExecutor) -> Cost:
    process = psutil.Process(target.function.pid)
    before = process.cpu_times()
    seconds = pool.submit(call_at_once, target.function.port, target.path, callers, calls // callers).result()
    after = process.cpu_times()
    used = after.user + after.system - before.user - before.system
    made = calls // callers * callers
    return Cost(used / made * 1000, made / seconds)


def _median(costs: list[Cost]) -> Cost:
    return Cost(*(statistics.median(figures) for figures in zip(*costs, strict=True)))


if __name__ == "__main__":
    sys.exit(main())
