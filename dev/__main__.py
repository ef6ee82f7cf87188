"""Run Parley on this machine, or one of its development tools."""

import argparse
import errno
import os
import re
import signal
import sys
from importlib import import_module
from pathlib import Path
from urllib.parse import urlsplit

_HOST = re.compile(r"[\w-]{1,63}(\.[\w-]{1,63})*\.?|[0-9a-f:]+")


def main() -> int:
    """Run the command of the command line until it ends or is interrupted. Returns the exit code."""
    given = _parser().parse_args()
    for stop in (signal.SIGINT, signal.SIGTERM):
        signal.signal(stop, signal.default_int_handler)
    try:
        # Imported only now: `make check` installs a part of the packages, enough for the checker.
        module, _, function = given.command.partition(":")
        return int(getattr(import_module(module), function)(given) or 0)
    except KeyboardInterrupt:
        return 0
    except OSError as error:
        if error.errno != errno.EADDRINUSE:
            raise
        print(f"Port {given.port} is in use: choose another one with --port N, or make dev PORT=N.", file=sys.stderr)
    except ValueError as error:
        print(error, file=sys.stderr)
    return 1


def _parser() -> argparse.ArgumentParser:
    """Return the parser. What it parses has the function to run as `command`, `module:function`."""
    made = argparse.ArgumentParser("python -m dev", description=__doc__)
    made.add_argument("--port", type=int, default=3000, help="where Parley listens (default: 3000; 0: a free one)")
    help_ = "another name than localhost under which it may be called; may be given several times"
    made.add_argument("--host", action="append", default=[], metavar="NAME", help=help_)
    made.set_defaults(command="dev.local.serve:platform")
    commands = made.add_subparsers(title="commands")
    _add_bench(commands.add_parser("bench", help="measure the local platform, or a deployment"))
    _add_check(commands.add_parser("check", help="check a deployment from outside, step by step"))
    _add_store(commands.add_parser("store", help="run the local Upstash alone"))
    return made


def _add_bench(command: argparse.ArgumentParser) -> None:
    command.add_argument("url", type=_address, nargs="?", metavar="URL", help="a deployment (default: a local one)")
    command.add_argument("--times", type=int, help="how often (default: 200; 20 on a deployment, which has limits)")
    command.add_argument("--starts", type=int, default=7, help="cold starts of each function (default: 7; 0: none)")
    command.add_argument("--no-tls", dest="tls", action="store_false", help="leave out the store behind TLS")
    command.add_argument("--json", type=Path, metavar="FILE", help="where to write all figures")
    command.add_argument("--plot", type=Path, metavar="FILE", help="where to draw the distributions, as a PNG")
    command.set_defaults(command="dev.bench.benchmark:run")


def _add_check(command: argparse.ArgumentParser) -> None:
    command.add_argument("url", type=_address, metavar="URL", help="such as https://parley.vercel.app")
    bypass = os.environ.get("VERCEL_AUTOMATION_BYPASS_SECRET", "")
    help_ = "opens a protected deployment (default: VERCEL_AUTOMATION_BYPASS_SECRET)"
    command.add_argument("--bypass", type=_secret, metavar="SECRET", default=bypass, help=help_)
    help_ = "how long a call of the functions to the store may take (default: 50)"
    command.add_argument("--latency", type=_milliseconds, metavar="MS", default=50, help=help_)
    command.add_argument("--json", action="store_true", help="print one JSON object, for programs")
    command.set_defaults(command="dev.check.checker:command")


def _add_store(command: argparse.ArgumentParser) -> None:
    command.add_argument("--port", type=int, default=8079, help="where it listens (default: 8079; 0: a free one)")
    command.add_argument("--token", help="the bearer token that it accepts (default: a random one)")
    command.set_defaults(command="dev.local.serve:store")


def _address(text: str) -> str:
    """Return the address of a deployment, without a slash at its end. Raises ArgumentTypeError."""
    try:
        parts = urlsplit(text.strip())
        known = parts.scheme in ("http", "https") and _HOST.fullmatch(parts.hostname or "") and parts.port != 0
    except ValueError:
        known = False
    if not known or parts.path.strip("/") or parts.query or parts.fragment or "@" in parts.netloc:
        raise argparse.ArgumentTypeError(
            "give the address alone, with http:// or https://, such as https://parley.vercel.app"
        )
    return f"{parts.scheme}://{parts.netloc}"


def _secret(text: str) -> str:
    """Return a bypass secret. Raises ArgumentTypeError, whose text does not contain it."""
    secret = text.strip()
    if not (secret.isascii() and secret.isprintable()) or " " in secret:
        raise argparse.ArgumentTypeError("the secret has characters that cannot be sent")
    return secret


def _milliseconds(text: str) -> float:
    """Return a positive, finite number of milliseconds. Raises ArgumentTypeError."""
    try:
        number = float(text)
    except ValueError:
        number = 0
    if not 0 < number < float("inf"):
        raise argparse.ArgumentTypeError("give a number of milliseconds, such as 50")
    return number


if __name__ == "__main__":
    sys.exit(main())
