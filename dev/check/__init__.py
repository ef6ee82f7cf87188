"""The deployment checker, and its command line."""

import argparse
import os
import re
from urllib.parse import urlsplit

_HOST = re.compile(r"[\w-]{1,63}(\.[\w-]{1,63})*\.?|[0-9a-f:]+")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the checker's options to a parser, and what its command runs."""
    parser.add_argument("url", type=address, metavar="URL", help="such as https://parley.vercel.app")
    bypass = os.environ.get("VERCEL_AUTOMATION_BYPASS_SECRET", "")
    help_ = "opens a protected deployment (default: VERCEL_AUTOMATION_BYPASS_SECRET)"
    parser.add_argument("--bypass", type=_secret, metavar="SECRET", default=bypass, help=help_)
    help_ = "how long a call of the functions to the store may take (default: 50)"
    parser.add_argument("--latency", type=_milliseconds, metavar="MS", default=50, help=help_)
    parser.add_argument("--json", action="store_true", help="print one JSON object, for programs")
    parser.set_defaults(command="dev.check.checker:command")


def address(text: str) -> str:
    """Return the address of a deployment, without a slash at its end. Raises ArgumentTypeError."""
    try:
        parts = urlsplit(text.strip())
        known = parts.scheme in ("http", "https") and _HOST.fullmatch(parts.hostname or "") and parts.port != 0
    except ValueError:
        known = False
    if not known or parts.path.strip("/") or parts.query or parts.fragment or "@" in parts.netloc:
        raise argparse.ArgumentTypeError("give the deployment's address alone, such as https://parley.vercel.app")
    return f"{parts.scheme}://{parts.netloc}"


def _secret(text: str) -> str:
    """Return a bypass secret. Raises ArgumentTypeError, whose text does not contain it."""
    found = text.strip()
    if not (found.isascii() and found.isprintable()) or " " in found:
        raise argparse.ArgumentTypeError("the secret has characters that cannot be sent")
    return found


def _milliseconds(text: str) -> float:
    """Return a positive, finite number of milliseconds. Raises ArgumentTypeError."""
    try:
        found = float(text)
    except ValueError:
        found = 0
    if not 0 < found < float("inf"):
        raise argparse.ArgumentTypeError("give a number of milliseconds, such as 50")
    return found
