"""The soak test, as `make soak` runs it."""

import argparse
import signal
import sys

from tests.soak import soak


def main() -> int:
    """Run the test as the command line says, and print what is wrong. Returns the exit code."""
    parser = argparse.ArgumentParser("python -m tests.soak", description="Make everything fail around Parley.")
    parser.add_argument("--seconds", type=float, default=120, help="for how long (default: 120)")
    parser.add_argument("--seed", type=int, default=1, help="decides what fails when (default: 1)")
    parser.add_argument("--hosts", type=int, default=6, help="how many, with two guests each (default: 6)")
    parser.add_argument("--no-kill", dest="kill", action="store_false", help="neither kill nor freeze a function")
    given = parser.parse_args()
    # Also in the background, where a shell lets Ctrl-C be ignored, and when it is stopped otherwise.
    for stop in (signal.SIGINT, signal.SIGTERM):
        signal.signal(stop, signal.default_int_handler)
    try:
        wrong = soak.run(given.seconds, given.seed, given.hosts, kill=given.kill)
    except KeyboardInterrupt:
        return 0
    if wrong:
        print(*wrong, sep="\n")
        print(f"Seed {given.seed}: {len(wrong)} things are wrong.", file=sys.stderr)
        return 1
    print("Nothing lost, doubled, out of order or left behind.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
