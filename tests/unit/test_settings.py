"""lib/settings.py, lib/store/keys.py: defaults, overrides, and names that never meet."""

import json

import pytest

from lib import settings
from lib.problems import StoreNotConfigured
from lib.store import keys

CREDENTIALS = ("KV_REST_API_URL", "KV_REST_API_TOKEN", "UPSTASH_REDIS_REST_URL", "UPSTASH_REDIS_REST_TOKEN")


@pytest.fixture(autouse=True)
def _nothing_set(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (*CREDENTIALS, "KV_KEY_PREFIX", "VERCEL_ENV", "VERCEL_GIT_COMMIT_REF", "SESSION_TTL_SECONDS"):
        monkeypatch.delenv(name, raising=False)


def test_first_complete_pair(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KV_REST_API_URL", "https://half.test")
    monkeypatch.setenv("UPSTASH_REDIS_REST_URL", " https://whole.test/ ")
    monkeypatch.setenv("UPSTASH_REDIS_REST_TOKEN", "b\n")
    assert settings.store() == ("https://whole.test", "b")
    monkeypatch.setenv("KV_REST_API_TOKEN", "a")
    assert settings.store() == ("https://half.test", "a")


@pytest.mark.parametrize(
    ("variables", "prefix"),
    [
        ({}, ""),
        ({"VERCEL_ENV": "production", "VERCEL_GIT_COMMIT_REF": "main"}, ""),
        ({"VERCEL_ENV": "development", "VERCEL_GIT_COMMIT_REF": "main"}, ""),
        ({"VERCEL_ENV": "preview", "VERCEL_GIT_COMMIT_REF": "fix-1.2_x"}, "preview:fix-1.2_x:"),
        ({"VERCEL_ENV": "preview", "VERCEL_GIT_COMMIT_REF": "a/b"}, "preview:a%2Fb:"),
        ({"VERCEL_ENV": "preview", "VERCEL_GIT_COMMIT_REF": "a%2Fb"}, "preview:a%252Fb:"),
        ({"VERCEL_ENV": "preview", "VERCEL_GIT_COMMIT_REF": "a:session:{*}"}, "preview:a%3Asession%3A%7B%2A%7D:"),
        ({"VERCEL_ENV": "preview", "VERCEL_GIT_COMMIT_REF": "ä"}, "preview:%C3%A4:"),
        ({"VERCEL_ENV": "preview"}, "preview::"),
        ({"VERCEL_ENV": "preview", "VERCEL_GIT_COMMIT_REF": "a", "KV_KEY_PREFIX": "mine:"}, "mine:"),
        ({"KV_KEY_PREFIX": "mine:"}, "mine:"),
    ],
)
def test_prefix(monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], prefix: str) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert keys.session("ABC12345") == f"{prefix}session:ABC12345"
    assert keys.requests("ABC12345") == f"{prefix}req:ABC12345"
    assert keys.responses("ABC12345") == f"{prefix}res:ABC12345"
    assert keys.bell("ABC12345") == f"{prefix}bell:ABC12345"
    assert keys.rate("sessions", "::1") == f"{prefix}rate:sessions:::1"


@pytest.mark.parametrize("value", ["abc", "0", "0" * 5000, "-1", "1.5", "²", "9" * 5000 + "x"])
def test_setting_that_is_none(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], value: str) -> None:
    settings._parsed.cache_clear()
    monkeypatch.setenv("SESSION_TTL_SECONDS", value)
    assert settings.session_ttl() == 600
    assert settings.session_ttl() == 600
    (line,) = capsys.readouterr().out.splitlines()
    assert json.loads(line) == {
        "level": "warning",
        "event": "setting_ignored",
        "variable": "SESSION_TTL_SECONDS",
        "used": 600,
    }


@pytest.mark.parametrize("value", ["4194305", "999999999", "1000000000", "9" * 5000])
def test_setting_above_its_maximum(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], value: str
) -> None:
    """It is clamped, however many digits it has."""
    settings._parsed.cache_clear()
    monkeypatch.setenv("MAX_PAYLOAD_BYTES", value)
    assert settings.max_payload() == 4 * 1024 * 1024
    assert json.loads(capsys.readouterr().out)["used"] == 4 * 1024 * 1024


@pytest.mark.parametrize(("value", "places"), [("0", 0), ("000", 0), ("", 0), ("7", 7), ("0" * 5000 + "7", 7)])
def test_number_of_waits(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], value: str, places: int
) -> None:
    """Zero is a number here: as many as there is room for."""
    settings._parsed.cache_clear()
    monkeypatch.setenv("MAX_WAITS", value)
    assert settings.max_waits() == places
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    ("value", "seconds"),
    [("1", 1), ("0280", 280), ("280", 280), ("281", 280), ("999999999", 280), ("9999999999", 280), ("x", 280)],
)
def test_stream_ends_before_its_function(monkeypatch: pytest.MonkeyPatch, value: str, seconds: int) -> None:
    monkeypatch.setenv("STREAM_SECONDS", value)
    assert settings.stream_seconds() == seconds


@pytest.mark.parametrize(
    ("variables", "refused"),
    [
        ({"VERCEL_IPC_PATH": "/ipc"}, True),
        ({"VERCEL_IPC_PATH": "/ipc", "VERCEL_ENV": "preview"}, False),
        ({"VERCEL_IPC_PATH": "/ipc", "KV_KEY_PREFIX": "mine:"}, False),
        ({}, False),
    ],
)
def test_hidden_system_variables(monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], refused: bool) -> None:
    """A deployment that cannot tell whether it is a preview refuses to write production's keys."""
    monkeypatch.setenv("KV_REST_API_URL", "https://store.test")
    monkeypatch.setenv("KV_REST_API_TOKEN", "token")
    monkeypatch.delenv("VERCEL_IPC_PATH", raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    if refused:
        with pytest.raises(StoreNotConfigured, match="Automatically expose System Environment Variables"):
            settings.store()
    else:
        assert settings.store().token == "token"


def test_ttl_is_within_the_longest_life(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SESSION_TTL_SECONDS", "700")
    assert settings.session_ttl() == 700
    monkeypatch.setenv("SESSION_MAX_SECONDS", "60")
    assert settings.session_ttl() == 60
