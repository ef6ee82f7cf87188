"""The benchmark: the time, store calls, memory and sockets that calls take on the local platform or on a deployment.

Times depend on the machine, so compare them within one run: most are also given as a ratio to a floor.
"""

import argparse
import asyncio
import json
import os
import statistics
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from dev import PROJECT
from dev.bench import bursts, coldstart, crowd, isolated, latency
from dev.bench.isolated import Isolated
from dev.local import environment
from dev.local.function import Function
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
        benchmark.measure_calls(options.url, times, {})
    elif store.upstash:
        raise ValueError("The benchmark needs a local store: unset the variables of your Upstash database.")
    else:
        if options.starts:
            benchmark.measure_starts(options.starts)
        with isolated.platform() as local:
            with ExitStack() as running:
                benchmark.measure_calls(local.url, times, {"floor": latency.floor(running, local.store)})
            for streams in sorted({1, options.streams} - {0}) if options.idle else ():
                benchmark.measure_idle(local, streams, options.idle)
            if options.streams:
                benchmark.measure_crowd(local, options.streams, 3 * times)
            if options.bursts:
                benchmark.measure_bursts(local)
        if options.tls:
            with isolated.platform(tls=True) as local:
                benchmark.measure_tls(local, times)
    if options.json:
        figures = {**benchmark.found, "milliseconds": benchmark.series}
        options.json.write_text(json.dumps(figures, indent=1) + "\n", "utf-8")
    if options.plot:
        _plot(benchmark.series, options.plot)


class Benchmark:
    """Measures, prints tables, and collects the figures in `found`, and the milliseconds of each call in `series`."""

    def __init__(self) -> None:
        self.found: dict[str, Any] = {"at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())}
        self.series: latency.Milliseconds = {}

    def measure_calls(self, url: str, times: int, kinds: dict[str, Callable[[], float]]) -> None:
        """Measure each call, a push, a round trip, a tool call, and what `kinds` measure, in seconds, each as often."""
        _progress(f"calls, {times} of each")
        took, store_calls = latency.calls(url, times)
        self.series |= took
        _progress(f"push, round trip and tool call, {times} of each, in turns")
        with ExitStack() as running:
            # A session each: it takes only so many requests a minute.
            pair, agents = latency.Pair(running, url), latency.Pair(running, url)
            own = {"push": pair.push, "round trip": pair.round_trip, "tools/call": agents.tool_call}
            self.series |= _in_turns({**kinds, **own}, times)
            warm = latency.Pair(running, url)  # only now: a connection that stays idle is closed
            for _ in range(_WARM_UP + _ROUND_TRIPS):
                warm.round_trip()
        store_calls |= {name: round(statistics.median((pair.store_calls | agents.store_calls)[name])) for name in own}
        self.found["store calls"] = store_calls
        floor = statistics.median(self.series["floor"]) if "floor" in kinds else None
        quantiles = self.found["latency"] = {name: _quantiles(each, floor) for name, each in self.series.items()}
        rows = [[name, *_rounded(row), str(store_calls.get(name, ""))] for name, row in quantiles.items()]
        _table([["milliseconds", "p50", "p95", "p99", *(["x floor"] if floor else []), "store calls"], *rows])
        ratio = self.found["tools/call, x round trip"] = quantiles["tools/call"]["p50"] / quantiles["round trip"]["p50"]
        each = self.found["round trip, store calls"] = statistics.mean(warm.store_calls["round trip"][_WARM_UP:])
        print(f"A tool call takes {ratio:.2f} of a round trip.")
        print(f"{_ROUND_TRIPS} round trips: {each:g} store calls each.\n")

    def measure_tls(self, local: Isolated, times: int) -> None:
        """Measure a push and a round trip with a store behind TLS, as it is in the cloud."""
        _progress(f"push and round trip over TLS, {times} of each, in turns")
        os.environ["SSL_CERT_FILE"] = local.authority
        with ExitStack() as running:
            pair = latency.Pair(running, local.url)
            own = {"push": pair.push, "round trip": pair.round_trip}
            series = _in_turns({"floor": latency.floor(running, local.store), **own}, times)
        del os.environ["SSL_CERT_FILE"]
        quantiles = {name: _quantiles(each, statistics.median(series["floor"])) for name, each in series.items()}
        self.series |= {f"{name}, TLS": each for name, each in series.items()}
        self.found["tls"] = quantiles
        rows = [[name, *_rounded(row)] for name, row in quantiles.items()]
        _table([["milliseconds, over TLS", "p50", "p95", "p99", "x floor"], *rows])

    def measure_bursts(self, local: Isolated) -> None:
        """Measure calls that come at the same time, and plain calls beside more waits than there are places."""
        _progress(f"bursts, and {bursts.WAITS:,} waits, on one instance with {bursts.DESCRIPTORS} descriptors")
        with bursts.built() as output:
            names = ("sessions", "requests", "responses")
            with bursts.instances(local.store, output, *names) as functions:
                asyncio.run(self._measure_bursts(functions))

    async def _measure_bursts(self, functions: dict[str, Function]) -> None:
        path = await bursts.pending_request(functions)
        port = functions["responses"].port
        await bursts.burst(port, path, bursts.SIZES[0])
        seen = {size: await bursts.burst(port, path, size) for size in bursts.SIZES}
        rows = [
            [str(size), f"{one.median:.0f}", f"{one.slowest:.0f}", f"{one.slowest / one.median:.2f}", str(one.failed)]
            for size, one in seen.items()
        ]
        _table([["calls at once, ms", "median", "slowest", "slowest / median", "failed"], *rows])
        self.found["bursts"] = {size: one._asdict() for size, one in seen.items()}
        for addresses in (1, 200):
            waits = await bursts.waits(functions["responses"], path, addresses)
            alone, beside = statistics.median(waits.alone), statistics.median(waits.beside)
            self.found[f"waits of {addresses}"] = {**waits._asdict(), "ratio": beside / alone}
            outcomes = ", ".join(f"{count} x {outcome}" for outcome, count in sorted(waits.outcomes.items()))
            print(f"{bursts.WAITS:,} waits from {addresses} addresses: {outcomes}.")
            print(f"A plain call beside takes {beside / alone:.2f} of its usual time ({alone:.1f} ms);")
            print(f"left over: {waits.left[0]} threads, {waits.left[1]} descriptors.")
        print()

    def measure_starts(self, times: int) -> None:
        """Measure the cold starts of each function."""
        names = Project(PROJECT).functions
        _progress(f"cold starts, {times} of each function")
        imports = self.found["imports"] = coldstart.imports(names, times)
        rows = [[name, f"{ms:.0f}", f"{ms / imports['upstash_redis']:.2f}"] for name, ms in imports.items()]
        _table([["import", "ms", "x upstash_redis"], *rows])
        starts = self.found["starts"] = coldstart.phases(names, times)
        _table(_phase_rows("start, from source", starts))
        built = coldstart.bytecode("stream", times)
        if built is None:
            print("The built function is only measured if the Vercel CLI is installed: npm install --global vercel\n")
            return
        self.found["bytecode"] = built
        _table(_phase_rows("start of stream, built", built))
        for phase in ("import-fn", "whole"):
            ratio = built["with bytecode"][phase] / built["without"][phase]
            print(f"With bytecode, {phase} takes {ratio:.2f} of the time.")
        print()

    def measure_idle(self, local: Isolated, streams: int, seconds: float) -> None:
        """Count the calls to the store of streams on which nothing happens."""
        _progress(f"{streams} idle streams, for {seconds:g} s")
        before = len(local.lines)
        asyncio.run(crowd.stay_idle(local.url, streams, seconds))
        deadline = time.monotonic() + 30
        while len(ended := [line for line in local.lines[before:] if '/stream", "status": 200' in line]) < streams:
            if time.monotonic() > deadline:
                raise ValueError(f"{streams - len(ended)} idle streams did not end with their clients.")
            time.sleep(0.05)
        calls = sum(json.loads(line)["storeCalls"] for line in ended)
        self.found[f"idle, {streams}"] = {"seconds": seconds, "store calls": calls}
        print(f"Idle streams: {streams} opened, and stayed for {seconds:g} s; store calls: {calls}.\n")

    def measure_crowd(self, local: Isolated, streams: int, count: int) -> None:
        """Measure `count` pushes with one stream, and with many in one process."""
        _progress(f"{streams} streams in one process, {count} pushes to one, then as many to all")
        seen = asyncio.run(crowd.measure(local.url, local.function("stream"), streams, count))
        measured = {"push, 1 stream": seen.alone, f"push, {streams} streams": seen.crowded}
        self.series |= measured
        pushes = {name: _quantiles(each) for name, each in measured.items()}
        _table([["milliseconds", "p50", "p95", "p99"], *([name, *_rounded(row)] for name, row in pushes.items())])
        one, crowded = pushes.values()
        ratio, each = crowded["p95"] / one["p95"], seen.each
        rest = {"each": each, "lost": seen.lost, "ended": seen.ended}
        self.found["crowd"] = {"pushes": pushes, "p95 ratio": ratio, **rest}
        print(f"p95 with all streams is {ratio:.2f} of that with one; lost {seen.lost}, ended {seen.ended}.")
        print(f"Each stream holds {each['kib']:.0f} KiB, {each['threads']:g} threads, {each['sockets']:g} sockets.\n")


def _in_turns(kinds: dict[str, Callable[[], float]], times: int) -> latency.Milliseconds:
    """Measure each kind `times` times, one after the other in turns, after a warm-up."""
    series: latency.Milliseconds = {name: [] for name in kinds}
    warm_up = times // 10
    for turn in range(times + warm_up):
        for name, measure in kinds.items():
            seconds = measure()
            if turn >= warm_up:
                series[name].append(seconds * 1000)
    return series


def _quantiles(values: list[float], floor: float | None = None) -> dict[str, float]:
    """Return p50, p95 and p99, and the median as a multiple of the floor if there is one."""
    cuts = statistics.quantiles(values, n=100)
    median = statistics.median(values)
    return {"p50": median, "p95": cuts[94], "p99": cuts[98], **({"x floor": median / floor} if floor else {})}


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


def _progress(what: str) -> None:
    print(f"… {what}", file=sys.stderr, flush=True)


def _plot(series: latency.Milliseconds, file: Path) -> None:
    """Draw each series as a cumulative distribution, the share of calls by milliseconds, into a PNG."""
    import matplotlib as mpl  # here, since its import takes long and most runs draw nothing

    mpl.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(9, 5), layout="constrained")
    for name, values in series.items():
        shares = [(number + 1) / len(values) for number in range(len(values))]
        axes.step(sorted(values), shares, where="post", label=name)
    axes.set(xscale="log", xlabel="milliseconds", ylabel="share of calls", ylim=(0, 1.01))
    axes.grid(alpha=0.3)
    axes.legend(fontsize="small", ncols=2)
    figure.savefig(file, dpi=120)
    pyplot.close(figure)
