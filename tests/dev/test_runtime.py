"""What lib/web/endpoint.py assumes of Vercel's runtime."""

import sys
from pathlib import Path

import httpx
import pytest

from dev.local.function import from_source
from lib.web import endpoint
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
