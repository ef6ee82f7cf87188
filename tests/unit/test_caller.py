"""lib/caller.py: nobody chooses the address that counts, and only the host is taken for the host."""

from email.message import Message

import pytest

from lib import tokens
from lib.caller import Caller
from lib.problems import HostTokenRequired, HostTokenWrong

CODE = "ABC12345"


def headers(**values: str) -> Message:
    made = Message()
    for name, value in values.items():
        made[name.replace("_", "-")] = value
    return made


@pytest.mark.parametrize(
    ("platform", "claimed", "address"),
    [
        ("1", "192.0.2.1", "192.0.2.1"),
        ("1", " 2001:DB8::1 ", "2001:db8::1"),
        ("1", "::ffff:192.0.2.1", "192.0.2.1"),
        ("1", "nonsense", "127.0.0.1"),
        ("1", "", "127.0.0.1"),
        ("", "192.0.2.1", "127.0.0.1"),
    ],
)
def test_address(monkeypatch: pytest.MonkeyPatch, platform: str, claimed: str, address: str) -> None:
    """Off the platform, where callers set headers themselves, `x-real-ip` counts for nothing."""
    monkeypatch.setenv("VERCEL", platform)
    assert Caller(headers(x_real_ip=claimed), "127.0.0.1").address == address


def test_no_address(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("VERCEL", raising=False)
    assert Caller(headers(), "").address == "unknown"


def test_host(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SESSION_SECRET", "secret")
    token = tokens.derive(CODE)
    for written in (f"Bearer {token}", f" bearer   {token} "):
        caller = Caller(headers(Authorization=written), "127.0.0.1")
        assert caller.guest(CODE) is None
        caller.require_host(CODE)
    stranger = Caller(headers(Authorization=f"Basic {token}"), "127.0.0.1")
    assert stranger.guest(CODE) == "127.0.0.1"
    stranger.require_host(CODE, token)
    with pytest.raises(HostTokenRequired):
        stranger.require_host(CODE)
    with pytest.raises(HostTokenWrong):
        stranger.require_host(CODE, "wrong")
