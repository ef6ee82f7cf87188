"""The store: Upstash Redis over REST, with bounded waits, one quick retry and a name for every failure."""

import logging
import re
import threading
import time
from collections.abc import Sequence
from typing import Any

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

# One client in a process, as its credentials do not change.
_clients: dict[settings.Credentials, Redis] = {}
_clients_lock = threading.Lock()

# httpx logs the address of every call that it makes.
logging.getLogger("httpx").setLevel(logging.WARNING)


class Store:
    """One request's way to the store, which counts what the request costs.

    `calls` is the number of HTTP calls, `seconds` the time that they took. The connections behind it are the
    process's and safe to share.
    """

    def __init__(self) -> None:
        self.calls = 0
        self.seconds = 0.0

    def evaluate(self, script: str, keys: Sequence[str], arguments: Sequence[str | int]) -> list[Any]:
        """Run a script and return its reply, a list that is not empty.

        Raises a StoreProblem. A script may run twice, if its answer was lost: each is written for that.
        """
        reply = self._execute(["EVAL", script, len(keys), *keys, *arguments])
        if not isinstance(reply, list) or not reply:
            raise StoreUnavailable(f"a script's reply is {type(reply).__name__}")
        return reply

    def ping(self) -> None:
        """Return if the store answers. Raises a StoreProblem."""
        self._execute(["PING"])

    def _execute(self, command: list[str | int]) -> object:
        client = _shared_client()
        cause = ""
        for attempt in range(_ATTEMPTS):
            if attempt:
                time.sleep(_RETRY_AFTER_SECONDS)
            started = time.perf_counter()
            try:
                return client.execute(command)
            except UpstashError as error:
                raise _named(str(error)) from None
            except _NO_ANSWER as error:
                cause = type(error).__name__
            finally:
                self.calls += 1
                self.seconds += time.perf_counter() - started
        raise StoreUnavailable(cause)


def _named(error: str) -> StoreProblem:
    """Return the problem behind an error of the store's. Only its first words are kept: the rest may quote data."""
    cause = " ".join(error.split()[:6])[:80]
    if _QUOTA.search(error):
        return StoreQuotaExceeded(cause)
    if _UNAUTHORIZED.search(error):
        return StoreUnauthorized(cause)
    return StoreUnavailable(cause)


def _shared_client() -> Redis:
    """Return the process's client. Raises StoreNotConfigured."""
    credentials = settings.store()
    with _clients_lock:
        if credentials not in _clients:
            # This class retries, because the SDK's own retries would be missing from the count. Scripts run on the
            # primary, so reads need no sync token, which the SDK would keep in a dictionary shared by threads.
            client = Redis(
                *credentials, rest_encoding=None, rest_retries=0, allow_telemetry=False, read_your_writes=False
            )
            # The SDK sets no time limit and has no parameter for one: its client would wait for ever.
            client._http._client.timeout = _TIMEOUT
            _clients[credentials] = client
        return _clients[credentials]
