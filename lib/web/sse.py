"""Server-sent events.

Source: https://html.spec.whatwg.org/multipage/server-sent-events.html
"""

from lib.jsontext import JsonText

# X-Accel-Buffering keeps proxies from collecting events until the stream ends.
HEADERS = {"Content-Type": "text/event-stream", "X-Accel-Buffering": "no"}
# A comment, which clients ignore. Proxies close a connection over which nothing comes: something is sent at least every
# so many seconds.
KEEP_ALIVE = b":\n\n"
KEEP_ALIVE_SECONDS = 15

# U+2028, U+2029 and U+0085 in UTF-8, and as escapes of JSON.
_SEPARATORS = ((b"\xe2\x80\xa8", b"\\u2028"), (b"\xe2\x80\xa9", b"\\u2029"), (b"\xc2\x85", b"\\u0085"))
_LINE_BREAKS = bytes.maketrans(b"\r\n", b"  ")


def encode(name: str, data: JsonText, cursor: str = "") -> bytes:
    """Return an event as bytes; a cursor becomes its `id`.

    Line breaks in JSON can only be white space between tokens, and become spaces. Other characters that some clients
    take for line breaks can only be in strings, and are escaped.
    """
    identity = f"id: {cursor}\n" if cursor else ""
    line = data.translate(_LINE_BREAKS)
    for separator, escape in _SEPARATORS:
        line = line.replace(separator, escape)
    return b"".join((f"{identity}event: {name}\ndata: ".encode(), line, b"\n\n"))
