"""Session codes: eight characters of Crockford's Base32, forty random bits."""

import re
import secrets

from lib.problems import InvalidCode

ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
LENGTH = 8

_IGNORED = str.maketrans("", "", " -")
_READ_AS = str.maketrans("OIL", "011")
_CODE = re.compile(f"[{ALPHABET}]{{{LENGTH}}}")


def draw() -> str:
    """Return a random code, from the operating system's randomness."""
    return "".join(secrets.choice(ALPHABET) for _ in range(LENGTH))


def parse(text: str) -> str:
    """Return the code that a person may have typed in lower case, with spaces or hyphens, or with O, I, L.

    Raises InvalidCode for anything else. Source: Crockford's Base32, https://www.crockford.com/base32.html
    """
    if text.isascii():
        code = text.translate(_IGNORED).upper().translate(_READ_AS)
        if _CODE.fullmatch(code):
            return code
    raise InvalidCode(f"A code is {LENGTH} letters and digits, like ABC1-2345.")
