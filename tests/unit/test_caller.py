"""lib/web/caller.py: nobody chooses the address that counts, and only the host is taken for the host."""

from email.message import Message

import pytest

from lib.kv import Store
from lib.problems import HostTokenRequired, HostTokenWrong
from lib.session import tokens
from lib.web.caller import Caller

CODE, CREATED = "ABC12345", "2026-11-24T10:23:26.166Z"


def headers(**values: str) -> Message:
    made = Message()
    for name, value in values.items():
        made[name.replace("_", "-")] = value
    return made


@pytest.mark.parametrize(
    ("platform", "claimed", "address", "network"),
    [
        ("VERCEL", "192.0.2.1", "192.0.2.1", "192.0.2.1"),
        ("VERCEL_IPC_PATH", "192.0.2.1", "192.0.2.1", "192.0.2.1"),
        ("VERCEL", " 2001:DB8::1 ", "2001:db8::1", "2001:db8::/64"),
        ("VERCEL", "2001:db8:0:0:ffff::1", "2001:db8::ffff:0:0:1", "2001:db8::/64"),
        ("VERCEL", "2001:db8:0:1::1", "2001:db8:0:1::1", "2001:db8:0:1::/64"),
        ("VERCEL", "::ffff:192.0.2.1", "192.0.2.1", "192.0.2.1"),
        ("VERCEL", "nonsense", "127.0.0.1", "127.0.0.1"),
        ("VERCEL", "", "127.0.0.1", "127.0.0.1"),
        ("NEITHER", "192.0.2.1", "127.0.0.1", "127.0.0.1"),
    ],
)
def test_address(monkeypatch: pytest.MonkeyPatch, platform: str, claimed: str, address: str, network: str) -> None:
    """Off the platform, where callers set headers themselves, `x-real-ip` counts for nothing."""
    monkeypatch.delenv("VERCEL", raising=False)
    monkeypatch.setenv(platform, "1")
    caller = Caller(headers(x_real_ip=claimed), "127.0.0.1")
    assert (caller.address, caller.network) == (address, network)


def test_no_address(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("VERCEL", raising=False)
    assert Caller(headers(), "").network == "unknown"


def test_host(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SESSION_SECRET", "secret")
    store, token = Store(), tokens.derive(CODE, CREATED)
    for written in (f"Bearer {token}", f" bearer   {token} "):
        caller = Caller(headers(Authorization=written), "2001:db8::1")
        assert caller.access(store, CODE) == caller.host_access(store, CODE) == (store, CODE, "2001:db8::/64", CREATED)
    stranger = Caller(headers(Authorization=f"Basic {token}"), "127.0.0.1")
    assert stranger.access(store, CODE).created == ""
    assert stranger.host_access(store, CODE, token).created == CREATED
    with pytest.raises(HostTokenRequired):
        stranger.host_access(store, CODE)
    with pytest.raises(HostTokenWrong):
        stranger.host_access(store, CODE, "wrong")
