"""The settings: environment variables with their defaults."""

import os
from functools import cache
from typing import NamedTuple
from urllib.parse import quote

from lib import log
from lib.problems import StoreNotConfigured

STORE_VARIABLES = (
    ("KV_REST_API_URL", "KV_REST_API_TOKEN"),
    ("UPSTASH_REDIS_REST_URL", "UPSTASH_REDIS_REST_TOKEN"),
)

# A number with so many digits is above the maximum of each setting. int() refuses more than 4,300.
_MOST_DIGITS = 10


class Credentials(NamedTuple):
    """Where the store's REST API is, and the bearer token that opens it."""

    url: str
    token: str


def store() -> Credentials:
    """Return the first complete pair of credentials.

    Raises StoreNotConfigured, which names the variable that is missing or unusable.
    """
    if text("VERCEL_IPC_PATH") and not text("VERCEL_ENV") and not text("KV_KEY_PREFIX"):
        # Without them a preview takes itself for production, and would write production's keys.
        raise StoreNotConfigured(
            "Tick 'Automatically expose System Environment Variables' in the project's settings, or set KV_KEY_PREFIX."
        )
    half: list[str] = []
    for url_name, token_name in STORE_VARIABLES:
        url, token = text(url_name), text(token_name)
        if url and token:
            if not (url.startswith(("https://", "http://")) and url.isascii() and url.isprintable()):
                raise StoreNotConfigured(f"{url_name} must be the store's REST address (https://…), and nothing else.")
            if not (token.isascii() and token.isprintable()):
                raise StoreNotConfigured(f"{token_name} must be the store's REST token, without other characters.")
            return Credentials(url.rstrip("/"), token)
        if url or token:
            half.append(token_name if url else url_name)
    if half:
        raise StoreNotConfigured(f"Set the environment variable {half[0]} as well.")
    raise StoreNotConfigured(
        "Connect an Upstash Redis database: set KV_REST_API_URL and KV_REST_API_TOKEN, "
        "or UPSTASH_REDIS_REST_URL and UPSTASH_REDIS_REST_TOKEN."
    )


def key_prefix() -> str:
    """Return what every key and channel starts with: nothing, except on a preview deployment.

    A branch's name is percent-encoded: distinct branches stay distinct, and no name contains the separator of keys or
    a wildcard. `KV_KEY_PREFIX` is used as it is.
    """
    if override := text("KV_KEY_PREFIX"):
        return override
    if environment() == "preview":
        return f"preview:{quote(text('VERCEL_GIT_COMMIT_REF'), safe='')}:"
    return ""


def secret() -> str:
    """Return what host tokens are derived from. Raises StoreNotConfigured if there is nothing secret."""
    return text("SESSION_SECRET") or store().token


def on_platform() -> bool:
    """Return whether requests come through Vercel's proxy, which sets the headers that say who calls."""
    return bool(text("VERCEL") or text("VERCEL_IPC_PATH"))


def environment() -> str:
    """Return `production`, `preview` or `development`."""
    return text("VERCEL_ENV") or "development"


def commit() -> str | None:
    """Return the commit that this deployment was built from, if the platform exposes it."""
    return text("VERCEL_GIT_COMMIT_SHA") or None


class Number(NamedTuple):
    """A variable that holds a whole number from `least` to `most`.

    Calling it returns the number, or the default.
    """

    variable: str
    default: int
    most: int = 999_999_999
    least: int = 1

    def __call__(self) -> int:
        """Return the number as it is set now."""
        return _parsed(text(self.variable), self)


# How many seconds a session lives from its creation or its last renewal; session_ttl() keeps it within `session_max`.
session_life = Number("SESSION_TTL_SECONDS", 600)
# How many seconds after its creation a session ends, however often it is renewed.
session_max = Number("SESSION_MAX_SECONDS", 4 * 60 * 60)
# How many bytes a message may have: the platform refuses bodies of 4.5 MB.
max_payload = Number("MAX_PAYLOAD_BYTES", 1024 * 1024, most=4 * 1024 * 1024)
# How many bytes of messages a session may hold.
session_bytes = Number("SESSION_BYTES", 16 * 1024 * 1024)
# How many seconds a request waits for its answer, and an answer can be read, however often the session is renewed.
message_ttl = Number("MESSAGE_TTL_SECONDS", 600)
# How many sessions one network may create, and how many unknown codes it may try, in a minute. A network is an IPv4
# address, or the /64 network of an IPv6 address.
sessions_a_minute = Number("RATE_LIMIT_SESSIONS", 30)
misses_a_minute = Number("RATE_LIMIT_MISSES", 30)
# How many requests one network may send to one session in a minute.
requests_a_minute = Number("RATE_LIMIT_REQUESTS", 60)
# How many bytes one network may send to all sessions, and read from them, in ten minutes.
bytes_sent = Number("RATE_LIMIT_BYTES", 64 * 1024 * 1024)
bytes_read = Number("RATE_LIMIT_READ_BYTES", 256 * 1024 * 1024)
# How many seconds a stream lasts before it asks its client to connect again. `maxDuration` in vercel.json is 300 s, and
# the last events may take their time.
stream_seconds = Number("STREAM_SECONDS", 280, most=280)
# How many calls may wait or stream in one function instance; 0: as many as its descriptors allow, which
# lib/wait/capacity.py works out.
max_waits = Number("MAX_WAITS", 0, least=0)


def session_ttl() -> int:
    """Return how many seconds a session lives from its creation or its last renewal."""
    return min(session_life(), session_max())


def allowed_origin() -> str:
    """Return the origin whose pages may call the API; `*` allows all."""
    return text("CORS_ALLOW_ORIGIN") or "*"


def text(name: str) -> str:
    """Return a variable without the white space that pasting leaves around it; `""` if it is not set."""
    return os.environ.get(name, "").strip()


@cache
def _parsed(value: str, number: Number) -> int:
    """Parse a setting. An invalid value falls back to the default, one above the maximum is clamped.

    Either is logged once.
    """
    found = _whole_number(value)
    if number.least <= found <= number.most:
        return found
    used = number.most if found > number.most else number.default
    if value:
        log.line(level="warning", event="setting_ignored", variable=number.variable, used=used)
    return used


def _whole_number(value: str) -> int:
    """Return the number that a text is, or one above every maximum if that has more digits; -1 for any other text."""
    if not (value.isascii() and value.isdigit()):
        return -1
    return int(value.lstrip("0")[:_MOST_DIGITS] or "0")
