"""A local Upstash that a test owns, in front of an embedded Redis or a real one."""

import os
import secrets
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass

from upstash_redis import Redis

from dev.local.deployment import local_store
from tests.support.faults import ChosenFaults
from tests.support.tools import in_ci, need

_SERVER = "redis-server"


@dataclass
class Store:
    """A local Upstash that the test owns. `db` is the vendor's client on it; names start with `prefix`."""

    url: str
    token: str
    prefix: str
    faults: ChosenFaults
    db: Redis

    def variables(self) -> dict[str, str]:
        """Return what a function needs to know to use this store."""
        prefix = {"KV_KEY_PREFIX": self.prefix} if self.prefix else {}
        return {"KV_REST_API_URL": self.url, "KV_REST_API_TOKEN": self.token, **prefix}

    def names(self, pattern: str = "*") -> list[str]:
        """Return the keys in the store, without the prefix."""
        return sorted(name.removeprefix(self.prefix) for name in self.db.keys(self.prefix + pattern))

    def clear(self) -> None:
        """Forget every fault and every key of ours."""
        self.faults.heal()
        if names := self.db.keys(f"{self.prefix}*"):
            self.db.delete(*names)
        self.faults.heal()


@contextmanager
def running_store(redis_url: str | None, prefix: str = "") -> Iterator[Store]:
    faults = ChosenFaults()
    with (
        local_store(redis_url, wrap=faults.wrap) as local,
        Redis(local.url, local.token, rest_encoding=None, rest_retries=0) as db,
    ):
        yield Store(local.url, local.token, prefix, faults, db)


def has_real_store() -> bool:
    """Return whether the machine has a real Redis; CI has to have it, so there it counts as present."""
    return bool(os.environ.get("REDIS_URL") or shutil.which(_SERVER) or in_ci())


@contextmanager
def real_store() -> Iterator[Store]:
    """Run a store on a real Redis: the one at REDIS_URL, or one that is started here.

    Whatever else is in the database at REDIS_URL stays: the tests' names have a prefix of their own there.
    """
    if url := os.environ.get("REDIS_URL"):
        with running_store(url, f"parley-test-{secrets.token_hex(4)}:") as store:
            yield store
            store.clear()
    else:
        with redis_server() as url, running_store(url) as store:
            yield store


def usual_store() -> AbstractContextManager[Store]:
    """Run a store for deployments: on a real Redis, as in production, or on an embedded one where there is none.

    One is enough, because a deployment reaches its store only through the scripts and subscriptions that are tested on
    both.
    """
    return real_store() if has_real_store() else running_store(None)


@contextmanager
def redis_server() -> Iterator[str]:
    """Run a real Redis on a free port, which writes nothing to the disk."""
    program = need(_SERVER, "apt-get install redis-server, or brew install redis")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with tempfile.TemporaryDirectory() as folder:
        process = subprocess.Popen(
            [program, "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", folder],
            stdout=subprocess.DEVNULL,
        )
        try:
            while True:
                try:
                    socket.create_connection(("127.0.0.1", port), 1).close()
                    break
                except ConnectionRefusedError:
                    assert process.poll() is None, "redis-server did not start"
                    time.sleep(0.02)
            yield f"redis://127.0.0.1:{port}"
        finally:
            process.terminate()
            process.wait()
