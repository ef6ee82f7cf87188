"""The local platform in a process of its own, so that the client that measures does not share its interpreter."""

import resource
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO, NamedTuple, cast

import psutil

from dev import PROJECT
from dev.local import environment
from dev.local.deployment import LocalStore, deploy, local_store

_OPEN_FILES = 16_384


class Isolated(NamedTuple):
    """The platform that runs: its URL, its store, its process, and what its functions have printed so far."""

    url: str
    store: LocalStore
    process: psutil.Process
    lines: list[str]

    def function(self, name: str) -> psutil.Process:
        """Return the process of a function."""
        entry, processes = f"api/{name}.py", self.process.children(recursive=True)
        return next(one for one in processes if one.environ().get("__VC_HANDLER_ENTRYPOINT") == entry)


@contextmanager
def platform() -> Iterator[Isolated]:
    """Run the local platform without limits on how often a caller may call. Raises ValueError if it does not start."""
    # A thousand streams need some thousand open files in each of the local processes, which inherit the limit.
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, min(_OPEN_FILES, hard)), hard))
    command = [sys.executable, "-m", __name__]
    # In a process group of its own: Ctrl-C is for this process, which ends the other one itself.
    with subprocess.Popen(
        command, cwd=PROJECT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, process_group=0
    ) as process:
        stdin, stdout = cast(IO[str], process.stdin), cast(IO[str], process.stdout)
        url, *store = next((line for line in stdout if line.startswith("http")), "").split() or [""]
        if not url:
            raise ValueError("The local platform does not start: make dev says why.")
        lines: list[str] = []
        reading = threading.Thread(target=_collect, args=[stdout, lines])
        reading.start()
        try:
            yield Isolated(url, LocalStore(*store), psutil.Process(process.pid), lines)
        finally:
            stdin.close()
            reading.join()


def _collect(stdout: IO[str], lines: list[str]) -> None:
    for line in stdout:
        lines.append(line)  # noqa: PERF402 - each line has to be in the list as soon as it comes


def _run() -> None:
    """Run the platform in the other process: print where it is, then what its functions print, until stdin ends."""
    with local_store(environment.store(PROJECT).redis) as store:
        variables = {**environment.of_functions(PROJECT, store.variables()), **environment.UNLIMITED}
        with deploy(PROJECT, lambda: variables) as deployment:
            print(deployment.url, *store, flush=True)
            sys.stdin.read()


if __name__ == "__main__":
    _run()
