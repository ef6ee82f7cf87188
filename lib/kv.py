"""The store: Upstash Redis over REST, with bounded waits, one quick retry and a name for every failure."""

import logging
import re
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from typing import NamedTuple

import httpx
from upstash_redis import Redis
from upstash_redis.errors import UpstashError

from lib import settings
from lib.problems import StoreProblem, StoreQuotaExceeded, StoreUnauthorized, StoreUnavailable

_TIMEOUT = httpx.Timeout(5, connect=3)
_ATTEMPTS = 2
_RETRY_AFTER_SECONDS = 0.1

# What the SDK raises if no answer of the store's came: errors of the network, and bodies that are not its JSON.
_NO_ANSWER = (httpx.HTTPError, httpx.InvalidURL, ValueError, TypeError, KeyError, AttributeError)

# Source: https://upstash.com/docs/redis/troubleshooting
_QUOTA = re.compile(r"max (daily |monthly )?(request|bandwidth)s? limit exceeded|quota exceeded", re.IGNORECASE)
_UNAUTHORIZED = re.compile(r"unauthorized|WRONGPASS|NOAUTH|NOPERM", re.IGNORECASE)

# How many calls to the store may run at a time. Each holds a descriptor, and waiting calls take nearly all of those
# (lib/wait/capacity.py).
_slots = threading.BoundedSemaphore(10)
_SLOT_SECONDS = 5.0

# One connection in a process, as its credentials do not change.
_connections: "dict[settings.Credentials, _Connection]" = {}
_connections_lock = threading.Lock()
_count_lock = threading.Lock()

# httpx logs the address of every call that it makes.
logging.getLogger("httpx").setLevel(logging.WARNING)


class _NotKnown(Exception):
    """The store has not seen a script's text, or has forgotten it."""


class _Connection(NamedTuple):
    """The process's client, and the digests of the scripts that its store knows."""

    client: Redis
    scripts: set[str]


class Store:
    """One request's way to the store, which counts what the request costs.

    `calls` is the number of HTTP calls, `seconds` the time that they took. The connections behind it are the
    process's and safe to share.
    """

    def __init__(self) -> None:
        self.calls = 0
        self.seconds = 0.0

    def evaluate(self, script: str, digest: str, keys: Sequence[str], arguments: Sequence[str | int]) -> object:
        """Run a script and return its reply. Its text is sent if the store does not know it yet.

        Raises a StoreProblem.
        """
        connection = _connection()
        command = [len(keys), *keys, *arguments]
        if digest in connection.scripts:
            with suppress(_NotKnown):
                return self._execute(connection.client, ["EVALSHA", digest, *command])
        reply = self._execute(connection.client, ["EVAL", script, *command])
        connection.scripts.add(digest)
        return reply

    def ping(self) -> None:
        """Return if the store answers. Raises a StoreProblem."""
        self._execute(_connection().client, ["PING"])

    def count(self, seconds: float) -> None:
        """Count a call. The thread that checks waiting calls counts beside the call's own, hence the lock."""
        with _count_lock:
            self.calls += 1
            self.seconds += seconds

    def _execute(self, client: Redis, command: list[str | int]) -> object:
        cause = ""
        for attempt in range(_ATTEMPTS):
            if attempt:
                time.sleep(_RETRY_AFTER_SECONDS)
            if not _slots.acquire(timeout=_SLOT_SECONDS):
                raise StoreUnavailable("all connections are in use")
            started = time.perf_counter()
            try:
                return client.execute(command)
            except UpstashError as error:
                raise _named(str(error)) from None
            except _NO_ANSWER as error:
                cause = type(error).__name__
            finally:
                _slots.release()
                self.count(time.perf_counter() - started)
        raise StoreUnavailable(cause)


def _named(error: str) -> StoreProblem | _NotKnown:
    """Return the problem behind an error of the store's. Only its first words are kept: the rest may quote data."""
    cause = " ".join(error.split()[:6])[:80]
    if cause.startswith("NOSCRIPT"):
        return _NotKnown()
    if _QUOTA.search(error):
        return StoreQuotaExceeded(cause)
    if _UNAUTHORIZED.search(error):
        return StoreUnauthorized(cause)
    return StoreUnavailable(cause)


def _connection() -> _Connection:
    """Return the process's connection. Raises StoreNotConfigured."""
    credentials = settings.store()
    with _connections_lock:
        if credentials not in _connections:
            # This class retries, because the SDK's own retries would be missing from the count. Scripts run on the
            # primary, so reads need no sync token, which the SDK would keep in a dictionary shared by threads.
            client = Redis(
                *credentials, rest_encoding=None, rest_retries=0, allow_telemetry=False, read_your_writes=False
            )
            # The SDK sets no time limit and has no parameter for one: its client would wait for ever.
            client._http._client.timeout = _TIMEOUT
            _connections[credentials] = _Connection(client, set())
        return _connections[credentials]
