"""The development tools: the local platform, the deployment checker and the benchmark."""

from pathlib import Path

PROJECT = Path(__file__).resolve().parent.parent
