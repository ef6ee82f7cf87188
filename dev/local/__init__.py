"""The local platform, which does what Vercel and Upstash do for a deployment, and its command line."""

import argparse


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the platform's options to a parser, and what its command runs."""
    parser.add_argument("--port", type=int, default=3000, help="where Parley listens (default: 3000; 0: a free one)")
    parser.set_defaults(command="dev.local.serve:platform")


def add_store_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the store alone to a parser, and what its command runs."""
    parser.add_argument("--port", type=int, default=8079, help="where it listens (default: 8079; 0: a free one)")
    parser.add_argument("--token", help="the bearer token that it accepts (default: a random one)")
    parser.set_defaults(command="dev.local.serve:store")
