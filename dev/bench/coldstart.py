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

_PRELUDE = "import time; from importlib.util import module_from_spec, spec_from_file_location"
_PHASES = re.compile(r"(bootstrap|import-fn|server-ready);dur=([\d.]+)")

type Phases = dict[str, float]


def imports(names: list[str], times: int) -> dict[str, float]:
    """Return the median milliseconds to import upstash_redis and each function, each in a fresh interpreter.

    It is the processor's time, which other programs cannot change; with bytecode, and loaded as by Vercel's runtime.
    """
    load = "spec = spec_from_file_location('handler', 'api/{}.py'); spec.loader.exec_module(module_from_spec(spec))"
    scripts = {"upstash_redis": "import upstash_redis", **{f"api.{name}": load.format(name) for name in names}}
    took: dict[str, list[float]] = {module: [] for module in scripts}
    with tempfile.TemporaryDirectory() as bytecode:
        environment = {**os.environ, "PYTHONPYCACHEPREFIX": bytecode, "PYTHONDONTWRITEBYTECODE": ""}
        for turn in range(times + 1):  # the first one compiles
            for module, values in took.items():
                script = f"{_PRELUDE}; t = time.process_time(); {scripts[module]}; print(time.process_time() - t)"
                printed = subprocess.check_output([sys.executable, "-c", script], cwd=PROJECT, env=environment)
                if turn:
                    values.append(float(printed) * 1000)
    return {module: statistics.median(values) for module, values in took.items()}


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
