"""python -m tests.instance: what is left in is measured, printed, and written as JSON."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.deployments import clean_environment
from tests.support.tools import PROJECT


@pytest.mark.long
def test_streams(tmp_path: Path) -> None:
    parts = ["--rounds", "0", "--no-bursts", "--no-large", "--streams", "5", "--pushes", "30", "--idle", "1"]
    command = [sys.executable, "-m", "tests.instance", *parts, "--json", str(tmp_path / "instance.json")]
    done = subprocess.run(command, cwd=PROJECT, env=clean_environment(), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert all(line.startswith("… ") for line in done.stderr.splitlines())
    idle = re.findall(r"^Idle streams: (\d) opened, and stayed for 1 s; store calls: \d+\.$", done.stdout, re.MULTILINE)
    assert idle == ["1", "5"]
    assert "lost 0, ended 0." in done.stdout
    found = json.loads((tmp_path / "instance.json").read_text())
    assert found.keys() == {"at", "store", "idle, 1", "idle, 5", "crowd"}
    assert {name: len(values) for name, values in found["crowd"]["milliseconds"].items()} == {
        "push, 1 stream": 30,
        "push, 5 streams": 30,
    }
