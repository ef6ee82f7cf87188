"""Measures one function instance, without the platform in between: `make instance`."""

import argparse
import json
import resource
import signal
import sys
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from dev import PROJECT
from dev.bench import isolated
from dev.local import bundle, environment
from tests.instance import bursts, large, processor, streams

_OPEN_FILES = 16_384


def main() -> int:
    """Measure what the command line leaves in, and print each table when it is ready. Returns the exit code."""
    for stop in (signal.SIGINT, signal.SIGTERM):
        signal.signal(stop, signal.default_int_handler)
    given = _parser().parse_args()
    try:
        found = _measured(given)
    except KeyboardInterrupt:
        return 0
    except ValueError as error:
        print(error, file=sys.stderr)
        return 1
    if given.json:
        given.json.write_text(json.dumps(found, indent=1) + "\n", "utf-8")
    return 0


def _parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser("python -m tests.instance", description=__doc__)
    made.add_argument("--rounds", type=int, default=3, help="of the processor's time of a read (default: 3; 0: none)")
    made.add_argument("--calls", type=int, default=1600, help="reads in a round (default: 1600)")
    made.add_argument("--no-bursts", dest="bursts", action="store_false", help="leave out calls at the same time")
    made.add_argument("--no-large", dest="large", action="store_false", help="leave out large messages")
    made.add_argument("--streams", type=int, default=1000, help="how many at once (default: 1000; 0: none)")
    made.add_argument("--pushes", type=int, default=600, help="to one stream, then to all (default: 600; 0: none)")
    made.add_argument("--idle", type=float, default=60, help="seconds of idle streams (default: 60; 0: none)")
    made.add_argument("--json", type=Path, metavar="FILE", help="where to write all figures")
    return made


def _measured(given: argparse.Namespace) -> dict[str, Any]:
    """Return the figures. Raises ValueError if the store does not start, or a stream does not open or end."""
    # A thousand streams need some thousand open files in this process and in the store's, which inherits the limit.
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, min(_OPEN_FILES, hard)), hard))
    redis = environment.Store(redis=environment.store(PROJECT).redis)
    found: dict[str, Any] = {"at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()), "store": str(redis)}
    with ExitStack() as stack:
        store, _ = stack.enter_context(isolated.store())
        build = stack.enter_context(bundle.built(PROJECT)) if given.rounds or given.bursts or given.large else None
        if given.rounds and build:
            found["processor"] = processor.measure(store, build, given.rounds, given.calls)
        elif given.rounds:
            print("The processor's time is only measured with the Vercel CLI: npm install --global vercel\n")
        if given.bursts:
            found["bursts"] = bursts.measure(store, build)
        if given.large:
            found["large"] = large.measure(store, build)
        for number in sorted({1, given.streams} - {0}) if given.idle else ():
            found[f"idle, {number}"] = streams.measure_idle(store, number, given.idle)
        if given.streams and given.pushes:
            found["crowd"] = streams.measure_crowd(store, given.streams, given.pushes)
    return found


if __name__ == "__main__":
    sys.exit(main())
