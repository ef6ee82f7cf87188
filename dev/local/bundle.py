"""The project built by `vercel build`, as for a deployment, on this machine and without an account."""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

_NOT_CLONED = shutil.ignore_patterns(".git", ".venv", ".vercel", ".env*", "__pycache__", ".*_cache", ".hypothesis")
# As `vercel link` writes it.
_LINK = {
    "projectId": "prj_local",
    "orgId": "team_local",
    "settings": {"framework": None, "createdAt": 1750000000000, "nodeVersion": "22.x"},
}


@contextmanager
def built(project: Path) -> Iterator[Path | None]:
    """Build a copy of the project in a temporary folder, and give the output. Give None without the Vercel CLI.

    Raises as `build` does.
    """
    vercel = shutil.which("vercel")
    with tempfile.TemporaryDirectory() as folder:
        yield build(project, Path(folder), vercel) if vercel else None


def build(project: Path, folder: Path, vercel: str) -> Path:
    """Build a copy of the project in an empty folder with the Vercel CLI at `vercel`.

    Returns the build's output, in which `functions/api/NAME.func/` has the files of a function as they are deployed.
    Raises CalledProcessError, with what the CLI has printed as its `output`.
    """
    copy = folder / "project"
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("UV_", "VIRTUAL_ENV", "VERCEL"))}
    shutil.copytree(project, copy, ignore=_NOT_CLONED)
    (copy / ".vercel").mkdir()
    (copy / ".vercel" / "project.json").write_text(json.dumps(_LINK))
    subprocess.check_output(
        [vercel, "build", "--yes", "--token", "none"],
        cwd=copy,
        # PATH: the builder needs uv, which the development environment has. The cloud reads the build's variables from
        # vercel.json, but the CLI does not.
        env={
            **kept,
            **json.loads((project / "vercel.json").read_text("utf-8"))["build"]["env"],
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
            "VERCEL_TELEMETRY_DISABLED": "1",
        },
        stdin=subprocess.DEVNULL,
        stderr=subprocess.STDOUT,
        text=True,
    )
    output = copy / ".vercel" / "output"
    for function in output.glob("functions/api/*.func"):
        for name, source in config(function)["filePathMap"].items():
            (function / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(copy / source, function / name)
    return output


def config(function: Path) -> dict[str, Any]:
    """Return the configuration that the build has written for a function."""
    found: dict[str, Any] = json.loads((function / ".vc-config.json").read_text("utf-8"))
    return found
