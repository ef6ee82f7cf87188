"""public/relay.js: how a host reads the events of its stream.

Source: https://html.spec.whatwg.org/multipage/server-sent-events.html#event-stream-interpretation
"""

import pytest
from playwright.sync_api import Page

from lib.jsontext import JsonText
from lib.web import sse

# Let a host read a stream of this text as one chunk, as two chunks that meet at each byte, and as chunks of one byte.
# Returns the different outcomes: for each event what it did in the host, if anything, and its data; then the cursor
# with which the host connects again.
READ = r"""async (text) => {
  const { host } = await import("/relay.js");
  const created = JSON.stringify({ code: "ABC12345", token: "t", expiresAt: "2100-01-01T00:00:00Z", ttl: 600 });

  const read = async (chunks) => {
    const events = [];
    let streams = 0;
    let listen, reconnect;
    const listening = new Promise((resolve) => (listen = resolve));
    const reconnected = new Promise((resolve) => (reconnect = resolve));
    window.fetch = async ({ url, headers }) => {
      if (url.endsWith("/api/sessions")) return new Response(created);
      if (!url.includes("/stream?")) return new Response(null, { status: 204 });
      await listening;
      if (++streams > 1) reconnect(headers.get("Last-Event-ID") ?? "");
      const start = (stream) => {
        for (const chunk of chunks) stream.enqueue(chunk);
        stream.close();
      };
      return new Response(streams > 1 ? new ReadableStream() : new ReadableStream({ start }));
    };
    const parse = (text) => {
      if (text !== created) sse.push(["", text]);
      return JSON.parse(text);
    };
    const session = await host({ parse, autoRenew: false, onRequest() {} });
    const note = (name) => (sse.at(-1)[0] = name);
    session.addEventListener("request", () => note("request"));
    session.addEventListener("renewed", () => note("renewed"));
    session.addEventListener("ended", ({ detail }) => detail.reason === "ended" || note("ended"));
    session.addEventListener("state", ({ detail }) => {
      if (detail.state === "connected") note("open");
      if (detail.state === "disconnected") setTimeout(() => dispatchEvent(new Event("online"))); // does not wait longer
      if (detail.state === "ended") reconnect("");
    });
    listen();
    const cursor = await reconnected;
    await session.end();
    return JSON.stringify([events, cursor]);
  };

  const bytes = new TextEncoder().encode(text);
  const outcomes = new Set([await read([bytes])]);
  for (let cut = 1; cut < bytes.length; cut++) outcomes.add(await read([bytes.slice(0, cut), bytes.slice(cut)]));
  outcomes.add(await read(Array.from(bytes, (byte) => Uint8Array.of(byte))));
  return Array.from(outcomes, (outcome) => JSON.parse(outcome));
}"""

Q1 = '{"id":"q1","payload":"ü€😀"}'
Q2 = '{"id":"q2","payload":": \\n"}'
OPEN = '{"code":"ABC12345","expiresAt":"2100-01-01T00:00:00Z"}'
RENEWED = '{"expiresAt":"2100-01-01T00:10:00Z"}'
FIRST = f"id: 1-0\nevent: request\ndata: {Q1}\n\n"
SECOND = f"id: 2-0\nevent: request\ndata: {Q2}\n\n"
BOTH = [["request", Q1], ["request", Q2]]


def written(*parts: tuple[str, str, str]) -> str:
    """Return events as the relay writes them, with a comment after each."""
    return "".join(
        (sse.encode(name, JsonText(data.encode()), cursor) + sse.KEEP_ALIVE).decode() for name, data, cursor in parts
    )


@pytest.mark.parametrize(
    ("text", "outcome"),
    [
        pytest.param(
            written(("open", OPEN, ""), ("request", Q1, "1-0"), ("renewed", RENEWED, "1-0")),
            [[["open", OPEN], ["request", Q1], ["renewed", RENEWED]], "1-0"],
            id="as the relay writes",
        ),
        pytest.param(
            written(("request", Q1, "1-0"), ("ended", '{"reason":"expired"}', "1-0")),
            [[["request", Q1], ["ended", '{"reason":"expired"}']], ""],
            id="ended",
        ),
        pytest.param((FIRST + SECOND).replace("\n", "\r\n"), [BOTH, "2-0"], id="CRLF"),
        pytest.param("\ufeff" + FIRST, [[["request", Q1]], "1-0"], id="BOM"),
        pytest.param(
            'event: request\nid: 1-0\ndata: {"id":"q1",\ndata:"payload":\ndata:  1}\n\n',
            [[["request", '{"id":"q1",\n"payload":\n 1}']], "1-0"],
            id="several data lines",
        ),
        pytest.param(
            f": hello\n\n:\n\nid: 1-0\n:data: no\nevent: request\n:\ndata: {Q1}\n: x\n\n:",
            [[["request", Q1]], "1-0"],
            id="comments",
        ),
        pytest.param(FIRST + SECOND.removesuffix("\n"), [[["request", Q1]], "1-0"], id="no blank line at the end"),
        pytest.param(FIRST + SECOND.removesuffix("\n\n"), [[["request", Q1]], "1-0"], id="no line end at the end"),
        pytest.param(FIRST + SECOND.replace("id: 2-0", "id:"), [BOTH, ""], id="id without value"),
        pytest.param(FIRST + SECOND.replace("id: 2-0", "id"), [BOTH, ""], id="id without colon"),
        pytest.param(FIRST + SECOND.replace("id: 2-0\n", ""), [BOTH, "1-0"], id="no id"),
        pytest.param(
            f"retry: 1\nids: 9-0\nevent: request\nevents: open\nID: 9-0\n data: 1\nid:1-0\ndata:{Q1}\nnothing\n\n",
            [[["request", Q1]], "1-0"],
            id="unknown fields",
        ),
        pytest.param(
            f"id: 1-0\nevent: request\n\ndata: {Q1}\n\nevent: request\ndata:\n\ndata: {Q2}\n\n",
            [[["", Q1], ["", Q2]], "1-0"],
            id="no data",
        ),
    ],
)
def test_events(tab: Page, text: str, outcome: list[object]) -> None:
    """However the network cuts a stream into chunks, the host reads the same events."""
    assert tab.evaluate(READ, text) == [outcome]
