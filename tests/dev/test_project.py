"""dev/local/project.py: vercel.json is the only routing table, and what is not understood in it is refused."""

import json
from pathlib import Path
from typing import Any

import pytest

from dev.local.project import Project, Route

CONFIG: dict[str, Any] = {
    "outputDirectory": "public",
    "functions": {"api/slow.py": {"maxDuration": 300}, "api/*.py": {"maxDuration": 30}},
    "rewrites": [
        {"source": "/api/things/:code", "destination": "/api/things?code=:code"},
        {"source": "/api/things/:code/parts/:id", "destination": "/api/slow?code=:code&id=:id"},
    ],
    "headers": [
        {"source": "/(.*)", "headers": [{"key": "X-A", "value": "1"}]},
        {"source": "/page.html", "headers": [{"key": "X-B", "value": "2"}]},
    ],
}


def project(folder: Path, **changes: Any) -> Project:
    (folder / "api").mkdir(exist_ok=True)
    for name in ("things", "slow", "_helper"):
        (folder / "api" / f"{name}.py").touch()
    (folder / "vercel.json").write_text(json.dumps(CONFIG | changes))
    return Project(folder)


@pytest.mark.parametrize(
    ("target", "route"),
    [
        ("/api/things", Route("things", "/api/things")),
        ("/api/things/", Route("things", "/api/things/")),
        ("/api/things.py?a=b", Route("things", "/api/things.py?a=b")),
        ("/api/things/x", Route("things", "/api/things/x?code=x")),
        ("/api/things/x?z=1", Route("things", "/api/things/x?z=1&code=x")),
        ("/api/things/x?code=y", Route("things", "/api/things/x?code=y&code=x")),
        ("/api/things/x&c=1", Route("things", "/api/things/x&c=1?code=x&c=1")),
        ("/api/things/a/parts/b%2Fc", Route("slow", "/api/things/a/parts/b%2Fc?code=a&id=b%2Fc")),
        ("/api/things/a/parts", None),
        ("/api/things/a/b", None),
        ("/api/_helper", None),
        ("/api/none", None),
        ("/", None),
    ],
)
def test_route(tmp_path: Path, target: str, route: Route | None) -> None:
    assert project(tmp_path).route(target) == route


def test_headers(tmp_path: Path) -> None:
    assert project(tmp_path).headers("/api/things") == {"X-A": "1"}
    assert project(tmp_path).headers("/page.html") == {"X-A": "1", "X-B": "2"}


def test_limits(tmp_path: Path) -> None:
    assert [project(tmp_path).max_duration(name) for name in ("slow", "things")] == [300, 30]


@pytest.mark.parametrize("source", ["/a/:b*", "/a{/b}?", "/a/:b(\\d+)", "/a|b", "/a+"])
def test_what_is_not_understood(tmp_path: Path, source: str) -> None:
    with pytest.raises(ValueError, match="not understood"):
        project(tmp_path, rewrites=[{"source": source, "destination": "/api/things"}])
