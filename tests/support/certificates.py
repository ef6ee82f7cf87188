"""Which authorities the programs of the tests trust.

A client reads all certificates of authorities when it is made, also one that will speak HTTP alone. That takes 20 ms
of the processor's time for those that a machine usually has, and the tests make thousands of clients.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import trustme

_FILE = "SSL_CERT_FILE"
_usual = os.environ.get(_FILE)


def trust_nobody(folder: Path) -> None:
    """Let this process, and those that it starts, trust one authority, which has signed nothing.

    The folder has to be there until the process ends.
    """
    file = folder / "authority.pem"
    trustme.CA().cert_pem.write_to_path(file)
    os.environ[_FILE] = str(file)


@contextmanager
def trust_as_usual() -> Iterator[None]:
    """Let processes that start meanwhile trust the machine's authorities: one that reaches out of it has to."""
    with pytest.MonkeyPatch.context() as patch:
        if _usual is None:
            patch.delenv(_FILE, raising=False)
        else:
            patch.setenv(_FILE, _usual)
        yield
