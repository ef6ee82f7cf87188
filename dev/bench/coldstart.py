"""How long a function takes to start, by phase, and how much of that its imports take.

The phases are those that Vercel's runtime reports with the first answer. This machine is not as fast as the cloud's, so
compare times only within one run.
"""

import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import httpx

from dev import PROJECT
from dev.local.function import Function, from_bundle, from_source

_PHASES = re.compile(r"(bootstrap|import-fn|server-ready);dur=([\d.]+)")

type Phases = dict[str, float]


def imports(names: list[str], times: int) -> dict[str, float]:
    """Return the median milliseconds to import upstash_redis and each function, each in a fresh interpreter.

    They are the processor's time, so that what else the machine does is not counted, and with bytecode, as in the
    cloud.
    """
    modules = ["upstash_redis", *(f"api.{name}" for name in names)]
    took: dict[str, list[float]] = {module: [] for module in modules}
    with tempfile.TemporaryDirectory() as bytecode:
        environment = {**os.environ, "PYTHONPYCACHEPREFIX": bytecode, "PYTHONDONTWRITEBYTECODE": ""}
        for turn in range(times + 1):  # the first one compiles
            for module, values in took.items():
                script = f"import time; t = time.process_time(); import {module}; print(time.process_time() - t)"
                printed = subprocess.check_output([sys.executable, "-c", script], cwd=PROJECT, env=environment)
                if turn:
                    values.append(float(printed) * 1000)
    return {module: statistics.median(values) for module, values in took.items()}


def phases(names: list[str], times: int) -> dict[str, Phases]:
    """Return the median milliseconds of each phase of each function's start; `whole` is all up to its first answer."""
    return {name: _median([_start(from_source, name, PROJECT) for _ in range(times)]) for name in names}


def bytecode(build: Path, name: str, times: int) -> dict[str, Phases]:
    """Return the phases of a function in the output of `vercel build`, with the build's bytecode and without."""
    built = build / "functions" / "api" / f"{name}.func"
    bare = build / "bare.func"
    shutil.copytree(built, bare, symlinks=True, ignore=shutil.ignore_patterns("__pycache__", "*.pyc"))
    found: dict[str, list[Phases]] = {"with bytecode": [], "without": []}
    for _ in range(times):
        for kind, folder in zip(found, (built, bare), strict=True):
            deployed = set(folder.rglob("*.pyc"))
            found[kind].append(_start(from_bundle, name, folder))
            # A function in the cloud cannot keep the bytecode that it compiles.
            for compiled in set(folder.rglob("*.pyc")) - deployed:
                compiled.unlink()
    return {kind: _median(starts) for kind, starts in found.items()}


def _start(start: Callable[..., Function], name: str, folder: Path) -> Phases:
    began = time.perf_counter()
    function = start(name, folder, {"PATH": os.environ["PATH"], "VERCEL": "1"}, lambda line: None)
    try:
        answer = httpx.options(f"http://127.0.0.1:{function.port}/api/{name}", timeout=30)
        whole = (time.perf_counter() - began) * 1000
    finally:
        function.stop()
    found = {phase: float(took) for phase, took in _PHASES.findall(answer.headers.get("x-vercel-internal-timing", ""))}
    return {**found, "whole": whole}


def _median(starts: list[Phases]) -> Phases:
    return {phase: statistics.median(start[phase] for start in starts) for phase in starts[0]}
