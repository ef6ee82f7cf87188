"""How long a function takes to start, by the phases that Vercel's runtime reports, and how long its imports take."""

import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import httpx

from dev import PROJECT
from dev.local import function

# Loads a function as Vercel's runtime does, after the store's client.
_IMPORTS = """
import sys, time
from importlib.util import module_from_spec, spec_from_file_location

began = time.process_time()
import upstash_redis
client = time.process_time()
specification = spec_from_file_location("handler", sys.argv[1])
specification.loader.exec_module(module_from_spec(specification))
print(client - began, time.process_time() - client)
"""
_PHASES = re.compile(r"(bootstrap|import-fn|server-ready);dur=([\d.]+)")

type Phases = dict[str, float]


def imports(names: list[str], times: int) -> dict[str, float]:
    """Return the median milliseconds to import upstash_redis, and for each function to import both, with bytecode.

    It is the processor's time, which other programs cannot change. The client is imported first: deep within other
    imports it can take 10 ms longer, as CPython then releases memory of its stack in each of many calls and asks for it
    again, and how deep an import is depends on the platform.
    """
    client: list[float] = []
    own: dict[str, list[float]] = {f"api.{name}": [] for name in names}
    with tempfile.TemporaryDirectory() as bytecode:
        environment = {**os.environ, "PYTHONPYCACHEPREFIX": bytecode, "PYTHONDONTWRITEBYTECODE": ""}
        for turn in range(times + 1):  # the first one compiles
            for module, values in own.items():
                command = [sys.executable, "-c", _IMPORTS, f"{module.replace('.', '/')}.py"]
                printed = subprocess.check_output(command, cwd=PROJECT, env=environment).split()
                if turn:
                    client.append(float(printed[0]) * 1000)
                    values.append(float(printed[1]) * 1000)
    alone = statistics.median(client)
    return {"upstash_redis": alone} | {name: alone + statistics.median(values) for name, values in own.items()}


def phases(names: list[str], times: int, build: Path | None = None) -> dict[str, Phases]:
    """Return the median milliseconds of each phase of each function's start; `whole` is all up to its first answer.

    The functions are those of `build`, the output of `vercel build`, or if that is None start from their source.
    """
    found: dict[str, Phases] = {}
    for name in names:
        starts = [_start(name, build) for _ in range(times)]
        found[name] = {phase: statistics.median(start[phase] for start in starts) for phase in starts[0]}
    return found


def _start(name: str, build: Path | None) -> Phases:
    began = time.perf_counter()
    variables = {"PATH": os.environ["PATH"], "VERCEL": "1"}
    running = function.start(name, build, PROJECT, variables, lambda line: None)
    try:
        answer = httpx.options(f"http://127.0.0.1:{running.port}/api/{name}", timeout=30)
        whole = (time.perf_counter() - began) * 1000
    finally:
        running.stop()
    reported = answer.headers.get("x-vercel-internal-timing", "")
    return {**{phase: float(took) for phase, took in _PHASES.findall(reported)}, "whole": whole}
