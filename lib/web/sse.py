"""Server-sent events.

Source: https://html.spec.whatwg.org/multipage/server-sent-events.html
"""

# X-Accel-Buffering keeps proxies from collecting events until the stream ends.
HEADERS = {"Content-Type": "text/event-stream", "X-Accel-Buffering": "no"}
# A comment, which clients ignore and which keeps proxies from closing a quiet connection.
KEEP_ALIVE = b":\n\n"

_LINE_BREAKS = str.maketrans("\r\n", "  ")


def encode(name: str, data: str, cursor: str = "") -> bytes:
    """Return an event as bytes; a cursor becomes its `id`.

    `data` is JSON text. Line breaks in it can only be white space between tokens, and become spaces.
    """
    identity = f"id: {cursor}\n" if cursor else ""
    return f"{identity}event: {name}\ndata: {data.translate(_LINE_BREAKS)}\n\n".encode()
