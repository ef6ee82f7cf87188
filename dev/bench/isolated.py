"""The local platform and its store, each in a process of its own, so that none shares an interpreter with another.

In the cloud they are different machines; and the client that measures has work of its own.
"""

import resource
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, NamedTuple, cast

import psutil

from dev import PROJECT
from dev.local import environment
from dev.local.deployment import LocalStore, deploy, local_store
from dev.local.server import HOST

_OPEN_FILES = 16_384


class Isolated(NamedTuple):
    """The platform that runs: its URL, its store, its process, and what its functions have printed so far.

    `authority` is the file of the certificate that the store's is signed with, if it speaks TLS.
    """

    url: str
    store: LocalStore
    process: psutil.Process
    lines: list[str]
    authority: str

    def function(self, name: str) -> psutil.Process:
        """Return the process of a function."""
        entry, processes = f"api/{name}.py", self.process.children(recursive=True)
        return next(one for one in processes if one.environ().get("__VC_HANDLER_ENTRYPOINT") == entry)


@contextmanager
def platform(*, tls: bool = False) -> Iterator[Isolated]:
    """Run the local platform without limits on how often a caller may call, its store behind TLS if that is wanted.

    Raises ValueError if it does not start.
    """
    # A thousand streams need some thousand open files in each of the local processes, which inherit the limit.
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, min(_OPEN_FILES, hard)), hard))
    with (
        _started("store", *(["tls"] if tls else [])) as (_, (store_url, token, *authority), _),
        _started("platform", store_url, token, *authority) as (process, (url,), lines),
    ):
        yield Isolated(url, LocalStore(store_url, token), psutil.Process(process), lines, "".join(authority))


@contextmanager
def _started(*arguments: str) -> Iterator[tuple[int, list[str], list[str]]]:
    """Run this module in another process. Gives its id, the words that it prints first, and the lines after those."""
    # In a process group of its own: Ctrl-C is for this process, which ends the other one itself.
    with subprocess.Popen(
        [sys.executable, "-m", __name__, *arguments],
        cwd=PROJECT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        process_group=0,
    ) as process:
        stdin, stdout = cast(IO[str], process.stdin), cast(IO[str], process.stdout)
        words = next((line for line in stdout if line.startswith("http")), "").split()
        if not words:
            raise ValueError("The local platform does not start: make dev says why.")
        lines: list[str] = []
        reading = threading.Thread(target=_collect, args=[stdout, lines])
        reading.start()
        try:
            yield process.pid, words, lines
        finally:
            stdin.close()
            reading.join()


def _collect(stdout: IO[str], lines: list[str]) -> None:
    for line in stdout:
        lines.append(line)  # noqa: PERF402 - each line has to be in the list as soon as it comes


def _run_store(*, tls: bool) -> None:
    """Run the store in the other process: print where it is and its token, until stdin ends."""
    with tempfile.TemporaryDirectory() as folder:
        authority, certificate = _certificates(Path(folder)) if tls else ("", None)
        with local_store(environment.store(PROJECT).redis, certificate=certificate) as store:
            print(*store, authority, flush=True)
            sys.stdin.read()


def _run_platform(url: str, token: str, authority: str = "") -> None:
    """Run the platform in the other process: print where it is, then what its functions print, until stdin ends."""
    variables = {
        **environment.of_functions(PROJECT, LocalStore(url, token).variables()),
        **environment.UNLIMITED,
        **({"SSL_CERT_FILE": authority} if authority else {}),
    }
    with deploy(PROJECT, lambda: variables) as deployment:
        print(deployment.url, flush=True)
        sys.stdin.read()


def _certificates(folder: Path) -> tuple[Path, Path]:
    """Make a certificate for this machine. Returns the file of its authority, and its own with its private key."""
    import trustme  # here, since only a run with TLS needs it

    authority, own = folder / "authority.pem", folder / "server.pem"
    made = trustme.CA()
    made.cert_pem.write_to_path(authority)
    made.issue_cert(HOST).private_key_and_cert_chain_pem.write_to_path(own)
    return authority, own


if __name__ == "__main__":
    what, *rest = sys.argv[1:]
    _run_store(tls="tls" in rest) if what == "store" else _run_platform(*rest)
