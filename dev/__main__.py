"""Run Parley on this machine, or one of its development tools."""

import errno
import signal
import sys
from importlib import import_module

from dev import arguments


def main() -> int:
    """Run the command of the command line until it ends or is interrupted. Returns the exit code."""
    given = arguments.parser().parse_args()
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
        advice = "choose another one with --port N, or make dev PORT=N."
        print(f"Port {given.port} is in use: {advice}", file=sys.stderr)
    except ValueError as error:
        print(error, file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
