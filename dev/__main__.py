"""Run Parley on this machine, or one of its development tools."""

import argparse
import errno
import signal
import sys
from importlib import import_module

from dev import bench, check, local, soak


def main() -> int:
    """Run the command of the command line until it ends or is interrupted. Returns the exit code."""
    arguments = _parser().parse_args()
    for stop in (signal.SIGINT, signal.SIGTERM):
        signal.signal(stop, signal.default_int_handler)
    try:
        # Imported only now: each command needs other packages.
        module, _, function = arguments.command.partition(":")
        return int(getattr(import_module(module), function)(arguments) or 0)
    except KeyboardInterrupt:
        return 0
    except OSError as error:
        if error.errno != errno.EADDRINUSE:
            raise
        told = f"Port {arguments.port} is in use: choose another one with --port N, or make dev PORT=N."
        print(told, file=sys.stderr)
    except ValueError as error:
        print(error, file=sys.stderr)
    return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m dev", description=__doc__)
    local.add_arguments(parser)
    commands = parser.add_subparsers(title="commands")
    bench.add_arguments(commands.add_parser("bench", help="measure the local platform, or a deployment"))
    soak.add_arguments(commands.add_parser("soak", help="make everything fail around the local platform"))
    check.add_arguments(commands.add_parser("check", help="check a deployment from outside, step by step"))
    local.add_store_arguments(commands.add_parser("store", help="run the local Upstash alone"))
    return parser


if __name__ == "__main__":
    sys.exit(main())
