"""The local platform and the local store, as a developer runs them: until they are interrupted."""

import argparse
import json
import threading
from contextlib import nullcontext

import httpx
from watchfiles import PythonFilter, watch

from dev import PROJECT
from dev.local import environment
from dev.local.deployment import deploy, local_store, print_line

_SOURCES = (PROJECT / "api", PROJECT / "lib", *(folder for folder in (PROJECT / "lib").rglob("*") if folder.is_dir()))
_IS_SOURCE = PythonFilter(extra_extensions=(".lua", "vercel.json", ".env.local"))


def platform(arguments: argparse.Namespace) -> None:
    """Serve the project on `port`, and start its functions again when its files change."""
    chosen = environment.store(PROJECT)

    def variables() -> dict[str, str]:
        return environment.of_functions(PROJECT, local.variables() if local else {})

    with (
        nullcontext() if chosen.upstash else local_store(chosen.redis) as local,
        deploy(PROJECT, variables, port=arguments.port, names=arguments.host) as deployment,
    ):
        print_line(f"Parley  {deployment.url}  (Ctrl-C stops it, a changed file reloads it)")
        print_line(f"Store   {chosen}{_store_problem(deployment.url)}")
        if local:
            print_line(f"        REST at {local.url} with the token {local.token}")
        print_line(f"Try     curl -X POST {deployment.url}/api/sessions")
        for _ in watch(PROJECT, *_SOURCES, recursive=False, watch_filter=_IS_SOURCE):
            try:
                deployment.platform.reload()
                print_line("Reloaded")
            except ValueError as error:
                print_line(str(error))


def store(arguments: argparse.Namespace) -> None:
    """Serve the local Upstash alone on `port` with `token`. Raises ValueError if the environment names a real one."""
    chosen = environment.store(PROJECT)
    if chosen.upstash:
        raise ValueError("The environment names an Upstash database already: unset its variables to run a local one.")
    with local_store(chosen.redis, arguments.token, arguments.port) as local:
        print_line(f"Store   {chosen}")
        print_line(f"UPSTASH_REDIS_REST_URL={local.url}")
        print_line(f"UPSTASH_REDIS_REST_TOKEN={local.token}")
        threading.Event().wait()


def _store_problem(url: str) -> str:
    """Return why the functions do not reach the store; `""` if they do."""
    try:
        health = httpx.get(f"{url}/api/health", timeout=20)
        return "" if health.is_success else f": {health.json()['detail']} ({health.json()['code']})"
    except (httpx.HTTPError, json.JSONDecodeError, KeyError):
        return ": not known, since /api/health does not answer"
