"""The local platform and its store, each in a process of its own, so that none shares an interpreter with another.

In the cloud they are different machines; and the client that measures has work of its own.
"""

import resource
import signal
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import AbstractContextManager, ExitStack, contextmanager
from multiprocessing import get_context
from pathlib import Path

from dev import PROJECT
from dev.local import environment
from dev.local.deployment import LocalStore, deploy, local_store
from dev.local.server import HOST

_OPEN_FILES = 16_384
_held = ExitStack()  # in another process: what `_apart` runs there


@contextmanager
def platform(*, tls: bool = False) -> Iterator[tuple[str, LocalStore, str]]:
    """Run the local platform without rate limits, its store behind TLS if that is wanted.

    Gives its URL, its store, and the file of the certificate with which the store's is signed, `""` without TLS.
    """
    # A thousand streams need some thousand open files in this process and in the others, which inherit the limit.
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, min(_OPEN_FILES, hard)), hard))
    with _apart(_store, tls) as (store, authority), _apart(_platform, store, authority) as url:
        yield url, store, authority


@contextmanager
def _apart[T](run: Callable[..., AbstractContextManager[T]], *arguments: object) -> Iterator[T]:
    """Run a context manager in another process, and give what it gives."""
    # Ctrl-C reaches every process, but only this one reacts to it, and then ends the others.
    ignoring = (signal.SIGINT, signal.SIG_IGN)
    with ProcessPoolExecutor(1, get_context("spawn"), signal.signal, ignoring) as other:
        try:
            yield other.submit(_enter, run, *arguments).result()
        finally:
            other.submit(_leave).result()


def _enter[T](run: Callable[..., AbstractContextManager[T]], *arguments: object) -> T:
    return _held.enter_context(run(*arguments))


def _leave() -> None:
    _held.close()


@contextmanager
def _store(tls: bool) -> Iterator[tuple[LocalStore, str]]:
    with tempfile.TemporaryDirectory() as folder:
        authority, certificate = _certificates(Path(folder)) if tls else ("", None)
        with local_store(environment.store(PROJECT).redis, certificate=certificate) as store:
            yield store, str(authority)


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
