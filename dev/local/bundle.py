"""The deployment as `vercel build` makes it, on this machine and without an account."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

_NOT_CLONED = shutil.ignore_patterns(".git", ".venv", ".vercel", ".env*", "__pycache__", ".*_cache", ".hypothesis")
# What `vercel link` would write.
_LINK = {
    "projectId": "prj_local",
    "orgId": "team_local",
    "settings": {"framework": None, "createdAt": 1750000000000, "nodeVersion": "22.x"},
}


def build(project: Path, folder: Path, vercel: str) -> Path:
    """Build a copy of the project in an empty folder with the Vercel CLI at `vercel`.

    Returns the build's output, where each function's files lie as they are deployed: `functions/api/NAME.func/`.
    Raises CalledProcessError, with what the CLI said as its `output`.
    """
    copy = folder / "project"
    shutil.copytree(project, copy, ignore=_NOT_CLONED)
    (copy / ".vercel").mkdir()
    (copy / ".vercel" / "project.json").write_text(json.dumps(_LINK))
    subprocess.run(
        [vercel, "build", "--yes", "--token", "none"],
        cwd=copy,
        # The builder looks for uv, which the development environment has. The variable stands in vercel.json for the
        # cloud's build; the CLI does not take it from there.
        env={
            **{
                name: value
                for name, value in os.environ.items()
                if not name.startswith(("UV_", "VIRTUAL_ENV", "VERCEL"))
            },
            **json.loads((project / "vercel.json").read_text("utf-8"))["build"]["env"],
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
            "VERCEL_TELEMETRY_DISABLED": "1",
        },
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        check=True,
        text=True,
    )
    output = copy / ".vercel" / "output"
    for function in output.glob("functions/api/*.func"):
        for name, source in config(function)["filePathMap"].items():
            (function / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(copy / source, function / name)
    return output


def config(function: Path) -> dict[str, Any]:
    """Return what the build says of a function."""
    said: dict[str, Any] = json.loads((function / ".vc-config.json").read_text("utf-8"))
    return said
