"""A running deployment on this machine: a local store, the project's functions, and the server in front of them."""

import secrets
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from starlette.types import ASGIApp

from dev.local import function, upstash
from dev.local.platform import Platform
from dev.local.project import Project
from dev.local.server import Server


class LocalStore(NamedTuple):
    """A local Upstash that runs: the URL of its REST API, and the token that it accepts."""

    url: str
    token: str

    def variables(self) -> dict[str, str]:
        """Return the environment variables with which a function uses this store."""
        return {"KV_REST_API_URL": self.url, "KV_REST_API_TOKEN": self.token}


class Deployment(NamedTuple):
    """A deployment that runs; `url` is where callers reach it."""

    url: str
    platform: Platform


def print_line(text: str) -> None:
    """Print a line at once and in one piece, also if standard output is a pipe and other threads print as well."""
    print(f"{text}\n", end="", flush=True)


@contextmanager
def local_store(
    redis_url: str | None,
    token: str | None = None,
    port: int = 0,
    wrap: Callable[[ASGIApp], ASGIApp] = lambda app: app,
    certificate: Path | None = None,
) -> Iterator[LocalStore]:
    """Run a local Upstash, in front of the Redis at `redis_url` or of an embedded one.

    Without a token it gets a random one; port 0 is any free port. `wrap` may put a layer in front of its application.
    With a certificate the store is behind TLS, as in production. Raises OSError if the port is in use.
    """
    token = token or secrets.token_hex(16)
    with Server(wrap(upstash.local(token, redis_url)), port, certificate=certificate) as server:
        yield LocalStore(server.url, token)


@contextmanager
def deploy(
    project: Path,
    environment: Callable[[], Mapping[str, str]],
    *,
    log: Callable[[str], None] = print_line,
    complain: Callable[[str], None] = print_line,
    port: int = 0,
    names: Collection[str] = (),
) -> Iterator[Deployment]:
    """Run a project's functions and its static files behind one address.

    `environment` is called for each start of a function, and returns the variables for it. `log` gets what a function
    prints, line by line. `complain` and `names` are as for `Platform`. Port 0 is any free port. Raises OSError if the
    port is in use, and ValueError if `vercel.json` has what the local platform does not implement.
    """
    platform = Platform(
        Project(project), lambda name: function.start(name, None, project, environment(), log), complain, names
    )
    # The server starts first, to report a port that is in use, and ends last: without functions no stream keeps it.
    with Server(platform, port, parser="h11") as front, platform:
        yield Deployment(front.url, platform)
