"""The benchmark: the time and the store calls that calls take, on the local platform or on a deployment.

Times depend on the machine, so compare them within a run: most are also given as a ratio to a floor.
"""

import argparse
import json
import os
import statistics
import time
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

from dev import PROJECT
from dev.bench import coldstart, isolated, latency
from dev.bench.report import Milliseconds, plot, progress, quantiles, table
from dev.local import bundle, environment
from dev.local.deployment import LocalStore
from dev.local.project import Project

_ROUND_TRIPS, _WARM_UP = 40, 2


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
        if options.starts:
            self.measure_starts(options.starts)
        with isolated.platform() as (url, store, _):
            self.measure_calls(url, times, store)
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

    def measure_starts(self, times: int) -> None:
        """Measure the cold starts of each function."""
        names = Project(PROJECT).functions
        progress(f"cold starts, {times} of each function")
        imports = self.found["imports"] = coldstart.imports(names, times)
        client = imports["upstash_redis"]
        table("import", {name: {"ms": round(ms), "x upstash_redis": ms / client} for name, ms in imports.items()})
        with bundle.built(PROJECT) as build:
            starts = self.found["starts"] = coldstart.phases(names, times, build)
        rows = {name: {phase: round(ms) for phase, ms in start.items()} for name, start in starts.items()}
        table("start, built" if build else "start, from source", rows)
        if not build:
            print("The built functions are only measured with the Vercel CLI: npm install --global vercel\n")


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
