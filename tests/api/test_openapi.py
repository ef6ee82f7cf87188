"""public/openapi.json: it says what the service does, and docs/api.md says the same."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest

from dev.local import environment
from lib import VERSION
from lib.mcp import results
from lib.problems import Problem
from lib.wait import host_stream
from tests.support import documents
from tests.support.deployments import Parley, clean_environment, running_parley
from tests.support.stores import running_store
from tests.support.tools import PROJECT
from tests.support.values import leaves

OPENAPI: dict[str, Any] = json.loads((PROJECT / "public" / "openapi.json").read_text("utf-8"))
CALLS = documents.chapters("docs/api.md")["The calls"]
METHODS = ("get", "post", "put", "patch", "delete")


def operations() -> Iterator[tuple[str, str, dict[str, Any]]]:
    for path, item in OPENAPI["paths"].items():
        for method in METHODS:
            if method in item:
                yield method.upper(), path, item[method]


def resolved(part: Any) -> Any:
    """Follow a reference."""
    while isinstance(part, dict) and "$ref" in part:
        name = part["$ref"].removeprefix("#/")
        part = OPENAPI
        for step in name.split("/"):
            part = part[step]
    return part


def media_types(part: Any) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield every media type object in a part of the document."""
    if isinstance(part, dict):
        yield from part.get("content", {}).items()
        for name, value in part.items():
            if name != "examples":  # which may have a content of their own
                yield from media_types(value)


def test_the_same_calls_are_listed() -> None:
    rows = re.findall(r"^\| `([A-Z]+) (/[^`? ]+)[^|]*\|[^|]*\| (\d+)(.*)\|$", CALLS, re.MULTILINE)
    listed = {(method, path): {status, *re.findall(r"\b20\d\b", rest)} for method, path, status, rest in rows}
    described = {
        (method, path): {status for status in operation["responses"] if status < "300"}
        for method, path, operation in operations()
    }
    assert listed == described


def test_every_problem_is_described() -> None:
    described = {}
    for kind, content in media_types(OPENAPI["components"]["responses"]):
        assert kind == "application/problem+json"
        for code, example in content["examples"].items():
            described[code] = (example["value"]["status"], example["value"]["title"], example["value"]["type"])
    classes = leaves(Problem)
    assert described == {one.code: (one.status, one.title, f"/problems.html#{one.code}") for one in classes}
    assert OPENAPI["components"]["schemas"]["Problem"]["properties"]["code"]["enum"] == sorted(described)


def test_every_event_is_described() -> None:
    events = {one["properties"]["event"]["const"] for one in OPENAPI["components"]["schemas"]["Event"]["oneOf"]}
    assert events == set(host_stream.EVENTS)
    row = next(line for line in CALLS.splitlines() if "/stream` |" in line)
    assert events == set(re.findall(r"`(\w+)`", row))
    reasons = OPENAPI["components"]["schemas"]["EndedEvent"]["properties"]["reason"]["enum"]
    assert set(reasons) == set(host_stream.REASONS.values())


def test_every_example_is_one() -> None:
    checked = 0
    for _, content in [*media_types(OPENAPI["paths"]), *media_types(OPENAPI["components"]["responses"])]:
        validator = jsonschema_rs.validator_for({**content["schema"], "components": OPENAPI["components"]})
        for example in content.get("examples", {}).values():
            validator.validate(example["value"])
            checked += 1
    for name, schema in OPENAPI["components"]["schemas"].items():
        for example in schema.get("examples", []):
            whole = {"$ref": f"#/components/schemas/{name}", "components": OPENAPI["components"]}
            jsonschema_rs.validate(whole, example)
            checked += 1
    assert checked > 40


def test_every_path_is_described() -> None:
    """Those to which vercel.json rewrites, and those of functions without parameters in their path."""
    rewrites = json.loads((PROJECT / "vercel.json").read_text("utf-8"))["rewrites"]
    sources = {rewrite["source"].removesuffix("{/}?"): rewrite["destination"] for rewrite in rewrites}
    pretty = {re.sub(r":(\w+)", r"{\1}", source): destination for source, destination in sources.items()}
    own = {f"/api/{file.stem}" for file in (PROJECT / "api").glob("*.py")}
    only_with_parameters = {target.partition("?")[0] for target in pretty.values()} - {"/api/sessions"}
    also = {"/api/sessions/{code}/mcp"}  # told in the description of /mcp/{code}
    assert OPENAPI["paths"].keys() == (pretty.keys() - also) | (own - only_with_parameters)
    assert all(path in json.dumps(OPENAPI) for path in also)


def test_every_method_is_described(parley: Parley) -> None:
    for path, item in OPENAPI["paths"].items():
        real = path.replace("{code}", "ABC12345").replace("{id}", "q1")
        allowed = set(parley.http.options(real).headers["allow"].split(", ")) - {"HEAD", "OPTIONS"}
        assert {method.upper() for method in METHODS if method in item} == allowed


def test_every_header_is_described(parley: Parley) -> None:
    """Those that a page may send and read are those that the document names."""
    answer = parley.http.options("/api/sessions")
    named = OPENAPI["components"]["headers"]
    assert set(answer.headers["access-control-expose-headers"].split(", ")) <= named.keys()
    sent = {one["name"] for one in OPENAPI["components"]["parameters"].values() if one["in"] == "header"}
    assert set(answer.headers["access-control-allow-headers"].split(", ")) == sent | {"Authorization", "Content-Type"}


def test_one_version() -> None:
    """Parley names the same version everywhere, and the OpenAPI file those of MCP."""
    assert OPENAPI["info"]["version"] == VERSION
    assert re.findall(r"^## (.+)$", documents.read("CHANGELOG.md"), re.MULTILINE)[1] == VERSION
    told = OPENAPI["components"]["parameters"]["MCP-Protocol-Version"]["description"]
    assert re.findall(r"[\d-]{10}", told) == [results.MODERN, *results.LEGACY]


def test_it_is_linked() -> None:
    assert "(../public/openapi.json)" in CALLS
    assert "(public/openapi.json)" in documents.read("README.md")
    assert 'href="/openapi.json"' in (PROJECT / "public" / "index.html").read_text("utf-8")


@pytest.mark.long
def test_service_does_what_it_says(tmp_path: Path) -> None:
    """schemathesis walks every operation, with good and bad data, alone and one after the other."""
    settings = {
        "SESSION_SECRET": "known to the hooks",
        "STREAM_SECONDS": "1",
        **environment.UNLIMITED,
    }
    with running_store(None) as store, running_parley(store, **settings) as parley:
        command = [
            sys.executable,
            "-m",
            "schemathesis.cli",
            "--config-file",
            str(PROJECT / "tests" / "api" / "schemathesis.toml"),
            "run",
        ]
        done = subprocess.run(
            [*command, str(PROJECT / "public" / "openapi.json"), "--url", parley.url, "--seed", "1", "--no-color"],
            cwd=tmp_path,
            env={
                **os.environ,
                **clean_environment(),
                "SESSION_SECRET": settings["SESSION_SECRET"],
                "PYTHONPATH": str(PROJECT),
                "PARLEY_URL": parley.url,
                "SCHEMATHESIS_HOOKS": "tests.api.schemathesis_hooks",
            },
            capture_output=True,
            text=True,
            check=False,
        )
    report = done.stdout + done.stderr
    assert done.returncode == 0, report
    assert f"Tested: {len(list(operations()))}" in report
    seen = {(line["method"], line["route"], line["status"]) for line in map(json.loads, parley.lines)}
    assert not {status for _, _, status in seen if status >= 500}
    succeeded = {(method, route) for method, route, status in seen if status < 300}
    assert succeeded >= {(method, path) for method, path, _ in operations()}, "each has been called with success"
