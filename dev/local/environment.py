"""Which environment the functions run in on this machine, and which store stands behind them."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

from dotenv import dotenv_values

from lib.settings import STORE_VARIABLES

# What lifts the limits on how often a caller may call, where many of them are one machine.
UNLIMITED = {f"RATE_LIMIT_{what}": "1000000" for what in ("SESSIONS", "REQUESTS", "MISSES")}
_OF_THE_TOOLS = {"VIRTUAL_ENV", "PYTHONPATH", "PYTHONHOME", "REDIS_URL"}


class Store(NamedTuple):
    """The store to use: an Upstash database, the Redis at an address, or the embedded one where both are None."""

    upstash: str | None = None
    redis: str | None = None

    def __str__(self) -> str:
        if address := self.upstash or self.redis:
            return f"{'Upstash' if self.upstash else 'Redis'} at {urlsplit(address).netloc.rpartition('@')[2]}"
        return "embedded, gone when this stops"


def store(folder: Path) -> Store:
    """Return the store that the variables name. What this process was given counts before what `.env.local` says."""
    for variables in (os.environ, _file(folder)):
        for url, token in STORE_VARIABLES:
            if variables.get(url) and variables.get(token):
                return Store(upstash=variables[url])
        if redis_url := variables.get("REDIS_URL"):
            return Store(redis=redis_url)
    return Store()


def of_functions(folder: Path, local_store: Mapping[str, str]) -> dict[str, str]:
    """Return what a function finds in its environment: `.env.local`, this process's, the local store's address."""
    given = {**_file(folder), **os.environ}
    return {
        "VERCEL_ENV": "development",
        **{name: value for name, value in given.items() if name not in _OF_THE_TOOLS},
        **local_store,
        "VERCEL": "1",
    }


def _file(folder: Path) -> dict[str, str]:
    return {name: value for name, value in dotenv_values(folder / ".env.local").items() if value}
