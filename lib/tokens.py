"""The host's proof: a token derived from the code, so that nothing has to be stored to check it."""

import hashlib
import hmac

from lib import settings


def derive(code: str) -> str:
    """Return the host token of a code: its hex HMAC-SHA256 under the deployment's secret. Raises StoreNotConfigured."""
    return hmac.new(settings.secret().encode(), f"host:{code}".encode(), hashlib.sha256).hexdigest()


def matches(token: str, code: str) -> bool:
    """Tell whether the token is this code's, in constant time."""
    return hmac.compare_digest(token.encode(), derive(code).encode())
