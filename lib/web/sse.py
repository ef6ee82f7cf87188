"""Server-sent events.

Source: https://html.spec.whatwg.org/multipage/server-sent-events.html
"""

from lib.jsontext import JsonText

# X-Accel-Buffering keeps proxies from collecting events until the stream ends.
HEADERS = {"Content-Type": "text/event-stream", "X-Accel-Buffering": "no"}
# A comment, which clients ignore and which keeps proxies from closing a quiet connection.
KEEP_ALIVE = b":\n\n"

_LINE_BREAKS = bytes.maketrans(b"\r\n", b"  ")


def encode(name: str, data: JsonText, cursor: str = "") -> bytes:
    """Return an event as bytes; a cursor becomes its `id`.

    Line breaks in JSON can only be white space between tokens, and become spaces.
    """
    identity = f"id: {cursor}\n" if cursor else ""
    return b"".join((f"{identity}event: {name}\ndata: ".encode(), data.translate(_LINE_BREAKS), b"\n\n"))
