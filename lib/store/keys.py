"""The names of all keys and channels. A preview deployment's names have a prefix."""

from lib import settings


def session(code: str) -> str:
    """Return the key of the session's record: JSON, a string."""
    return _named("session", code)


def requests(code: str) -> str:
    """Return the key of the requests that are not answered yet: a stream, oldest first."""
    return _named("req", code)


def responses(code: str) -> str:
    """Return the key of request id -> pending marker or answer: a hash."""
    return _named("res", code)


def tools(code: str) -> str:
    """Return the key of the tools that the host offers: a JSON array, a string."""
    return _named("tools", code)


def of_session(code: str) -> list[str]:
    """Return all keys of a session: the record's, the requests', the responses', the tools'."""
    return [session(code), requests(code), responses(code), tools(code)]


def bell(listener: str) -> str:
    """Return the channel of a function instance: `lib/wait/notifications.py` lists its messages."""
    return _named("bell", listener)


def rate(what: str, who: str) -> str:
    """Return the key of a counter or a set that limits use; `who` is a network, or a code and a network.

    `docs/architecture.md` lists them with their lifetimes.
    """
    return _named("rate", f"{what}:{who}")


def _named(kind: str, name: str) -> str:
    return f"{settings.key_prefix()}{kind}:{name}"
