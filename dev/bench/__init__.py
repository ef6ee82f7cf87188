"""The benchmark, and its command line."""

import argparse
from pathlib import Path

from dev.check import address


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the benchmark's options to a parser, and what its command runs."""
    parser.add_argument("url", type=address, nargs="?", metavar="URL", help="a deployment (default: a local one)")
    parser.add_argument("--times", type=int, help="how often (default: 200; 20 on a deployment, which has limits)")
    parser.add_argument("--starts", type=int, default=7, help="cold starts of each function (default: 7; 0: none)")
    parser.add_argument("--streams", type=int, default=1000, help="how many at once (default: 1000; 0: none)")
    parser.add_argument("--idle", type=float, default=60, help="seconds of idle streams (default: 60; 0: none)")
    parser.add_argument("--no-bursts", dest="bursts", action="store_false", help="leave out calls at the same time")
    parser.add_argument("--no-tls", dest="tls", action="store_false", help="leave out the store behind TLS")
    parser.add_argument("--json", type=Path, metavar="FILE", help="where to write all figures")
    parser.add_argument("--plot", type=Path, metavar="FILE", help="where to draw the distributions, as a PNG")
    parser.set_defaults(command="dev.bench.benchmark:run")
