"""The development tools: the local platform, the deployment checker, the benchmark and the soak test."""

from pathlib import Path

PROJECT = Path(__file__).resolve().parent.parent
