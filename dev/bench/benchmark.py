"""The benchmark: the time, store calls, memory and sockets that calls take on the local platform or on a deployment.

Times depend on the machine, so compare them within a run: most are also given as a ratio to a floor.
"""

import argparse
import asyncio
import json
import os
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import psutil

from dev import PROJECT
from dev.bench import coldstart, instance, isolated, latency
from dev.bench.instance import Answer, Functions, Session
from dev.bench.report import Milliseconds, plot, progress, quantiles, table
from dev.local import bundle, environment
from dev.local.deployment import LocalStore
from dev.local.project import Project

_ROUND_TRIPS, _WARM_UP = 40, 2
_BURSTS = (20, 60, 200)
_PLAIN_DESCRIPTORS = 200  # for plain calls beside streams, and connections to the store


def run(options: argparse.Namespace) -> None:
    """Measure the deployment at `options.url`, or the local platform, and print each table when it is ready.

    Raises ValueError if the local platform would use a database of Upstash's, or does not start.
    """
    store, benchmark = environment.store(PROJECT), Benchmark()
    times = options.times or (20 if options.url else 200)
    benchmark.found["target"] = options.url or f"the local platform, store: {store}"
    if options.url:
        benchmark.measure_calls(options.url, times)
    elif store.upstash:
        raise ValueError("The benchmark needs a local store: unset the variables of your Upstash database.")
    else:
        benchmark.measure_locally(options, times)
    if options.json:
        everything = {**benchmark.found, "milliseconds": benchmark.series}
        options.json.write_text(json.dumps(everything, indent=1) + "\n", "utf-8")
    if options.plot:
        plot(benchmark.series, options.plot)


class Benchmark:
    """Measures, prints tables, and collects the figures in `found`, and the milliseconds of each call in `series`."""

    def __init__(self) -> None:
        self.found: dict[str, Any] = {"at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())}
        self.series: Milliseconds = {}

    def measure_locally(self, options: argparse.Namespace, times: int) -> None:
        """Measure what the options leave in, on the local platform."""
        with _built(options.starts or options.bursts) as build:
            if options.starts:
                self.measure_starts(build, options.starts)
            with isolated.platform() as (url, store, _):
                self.measure_calls(url, times, store)
                for number in sorted({1, options.streams} - {0}) if options.idle else ():
                    self.measure_idle(store, number, options.idle)
                if options.streams:
                    self.measure_crowd(store, options.streams, 3 * times)
                if options.bursts:
                    self.measure_bursts(store, build)
        if options.tls:
            with isolated.platform(tls=True) as (url, store, authority):
                os.environ["SSL_CERT_FILE"] = authority
                self.measure_tls(url, times, store)
                del os.environ["SSL_CERT_FILE"]

    def measure_calls(self, url: str, times: int, store: LocalStore | None = None) -> None:
        """Measure each call, a push, a round trip and a tool call, and the floor of a local store."""
        progress(f"calls, {times} of each")
        took, store_calls = latency.calls(url, times)
        self.series |= took
        progress(f"push, round trip and tool call, {times} of each, in turns")
        with ExitStack() as running:
            # A session each: it takes only so many requests a minute.
            pair, agents = latency.Pair(running, url), latency.Pair(running, url)
            kinds = {"floor": latency.floor(running, store)} if store else {}
            own = {"push": pair.push, "round trip": pair.round_trip, "tools/call": agents.tool_call}
            self.series |= _in_turns(kinds | own, times)
            warm = latency.Pair(running, url)  # only now: a connection that stays idle is closed
            for _ in range(_WARM_UP + _ROUND_TRIPS):
                warm.round_trip()
        counted = pair.store_calls | agents.store_calls
        store_calls |= {name: round(statistics.median(counted[name])) for name in own}
        self.found["store calls"] = store_calls
        found = self.found["latency"] = quantiles(self.series)
        table("milliseconds", {name: {**row, "store calls": store_calls.get(name, "")} for name, row in found.items()})
        ratio = self.found["tools/call, x round trip"] = found["tools/call"]["p50"] / found["round trip"]["p50"]
        each = self.found["round trip, store calls"] = statistics.mean(warm.store_calls["round trip"][_WARM_UP:])
        print(f"A tool call takes {ratio:.2f} of a round trip.")
        print(f"{_ROUND_TRIPS} round trips: {each:g} store calls each.\n")

    def measure_tls(self, url: str, times: int, store: LocalStore) -> None:
        """Measure a push and a round trip with a store behind TLS, as it is in the cloud."""
        progress(f"push and round trip over TLS, {times} of each, in turns")
        with ExitStack() as running:
            pair = latency.Pair(running, url)
            kinds = {"floor": latency.floor(running, store), "push": pair.push, "round trip": pair.round_trip}
            series = _in_turns(kinds, times)
        self.series |= {f"{name}, TLS": each for name, each in series.items()}
        self.found["tls"] = quantiles(series)
        table("milliseconds, over TLS", self.found["tls"])

    def measure_bursts(self, store: LocalStore, build: Path | None) -> None:
        """Measure calls that come at the same time."""
        progress(f"bursts on one instance with {instance.DESCRIPTORS} descriptors")

        async def measure(functions: Functions) -> dict[int, list[Answer]]:
            path = await (await Session.create(functions)).ask("q")
            port = functions.responses.port
            await instance.burst(port, path, _BURSTS[0])
            return {size: await instance.burst(port, path, size) for size in _BURSTS}

        with instance.instances(store, build) as functions:
            bursts = asyncio.run(measure(functions))
        found = self.found["bursts"] = {}
        for size, answers in bursts.items():
            took = [answer.seconds * 1000 for answer in answers]
            median, slowest = round(statistics.median(took)), round(max(took))
            failed = sum(answer.status != 202 for answer in answers)
            ratio = slowest / median
            found[str(size)] = {"median": median, "slowest": slowest, "slowest / median": ratio, "failed": failed}
        table("calls at once, ms", found)

    def measure_starts(self, build: Path | None, times: int) -> None:
        """Measure the cold starts of each function."""
        names = Project(PROJECT).functions
        progress(f"cold starts, {times} of each function")
        imports = self.found["imports"] = coldstart.imports(names, times)
        client = imports["upstash_redis"]
        table("import", {name: {"ms": round(ms), "x upstash_redis": ms / client} for name, ms in imports.items()})
        starts = self.found["starts"] = coldstart.phases(names, times, build)
        rows = {name: {phase: round(ms) for phase, ms in start.items()} for name, start in starts.items()}
        table("start, built" if build else "start, from source", rows)
        if not build:
            print("The built functions are only measured with the Vercel CLI: npm install --global vercel\n")

    def measure_idle(self, store: LocalStore, number: int, seconds: float) -> None:
        """Count the calls to the store of streams on which nothing happens."""
        progress(f"{number} idle streams, for {seconds:g} s")

        async def measure(functions: Functions) -> None:
            sessions = await instance.crowd(functions, number)
            await asyncio.sleep(seconds)
            for session in sessions:
                session.close()

        with instance.instances(store, None, number + _PLAIN_DESCRIPTORS) as functions:
            asyncio.run(measure(functions))
            deadline = time.monotonic() + 30
            while len(ended := functions.ended_streams()) < number:
                if time.monotonic() > deadline:
                    raise ValueError(f"{number - len(ended)} idle streams did not end with their clients.")
                time.sleep(0.05)
        calls = sum(entry["storeCalls"] for entry in ended)
        self.found[f"idle, {number}"] = {"seconds": seconds, "store calls": calls}
        print(f"Idle streams: {number} opened, and stayed for {seconds:g} s; store calls: {calls}.\n")

    def measure_crowd(self, store: LocalStore, number: int, count: int) -> None:
        """Measure `count` pushes with one stream, and with many in one process, and what each stream there holds."""
        progress(f"{number} streams in one process, {count} pushes to one, then as many to all")
        with instance.instances(store, None, number + _PLAIN_DESCRIPTORS) as functions:
            series, each, ended = asyncio.run(_crowd(functions, number, count))
        self.series |= series
        pushes = quantiles(series)
        table("milliseconds", pushes)
        alone, crowded = pushes.values()
        ratio = crowded["p95"] / alone["p95"]
        lost = sum(count - len(values) for values in series.values())
        self.found["crowd"] = {"pushes": pushes, "p95 ratio": ratio, "each": each, "lost": lost, "ended": ended}
        print(f"p95 with all streams is {ratio:.2f} of that with one; lost {lost}, ended {ended}.")
        print(f"Each stream holds {each['kib']:.0f} KiB, {each['threads']:g} threads, {each['sockets']:g} sockets.\n")


@contextmanager
def _built(wanted: bool) -> Iterator[Path | None]:
    """Give the output of `vercel build`; None if it is not wanted, or without the Vercel CLI."""
    vercel = shutil.which("vercel")
    with tempfile.TemporaryDirectory() as folder:
        yield bundle.build(PROJECT, Path(folder), vercel) if wanted and vercel else None


def _in_turns(kinds: dict[str, Callable[[], float]], times: int) -> Milliseconds:
    """Measure each kind `times` times, one after the other in turns, after a warm-up."""
    series: Milliseconds = {name: [] for name in kinds}
    warm_up = times // 10
    for turn in range(times + warm_up):
        for name, measure in kinds.items():
            seconds = measure()
            if turn >= warm_up:
                series[name].append(seconds * 1000)
    return series


async def _crowd(functions: Functions, number: int, count: int) -> tuple[Milliseconds, dict[str, float], int]:
    """Push to one stream, then to many. Returns the milliseconds, what each stream holds, and how many have ended."""
    process = psutil.Process(functions.stream.pid)
    first = await instance.crowd(functions, 1)
    await instance.pushes(first, count // 10)
    alone = await instance.pushes(first, count)
    before = _held(process)
    sessions = [*first, *await instance.crowd(functions, number - 1)]
    each = {name: round((held - before[name]) / max(number - 1, 1), 2) for name, held in _held(process).items()}
    series = {"push, 1 stream": alone, f"push, {number} streams": await instance.pushes(sessions, count)}
    return series, each, len(functions.ended_streams())


def _held(process: psutil.Process) -> dict[str, float]:
    """Return what a process holds: memory of its own in KiB, threads, and sockets."""
    kib, sockets = process.memory_full_info().uss / 1024, len(process.net_connections())
    return {"kib": kib, "threads": process.num_threads(), "sockets": sockets}
