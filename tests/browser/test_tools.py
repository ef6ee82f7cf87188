"""public/relay.js: the tools that a host offers, and their calls."""

import re
import time
from itertools import pairwise
from typing import Any

import pytest
from playwright.sync_api import Page, Request, Route

from tests.browser.conftest import HOST, Beside, Window, ask, refuse, start, until
from tests.support.deployments import Parley
from tests.support.tools import wait_until

# A page that offers tools, and notes what they are called with and what its session tells.
TOOLS = """async ({ tools = [], requests, resumes, parses } = {}) => {
  const { host } = await import("/relay.js");
  window.ran = [];
  window.told = [];
  window.held = new Map();
  const cyclic = {};
  cyclic.cyclic = cyclic;
  const image = { type: "image", data: "AAAA", mimeType: "image/png" };
  const returns = {
    nothing: () => undefined,
    text: () => "a text",
    null: () => null,
    number: () => 0.5,
    array: () => [1, "2"],
    object: () => ({ sum: 3 }),
    date: () => new Date(0),
    later: async () => "later",
    result: () => ({ content: [{ type: "text", text: "3" }, image], structuredContent: { sum: 3 } }),
    failure: () => ({ content: [{ type: "text", text: "no" }], isError: true }),
    likeResult: () => ({ content: "not a list" }),
    likeBlocks: () => ({ content: [{ kind: "text" }] }),
    empty: () => ({ content: [] }),
    function: () => returns,
    symbol: () => Symbol("s"),
    bigint: () => 1n,
    bigintInResult: () => ({ content: [{ type: "text", text: 1n }] }),
    cyclic: () => cyclic,
    calls: () => () => 1,
    throwError: () => { throw new Error("no way") },
    throwNameless: () => { throw new DOMException("", "AbortError") },
    throwText: () => { throw "no" },
    throwObject: async () => { throw { code: 7 } },
    throwNothing: () => { throw undefined },
    throwOdd: () => { throw 1n },
    map: () => ({ rows: new Map([[1, 2]]) }),
    set: () => new Set([1]),
    element: () => [document.body],
    nan: () => ({ mean: NaN }),
    infinite: () => -Infinity,
    nanInResult: () => ({ content: [], structuredContent: { mean: NaN } }),
    functionInside: () => ({ a: () => 1 }),
    symbolInside: () => [Symbol("s")],
    bytes: () => new Uint8Array(2),
    error: () => new Error("returned"),
    promise: () => ({ later: Promise.resolve(1) }),
    instance: () => new (class { x = 1; #y = 2; skipped = undefined; })(),
    meta: () => ({ content: [], _meta: { "a/b": [1] } }),
    large: () => "x".repeat(1_200_000),
  };
  window.make = (name, more = {}) => ({
    name,
    description: `The tool ${name}.`,
    execute(args, { id, signal }) {
      ran.push([name, args, id]);
      if (name === "give") return returns[args.what]();
      if (name === "hold") return new Promise((resolve) => held.set(id, { resolve, signal }));
      return args;
    },
    ...more,
  });
  const options = { tools: tools.map((tool) => (tool.name ? make(tool.name, tool) : make(tool))) };
  if (requests) options.onRequest = ({ payload, call }) => ({ payload, call });
  if (resumes) options.onInterrupted = ({ call }) => ({ again: call.arguments });
  if (parses) options.parse = (text) => JSON.parse(text, (_, value) => (value === 7 ? "seven" : value));
  window.session = await host(options);
  for (const type of ["request", "answered", "withdrawn", "tools", "ended"])
    session.addEventListener(type, ({ detail }) => told.push([type, detail]));
  return session.code;
}"""
TEXT = {"type": "text"}


def offer(tab: Page, *tools: str | dict[str, Any], **options: Any) -> str:
    """Let the page be a host with tools, and return its code once it is connected."""
    code = str(tab.evaluate(TOOLS, {"tools": tools, **options}))
    until(tab, "session.state === 'connected' || session.state === 'polling'")
    return code


def call(site: Parley, code: str, name: str, arguments: Any = None, request_id: str = "q1") -> dict[str, Any]:
    """Call a tool as a guest, and return the response."""
    params = {"name": name} | ({} if arguments is None else {"arguments": arguments})
    return ask(site, code, {"method": "tools/call", "params": params}, request_id)


def offered(site: Parley, code: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = site.http.get(f"/api/sessions/{code}/tools").raise_for_status().json()["tools"]
    return found


def names(site: Parley, code: str) -> list[str]:
    return [tool["name"] for tool in offered(site, code)]


def puts(tab: Page) -> list[str]:
    """Return a list of the bodies of all calls that register tools, which grows with them."""
    found: list[str] = []
    tab.on("request", lambda request: found.append(request.post_data or "") if request.method == "PUT" else None)
    return found


def test_registered_when_the_code_is_shown(tab: Page, site: Parley) -> None:
    schema = {"properties": {"a": {"type": "number"}}, "required": ["a"]}
    full = {
        "name": "full",
        "title": "Full",
        "inputSchema": {"type": "object", **schema},
        "outputSchema": {"type": "object"},
        "annotations": {"readOnlyHint": True},
    }
    code = str(tab.evaluate(TOOLS, {"tools": [full, "plain", {"name": "untyped", "inputSchema": schema}]}))
    full["description"] = "The tool full."
    plain = {"name": "plain", "description": "The tool plain."}
    untyped = {"name": "untyped", "description": "The tool untyped.", "inputSchema": {"type": "object", **schema}}
    assert offered(site, code) == [full, {**plain, "inputSchema": {"type": "object"}}, untyped]
    assert tab.evaluate("session.tools") == [full, plain, untyped]
    assert tab.evaluate("session.mcpUrl") == f"{site.url}/mcp/{code}"


def test_what_clients_of_mcp_may_understand(tab: Page, site: Parley) -> None:
    """`_meta` and annotations of any kind pass as they are."""
    hints = {"consequentialHint": True, "costHint": 0.5, "audience": "user"}
    tool = {"name": "rich", "annotations": hints, "_meta": {"example.com/size": {"max": 1}}}
    code = offer(tab, tool)
    (found,) = offered(site, code)
    assert (found["annotations"], found["_meta"]) == (tool["annotations"], tool["_meta"])
    assert tab.evaluate("session.tools[0]._meta") == tool["_meta"]


@pytest.mark.parametrize(
    ("client", "seen"),
    [
        ({"name": "claude-code", "version": "2.1"}, {"name": "claude-code", "version": "2.1"}),
        ({"name": "x", "version": 1, "more": 2}, {"name": "x"}),
        ({"version": "1"}, None),
        ("claude", None),
        (None, None),
    ],
)
def test_client_that_calls(tab: Page, site: Parley, client: Any, seen: Any) -> None:
    """Its name reaches the tool, and the page."""
    code = offer(tab, "hold", requests=True)
    tab.evaluate("session.registerTool({ name: 'who', execute: (_, { client }) => ({ client: client ?? null }) })")
    payload = {"method": "tools/call", "params": {"name": "who"}, "client": client}
    assert ask(site, code, payload)["result"]["structuredContent"] == {"client": seen}
    assert tab.evaluate("told.find(([type]) => type === 'request')[1].call.client ?? null") == seen


def test_agent_that_lists_the_tools(tab: Page) -> None:
    """The stream says so, and which program it is."""
    events = "".join(
        f"id: 1-0\nevent: {name}\ndata: {data}\n\n"
        for name, data in [
            ("open", '{"code":"ABC12345","expiresAt":"2100-01-01T00:00:00.000Z"}'),
            ("guest", '{"client":{"name":"claude-code","version":"2.1"}}'),
            ("guest", "{}"),
        ]
    )
    tab.route("**/stream?*", lambda route: route.fulfill(content_type="text/event-stream", body=events))
    tab.evaluate(
        """async () => {
          const { host } = await import("/relay.js");
          window.guests = [];
          window.session = await host({ onRequest: () => 1 });
          session.addEventListener("guest", ({ detail }) => guests.push(detail));
        }"""
    )
    until(tab, "guests.length >= 2")
    assert tab.evaluate("guests.slice(0, 2)") == [
        {"client": {"name": "claude-code", "version": "2.1"}},
        {"client": None},
    ]


def test_call(tab: Page, site: Parley) -> None:
    code = offer(tab, "echo")
    arguments = {"a": [1, None, "ü"], "b": {}}
    result = call(site, code, "echo", arguments)["result"]
    assert result == {"content": [{**TEXT, "text": '{"a":[1,null,"ü"],"b":{}}'}], "structuredContent": arguments}
    assert tab.evaluate("ran") == [["echo", arguments, "q1"]]
    until(tab, "told.length === 2")
    assert tab.evaluate("told[0][1].call") == {"name": "echo", "arguments": arguments}
    assert tab.evaluate("told[1]") == ["answered", {"id": "q1", "problem": None}]
    assert call(site, code, "echo", request_id="q2")["result"]["structuredContent"] == {}


RESULTS: dict[str, dict[str, Any]] = {
    "nothing": {"content": [{**TEXT, "text": ""}]},
    "text": {"content": [{**TEXT, "text": "a text"}]},
    "later": {"content": [{**TEXT, "text": "later"}]},
    "null": {"content": [{**TEXT, "text": "null"}], "structuredContent": None},
    "number": {"content": [{**TEXT, "text": "0.5"}], "structuredContent": 0.5},
    "array": {"content": [{**TEXT, "text": '[1,"2"]'}], "structuredContent": [1, "2"]},
    "object": {"content": [{**TEXT, "text": '{"sum":3}'}], "structuredContent": {"sum": 3}},
    "date": {
        "content": [{**TEXT, "text": '"1970-01-01T00:00:00.000Z"'}],
        "structuredContent": "1970-01-01T00:00:00.000Z",
    },
    "result": {
        "content": [{**TEXT, "text": "3"}, {"type": "image", "data": "AAAA", "mimeType": "image/png"}],
        "structuredContent": {"sum": 3},
    },
    "failure": {"content": [{**TEXT, "text": "no"}], "isError": True},
    "empty": {"content": []},
    "instance": {"content": [{**TEXT, "text": '{"x":1}'}], "structuredContent": {"x": 1}},
    "meta": {"content": [], "_meta": {"a/b": [1]}},
    "likeResult": {
        "content": [{**TEXT, "text": '{"content":"not a list"}'}],
        "structuredContent": {"content": "not a list"},
    },
    "likeBlocks": {
        "content": [{**TEXT, "text": '{"content":[{"kind":"text"}]}'}],
        "structuredContent": {"content": [{"kind": "text"}]},
    },
}
FAILURES = {
    "calls": "The tool returned a function, which is no JSON.",
    "symbol": "The tool returned a symbol, which is no JSON.",
    "bigint": "BigInt",
    "bigintInResult": "BigInt",
    "cyclic": "circular",
    "map": "The tool returned a value of the type Map (at rows), which is no JSON.",
    "set": "The tool returned a value of the type Set, which is no JSON.",
    "element": "The tool returned a value of the type HTMLBodyElement (at 0), which is no JSON.",
    "nan": "The tool returned NaN (at mean), which is no JSON.",
    "infinite": "The tool returned -Infinity, which is no JSON.",
    "nanInResult": "The tool returned NaN (at mean), which is no JSON.",
    "functionInside": "The tool returned a function (at a), which is no JSON.",
    "symbolInside": "The tool returned a symbol (at 0), which is no JSON.",
    "bytes": "The tool returned a value of the type Uint8Array, which is no JSON.",
    "error": "The tool returned a value of the type Error, which is no JSON.",
    "promise": "The tool returned a value of the type Promise (at later), which is no JSON.",
    "throwError": "no way",
    "throwNameless": "AbortError",
    "throwText": "no",
    "throwObject": '{"code":7}',
    "throwNothing": "null",
    "throwOdd": "The host failed.",
}


def test_whatever_a_tool_returns(tab: Page, site: Parley) -> None:
    code = offer(tab, "give")
    assert {what: call(site, code, "give", {"what": what}, what)["result"] for what in RESULTS} == RESULTS


def test_whatever_goes_wrong_in_a_tool(tab: Page, site: Parley) -> None:
    """The agent gets a result that tells what has failed, and may try something else."""
    code = offer(tab, "give")
    for what, text in FAILURES.items():
        result = call(site, code, "give", {"what": what}, what)["result"]
        assert result.keys() == {"content", "isError"}
        assert result["isError"]
        assert text in result["content"][0]["text"]


def test_result_that_is_too_large(window: Window, tab: Page, site: Parley) -> None:
    response = call(site, offer(tab, "give"), "give", {"what": "large"})
    assert response["error"]["code"] == "payload_too_large"
    window.forgive_the_network()


def test_arguments_that_are_no_object(tab: Page, site: Parley) -> None:
    code = offer(tab, "echo")
    for number, arguments in enumerate([[1], "text", 5]):
        result = call(site, code, "echo", arguments, f"q{number}")["result"]
        assert result == {"content": [{**TEXT, "text": "The arguments have to be an object."}], "isError": True}
    assert tab.evaluate("ran") == []


def test_unknown_tool(tab: Page, site: Parley) -> None:
    code = offer(tab, "echo")
    for number, name in enumerate(["other", "toString", "__proto__", ""]):
        error = call(site, code, name, {}, f"q{number}")["error"]
        assert error == {"code": "unknown_tool", "message": f"There is no tool {name}."}


OTHERS = [
    {"question": "?"},
    "tools/call",
    None,
    {"method": "tools/call"},
    {"method": "tools/call", "params": None},
    {"method": "tools/call", "params": {"name": 1}},
    {"method": "tools/list", "params": {"name": "echo"}},
]


def test_other_requests(tab: Page, site: Parley) -> None:
    """They go to onRequest; without one the guest is told."""
    code = offer(tab, "echo", requests=True)
    for number, payload in enumerate(OTHERS):
        assert ask(site, code, payload, f"q{number}")["result"] == {"payload": payload, "call": None}
    assert call(site, code, "echo", {}, "call")["result"]["structuredContent"] == {}
    tab.evaluate("session.end()")
    code = offer(tab, "echo")
    for number, payload in enumerate(OTHERS):
        error = ask(site, code, payload, f"q{number}")["error"]
        assert error["code"] == "no_handler"
        assert error["message"] == "This host takes no other requests than the calls of its tools."


def test_calls_run_beside_each_other(tab: Page, site: Parley, beside: Beside) -> None:
    code = offer(tab, "hold", "echo")
    slow = [beside(call, site, code, "hold", {"number": number}, f"slow{number}") for number in range(2)]
    until(tab, "held.size === 2")
    assert call(site, code, "echo", {}, "fast")["result"]["structuredContent"] == {}
    tab.evaluate("for (const id of ['slow1', 'slow0']) held.get(id).resolve(id)")
    texts = [one.result()["result"]["content"][0]["text"] for one in slow]
    assert texts == ["slow0", "slow1"]


def test_registered_later(tab: Page, site: Parley) -> None:
    code = start(tab)
    assert names(site, code) == []
    tab.evaluate(
        """async () => {
          window.stop = new AbortController();
          const tool = { name: "add", description: "Adds.", execute: ({ a, b }) => a + b };
          await session.registerTool(tool, { signal: stop.signal });
          tool.name = "changed";
          window.registered = session.tools;
        }"""
    )
    assert names(site, code) == ["add"]
    assert tab.evaluate("registered.map(({ name }) => name)") == ["add"]
    assert call(site, code, "add", {"a": 1, "b": 2})["result"]["structuredContent"] == 3
    tab.evaluate("stop.abort()")
    assert call(site, code, "add", {"a": 1, "b": 2}, "q2")["error"]["code"] == "unknown_tool"
    wait_until(lambda: names(site, code) == [])
    until(tab, "session.tools.length === 0")
    refused = tab.evaluate(
        """Promise.all([
          session.registerTool({ name: "x", execute() {} }, { signal: AbortSignal.abort("too late") }),
        ]).catch(String)"""
    )
    assert refused == "too late"


def test_changes_share_calls(tab: Page, site: Parley) -> None:
    """However often a page registers tools, one call at a time tells the relay how they are."""
    code = offer(tab, "first")
    made = puts(tab)
    tab.evaluate("Promise.all([...Array(20).keys()].map((number) => session.registerTool(make(`t${number}`))))")
    assert len(offered(site, code)) == 21
    assert len(made) == 1
    held: list[Route] = []
    tab.route("**/tools", lambda route: held.append(route))
    tab.evaluate("window.stop = new AbortController(); session.registerTool(make('held'), { signal: stop.signal }); 0")
    wait_until(lambda: bool(tab.evaluate("1")) and bool(held))
    tab.evaluate("for (const name of ['a', 'b', 'c']) session.registerTool(make(name)); stop.abort()")
    held[0].continue_()
    tab.unroute("**/tools")
    wait_until(lambda: names(site, code)[-3:] == ["a", "b", "c"])
    assert len(offered(site, code)) == 24
    until(tab, "session.tools.length === 24")
    assert len(made) == 3


def test_tool_that_cannot_be_registered(window: Window, tab: Page, site: Parley) -> None:
    """The others stay, and the page is told why."""
    code = offer(tab, "echo")

    def refusal(tool: str) -> Any:
        return tab.evaluate(f"session.registerTool({tool}).catch(({{ name, message }}) => [name, message])")

    assert refusal("{ name: 'x' }") == ["TypeError", "the tool x needs execute, a function"]
    assert refusal("make('echo')") == ["TypeError", "there is a tool echo already"]
    assert refusal("make('x', { inputSchema: { big: 1n } })")[0] == "TypeError"
    for tool, field in [
        ("make('no spaces')", "tools[1].name"),
        ("make('x', { inputSchema: { type: 'string' } })", "tools[1] (x).inputSchema.type"),
        ("make('x', { inputSchema: 5 })", "tools[1] (x).inputSchema"),
        ("make('x', { title: 5 })", "tools[1] (x).title"),
    ]:
        name, message = refusal(tool)
        assert name == "RelayError"
        assert field in message
        assert tab.evaluate("told.findLast(([type]) => type === 'tools')[1].problem.code") == "invalid_request"
    assert names(site, code) == ["echo"]
    tab.evaluate("session.registerTool(make('x'))")
    assert names(site, code) == ["echo", "x"]
    window.forgive_the_network()


def test_host_whose_tools_are_not_valid(window: Window, tab: Page) -> None:
    for options, told in [
        ("{}", "TypeError: host() needs tools, or onRequest: a function that answers a request"),
        (
            "{ tools: document.modelContext }",
            "TypeError: host() needs tools, or onRequest: a function that answers a request",
        ),
        ("{ tools: [], onRequest: 1 }", "TypeError: host() needs tools, or onRequest"),
        ("{ tools: {} }", "TypeError: tools has to be an array, or a document.modelContext"),
        ("{ tools: [{ name: 'x' }] }", "TypeError: the tool x needs execute"),
        ("{ tools: [{ name: 'a b', execute() {} }] }", "RelayError: "),
    ]:
        refused = tab.evaluate(f"import('/relay.js').then(({{ host }}) => host({options})).catch(String)")
        assert refused.startswith(told)
    window.forgive_the_network()


def test_browser_without_webmcp(tab: Page, site: Parley) -> None:
    """A page may pass on that there is no document.modelContext, if it answers requests."""
    code = tab.evaluate(
        """async () => {
          const { host } = await import("/relay.js");
          window.session = await host({ tools: document.modelContext, onRequest: ({ payload }) => payload });
          return session.code;
        }"""
    )
    assert ask(site, code, 1)["result"] == 1
    assert names(site, code) == []


def test_relay_that_fails_while_tools_are_registered(window: Window, tab: Page, site: Parley) -> None:
    code = offer(tab, "echo")
    failed: list[float] = []

    def fail(route: Route) -> None:
        failed.append(time.monotonic())
        if len(failed) > 3:
            route.continue_()
        elif len(failed) == 1:
            route.abort()
        else:
            refuse(route, 429 if len(failed) == 2 else 503, "rate_limited", retry_after=1)

    tab.route("**/tools", fail)
    tab.evaluate("session.registerTool(make('late'))")
    assert names(site, code) == ["echo", "late"]
    pauses = [later - earlier for earlier, later in pairwise(failed)]
    assert len(pauses) == 3
    assert pauses[0] >= 0.2
    assert min(pauses[1:]) >= 0.9
    window.forgive_the_network()


def test_session_that_ends_while_tools_are_registered(window: Window, tab: Page) -> None:
    offer(tab)
    tab.route("**/tools", lambda route: route.abort())
    tab.evaluate("window.outcome = session.registerTool(make('late')).catch(({ code }) => code); session.end()")
    assert tab.evaluate("outcome") == "session_ended"
    assert tab.evaluate("session.registerTool(make('later')).catch(({ code }) => code)") == "session_ended"
    window.forgive_the_network()


def test_reload(tab: Page, site: Parley) -> None:
    """The page registers its tools again, whichever it has then."""
    code = offer(tab, "one", "two")
    tab.reload()
    assert offer(tab, "two", "three") == code
    assert names(site, code) == ["two", "three"]
    assert call(site, code, "three", {})["result"]["structuredContent"] == {}
    tab.reload()
    assert start(tab) == code
    assert names(site, code) == []


def test_reload_in_the_middle_of_a_call(tab: Page, site: Parley, beside: Beside) -> None:
    """As with requests: it is not called again, and the guest is told, or the page goes on with it."""
    code = offer(tab, "hold")
    asked = beside(call, site, code, "hold", {"a": 1})
    until(tab, "held.size === 1")
    tab.reload()
    assert offer(tab, "hold") == code
    assert asked.result()["error"]["code"] == "interrupted"
    assert tab.evaluate("ran") == []
    asked = beside(call, site, code, "hold", {"a": 2}, "q2")
    until(tab, "held.size === 1")
    tab.reload()
    offer(tab, "hold", resumes=True)
    assert asked.result()["result"]["structuredContent"] == {"again": {"a": 2}}


def test_parsed_arguments(tab: Page, site: Parley) -> None:
    code = offer(tab, "echo", parses=True)
    assert call(site, code, "echo", {"a": 7})["result"]["structuredContent"] == {"a": "seven"}


def test_withdrawn_call(tab: Page, site: Parley) -> None:
    """Its signal aborts, what it returns is dropped, and its id may be used again."""
    code = offer(tab, "hold")
    url = f"/api/sessions/{code}/requests"
    body = {"id": "q1", "payload": {"method": "tools/call", "params": {"name": "hold", "arguments": {}}}}
    site.http.post(url, json=body).raise_for_status()
    until(tab, "held.has('q1')")
    tab.evaluate("window.first = held.get('q1')")
    site.http.delete(f"{url}/q1").raise_for_status()
    until(tab, "first.signal.aborted")
    assert tab.evaluate("[first.signal.reason.name, first.signal.reason.code]") == ["RelayError", "withdrawn"]
    assert tab.evaluate("told.at(-1)") == ["withdrawn", {"id": "q1"}]
    assert tab.evaluate("Object.keys(sessionStorage).filter((key) => key.includes('/q1'))") == []
    site.http.post(url, json=body).raise_for_status()
    until(tab, "held.get('q1') !== first")
    tab.evaluate("first.resolve('too late'); held.get('q1').resolve('in time')")
    answer = site.http.get(f"/api/sessions/{code}/responses/q1?wait=10").json()
    assert answer["result"]["content"][0]["text"] == "in time"
    until(tab, "told.filter(([type]) => type === 'answered').length === 1")
    assert tab.evaluate("held.get('q1').signal.aborted") is False


def test_withdrawn_while_its_answer_is_on_the_way(tab: Page, site: Parley) -> None:
    code = offer(tab, "hold")
    url = f"/api/sessions/{code}/requests"
    held: list[Route] = []
    tab.route("**/responses", lambda route: held.append(route))
    body = {"id": "q1", "payload": {"method": "tools/call", "params": {"name": "hold"}}}
    site.http.post(url, json=body).raise_for_status()
    until(tab, "held.has('q1')")
    tab.evaluate("held.get('q1').resolve('done')")
    wait_until(lambda: bool(tab.evaluate("1")) and bool(held))
    site.http.delete(f"{url}/q1").raise_for_status()
    until(tab, "told.at(-1)[0] === 'withdrawn'")
    tab.unroute_all()
    tab.wait_for_timeout(700)  # longer than the first pause before it would be sent again
    assert tab.evaluate("told.at(-1)[0]") == "withdrawn"


def test_host_that_is_not_told_of_a_withdrawal(window: Window, tab: Page, site: Parley) -> None:
    """As one that polls. The relay does not take its answer, and it does not mind."""
    tab.route("**/stream?*", lambda route: route.abort())
    code = offer(tab, "hold")
    url = f"/api/sessions/{code}/requests"
    body = {"id": "q1", "payload": {"method": "tools/call", "params": {"name": "hold"}}}
    for _ in range(2):
        site.http.post(url, json=body).raise_for_status()
        until(tab, "held.has('q1')")
        site.http.delete(f"{url}/q1").raise_for_status()
        tab.evaluate("held.get('q1').resolve('done'); held.delete('q1')")
        until(tab, "told.at(-1)[0] === 'answered'")
        assert tab.evaluate("told.at(-1)[1].problem.code") == "request_not_found"
        assert tab.evaluate("Object.keys(sessionStorage).filter((key) => key.includes('/q1'))") == []
        tab.evaluate("told.length = 0")
    window.forgive_the_network()


def test_end_aborts_calls(tab: Page, site: Parley, beside: Beside) -> None:
    code = offer(tab, "hold")
    beside(call, site, code, "hold")
    until(tab, "held.size === 1")
    tab.evaluate("session.end()")
    assert tab.evaluate("held.get('q1').signal.reason.code") == "session_ended"


def test_requests_are_withdrawn_too(tab: Page, site: Parley) -> None:
    code = start(tab)
    site.http.post(f"/api/sessions/{code}/requests", json={"id": "q1", "payload": {"hold": True}}).raise_for_status()
    until(tab, "ran.length === 1")
    site.http.delete(f"/api/sessions/{code}/requests/q1").raise_for_status()
    until(tab, "told.at(-1)[0] === 'withdrawn'")
    assert tab.evaluate("told.find(([type]) => type === 'request')[1].signal.reason.code") == "withdrawn"


def test_two_hosts_in_one_page(tab: Page, site: Parley) -> None:
    codes = [str(tab.evaluate(TOOLS, {"tools": [name]})) for name in ("one", "two")]
    assert [names(site, code) for code in codes] == [["one"], ["two"]]


def test_host_with_requests_only_registers_nothing(tab: Page) -> None:
    made = puts(tab)
    tab.evaluate(HOST, {})
    until(tab, "session.state === 'connected'")
    assert made == []


def test_id_that_is_used_again(window: Window, tab: Page, site: Parley) -> None:
    """A host that is not told of a withdrawal takes the next request with the id for a new one, by its cursor."""
    tab.route("**/stream?*", lambda route: route.abort())
    code = offer(tab, "hold")
    url = f"/api/sessions/{code}/requests"
    answers: list[Any] = []

    def note(request: Request) -> None:
        if request.url.endswith("/responses"):
            answers.append(request.post_data_json)

    tab.on("request", note)

    def post() -> None:
        body = {"id": "q1", "payload": {"method": "tools/call", "params": {"name": "hold"}}}
        site.http.post(url, json=body).raise_for_status()

    post()
    until(tab, "held.has('q1')")
    tab.evaluate("window.first = held.get('q1')")
    site.http.delete(f"{url}/q1").raise_for_status()
    post()
    until(tab, "held.get('q1') !== first")
    assert tab.evaluate("first.signal.reason.code") == "withdrawn"
    tab.evaluate("first.resolve('too late'); held.get('q1').resolve('in time')")
    answer = site.http.get(f"/api/sessions/{code}/responses/q1?wait=10").json()
    assert answer["result"]["content"][0]["text"] == "in time"
    until(tab, "told.at(-1)[0] === 'answered'")
    assert [answer["result"]["content"][0]["text"] for answer in answers] == ["in time"]
    assert re.fullmatch(r"\d+-\d+", answers[0]["cursor"])
    window.forgive_the_network()


def test_id_that_is_used_again_while_its_answer_is_saved(window: Window, tab: Page, site: Parley) -> None:
    """After a reload the answer to the request before is not sent as the new one's."""
    code = offer(tab, "echo")
    tab.route("**/responses", lambda route: route.abort())
    url = f"/api/sessions/{code}/requests"
    body = {"id": "q1", "payload": {"method": "tools/call", "params": {"name": "echo", "arguments": {"a": 1}}}}
    site.http.post(url, json=body).raise_for_status()
    until(tab, "Object.values(sessionStorage).some((text) => text.startsWith('\"result\"'))")
    tab.goto("about:blank")
    site.http.delete(f"{url}/q1").raise_for_status()
    body["payload"]["params"]["arguments"] = {"a": 2}  # type: ignore[index]
    site.http.post(url, json=body).raise_for_status()
    tab.unroute_all()
    tab.goto(f"{site.url}/problems.html")
    assert offer(tab, "echo") == code
    answer = site.http.get(f"/api/sessions/{code}/responses/q1?wait=10").json()
    assert answer["result"]["structuredContent"] == {"a": 2}
    window.forgive_the_network()
