"""The commands of `python -m dev`."""

import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from tests.support.deployments import clean_environment
from tests.support.tools import PATIENCE_SECONDS, PROJECT


def finished(*arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run a command that ends by itself."""
    return subprocess.run(
        [sys.executable, "-m", "dev", *arguments],
        cwd=PROJECT,
        env=clean_environment() | variables,
        capture_output=True,
        text=True,
        timeout=5 * PATIENCE_SECONDS,
        check=False,
    )


@contextmanager
def running(*arguments: str, until: str, **variables: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """Run a command until it has printed a line that begins so; yield it with what it printed. It has to stop well."""
    process = subprocess.Popen(
        [sys.executable, "-m", "dev", *arguments],
        cwd=PROJECT,
        env=clean_environment() | variables,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert process.stdout
    try:
        printed = ""
        for line in process.stdout:
            printed += line
            if line.startswith(until):
                break
        yield process, printed
        process.send_signal(signal.SIGINT)
        rest = process.stdout.read()
        assert process.wait(PATIENCE_SECONDS) == 0
        assert "Traceback" not in printed + rest
    finally:
        # Not killed, also where the test has failed: it has functions to stop.
        process.terminate()
        process.communicate(timeout=PATIENCE_SECONDS)
