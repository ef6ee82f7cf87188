"""Run Parley on this machine, or a part of it."""

import argparse
import errno
import json
import os
import secrets
import signal
import sys
import threading
from contextlib import ExitStack
from pathlib import Path

import httpx
from watchfiles import Change, watch

from dev.bench import benchmark
from dev.check import checker
from dev.local import environment, upstash
from dev.local.function import Function, from_source
from dev.local.platform import Platform
from dev.local.project import Project
from dev.local.server import Server
from dev.soak import soak

PROJECT = Path(__file__).resolve().parent.parent
_SOURCES = (PROJECT / "api", PROJECT / "lib", PROJECT / "lib" / "scripts")
_SETTINGS = ("vercel.json", ".env.local")


def main() -> int:
    """Run the command of the command line until it is interrupted. Returns the exit code."""
    arguments = _arguments()
    for stopping in (signal.SIGINT, signal.SIGTERM):
        signal.signal(stopping, signal.default_int_handler)
    try:
        arguments.run(arguments)
        return 0
    except KeyboardInterrupt:
        return 0
    except OSError as error:
        if error.errno != errno.EADDRINUSE:
            raise
        print(
            f"Port {arguments.port} is in use: choose another one with --port N, or make dev PORT=N.", file=sys.stderr
        )
    except ValueError as error:
        print(error, file=sys.stderr)
    return 1


def run_platform(arguments: argparse.Namespace) -> None:
    """Serve the project, and start its functions again when its files change."""
    with ExitStack() as running:
        store = environment.store(PROJECT)
        local_store: dict[str, str] = {}
        if not store.upstash:
            token = secrets.token_hex(16)
            server = running.enter_context(Server(upstash.local(token, store.redis)))
            local_store = {"KV_REST_API_URL": server.url, "KV_REST_API_TOKEN": token}

        def start(name: str) -> Function:
            return from_source(name, PROJECT, environment.of_functions(PROJECT, local_store))

        platform = Platform(Project(PROJECT), start)
        front = running.enter_context(Server(platform, arguments.port, parser="h11"))
        running.enter_context(platform)
        print(f"Parley  {front.url}  (Ctrl-C stops it, a changed file reloads it)")
        print(f"Store   {store}{_health(front.url)}")
        if local_store:
            print(f"        REST at {server.url} with the token {token}")
        print(f"Try     curl -X POST {front.url}/api/sessions", flush=True)
        for _ in watch(PROJECT, *_SOURCES, recursive=False, watch_filter=_matters):
            try:
                platform.reload(Project(PROJECT))
                print("Reloaded", flush=True)
            except ValueError as error:
                print(error, flush=True)


def run_store(arguments: argparse.Namespace) -> None:
    """Serve the local Upstash alone, for any client of Upstash's."""
    store = environment.store(PROJECT)
    if store.upstash:
        raise ValueError("The environment names an Upstash database already: unset its variables to run a local one.")
    token = arguments.token or secrets.token_hex(16)
    with Server(upstash.local(token, store.redis), arguments.port) as server:
        print(f"Store   {store}")
        print(f"UPSTASH_REDIS_REST_URL={server.url}")
        print(f"UPSTASH_REDIS_REST_TOKEN={token}", flush=True)
        threading.Event().wait()


def run_bench(arguments: argparse.Namespace) -> None:
    """Measure the local platform, or a deployment."""
    times = arguments.times or (20 if arguments.url else 200)
    streams = arguments.streams if arguments.url is None else 0
    options = benchmark.Options(times, arguments.starts, streams, arguments.idle, arguments.json, arguments.plot)
    benchmark.run(PROJECT, arguments.url, options)


def run_soak(arguments: argparse.Namespace) -> None:
    """Let everything fail around the local platform, and see what it does."""
    if wrong := soak.run(PROJECT, arguments.seconds, arguments.seed):
        print(*wrong, sep="\n")
        raise ValueError(f"Seed {arguments.seed}: {len(wrong)} things are wrong.")
    print("Nothing lost, doubled, out of order or left behind.")


def run_check(arguments: argparse.Namespace) -> None:
    """Check a deployment from outside. Exits with 1 where something is wrong with it, or it was interrupted."""
    try:
        well = checker.run(arguments.url, arguments.bypass, arguments.latency, as_json=arguments.json)
    except KeyboardInterrupt:
        well = False
    if not well:
        sys.exit(1)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m dev", description=__doc__)
    parser.add_argument("--port", type=int, default=3000, help="where Parley listens (default: 3000; 0: a free one)")
    parser.set_defaults(run=run_platform)
    parts = parser.add_subparsers(title="parts")
    measure = parts.add_parser("bench", help="measure the local platform, or a deployment")
    measure.add_argument(
        "url", type=checker.address, nargs="?", metavar="URL", help="a deployment (default: a local one)"
    )
    measure.add_argument("--times", type=int, help="how often (default: 200; 20 on a deployment, which has limits)")
    measure.add_argument("--starts", type=int, default=7, help="cold starts of each function (default: 7; 0: none)")
    measure.add_argument("--streams", type=int, default=1000, help="how many at once (default: 1000; 0: none)")
    measure.add_argument(
        "--idle", type=float, default=60, help="seconds of an idle stream (default: 60; 0: leave it out)"
    )
    measure.add_argument("--json", type=Path, metavar="FILE", help="where to write all figures")
    measure.add_argument("--plot", type=Path, metavar="FILE", help="where to draw the distributions, a PNG")
    measure.set_defaults(run=run_bench)
    soaking = parts.add_parser("soak", help="let everything fail around the local platform")
    soaking.add_argument("--seconds", type=float, default=120, help="for how long (default: 120)")
    soaking.add_argument("--seed", type=int, default=1, help="what fails when is drawn from it (default: 1)")
    soaking.set_defaults(run=run_soak)
    checking = parts.add_parser("check", help="check a deployment from outside, step by step")
    checking.add_argument("url", type=checker.address, metavar="URL", help="such as https://parley.vercel.app")
    checking.add_argument(
        "--bypass",
        type=checker.secret,
        metavar="SECRET",
        default=os.environ.get("VERCEL_AUTOMATION_BYPASS_SECRET", ""),
        help="opens a protected deployment (default: VERCEL_AUTOMATION_BYPASS_SECRET)",
    )
    checking.add_argument(
        "--latency",
        type=checker.limit,
        metavar="MS",
        default=checker.LATENCY_LIMIT,
        help="how far the store may be from the functions (default: 50)",
    )
    checking.add_argument("--json", action="store_true", help="print one JSON object, for programs")
    checking.set_defaults(run=run_check)
    store = parts.add_parser("store", help="the local Upstash alone")
    store.add_argument("--port", type=int, default=8079, help="where it listens (default: 8079; 0: a free one)")
    store.add_argument("--token", help="the bearer token that it asks for (default: a random one)")
    store.set_defaults(run=run_store)
    return parser.parse_args()


def _health(url: str) -> str:
    """Return what the first look at the store tells a developer."""
    try:
        health = httpx.get(f"{url}/api/health", timeout=20)
        return "" if health.is_success else f": {health.json()['detail']} ({health.json()['code']})"
    except (httpx.HTTPError, json.JSONDecodeError, KeyError):
        return ": not known, since /api/health does not answer"


def _matters(_: Change, path: str) -> bool:
    changed = Path(path)
    return changed.name in _SETTINGS if changed.parent == PROJECT else changed.suffix in (".py", ".lua")


if __name__ == "__main__":
    sys.exit(main())
