"""The local platform and its store, each in a process of its own, so that none shares an interpreter with another.

In the cloud they are different machines; and the client that measures has work of its own.
"""

import signal
import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path

from dev import PROJECT
from dev.local import environment
from dev.local.deployment import LocalStore, deploy, local_store
from dev.local.server import HOST

_spawning = get_context("spawn")


@contextmanager
def platform(*, tls: bool = False) -> Iterator[tuple[str, LocalStore, str]]:
    """Run the local platform without rate limits, its store behind TLS if that is wanted. Raises ValueError.

    Gives its URL, its store, and the file of the certificate with which the store's is signed, `""` without TLS.
    """
    with store(tls=tls) as (running, authority), _apart(_platform, running, authority) as url:
        yield url, running, authority


def store(*, tls: bool = False) -> AbstractContextManager[tuple[LocalStore, str]]:
    """Run the local store alone, behind TLS if that is wanted. Raises ValueError.

    Gives the store, and the file of its certificate as `platform` does.
    """
    return _apart(_store, tls)


@contextmanager
def _apart[T](run: Callable[..., AbstractContextManager[T]], *arguments: object) -> Iterator[T]:
    """Run a context manager in another process, and give what it gives. Raises ValueError if it does not start."""
    ours, theirs = _spawning.Pipe()
    process = _spawning.Process(target=_hold, args=(theirs, run, *arguments))
    process.start()
    theirs.close()  # so that receiving ends if the process does
    try:
        try:
            given: T = ours.recv()
        except EOFError:
            raise ValueError("The local platform does not start: make dev says why.") from None
        yield given
    finally:
        ours.close()
        process.join()


def _hold(connection: Connection, run: Callable[..., AbstractContextManager[object]], *arguments: object) -> None:
    """Run a context manager, and send what it gives, until the other process closes the connection, or is killed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches every process, but the other one ends this one
    with run(*arguments) as given:
        connection.send(given)
        connection.poll(None)


@contextmanager
def _store(tls: bool) -> Iterator[tuple[LocalStore, str]]:
    with tempfile.TemporaryDirectory() as folder:
        authority, certificate = _certificates(Path(folder)) if tls else ("", None)
        with local_store(environment.store(PROJECT).redis, certificate=certificate) as running:
            yield running, str(authority)


@contextmanager
def _platform(store: LocalStore, authority: str) -> Iterator[str]:
    variables = {**environment.of_functions(PROJECT, store.variables()), **environment.UNLIMITED}
    if authority:
        variables["SSL_CERT_FILE"] = authority
    with deploy(PROJECT, lambda: variables, log=lambda _: None) as deployment:
        yield deployment.url


def _certificates(folder: Path) -> tuple[Path, Path]:
    """Make a certificate for this machine. Returns the files of its authority, and of the certificate with its key."""
    import trustme  # here, since only a run with TLS needs it

    authority, certificate = folder / "authority.pem", folder / "server.pem"
    made = trustme.CA()
    made.cert_pem.write_to_path(authority)
    made.issue_cert(HOST).private_key_and_cert_chain_pem.write_to_path(certificate)
    return authority, certificate
