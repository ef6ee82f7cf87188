"""The benchmark: what calls cost on the local platform or on a deployment, in time, store calls, memory and sockets.

Times are this machine's, so compare them within a run: most come with their ratio to a floor.
"""

import json
import os
import re
import resource
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, cast

import httpx
import psutil

from dev.bench import coldstart, crowd, latency, plot
from dev.bench.latency import Milliseconds
from dev.local import environment
from dev.local.project import Project

_DESCRIPTORS = 16_384


@dataclass(frozen=True)
class Options:
    """How much to measure: how often, and for how many seconds `idle`, 0 for not at all. None is no file."""

    times: int
    starts: int
    streams: int
    idle: float
    json: Path | None
    plot: Path | None


@dataclass(frozen=True)
class Local:
    """The local platform: where it and its store are, what its functions print, and its process."""

    url: str
    store_url: str
    token: str
    lines: list[str]
    process: psutil.Process


def run(project: Path, url: str | None, options: Options) -> None:
    """Measure a deployment, or the local platform where there is no `url`, and print tables as they are ready."""
    if not url and environment.store(project).upstash:
        raise ValueError("The benchmark needs a local store: unset the variables of your Upstash database.")
    found: dict[str, Any] = {"at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())}
    series: Milliseconds = {}
    if url:
        found["target"] = url
        _measure_calls(url, options.times, found, series, {})
    else:
        if options.starts:
            _measure_starts(project, options.starts, found)
        with _platform(project) as local:
            found["target"] = f"the local platform, store: {environment.store(project)}"
            with ExitStack() as running:
                floor = {"floor": latency.floor(running, local.store_url, local.token)}
                _measure_calls(local.url, options.times, found, series, floor)
            if options.idle:
                _measure_idle(local, options.idle, found)
            if options.streams:
                _measure_crowd(local, options.streams, 3 * options.times, found, series)
    if options.json:
        options.json.write_text(json.dumps({**found, "milliseconds": series}, indent=1) + "\n", "utf-8")
    if options.plot:
        plot.distributions(series, options.plot)


def _measure_calls(
    url: str, times: int, found: dict[str, Any], series: Milliseconds, kinds: dict[str, Callable[[], float]]
) -> None:
    _say(f"calls, {times} of each")
    took, store_calls = latency.calls(url, times)
    series.update(took)
    found["store calls"] = store_calls
    _say(f"push and round trip, {times} of each, in turns")
    with ExitStack() as running:
        kinds = {**kinds, **latency.pair(running, url)}
        turns = times // 10
        for turn in range(times + turns):
            for name, measure in kinds.items():
                seconds = measure()
                if turn >= turns:
                    series.setdefault(name, []).append(seconds * 1000)
    floor = statistics.median(series["floor"]) if "floor" in series else None
    found["latency"] = {name: _quantiles(values, floor) for name, values in series.items()}
    rows = [[name, *_rounded(shares), str(store_calls.get(name, ""))] for name, shares in found["latency"].items()]
    header = ["milliseconds", "p50", "p95", "p99", *(["x floor"] if floor else []), "store calls"]
    _table([header, *rows])


def _measure_starts(project: Path, times: int, found: dict[str, Any]) -> None:
    names = Project(project).functions
    _say(f"cold starts, {times} of each function")
    imports = found["imports"] = coldstart.imports(project, names, times)
    base = imports["upstash_redis"]
    rows = [[name, f"{ms:.0f}", f"{ms / base:.2f}"] for name, ms in imports.items()]
    _table([["import", "ms", "x upstash_redis"], *rows])
    starts = found["starts"] = coldstart.phases(project, names, times)
    _table(_phase_rows("start, from source", starts))
    built = coldstart.bytecode(project, "stream", times)
    if built is None:
        print("The built function is measured where the Vercel CLI is: npm install --global vercel\n")
        return
    found["bytecode"] = built
    _table(_phase_rows("start of stream, built", built))
    for phase in ("import-fn", "whole"):
        ratio = built["with bytecode"][phase] / built["without"][phase]
        print(f"With bytecode, {phase} takes {ratio:.2f} of the time.")
    print()


def _measure_idle(local: Local, seconds: float, found: dict[str, Any]) -> None:
    _say(f"an idle stream, for {seconds:g} s")
    session = httpx.post(f"{local.url}/api/sessions").raise_for_status().json()
    path = f"/api/sessions/{session['code']}/stream"
    headers = {"Authorization": f"Bearer {session['token']}"}
    with httpx.stream("GET", f"{local.url}{path}", headers=headers, timeout=30) as answer:
        request_id = answer.headers["x-vercel-id"]
        time.sleep(seconds)
    while not (lines := [line for line in local.lines if request_id in line]):
        time.sleep(0.05)
    calls = json.loads(lines[0])["storeCalls"]
    found["idle"] = {"seconds": seconds, "store calls": calls}
    print(f"An idle stream of {seconds:g} s took {calls} calls to the store.\n")


def _measure_crowd(local: Local, streams: int, count: int, found: dict[str, Any], series: Milliseconds) -> None:
    _say(f"{streams} streams in one process, {count} pushes to one, then as many to all")
    process = next(
        child
        for child in local.process.children(recursive=True)
        if child.environ().get("__VC_HANDLER_ENTRYPOINT") == "api/stream.py"
    )
    seen = crowd.measure(local.url, process, streams, count)
    series["push, 1 stream"], series[f"push, {streams} streams"] = seen.alone, seen.crowded
    pushes = {name: _quantiles(series[name]) for name in ("push, 1 stream", f"push, {streams} streams")}
    _table([["milliseconds", "p50", "p95", "p99"], *([name, *_rounded(row)] for name, row in pushes.items())])
    one, crowded = pushes.values()
    ratio, each = crowded["p95"] / one["p95"], seen.each._asdict()
    found["crowd"] = {"pushes": pushes, "p95 ratio": ratio, "each": each, "lost": seen.lost, "ended": seen.ended}
    print(f"p95 with all streams is {ratio:.2f} of that with one; lost {seen.lost}, ended {seen.ended}.")
    print(f"Each stream holds {each['kib']:.0f} KiB, {each['threads']:g} threads, {each['sockets']:g} sockets.\n")


def _quantiles(values: list[float], floor: float | None = None) -> dict[str, float]:
    """Return p50, p95 and p99, and the median as a multiple of the floor where there is one."""
    cuts = statistics.quantiles(values, n=100)
    half = statistics.median(values)
    return {"p50": half, "p95": cuts[94], "p99": cuts[98], **({"x floor": half / floor} if floor else {})}


def _rounded(figures: dict[str, float]) -> list[str]:
    return [f"{figure:.2f}" for figure in figures.values()]


def _phase_rows(title: str, starts: dict[str, coldstart.Phases]) -> list[list[str]]:
    phases = list(next(iter(starts.values())))
    return [[title, *phases], *([name, *(f"{start[phase]:.0f}" for phase in phases)] for name, start in starts.items())]


def _table(rows: list[list[str]]) -> None:
    widths = [max(len(cell) for cell in column) for column in zip(*rows, strict=True)]
    for first, *rest in rows:
        cells = [cell.rjust(width) for cell, width in zip(rest, widths[1:], strict=True)]
        print("  ".join([first.ljust(widths[0]), *cells]))
    print(flush=True)


def _say(what: str) -> None:
    print(f"… {what}", file=sys.stderr, flush=True)


@contextmanager
def _platform(project: Path) -> Iterator[Local]:
    """Run the local platform as `make dev` does, without its limits on how often a caller may call."""
    _raise_descriptors()
    command = [sys.executable, "-m", "dev", "--port", "0"]
    variables = {**os.environ, **environment.UNLIMITED}
    with subprocess.Popen(command, cwd=project, env=variables, stdout=subprocess.PIPE, text=True) as process:
        out = cast(IO[str], process.stdout)
        printed = ""
        while "\nTry" not in printed and (line := out.readline()):
            printed += line
        found = re.search(r"^Parley +(\S+).*REST at (\S+) with the token (\S+)", printed, re.M | re.S)
        if not found:
            process.terminate()
            raise ValueError("The local platform does not start: make dev says why.")
        lines: list[str] = []
        reading = threading.Thread(target=_collect, args=[out, lines])
        reading.start()
        try:
            yield Local(found[1], found[2], found[3], lines, psutil.Process(process.pid))
        finally:
            process.terminate()
            reading.join()


def _collect(out: IO[str], lines: list[str]) -> None:
    for line in out:
        lines.append(line)  # noqa: PERF402 - others look while they come


def _raise_descriptors() -> None:
    """A thousand streams need some thousand descriptors in each of the local processes."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _DESCRIPTORS if hard == resource.RLIM_INFINITY else min(_DESCRIPTORS, hard)
    if soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
