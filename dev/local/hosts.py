"""Under which names the local platform may be called: those of this machine, and those that it was started with.

A page anywhere can make a visitor's browser call this machine, under a name of its own that it lets lead here (DNS
rebinding): the browser then takes the platform for a part of that page, and lets it read every answer. Only the `Host`
header tells such a call.
"""

import ipaddress
from collections.abc import Collection
from contextlib import suppress
from urllib.parse import urlsplit

REFUSAL = (
    "MISDIRECTED_REQUEST\nThe local platform serves localhost and loopback addresses alone. "
    "To call it under another name, start it with that name: python -m dev --host NAME, or make dev ARGS='--host NAME'."
)


def allowed(host: str | None, names: Collection[str]) -> bool:
    """Tell whether a `Host` header, which may have any port, is this machine's, or has one of these names."""
    try:
        name = urlsplit(f"//{host or ''}").hostname or ""
    except ValueError:
        return False
    if name == "localhost" or name in names:
        return True
    with suppress(ValueError):
        return ipaddress.ip_address(name).is_loopback
    return False
