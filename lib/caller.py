"""Who calls: the address that the platform vouches for, and the host's token."""

import ipaddress
from email.message import Message

from lib import settings, tokens
from lib.problems import HostTokenRequired, HostTokenWrong


class Caller:
    """The sender of a request with these headers, over a connection from the address `peer`."""

    def __init__(self, headers: Message, peer: str) -> None:
        claimed = headers.get("x-real-ip", "") if settings.text("VERCEL") else ""
        self.address = _address(claimed.strip()) or _address(peer) or "unknown"
        scheme, _, token = headers.get("Authorization", "").strip().partition(" ")
        self._token = token.strip() if scheme.lower() == "bearer" else ""

    def guest(self, code: str) -> str | None:
        """Return the caller's address, or None for the session's host, whose token proves that it knows the code."""
        return None if self._token and tokens.matches(self._token, code) else self.address

    def require_host(self, code: str, token_in_query: str = "") -> None:
        """Return if the caller is the session's host. Raises HostTokenRequired, HostTokenWrong."""
        token = self._token or token_in_query
        if not token:
            raise HostTokenRequired
        if not tokens.matches(token, code):
            raise HostTokenWrong


def _address(text: str) -> str | None:
    """Return an IP address in its standard form, an IPv4 address in IPv6 as IPv4; None for anything else."""
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return None
    return str(getattr(address, "ipv4_mapped", None) or address)
