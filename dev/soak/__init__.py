"""The soak test and its command line, with the faults and clients that other tests also use."""

import argparse


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the soak test's options to a parser, and what its command runs."""
    parser.add_argument("--seconds", type=float, default=120, help="for how long (default: 120)")
    parser.add_argument("--seed", type=int, default=1, help="decides what fails when (default: 1)")
    parser.add_argument("--hosts", type=int, default=6, help="how many, with two guests each (default: 6)")
    parser.add_argument("--no-kill", dest="kill", action="store_false", help="neither kill nor freeze a function")
    parser.set_defaults(command="dev.soak.soak:command")
