"""lib/session/tokens.py: derived from the session and the deployment's secret, and from nothing else."""

import pytest

from lib.problems import StoreNotConfigured
from lib.session import tokens

CODE, CREATED = "ABC12345", "2026-11-24T10:23:26.166Z"


@pytest.fixture(autouse=True)
def _secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("KV_KEY_PREFIX", "VERCEL_ENV", "VERCEL_IPC_PATH"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("KV_REST_API_URL", "https://store.test")
    monkeypatch.setenv("KV_REST_API_TOKEN", "store token")
    monkeypatch.setenv("SESSION_SECRET", "secret")


def test_known_answer() -> None:
    """Another derivation would lock out the host of every running session: change it only on purpose."""
    token = "20261124102326166.ef5a100a81d008eb5ea983301af12c81099df91447f1ebdcafd2dc4676dcf207"
    assert tokens.derive(CODE, CREATED) == token
    assert tokens.creation(token, CODE) == CREATED


@pytest.mark.parametrize("token", ["", "x", "é", "0" * 64, "20261124102326166", "20261124102326166." + "0" * 64])
def test_other_token(token: str) -> None:
    assert tokens.creation(token, CODE) is None


def test_changed_token() -> None:
    token = tokens.derive(CODE, CREATED)
    for place in (0, 16, 17, 18, len(token) - 1):
        changed = token[:place] + ("1" if token[place] != "1" else "2") + token[place + 1 :]
        assert tokens.creation(changed, CODE) is None
    for longer in (token + "0", "0" + token, token + "\n"):
        assert tokens.creation(longer, CODE) is None


def test_other_code() -> None:
    assert tokens.creation(tokens.derive(CODE, CREATED), "ABC12346") is None


@pytest.mark.parametrize(
    ("variable", "value"),
    [("SESSION_SECRET", "another"), ("KV_KEY_PREFIX", "other:"), ("VERCEL_ENV", "preview"), ("SESSION_SECRET", "")],
)
def test_other_deployment(monkeypatch: pytest.MonkeyPatch, variable: str, value: str) -> None:
    """A preview that shares production's database and secret opens none of its sessions, nor the other way round."""
    token = tokens.derive(CODE, CREATED)
    monkeypatch.setenv(variable, value)
    assert tokens.creation(token, CODE) is None
    assert tokens.creation(tokens.derive(CODE, CREATED), CODE) == CREATED


def test_nothing_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SESSION_SECRET")
    monkeypatch.delenv("KV_REST_API_URL")
    with pytest.raises(StoreNotConfigured):
        tokens.derive(CODE, CREATED)
