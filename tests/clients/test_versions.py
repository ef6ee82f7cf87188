"""public/relay.py with each Python that is on this machine, and as its types say."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.clients.conftest import RELAY_PY
from tests.support.deployments import Parley
from tests.support.tools import PROJECT

_NAMES = [f"python3.{minor}" for minor in range(10, 20)]


def _version(python: str) -> str:
    """Return the version of a Python, empty if it does not run."""
    told = subprocess.run([python, "-c", "print('%d.%d' % __import__('sys').version_info[:2])"], **_QUIET)  # type: ignore[call-overload]
    return str(told.stdout).strip() if told.returncode == 0 else ""


_QUIET = {"capture_output": True, "text": True, "timeout": 20, "check": False}


def _pythons() -> dict[str, str]:
    """Return the Pythons from 3.10 on that are on the path, or that pyenv has: version -> path."""
    versions = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    kept = [str(path) for path in sorted(versions.glob("3.1[0-9]*/bin/python"))]
    found = {_version(path): path for path in [*filter(None, map(shutil.which, _NAMES)), *kept, sys.executable]}
    return {version: path for version, path in found.items() if version}


PYTHONS = _pythons()


@pytest.mark.long
@pytest.mark.parametrize("version", sorted(PYTHONS))
def test_every_python(site: Parley, version: str) -> None:
    """Warnings are errors, also those about sockets and event loops that are left open."""
    done = subprocess.run(
        [PYTHONS[version], "-W", "error", str(PROJECT / "tests" / "clients" / "everything.py"), site.url],
        env={**os.environ, "PYTHONPATH": str(RELAY_PY.parent)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "fine\n", "")


def test_types_for_the_oldest_python(tmp_path: Path) -> None:
    """It is checked as strictly as a user can check it, in a folder of its own, with what a user writes."""
    shutil.copy(RELAY_PY, tmp_path)
    (tmp_path / "use.py").write_text(
        "from relay import Guest, Session, guest, host\n"
        "def add(a: int) -> int: return a\n"
        "session: Session = host([add], relay='https://relay.example', workers=2)\n"
        "one: Guest = guest(session.code, relay='https://relay.example')\n"
        "result: dict[str, object] = one.call_tool('add', {'a': 1}, timeout=1)\n"
        "reason: str = session.wait()\n"
    )
    done = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", "--python-version", "3.10", "relay.py", "use.py"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=110,
        check=False,
    )
    assert done.returncode == 0, done.stdout


def test_no_dependencies() -> None:
    """Everything that it imports is in the standard library."""
    lines = RELAY_PY.read_text("utf-8").splitlines()
    imported = {line.split()[1].partition(".")[0] for line in lines if line.startswith(("import ", "from "))}
    assert imported - {"__future__"} <= sys.stdlib_module_names
    assert lines[0] == "# /// script"
    assert '# requires-python = ">=3.10"' in lines


def test_served_beside_relay_js(site: Parley) -> None:
    served = site.http.get("/relay.py")
    assert served.content == RELAY_PY.read_bytes()
    assert served.headers["Content-Type"] == "text/x-python; charset=utf-8"
    for name in ("Access-Control-Allow-Origin", "Cross-Origin-Resource-Policy"):
        assert served.headers[name] == site.http.get("/relay.js").headers[name]
