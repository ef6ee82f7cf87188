"""public/relay/events.js: how the events of a stream are read.

Source: https://html.spec.whatwg.org/multipage/server-sent-events.html#event-stream-interpretation
"""

import pytest
from playwright.sync_api import Page

from lib.jsontext import JsonText
from lib.web import sse
from tests.browser.conftest import Window, start, until

# Read this text as one chunk, as two chunks that meet at each byte, and as chunks of one byte. Returns the different
# outcomes: the name, the data and the id of each event.
READ = """async (text) => {
  const { readText } = await import("/relay/body.js");
  const { readEvents } = await import("/relay/events.js");

  const read = async (chunks) => {
    const events = [];
    const start = (stream) => {
      for (const chunk of chunks) stream.enqueue(chunk);
      stream.close();
    };
    for await (const { event, data, id } of readEvents(readText(new ReadableStream({ start }), () => undefined)))
      events.push([event, data, id]);
    return JSON.stringify(events);
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
BOTH = [["request", Q1, "1-0"], ["request", Q2, "2-0"]]


def written(*events: tuple[str, str, str]) -> str:
    """Return events as the relay writes them, with a comment after each."""
    return "".join(
        (sse.encode(name, JsonText(data.encode()), cursor) + sse.KEEP_ALIVE).decode() for name, data, cursor in events
    )


@pytest.mark.parametrize(
    ("text", "outcome"),
    [
        pytest.param(
            written(("open", OPEN, ""), ("request", Q1, "1-0"), ("renewed", RENEWED, "1-0")),
            [["open", OPEN, ""], ["request", Q1, "1-0"], ["renewed", RENEWED, "1-0"]],
            id="as the relay writes",
        ),
        pytest.param((FIRST + SECOND).replace("\n", "\r\n"), BOTH, id="CRLF"),
        pytest.param(FIRST.replace("ü", "\r\\u2028"), [["request", Q1.replace("ü", "\r\\u2028"), "1-0"]], id="lone CR"),
        pytest.param("\ufeff" + FIRST, [["request", Q1, "1-0"]], id="BOM"),
        pytest.param(
            'event: request\nid: 1-0\ndata: {"id":"q1",\ndata:"payload":\ndata:  1}\n\n',
            [["request", '{"id":"q1",\n"payload":\n 1}', "1-0"]],
            id="several data lines",
        ),
        pytest.param(
            f": hello\n\n:\n\nid: 1-0\n:data: no\nevent: request\n:\ndata: {Q1}\n: x\n\n:",
            [["request", Q1, "1-0"]],
            id="comments",
        ),
        pytest.param(FIRST + SECOND.removesuffix("\n"), [["request", Q1, "1-0"]], id="no blank line at the end"),
        pytest.param(FIRST + SECOND.removesuffix("\n\n"), [["request", Q1, "1-0"]], id="no line end at the end"),
        pytest.param(FIRST + SECOND.replace("id: 2-0", "id:"), [BOTH[0], ["request", Q2, ""]], id="id without value"),
        pytest.param(FIRST + SECOND.replace("id: 2-0", "id"), [BOTH[0], ["request", Q2, ""]], id="id without colon"),
        pytest.param(FIRST + SECOND.replace("id: 2-0\n", ""), [BOTH[0], ["request", Q2, "1-0"]], id="no id"),
        pytest.param(
            f"retry: 1\nids: 9-0\nevent: request\nevents: open\nID: 9-0\n data: 1\nid:1-0\ndata:{Q1}\nnothing\n\n",
            [["request", Q1, "1-0"]],
            id="unknown fields",
        ),
        pytest.param(
            f"id: 1-0\nevent: request\n\ndata: {Q1}\n\nevent: request\ndata:\n\ndata: {Q2}\n\n",
            [["message", Q1, "1-0"], ["message", Q2, "1-0"]],
            id="no data",
        ),
        pytest.param("", [], id="nothing"),
    ],
)
def test_events(tab: Page, text: str, outcome: list[object]) -> None:
    """However the network cuts a stream into chunks, the events are the same."""
    assert tab.evaluate(READ, text) == [outcome]


def test_stream_that_ends_in_the_middle(window: Window, tab: Page) -> None:
    """The host connects again with the cursor of the last event that it has read, and ends when the relay says so."""
    code = start(tab)
    cursors: list[str] = []
    streams = [FIRST + SECOND.removesuffix("\n"), written(("ended", '{"reason":"expired"}', "1-0"))]
    tab.on(
        "request",
        lambda request: cursors.append(request.headers.get("last-event-id", "")) if "stream?" in request.url else None,
    )
    opened = written(("open", '{"code":"' + code + '","expiresAt":"2100-01-01T00:00:00Z"}', ""))
    tab.route(
        "**/stream?*", lambda route: route.fulfill(content_type="text/event-stream", body=opened + streams.pop(0))
    )
    tab.evaluate("dispatchEvent(new Event('online'))")
    until(tab, "session.state === 'ended'")
    assert tab.evaluate("session.reason") == "expired"
    assert tab.evaluate("ran") == ["q1"]
    assert cursors[1] == "1-0"
    window.forgive_the_network()
