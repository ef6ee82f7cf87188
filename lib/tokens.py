"""The host's proof: a token derived from the code, so that nothing has to be stored to check it."""

import hashlib
import hmac

from lib import settings


def derive(code: str) -> str:
    """Return the host token of a code: the hex HMAC-SHA256 of it under the deployment's secret.

    Raises StoreNotConfigured where the deployment has no secret.
    """
    return hmac.new(settings.secret().encode(), f"host:{code}".encode(), hashlib.sha256).hexdigest()


def matches(token: str, code: str) -> bool:
    """Tell whether the token is this code's, in time that does not depend on where they differ."""
    return hmac.compare_digest(token.encode(), derive(code).encode())
