"""api/mcp: what an agent sends, and what it gets, in the words of each version of the protocol."""

import base64
import json
from collections.abc import Iterator
from contextlib import closing
from http.client import HTTPConnection
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest

from lib import VERSION
from lib.mcp import results
from tests.support.agents import BOTH, META, VERSIONS, Agent, error
from tests.support.deployments import Pair, Parley, refusal, running_parley
from tests.support.stores import running_store

SERVER = {"name": "parley", "title": "Parley", "version": VERSION}
MODERN_META = {"io.modelcontextprotocol/serverInfo": SERVER}
FIXED = ["list_tools", "call_tool", "send_request"]
NO_SESSION = "0000000Z"


@pytest.fixture
def pair(parley: Parley) -> Pair:
    return Pair(parley)


@pytest.fixture(params=["session", "fixed"])
def url(request: pytest.FixtureRequest, pair: Pair) -> str:
    """Give both URLs."""
    return f"{pair.parley.url}/mcp/{pair.code}" if request.param == "session" else f"{pair.parley.url}/mcp"


def test_discover(url: str) -> None:
    answer = Agent(url).send("server/discover")
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/json"
    told = answer.json()
    instructions = told["result"].pop("instructions")
    assert told == {
        "jsonrpc": "2.0",
        "id": 1,
        "result": {
            "resultType": "complete",
            "supportedVersions": list(VERSIONS),
            "capabilities": capabilities(url),
            "ttlMs": 0,
            "cacheScope": "private",
            "_meta": MODERN_META,
        },
    }
    assert ("list_tools" in instructions) == url.endswith("/mcp")


def capabilities(url: str) -> Any:
    """Return what a server says that it can do: the list of a session's tools changes."""
    return {"tools": {} if url.endswith("/mcp") else {"listChanged": True}}


@pytest.mark.parametrize(
    ("wanted", "spoken"),
    [
        *((version, version) for version in results.LEGACY),
        *((version, "2025-11-25") for version in ("2026-07-28", "2099-01-01", "", 1, None)),
    ],
)
def test_initialize(url: str, wanted: object, spoken: str) -> None:
    """The version that is asked for, else the latest that begins like this; the header does not matter yet."""
    for headers in ({}, {"MCP-Protocol-Version": "2024-11-05"}, {"MCP-Protocol-Version": "2025-06-18"}):
        params = {"protocolVersion": wanted, "capabilities": {}, "clientInfo": {"name": "c", "version": "1"}}
        body = {"jsonrpc": "2.0", "id": "i", "method": "initialize", "params": params}
        told = httpx.post(url, json=body, headers=headers).json()
        instructions = told["result"].pop("instructions")
        assert instructions
        assert told == {
            "jsonrpc": "2.0",
            "id": "i",
            "result": {"protocolVersion": spoken, "capabilities": capabilities(url), "serverInfo": SERVER},
        }


def test_eras_do_not_mix(url: str) -> None:
    assert error(Agent(url).send("initialize", {"protocolVersion": "2025-11-25"})) == (404, -32601)
    assert error(Agent(url).send("ping")) == (404, -32601)
    for version in results.LEGACY:
        assert error(Agent(url, version).send("server/discover")) == (200, -32601)
        assert Agent(url, version).ask("ping") == {}


def test_version_of_a_client_that_does_not_say(pair: Pair, url: str) -> None:
    """It is the first one, which has no place for the schema of a result."""
    body = {"jsonrpc": "2.0", "id": 1, "method": "ping"}
    assert httpx.post(url, json=body).json() == {"jsonrpc": "2.0", "id": 1, "result": {}}
    pair.offer('[{"name":"a","outputSchema":{"type":"object"}}]')
    told = httpx.post(f"{pair.parley.url}/mcp/{pair.code}", json={**body, "method": "tools/list"}).json()
    assert told["result"]["tools"] == [{"name": "a", "inputSchema": {"type": "object"}}]


@pytest.mark.parametrize("version", VERSIONS)
def test_list(pair: Pair, version: str) -> None:
    """A session's tools as they were registered, to the digit."""
    listed = '[{"name":"b","inputSchema":{"type":"object","x":1.10}},{"name":"a","inputSchema":{"type":"object"}}]'
    pair.offer(listed)
    for path in (f"/mcp/{pair.code}", f"/api/sessions/{pair.code}/mcp", f"/api/mcp?code={pair.code}"):
        for code in (pair.code, f"{pair.code[:4]}-{pair.code[4:]}".lower()):
            answer = Agent(f"{pair.parley.url}{path.replace(pair.code, code)}", version).send("tools/list")
            modern = '"resultType":"complete",' if version == results.MODERN else ""
            assert answer.text.startswith(f'{{"jsonrpc":"2.0","id":1,"result":{{{modern}"tools":{listed}')
    if version == results.MODERN:
        rest = {name: value for name, value in answer.json()["result"].items() if name != "tools"}
        assert rest == {"resultType": "complete", "ttlMs": 0, "cacheScope": "private", "_meta": MODERN_META}
    else:
        assert answer.json()["result"].keys() == {"tools"}


@pytest.mark.parametrize("version", VERSIONS)
def test_schemas_of_results_that_a_version_has_no_place_for(pair: Pair, version: str) -> None:
    """A client would refuse the whole list, or each result that does not follow its schema."""
    schemas = {"a": {"type": "object"}, "b": {"type": "array"}, "c": {}}
    pair.offer(json.dumps([{"name": name, "outputSchema": schema} for name, schema in schemas.items()]))
    listed = Agent(f"{pair.parley.url}/mcp/{pair.code}", version).ask("tools/list")["tools"]
    assert [tool["name"] for tool in listed] == ["a", "b", "c"]
    kept = {tool["name"]: tool["outputSchema"] for tool in listed if "outputSchema" in tool}
    assert kept == {"2026-07-28": schemas, "2025-03-26": {}, "2024-11-05": {}}.get(version, {"a": {"type": "object"}})


@pytest.mark.parametrize("version", VERSIONS)
def test_list_of_a_session_without_tools(pair: Pair, version: str) -> None:
    (tool,) = Agent(f"{pair.parley.url}/mcp/{pair.code}", version).ask("tools/list")["tools"]
    assert tool["name"] == "send_request"
    assert tool["inputSchema"]["required"] == ["payload"]


@pytest.mark.parametrize("version", VERSIONS)
def test_fixed_tools(parley: Parley, version: str) -> None:
    for path in ("/mcp", "/api/mcp"):
        listed = Agent(f"{parley.url}{path}", version).ask("tools/list")["tools"]
        assert [tool["name"] for tool in listed] == FIXED
        required = [tool["inputSchema"]["required"] for tool in listed]
        assert required == [["code"], ["code", "name"], ["code", "payload"]]
        assert listed[0]["annotations"] == {"readOnlyHint": True}


def test_one_page(url: str) -> None:
    assert error(Agent(url).send("tools/list", {"cursor": "x"})) == (200, -32602)


def test_notifications_and_responses(url: str) -> None:
    """They are taken, whatever they say; nothing is answered."""
    for body in (
        {"method": "notifications/initialized"},
        {"method": "notifications/cancelled", "params": {"requestId": 1}},
        {"method": "tools/call", "params": {"name": "x"}},
        {"id": 1, "result": {}},
        {"error": {"code": 1, "message": ""}},
    ):
        answer = httpx.post(url, json={"jsonrpc": "2.0", **body}, headers=BOTH | {"MCP-Protocol-Version": "2025-11-25"})
        assert (answer.status_code, answer.content) == (202, b"")


def test_other_methods(url: str) -> None:
    for method in ("DELETE", "PUT", "PATCH", "GET", "HEAD"):
        answer = httpx.request(method, url, headers={"Accept": "application/json", "Mcp-Session-Id": "x"})
        assert answer.status_code == 405
        assert "POST" in answer.headers["allow"].split(", ")
    answer = httpx.get(url.partition("/mcp")[0] + "/mcp", headers={"Accept": "text/event-stream"})
    assert refusal(answer) == (405, "method_not_allowed")
    asked = {"Origin": "https://elsewhere.example", "Access-Control-Request-Method": "POST"}
    answer = httpx.options(url, headers=asked)
    allowed = answer.headers["access-control-allow-headers"].lower().split(", ")
    assert {"mcp-protocol-version", "mcp-method", "mcp-name", "mcp-session-id", "content-type"} <= set(allowed)


def test_sessions_of_the_protocol_are_ignored(url: str) -> None:
    answer = Agent(url, "2025-11-25", **{"Mcp-Session-Id": "x", "Last-Event-ID": "not ours"}).send("tools/list")
    assert answer.status_code == 200
    assert "mcp-session-id" not in answer.headers


def encoded(name: str) -> str:
    return f"=?base64?{base64.b64encode(name.encode()).decode()}?="


def posted(url: str, body: Any, headers: dict[str, str]) -> tuple[int, Any]:
    """Send headers as they are, with white space around them, and return status and body."""
    parts = urlsplit(url)
    connection = HTTPConnection(parts.netloc, timeout=20)
    with closing(connection):
        connection.request("POST", parts.path, json.dumps(body), {"Content-Type": "application/json", **headers})
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read())


HEADERS = {"MCP-Protocol-Version": results.MODERN, "Mcp-Method": "tools/call", "Mcp-Name": encoded("é b")}
WRONG_META: list[tuple[Any, int]] = [
    ({}, -32602),
    (1, -32602),
    (None, -32602),
    ({**META, "io.modelcontextprotocol/clientCapabilities": None}, -32602),
    ({"io.modelcontextprotocol/protocolVersion": results.MODERN}, -32602),
    ({**META, "io.modelcontextprotocol/protocolVersion": None}, -32602),
]


@pytest.mark.parametrize(("meta", "code"), WRONG_META)
def test_what_a_modern_request_lacks(url: str, meta: Any, code: int) -> None:
    body = {"jsonrpc": "2.0", "id": 1, "method": "tools/list", "params": {"_meta": meta}}
    answer = httpx.post(url, json=body, headers=HEADERS | {"Mcp-Method": "tools/list"})
    assert error(answer) == (400, code)
    assert answer.json()["id"] == 1


def test_headers_that_are_missing_or_differ(url: str) -> None:
    """Each makes a fault of its own, which names the header; a name may be written in Base64."""
    body = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": "é b", "arguments": 1, "_meta": META}}
    for name in HEADERS:
        for value in (
            None,
            "",
            "x",
            "2025-11-25",
            "TOOLS/CALL",
            "=?base64?!?=",
            "=?base64?/w==?=",
            "=?Base64?w6kgYg==?=",
        ):
            if (name, value) == ("MCP-Protocol-Version", "2025-11-25"):  # seen from clients: then the body decides
                continue
            headers = {key: given for key, given in {**HEADERS, name: value}.items() if given is not None}
            answer = httpx.post(url, json=body, headers=headers)
            assert error(answer) == (400, -32020), (name, value)
            assert name in answer.json()["error"]["message"]
    for name, value in HEADERS.items():
        status, told = posted(url, body, {**HEADERS, name: f"  {value} \t", "mcp-param-x": "y"})
        assert (status, told["error"]["code"]) == (200, -32602), "what is wrong now are the arguments"


def test_header_is_the_name_itself(url: str) -> None:
    """What looks like Base64 is decoded, and white space goes, so that such a name has to be encoded."""
    for name in ("=?base64?eA==?=", " x"):
        params = {"name": name, "arguments": 1, "_meta": META}
        body = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params}
        status, told = posted(url, body, HEADERS | {"Mcp-Name": encoded(name)})
        assert (status, told["error"]["code"]) == (200, -32602)
        status, told = posted(url, body, HEADERS | {"Mcp-Name": name})
        assert (status, told["error"]["code"]) == (400, -32020)


@pytest.mark.parametrize("version", ["2026-07-29", "2025-11-25", "x" * 5000])
def test_versions_that_are_not_spoken(url: str, version: str) -> None:
    meta = {**META, "io.modelcontextprotocol/protocolVersion": version}
    body = {"jsonrpc": "2.0", "id": 1, "method": "tools/list", "params": {"_meta": meta}}
    answer = httpx.post(url, json=body, headers={"MCP-Protocol-Version": version, "Mcp-Method": "tools/list"})
    assert error(answer) == (400, -32022)
    assert answer.json()["error"]["data"] == {"supported": list(VERSIONS), "requested": version[:64]}
    answer = httpx.post(url, json={"jsonrpc": "2.0", "id": 1, "method": "ping"}, headers={"MCP-Protocol-Version": "1"})
    assert error(answer) == (400, -32022)


def test_unknown_methods(url: str) -> None:
    for method in ("resources/list", "prompts/get", "completion/complete", "subscriptions/Listen", "", "tools/List"):
        assert error(Agent(url).send(method)) == (404, -32601)
        assert error(Agent(url, "2025-11-25").send(method)) == (200, -32601)


@pytest.mark.parametrize("code", ["nothing", "ABC1234U", "a b", "%2e%2e", "x" * 3000])
def test_malformed_codes(parley: Parley, code: str) -> None:
    for path in (f"/mcp/{code}", f"/api/mcp?code={code}"):
        agent = Agent(f"{parley.url}{path}")
        for method in ("server/discover", "tools/list", "tools/call"):
            answer = agent.send(method, {"name": "x"})
            assert error(answer) == (400, 400)
            assert answer.json()["error"]["data"]["code"] == "invalid_code"
        notification = b'{"jsonrpc":"2.0","method":"notifications/initialized"}'
        assert error(agent.post(notification)) == (400, 400)


@pytest.mark.parametrize("version", VERSIONS)
def test_session_that_is_not_there(pair: Pair, version: str) -> None:
    """A client may connect all the same: it must not take the server for broken because a page is closed."""
    agent = Agent(f"{pair.parley.url}/mcp/{NO_SESSION}", version)
    opening = "server/discover" if version == results.MODERN else "initialize"
    assert agent.ask(opening)["capabilities"] == {"tools": {"listChanged": True}}
    answer = agent.send("tools/list")
    assert error(answer) == (200, 404)
    told = answer.json()["error"]
    assert told["data"]["code"] == "session_not_found"
    assert told["message"] == f"{told['data']['title']}. {told['data']['detail']}"
    pair.parley.http.delete(pair.url, headers=pair.host)
    answer = Agent(f"{pair.parley.url}/mcp/{pair.code}", version).send("tools/list")
    assert error(answer) == (200, 410)
    assert answer.json()["error"]["data"]["code"] == "session_ended"


def test_store_that_fails(pair: Pair) -> None:
    agent = Agent(f"{pair.parley.url}/mcp/{pair.code}")
    pair.parley.store.faults.fail("quota")
    assert agent.ask("server/discover")
    answer = agent.send("tools/list")
    assert error(answer) == (200, 503)
    assert answer.json()["error"]["data"]["code"] == "store_quota_exceeded"
    line = pair.parley.log(answer)
    assert (line["level"], line["status"], line["problem"]) == ("error", 200, "store_quota_exceeded")
    assert line["cause"].startswith("ERR max requests")
    assert line["route"] == "/mcp/{code}"
    assert "clientGone" not in line


def test_network_that_is_limited(limited: Parley) -> None:
    agent = Agent(f"{limited.url}/mcp/{NO_SESSION}")
    for _ in range(30):
        assert error(agent.send("tools/list")) == (200, 404)
    answer = agent.send("tools/list")
    assert error(answer) == (200, 429)
    assert 1 <= int(answer.headers["retry-after"]) <= 60


def test_cost(pair: Pair) -> None:
    """A list is one call to the store, and everything but lists and calls none."""
    pair.offer('[{"name":"a"}]')
    faults = pair.parley.store.faults
    for path, listing in ((f"/mcp/{pair.code}", 1), ("/mcp", 0)):
        for version in VERSIONS:
            agent = Agent(f"{pair.parley.url}{path}", version)
            for method in ("server/discover", "initialize", "ping", "tools/list", "no/such"):
                before = faults.calls
                answer = agent.send(method)
                cost = listing if method == "tools/list" else 0
                assert faults.calls - before == cost
                assert answer.headers["server-timing"].endswith(f'"{cost} calls"')
            before = faults.calls
            agent.post(b'{"jsonrpc":"2.0","method":"notifications/initialized"}')
            assert faults.calls == before


@pytest.fixture(scope="module")
def own_origin() -> Iterator[Parley]:
    """Give a deployment whose API the pages of one origin may call."""
    with running_store(None) as store, running_parley(store, CORS_ALLOW_ORIGIN="https://page.example") as parley:
        yield parley


def test_origin(own_origin: Parley) -> None:
    for path in ("/mcp", f"/mcp/{own_origin.create()['code']}"):
        for origin in ("https://evil.example", "null", "https://page.example.evil.example", "http://page.example"):
            for body in (Agent("").message("server/discover"), {"jsonrpc": "2.0", "method": "notifications/x"}, {}):
                answer = own_origin.http.post(path, json=body, headers={"Origin": origin})
                assert error(answer) == (403, 403)
                assert "id" not in answer.json()
        assert Agent(f"{own_origin.url}{path}", Origin="https://page.example").ask("tools/list")
        assert Agent(f"{own_origin.url}{path}").ask("tools/list"), "no page calls"


def test_origin_that_is_not_restricted(url: str) -> None:
    answer = Agent(url, Origin="https://anywhere.example").send("tools/list")
    assert answer.headers["access-control-allow-origin"] == "*"
    assert answer.status_code == 200
