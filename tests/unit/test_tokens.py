"""lib/tokens.py: derived from the code under the deployment's secret, and nothing else."""

import pytest

from lib import tokens
from lib.problems import StoreNotConfigured


@pytest.fixture(autouse=True)
def _secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KV_REST_API_URL", "https://store.test")
    monkeypatch.setenv("KV_REST_API_TOKEN", "store token")
    monkeypatch.setenv("SESSION_SECRET", "secret")


def test_known_answer() -> None:
    """Another derivation would lock out the host of every running session: change it only on purpose."""
    assert tokens.derive("ABC12345") == "372f434d7f0d03e2c49cb4f87eb8eb3dd37814a99b45e678d68fa9a8f92fa9aa"


def test_matches() -> None:
    assert tokens.matches(tokens.derive("ABC12345"), "ABC12345")
    assert tokens.derive("ABC12345") == tokens.derive("ABC12345")


@pytest.mark.parametrize("changed", ["", "x", "é", tokens.__name__, "0" * 64])
def test_other_token(changed: str) -> None:
    assert not tokens.matches(changed, "ABC12345")


def test_other_code() -> None:
    assert not tokens.matches(tokens.derive("ABC12345"), "ABC12346")


def test_other_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    token = tokens.derive("ABC12345")
    monkeypatch.setenv("SESSION_SECRET", "another")
    assert not tokens.matches(token, "ABC12345")


def test_store_token_stands_in(monkeypatch: pytest.MonkeyPatch) -> None:
    token = tokens.derive("ABC12345")
    monkeypatch.delenv("SESSION_SECRET")
    assert not tokens.matches(token, "ABC12345")
    assert tokens.matches(tokens.derive("ABC12345"), "ABC12345")
    monkeypatch.delenv("KV_REST_API_URL")
    with pytest.raises(StoreNotConfigured):
        tokens.derive("ABC12345")
