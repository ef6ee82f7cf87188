"""The official conformance suite, against a session whose host offers the tools that the suite calls."""

import json
import os
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.support.deployments import clean_environment, deployed
from tests.support.stores import running_store
from tests.support.toolhosts import Tool, ToolHost
from tests.support.tools import PATIENCE_SECONDS, PROJECT, go_without, need

pytestmark = pytest.mark.long
INSTALL = "npm install --global @modelcontextprotocol/conformance@0.2.0-alpha.12"
NODE = 22

PNG = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mP8z8BQDwAEhQGAhKmMIQAAAABJRU5ErkJggg=="
WAV = "UklGRiYAAABXQVZFZm10IBAAAAABAAEAQB8AAAB9AAACABAAZGF0YQIAAAA="
SCHEMA = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "type": "object",
    "$defs": {
        "address": {
            "$anchor": "addressDef",
            "type": "object",
            "properties": {"street": {"type": "string"}, "city": {"type": "string"}},
        }
    },
    "properties": {
        "name": {"type": "string"},
        "address": {"$ref": "#/$defs/address"},
        "contactMethod": {"type": "string", "enum": ["phone", "email"]},
        "phone": {"type": "string"},
        "email": {"type": "string"},
    },
    "allOf": [{"anyOf": [{"required": ["phone"]}, {"required": ["email"]}]}],
    "if": {"properties": {"contactMethod": {"const": "phone"}}, "required": ["contactMethod"]},
    "then": {"required": ["phone"]},
    "else": {"required": ["email"]},
    "additionalProperties": False,
}


def text(told: str) -> dict[str, Any]:
    return {"type": "text", "text": told}


def resource(uri: str, kind: str, told: str) -> dict[str, Any]:
    return {"type": "resource", "resource": {"uri": uri, "mimeType": kind, "text": told}}


IMAGE = {"type": "image", "data": PNG, "mimeType": "image/png"}
EMBEDDED = resource("test://embedded-resource", "text/plain", "This is an embedded resource content.")
MIXED = resource("test://mixed-content-resource", "application/json", '{"test":"data","value":123}')
# The suite's tools, each with what it answers.
RESULTS: dict[str, dict[str, Any]] = {
    "test_simple_text": {"content": [text("This is a simple text response for testing.")]},
    "test_image_content": {"content": [IMAGE]},
    "test_audio_content": {"content": [{"type": "audio", "data": WAV, "mimeType": "audio/wav"}]},
    "test_embedded_resource": {"content": [EMBEDDED]},
    "test_multiple_content_types": {"content": [text("Multiple content types test:"), IMAGE, MIXED]},
    "test_error_handling": {"content": [text("This tool intentionally returns an error for testing")], "isError": True},
    "test_tool_with_progress": {"content": [text("done")]},
    "test_tool_with_logging": {"content": [text("done")]},
    "test_logging_tool": {"content": [text("done")]},
    "json_schema_2020_12_tool": {"content": [text("done")]},
}


def tool(name: str) -> Tool:
    schema = {"inputSchema": SCHEMA} if name == "json_schema_2020_12_tool" else {}
    return Tool(lambda _: RESULTS[name], {"description": f"What the suite calls {name}.", **schema})


@pytest.mark.parametrize("version", ["2026-07-28", "2025-11-25"])
def test_conformance(version: str, tmp_path: Path) -> None:
    suite = need("conformance", f"{INSTALL} (with Node.js {NODE} or newer)")
    # A Node.js that was installed with the suite goes before that of the machine.
    path = f"{Path(suite).parent}{os.pathsep}{os.environ['PATH']}"
    node = subprocess.check_output(["node", "--version"], env={"PATH": path}, text=True).strip()
    if int(node[1:].partition(".")[0]) < NODE:
        go_without(f"the conformance suite needs Node.js {NODE}, and this is {node}")
    expected = PROJECT / "tests" / "mcp" / f"conformance-{version}.yml"
    with running_store(None) as store:
        variables = clean_environment() | store.variables()
        with deployed(store, variables) as parley:
            # As for a server on one's own machine. Its functions have not started yet.
            variables["CORS_ALLOW_ORIGIN"] = parley.url
            tools = {name: tool(name) for name in RESULTS}
            with ToolHost(parley.url, tools) as host:

                def report_progress(_: Any) -> Any:
                    for progress in (0, 50, 100):
                        host.report(host.asked[-1]["id"], progress, total=100)
                    return RESULTS["test_tool_with_progress"]

                def change(_: Any) -> Any:
                    host.tools[f"added_{len(host.tools)}"] = tool("test_simple_text")
                    host.register()
                    return RESULTS["test_tool_with_progress"]

                host.tools["test_tool_with_progress"] = Tool(report_progress, {"description": "Reports progress."})
                host.tools["test_trigger_tool_change"] = Tool(change, {"description": "Changes the list of tools."})
                host.register()
                arguments = ["--url", host.mcp_url, "--requirements", version, "--expected-failures", str(expected)]
                done = subprocess.run(
                    [suite, "server", *arguments, "--output-dir", str(tmp_path / "results")],
                    cwd=tmp_path,
                    env={**os.environ, "PATH": path, "NO_COLOR": "1"},
                    capture_output=True,
                    text=True,
                    timeout=5 * PATIENCE_SECONDS,
                    check=False,
                )
            lines = [json.loads(line) for line in parley.lines]
    report = done.stdout + done.stderr
    assert done.returncode == 0, report
    assert re.search(r"Total: \d+ passed", report)
    assert not [line for line in lines if "defect" in line or (line.get("status") or 0) >= 500]
