"""What the tests need of the machine, and how they wait."""

import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

import pytest

PROJECT = Path(__file__).resolve().parent.parent.parent

# How long a test waits for an event before it fails: far longer than the event takes on a machine that does other work.
PATIENCE_SECONDS = 60


def in_ci() -> bool:
    """Return whether a missing tool is a failure, because CI installs every tool."""
    return os.environ.get("CI") == "true"


def need(tool: str, install: str) -> str:
    """Return the path of a tool. Without it the test is skipped on a user's machine, and fails in CI."""
    return shutil.which(tool) or go_without(f"{tool} is not installed: {install}")


def go_without(reason: str) -> NoReturn:
    """Skip a test on a user's machine, and fail it in CI."""
    if in_ci():
        pytest.fail(reason)
    pytest.skip(reason)


def long(*values: object) -> Any:
    """Return parameters with which a test runs among the long ones only, because others stand for them."""
    return pytest.param(*values, marks=pytest.mark.long)


def wait_until(condition: Callable[[], bool], seconds: float = PATIENCE_SECONDS, *, longest_pause: float = 0.1) -> None:
    """Return as soon as the condition holds; fail if it does not within the time.

    It looks less and less often, since a look may cost a call, or a browser's time. A condition that has to be asked
    often to come true needs a shorter pause.
    """
    until, pause = time.monotonic() + seconds, 0.005
    while not condition():
        assert time.monotonic() < until, "waited in vain"
        time.sleep(pause)
        pause = min(pause * 1.3, longest_pause)
