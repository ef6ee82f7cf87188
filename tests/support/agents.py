"""An agent: a client of MCP by hand, which sends what a test says and reads what comes."""

import json
from itertools import count
from typing import Any

import httpx

from lib import VERSION
from lib.mcp import results
from tests.support.tools import PATIENCE_SECONDS

VERSIONS = (results.MODERN, *results.LEGACY)
BOTH = {"Accept": "application/json, text/event-stream", "Content-Type": "application/json"}
META = {"io.modelcontextprotocol/protocolVersion": results.MODERN, "io.modelcontextprotocol/clientCapabilities": {}}

# One for all: making a client reads all certificates.
_http = httpx.Client(timeout=PATIENCE_SECONDS, limits=httpx.Limits(max_connections=None, max_keepalive_connections=0))


class Agent:
    """A client at a URL of MCP that speaks one version: it adds what that version wants to each request."""

    def __init__(self, url: str, speaks: str = results.MODERN, **headers: str) -> None:
        self.url = url
        self.speaks = speaks
        self.headers = BOTH | {"MCP-Protocol-Version": speaks} | headers
        self._ids = count(1)

    def message(self, method: str, params: dict[str, Any] | None = None) -> dict[str, Any]:
        """Return a request with the next id."""
        meta = META if self.speaks == results.MODERN else {}
        merged = {**(params or {}), "_meta": {**(params or {}).get("_meta", {}), **meta}}
        return {"jsonrpc": "2.0", "id": next(self._ids), "method": method, "params": merged}

    def headers_of(self, message: dict[str, Any]) -> dict[str, str]:
        """Return the headers that go with a message."""
        if self.speaks != results.MODERN:
            return self.headers
        name = {"Mcp-Name": message["params"]["name"]} if message["method"] == "tools/call" else {}
        return self.headers | {"Mcp-Method": message["method"]} | name

    def send(self, method: str, params: dict[str, Any] | None = None) -> httpx.Response:
        """Send a request, and return the whole answer."""
        message = self.message(method, params)
        return self.post(json.dumps(message).encode(), self.headers_of(message))

    def post(self, body: bytes, headers: dict[str, str] | None = None) -> httpx.Response:
        """Send a body as it is."""
        return _http.post(self.url, content=body, headers=self.headers if headers is None else headers)

    def ask(self, method: str, params: dict[str, Any] | None = None) -> Any:
        """Return the result of a request that succeeds."""
        answer = self.send(method, params)
        assert answer.status_code == 200, answer.text
        return answer.json()["result"]

    def call(self, name: str, arguments: dict[str, Any] | None = None) -> Any:
        """Return the result of a tool call."""
        return self.ask("tools/call", {"name": name, "arguments": arguments or {}})

    def failed(self, name: str, arguments: dict[str, Any] | None = None) -> str:
        """Return what a tool call that fails tells the model."""
        result = self.call(name, arguments)
        assert result["isError"] is True
        (block,) = result["content"]
        return str(block["text"])


def error(answer: httpx.Response) -> tuple[int, int]:
    """Return status and JSON-RPC code of an answer that is an error, and check its shape."""
    assert answer.headers["content-type"] == "application/json"
    told = answer.json()
    assert told.keys() <= {"jsonrpc", "id", "error"}
    assert told["jsonrpc"] == "2.0"
    assert told["error"].keys() <= {"code", "message", "data"}
    assert told["error"]["message"]
    return answer.status_code, told["error"]["code"]


def result_of(version: str, content: str, structured: str = "", *, failed: bool = False, meta: str = "") -> str:
    """Return the text of a result, as far as the version allows it."""
    modern = version == results.MODERN
    allowed = structured and (modern or (structured.startswith("{") and version > "2025-03-26"))
    server = f'"io.modelcontextprotocol/serverInfo":{{"name":"parley","title":"Parley","version":"{VERSION}"}}'
    all_meta = ",".join(filter(None, [meta, server if modern else ""]))
    members = [
        '"resultType":"complete"' if modern else "",
        f'"content":{content}',
        f'"structuredContent":{structured}' if allowed else "",
        f'"isError":{json.dumps(failed)}',
        f'"_meta":{{{all_meta}}}' if all_meta else "",
    ]
    return f"{{{','.join(filter(None, members))}}}"


def text_of(told: str) -> str:
    """Return the text of content that is one text."""
    return json.dumps([{"type": "text", "text": told}], ensure_ascii=False, separators=(",", ":"))
