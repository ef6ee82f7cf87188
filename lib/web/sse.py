"""Server-sent events, as bytes.

Source: https://html.spec.whatwg.org/multipage/server-sent-events.html
"""

KEEP_ALIVE = b":\n\n"

_LINES = str.maketrans("\r\n", "  ")


def encode(name: str, data: str, cursor: str = "") -> bytes:
    """Return an event, with a cursor as its id if there is one.

    `data` is JSON text, in which line breaks can only be white space between its parts.
    """
    return f"{f'id: {cursor}' if cursor else ''}\nevent: {name}\ndata: {data.translate(_LINES)}\n\n".lstrip(
        "\n"
    ).encode()
