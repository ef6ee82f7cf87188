"""The commands of `python -m dev`, run to their end."""

import subprocess
import sys

from tests.support.deployments import clean_environment
from tests.support.tools import PROJECT


def finished(*arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run a command that ends by itself."""
    return subprocess.run(
        [sys.executable, "-m", "dev", *arguments],
        cwd=PROJECT,
        env=clean_environment() | variables,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
