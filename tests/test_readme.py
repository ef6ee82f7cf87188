"""README.md: what it says to paste works, and what it lists is what there is."""

import json
import os
import re
import subprocess

import pytest

from lib import settings
from tests.conftest import PROJECT, Parley, wait_until

README = (PROJECT / "README.md").read_text("utf-8")
SESSION = README.partition("## A first session")[2].partition("\n## ")[0]


def test_the_session_as_pasted(parley: Parley) -> None:
    blocks = re.findall(r"```sh\n(.*?)```", SESSION, re.DOTALL)
    script = "set -eu\n" + "\n".join(blocks).replace("http://127.0.0.1:3000", parley.url)
    done = subprocess.run(["sh", "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert done.stdout.count('"active":true') == 3
    assert done.stdout.endswith('"environment":"development","commit":null}')
    wait_until(lambda: len(parley.lines) == 5)
    statuses = [json.loads(line)["status"] for line in parley.lines]
    assert statuses == [201, 200, 200, 204, 200]


def test_every_variable_is_listed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each variable that the code reads has a row, and its default is the one that holds."""
    for name in list(os.environ):
        if name.startswith(("SESSION_", "RATE_", "MAX_", "CORS_", "KV_", "UPSTASH_", "VERCEL")):
            monkeypatch.delenv(name)
    table = README.partition("## Configure")[2].partition("\n## ")[0]
    listed = set(re.findall(r"`([A-Z_]+)`", table))
    read = set(re.findall(r'"((?:[A-Z]+_)+[A-Z]+)"', (PROJECT / "lib" / "settings.py").read_text("utf-8")))
    assert listed == {name for name in read if not name.startswith("VERCEL")}
    defaults = dict(re.findall(r"^\| `([A-Z_]+)` \|[^|]*\| (\d+) \|$", table, re.MULTILINE))
    assert {name: int(value) for name, value in defaults.items()} == {
        "SESSION_TTL_SECONDS": settings.session_ttl(),
        "SESSION_MAX_SECONDS": settings.session_max(),
        "MAX_PAYLOAD_BYTES": settings.max_payload(),
        "RATE_LIMIT_SESSIONS": settings.sessions_a_minute(),
        "RATE_LIMIT_MISSES": settings.misses_a_minute(),
    }


def test_every_part_is_listed() -> None:
    layout = README.partition("## Layout")[2]
    for folder in ("api", "lib", "public", "dev", "tests"):
        assert f"`{folder}/`" in layout
    for name in re.findall(r"`(\w+\.py)`", layout):
        assert list(PROJECT.glob(f"*/{name}")), name
