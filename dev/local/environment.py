"""The environment variables of the functions on this machine, and the store that they use."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

from dotenv import dotenv_values

from lib import settings

# No limit on how often a caller may call, for tools that are many callers with one address.
UNLIMITED = {
    number.variable: str(number.most)
    for number in vars(settings).values()
    if isinstance(number, settings.Number) and number.variable.startswith("RATE_LIMIT_")
}
_NOT_FOR_FUNCTIONS = {"VIRTUAL_ENV", "PYTHONPATH", "PYTHONHOME", "REDIS_URL"}


class Store(NamedTuple):
    """The store to use: the address of an Upstash database or of a Redis, or an embedded Redis if both are None."""

    upstash: str | None = None
    redis: str | None = None

    def __str__(self) -> str:
        if address := self.upstash or self.redis:
            return f"{'Upstash' if self.upstash else 'Redis'} at {urlsplit(address).netloc.rpartition('@')[2]}"
        return "embedded, gone when this stops"


def store(folder: Path) -> Store:
    """Return the store that this process's environment names, or else `.env.local` in the folder."""
    for variables in (os.environ, _file(folder)):
        for url, token in settings.STORE_VARIABLES:
            if variables.get(url) and variables.get(token):
                return Store(upstash=variables[url])
        if redis_url := variables.get("REDIS_URL"):
            return Store(redis=redis_url)
    return Store()


def of_functions(folder: Path, local_store: Mapping[str, str]) -> dict[str, str]:
    """Return the variables for a function: those of `.env.local`, of this process, and of the local store."""
    given = {**_file(folder), **os.environ}
    return {
        "VERCEL_ENV": "development",
        **{name: value for name, value in given.items() if name not in _NOT_FOR_FUNCTIONS},
        **local_store,
        "VERCEL": "1",
    }


def _file(folder: Path) -> dict[str, str]:
    return {name: value for name, value in dotenv_values(folder / ".env.local").items() if value}
