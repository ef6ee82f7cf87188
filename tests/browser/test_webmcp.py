"""public/relay.js: tools that a page has registered with the browser, document.modelContext of WebMCP.

Source: https://webmachinelearning.github.io/webmcp/
"""

from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, Playwright

from tests.browser.conftest import Window, launched, until
from tests.browser.test_tools import TEXT, call, names, offered
from tests.support.deployments import Parley
from tests.support.tools import wait_until

# WebMCP as in Chrome before version 155: schemas and arguments are JSON, and executeTool passes no signal on.
STUB = """
class ModelContext extends EventTarget {
  tools = new Map();
  async registerTool(tool, { signal } = {}) {
    this.tools.set(tool.name, tool);
    signal?.addEventListener("abort", () => {
      this.tools.delete(tool.name);
      this.dispatchEvent(new Event("toolchange"));
    });
    this.dispatchEvent(new Event("toolchange"));
  }
  async getTools() {
    return Array.from(this.tools.values(), ({ name, title = "", description, inputSchema }) =>
      ({ name, title, description, inputSchema: inputSchema ? JSON.stringify(inputSchema) : "", window, origin }));
  }
  async executeTool({ name }, input, { signal }) {
    window.inputs = [...(window.inputs ?? []), `${input}`];
    window.lastSignal = signal;
    const result = await this.tools.get(name).execute(JSON.parse(input), {});
    return typeof result === "string" ? result : `${JSON.stringify(result)}`;
  }
}
Object.defineProperty(Document.prototype, "modelContext", { value: new ModelContext() });
"""
# A page that registers its tools with the browser only, and is a host that adopts them.
ADOPT = """async () => {
  const { host } = await import("/relay.js");
  window.give = (args) => args;
  window.register = (name, options) => document.modelContext.registerTool({
    name,
    description: `The tool ${name}.`,
    inputSchema: { properties: { a: { type: "number" } } },
    annotations: { readOnlyHint: true },
    execute: (args, context) => give(args, context),
  }, options);
  window.stop = new AbortController();
  await register("one");
  await register("two", { signal: stop.signal });
  window.session = await host({ tools: document.modelContext });
  return session.code;
}"""


@pytest.fixture(scope="module")
def chromium_with_webmcp(any_playwright: Playwright) -> Iterator[Browser]:
    with launched(any_playwright, "--enable-blink-features=WebMCP") as browser:
        yield browser


@pytest.fixture(params=["stub", "chromium"])
def adopting(
    request: pytest.FixtureRequest, chromium: Browser, chromium_with_webmcp: Browser, site: Parley
) -> Iterator[Page]:
    """Give a page in a browser that has WebMCP: as a stub, and as Chromium's own."""
    browser = chromium if request.param == "stub" else chromium_with_webmcp
    with browser.new_context() as context:
        if request.param == "stub":
            context.add_init_script(STUB)
        tab = Window(context).open(f"{site.url}/problems.html")
        if not tab.evaluate("typeof document.modelContext?.getTools === 'function'"):
            pytest.skip("this Chromium has no WebMCP, or one without getTools")
        yield tab


def test_adopted_tools(adopting: Page, site: Parley) -> None:
    """They are offered, come and go, and are called as the page's own."""
    code = adopting.evaluate(ADOPT)
    schema = {"type": "object", "properties": {"a": {"type": "number"}}}
    for name, tool in zip(["one", "two"], offered(site, code), strict=True):
        assert tool.pop("annotations", {}).get("readOnlyHint", True)
        assert tool == {"name": name, "description": f"The tool {name}.", "inputSchema": schema}
    arguments = {"a": 1, "b": {"c": [None, "ü"]}, "toString": "mine"}
    assert call(site, code, "one", arguments)["result"]["structuredContent"] == arguments
    assert call(site, code, "three", {}, "q2")["error"]["code"] == "unknown_tool"
    adopting.evaluate("register('three')")
    wait_until(lambda: names(site, code) == ["one", "three", "two"] or names(site, code) == ["one", "two", "three"])
    assert call(site, code, "three", {}, "q3")["result"]["structuredContent"] == {}
    adopting.evaluate("stop.abort()")
    wait_until(lambda: names(site, code) == ["one", "three"])
    assert call(site, code, "two", {}, "q4")["error"]["code"] == "unknown_tool"


RESULTS: dict[str, dict[str, Any]] = {
    "'a text'": {"content": [{**TEXT, "text": "a text"}]},
    "'5'": {"content": [{**TEXT, "text": "5"}]},
    "undefined": {"content": [{**TEXT, "text": ""}]},
    "({ a: 1 })": {"content": [{**TEXT, "text": '{"a":1}'}], "structuredContent": {"a": 1}},
    "({ content: [{ type: 'text', text: 'x' }] })": {"content": [{**TEXT, "text": "x"}]},
}


def test_whatever_an_adopted_tool_returns(adopting: Page, site: Parley) -> None:
    code = adopting.evaluate(ADOPT)
    for number, (returned, result) in enumerate(RESULTS.items()):
        adopting.evaluate(f"window.give = async () => {returned}")
        assert call(site, code, "one", {}, f"q{number}")["result"] == result


def test_adopted_tool_that_fails(adopting: Page, site: Parley) -> None:
    """Chromium keeps its error to itself."""
    code = adopting.evaluate(ADOPT)
    adopting.evaluate("window.give = () => { throw new Error('no way') }; 0")
    result = call(site, code, "one", {})["result"]
    assert result["isError"]
    assert result["content"][0]["text"].startswith(("no way", "Tool was executed but the invocation failed."))


def test_withdrawn_call_of_an_adopted_tool(adopting: Page, site: Parley) -> None:
    code = adopting.evaluate(ADOPT)
    adopting.evaluate(
        "window.give = (args, context) => new Promise(() => (window.signal = context.signal ?? lastSignal)); 0"
    )
    url = f"/api/sessions/{code}/requests"
    payload = {"method": "tools/call", "params": {"name": "one", "arguments": {}}}
    site.http.post(url, json={"id": "q1", "payload": payload}).raise_for_status()
    until(adopting, "window.signal !== undefined")
    site.http.delete(f"{url}/q1").raise_for_status()
    until(adopting, "signal.aborted")


def test_same_tool_for_both(adopting: Page, site: Parley) -> None:
    """A page may hand one object to the browser and to the session. It is then offered once."""
    code = adopting.evaluate(
        """async () => {
          const { host } = await import("/relay.js");
          window.session = await host({ tools: document.modelContext });
          const tool = { name: "both", description: "d", execute: () => "called" };
          await Promise.all([document.modelContext, session].map((offers) => offers.registerTool(tool)));
          return session.code;
        }"""
    )
    assert names(site, code) == ["both"]
    assert call(site, code, "both", {})["result"]["content"] == [{**TEXT, "text": "called"}]


def test_tools_are_put_only_if_they_have_changed(adopting: Page, site: Parley) -> None:
    made: list[str] = []
    adopting.on("request", lambda request: made.append(request.method) if request.method == "PUT" else None)
    adopting.evaluate(ADOPT)
    until(adopting, "session.state === 'connected'")
    adopting.evaluate("document.modelContext.dispatchEvent(new Event('toolchange'))")
    adopting.wait_for_timeout(100)
    assert made == ["PUT"]


# What a page may register with the browser, and the relay would refuse with the whole list.
FAULTY = {
    "notAnObject": "{ name: 'notAnObject', inputSchema: { type: 'string' } }",
    "notJson": "{ name: 'notJson', inputSchema: '{' }",
    "notAName": "{ name: 'not a name' }",
    "notSchemas": "{ name: 'notSchemas', inputSchema: { properties: { a: 1 } } }",
    "notNames": "{ name: 'notNames', inputSchema: { required: 'a' } }",
    "header": "{ name: 'header', inputSchema: { properties: { a: { 'x-mcp-header': 'A' } } } }",
}


def test_faulty_tool_among_others(chromium: Browser, site: Parley) -> None:
    """It is left out, the console says why, once, and the others are offered."""
    with chromium.new_context() as context:
        warnings: list[str] = []
        context.on("console", lambda message: warnings.append(message.text) if message.type == "warning" else None)
        tab = context.new_page()
        tab.goto(f"{site.url}/problems.html")
        code = tab.evaluate(
            f"""async () => {{
              const faulty = [{", ".join(FAULTY.values())}];
              const context = new EventTarget();
              const tools = [{{ name: "one" }}, ...faulty, {{ name: "two", description: "d" }}];
              Object.assign(context, {{ getTools: async () => tools, executeTool: async () => "called" }});
              const {{ host }} = await import("/relay.js");
              window.session = await host({{ tools: context }});
              window.change = () => {{
                tools.push({{ name: "three" }});
                context.dispatchEvent(new Event("toolchange"));
              }};
              return session.code;
            }}"""
        )
        assert names(site, code) == ["one", "two"]
        tab.evaluate("change()")
        wait_until(lambda: names(site, code) == ["one", "two", "three"])
        assert len(warnings) == len(FAULTY)
        assert any("the tool not a name: its name has to be 1 to 128" in warning for warning in warnings)
