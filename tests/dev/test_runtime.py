"""What lib/web/endpoint.py assumes of Vercel's runtime."""

import asyncio
import sys
from pathlib import Path

import httpx
import pytest

from dev.local.function import from_source
from lib.web import endpoint
from tests.instance.functions import call
from tests.support.deployments import clean_environment
from tests.support.tools import PROJECT, wait_until

# Modules of the optional package `vercel`, by the file in which the package has them.
OPTIONAL = {
    "vercel.headers": "headers.py",
    "vercel.cache.context": "cache/context.py",
    "vercel.cache.cache_build": "cache/cache_build.py",
}


@pytest.fixture
def package(tmp_path: Path) -> Path:
    """Give a folder with a package `vercel`, each of whose modules prints its name when it is imported."""
    (tmp_path / "vercel" / "cache").mkdir(parents=True)
    for file in ("__init__.py", "cache/__init__.py"):
        (tmp_path / "vercel" / file).touch()
    for file in OPTIONAL.values():
        (tmp_path / "vercel" / file).write_text("print(f'imported {__name__}')\n")
    return tmp_path


def test_the_runtime_imports_optional_modules(package: Path) -> None:
    """An installed package is left alone.

    If this waits in vain, the runtime no longer imports one of them: delete its name in lib/web/endpoint.py.
    """
    lines: list[str] = []
    function = from_source("health", PROJECT, clean_environment() | {"PYTHONPATH": str(package)}, lines.append)
    try:
        httpx.get(f"http://127.0.0.1:{function.port}/api/health", timeout=20)
        wait_until(lambda: {f"imported {name}" for name in OPTIONAL} <= set(lines))
    finally:
        function.stop()


def test_missing_modules_are_not_searched() -> None:
    assert set(endpoint._OPTIONAL_MODULES) == {"vercel", *OPTIONAL}
    assert [sys.modules.get(name, "searched") for name in endpoint._OPTIONAL_MODULES] == [None] * 4


LOOP = "an event loop"
# Python runs this when it starts.
NOTE_LOOPS = f"""
import asyncio

run = asyncio.run

def noted(*arguments):
    print("{LOOP}")
    return run(*arguments)

asyncio.run = noted
"""

PLAIN = """
from http.server import BaseHTTPRequestHandler

class handler(BaseHTTPRequestHandler):
    def do_GET(self):
        print("a call")
        self.send_response_only(204)
        self.end_headers()
"""


def printed(name: str, project: Path, folder: Path) -> list[str]:
    """Return what a function prints from its start to its second call's line, `folder` being on Python's path."""
    lines: list[str] = []
    (folder / "sitecustomize.py").write_text(NOTE_LOOPS)
    function = from_source(name, project, clean_environment() | {"PYTHONPATH": str(folder)}, lines.append)
    try:
        for _ in range(2):  # each until the connection closes, before which the runtime has done everything
            asyncio.run(call(function.port, "GET", f"/api/{name}"))
        wait_until(lambda: len([line for line in lines if line != LOOP]) == 2)
    finally:
        function.stop()
    return lines


def test_the_runtime_starts_event_loops(tmp_path: Path) -> None:
    """It does so after each call. If it no longer does, `_vc_wait_until` can go from lib/web/endpoint.py."""
    (tmp_path / "api").mkdir()
    (tmp_path / "api" / "plain.py").write_text(PLAIN)
    assert printed("plain", tmp_path, tmp_path)[:3] == ["a call", LOOP, "a call"]


def test_no_event_loop_after_a_call(tmp_path: Path) -> None:
    assert LOOP not in printed("health", PROJECT, tmp_path)
