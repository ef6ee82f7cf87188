"""How long calls take that come to an instance at the same time."""

import asyncio
import statistics
from pathlib import Path

from dev.bench.report import progress, table
from dev.local.deployment import LocalStore
from tests.instance.functions import DESCRIPTORS, Answer, Functions, Session, burst, instances

_SIZES = (20, 60, 200)


def measure(store: LocalStore, build: Path | None) -> dict[str, dict[str, float]]:
    """Measure bursts of some sizes, on the functions of a build or else from source, and print a table.

    Returns the rows of the table, by size.
    """
    progress(f"bursts on one instance with {DESCRIPTORS} descriptors")
    with instances(store, build) as functions:
        bursts = asyncio.run(_answers(functions))
    found = {str(size): _row(answers) for size, answers in bursts.items()}
    table("calls at once, ms", found)
    return found


async def _answers(functions: Functions) -> dict[int, list[Answer]]:
    """Return the answers to the calls of each burst, after one more to warm up."""
    path = await (await Session.create(functions)).ask("q")
    port = functions.responses.port
    await burst(port, path, _SIZES[0])
    return {size: await burst(port, path, size) for size in _SIZES}


def _row(answers: list[Answer]) -> dict[str, float]:
    took = [answer.seconds * 1000 for answer in answers]
    median, slowest = round(statistics.median(took)), round(max(took))
    failed = sum(answer.status != 202 for answer in answers)
    return {"median": median, "slowest": slowest, "slowest / median": slowest / median, "failed": failed}
