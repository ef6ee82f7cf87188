"""Who calls: the address that the platform vouches for, and the host's token."""

import ipaddress
from email.message import Message

from lib import settings
from lib.kv import Store
from lib.problems import HostTokenRequired, HostTokenWrong
from lib.session import tokens
from lib.session.access import Access

_NETWORK_BITS = 64  # the smallest network that providers give to a customer


class Caller:
    """The sender of a request with these headers, over a connection from the address `peer`.

    `address` is an IP address; `network` is what limits are counted by: the same, or the /64 network of an IPv6
    address.
    """

    def __init__(self, headers: Message, peer: str) -> None:
        claimed = headers.get("x-real-ip", "") if settings.on_platform() else ""
        address = _parsed(claimed.strip()) or _parsed(peer)
        self.address = self.network = str(address or "unknown")
        if isinstance(address, ipaddress.IPv6Address):
            self.network = str(ipaddress.ip_network((int(address), _NETWORK_BITS), strict=False))
        scheme, _, token = headers.get("Authorization", "").strip().partition(" ")
        self._token = token.strip() if scheme.lower() == "bearer" else ""

    def access(self, store: Store, code: str) -> Access:
        """Return the caller's access to a session: the host's if the token is for this code, else a guest's."""
        created = tokens.creation(self._token, code) if self._token else None
        return Access(store, code, self.network, created or "")

    def host_access(self, store: Store, code: str, token_in_query: str = "") -> Access:
        """Return the host's access to a session. Raises HostTokenRequired, HostTokenWrong."""
        token = self._token or token_in_query
        if not token:
            raise HostTokenRequired
        created = tokens.creation(token, code)
        if not created:
            raise HostTokenWrong
        return Access(store, code, self.network, created)


def _parsed(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    """Return an IP address, an IPv4 address in IPv6 as IPv4; None for anything else."""
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address
