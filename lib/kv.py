"""The store: Upstash Redis over REST, with bounded waits, one quick retry and a name for every failure."""

import re
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from typing import NamedTuple

from upstash_redis import Redis
from upstash_redis.errors import UpstashError

from lib import settings, transport
from lib.problems import StoreProblem, StoreQuotaExceeded, StoreUnauthorized, StoreUnavailable
from lib.slots import Slots
from lib.transport import Transport

_ATTEMPTS = 2
_RETRY_AFTER_SECONDS = 0.1

# What the SDK raises if no answer of the store's came: errors of the network, and bodies that are not its JSON.
_NO_ANSWER = (*transport.NO_ANSWER, TypeError, KeyError, AttributeError)

# Source: https://upstash.com/docs/redis/troubleshooting. OOM is what a Redis without memory says.
_QUOTA = re.compile(r"max (daily |monthly )?(request|bandwidth)s? limit exceeded|quota exceeded|\bOOM\b", re.IGNORECASE)
_UNAUTHORIZED = re.compile(r"unauthorized|WRONGPASS|NOAUTH|NOPERM", re.IGNORECASE)

# How many calls to the store may run at a time, and how many of one network. Each holds a descriptor, and waiting calls
# take nearly all of those (lib/wait/capacity.py).
_slots = Slots(total=10, share=4)
_SLOT_SECONDS = 10.0

# One connection in a process, as its credentials do not change.
_connections: "dict[settings.Credentials, _Connection]" = {}
_connections_lock = threading.Lock()
_count_lock = threading.Lock()


class _NotKnown(StoreUnavailable):
    """The store has not seen a script's text, or has forgotten it."""


class _Connection(NamedTuple):
    """The process's client, and the digests of the scripts that its store knows."""

    client: Redis
    scripts: set[str]


class Store:
    """The store as one request uses it. `network` is whose calls it makes.

    `calls` is the number of HTTP calls, `seconds` the time that they took; `counted_by` counts both, too, if it is
    given. The connections behind it are the process's and safe to share.
    """

    def __init__(self, network: str = "", counted_by: "Store | None" = None) -> None:
        self.network = network
        self._counted_by = counted_by
        self.calls = 0
        self.seconds = 0.0

    def evaluate(self, script: str, digest: str, keys: Sequence[str], arguments: Sequence[str | int | bytes]) -> object:
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
        """Count a call. A check of waiting calls counts from another thread than the call itself, hence the lock."""
        with _count_lock:
            self.calls += 1
            self.seconds += seconds
        if self._counted_by:
            self._counted_by.count(seconds)

    def _execute(self, client: Redis, command: list[str | int | bytes]) -> object:
        cause = ""
        for attempt in range(_ATTEMPTS):
            if attempt:
                time.sleep(_RETRY_AFTER_SECONDS)
            with _slots.take(self.network, _SLOT_SECONDS) as taken:
                if not taken:
                    raise StoreUnavailable("all connections are in use")
                started = time.perf_counter()
                try:
                    # Decoded only here, where few calls run at a time: a text with an emoji is four times as wide.
                    return client.execute([part.decode() if isinstance(part, bytes) else part for part in command])
                except UpstashError as error:
                    raise _named(str(error)) from None
                except _NO_ANSWER as error:
                    cause = type(error).__name__
                finally:
                    self.count(time.perf_counter() - started)
        raise StoreUnavailable(cause)


def _named(error: str) -> StoreProblem:
    """Return the problem behind an error of the store's. Only its first words are kept: the rest may quote data."""
    cause = " ".join(error.split()[:6])[:80]
    if "NOSCRIPT" in error:  # anywhere, because a front may put words of its own before it
        return _NotKnown(cause)
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
            # The SDK has no parameter for another HTTP client. Its own has no time limit, and takes twice the time.
            client._http._client.close()
            client._http._client = Transport(credentials.url)  # type: ignore[assignment]
            _connections[credentials] = _Connection(client, set())
        return _connections[credentials]
