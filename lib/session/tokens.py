"""The host's proof: a token derived from its session, so that nothing has to be stored to check it."""

import hashlib
import hmac
import re

from lib import settings

_TOKEN = re.compile(r"([0-9]{17})\.[0-9a-f]{64}")
_DIGITS = re.compile(r"(....)(..)(..)(..)(..)(..)(...)")


def derive(code: str, created_at: str) -> str:
    """Return the host token of the session with this code and creation (ISO 8601). Raises StoreNotConfigured.

    The token is the creation's digits and a hex HMAC-SHA256 of code, creation and key prefix under the deployment's
    secret, so it opens neither a later session with the same code nor a session of another deployment that shares the
    database.
    """
    digits = re.sub("[^0-9]", "", created_at)
    text = f"host:{code}:{digits}:{settings.key_prefix()}"
    return f"{digits}.{hmac.new(settings.secret().encode(), text.encode(), hashlib.sha256).hexdigest()}"


def creation(token: str, code: str) -> str | None:
    """Return the creation of the session that a token is for, as `derive` got it; None if it is no token of this code.

    The time it takes does not depend on where a wrong token differs. Raises StoreNotConfigured.
    """
    match = _TOKEN.fullmatch(token)
    if not match:
        return None
    created_at = _DIGITS.sub(r"\1-\2-\3T\4:\5:\6.\7Z", match[1])
    return created_at if hmac.compare_digest(token, derive(code, created_at)) else None
