"""How the benchmark's figures are summed up, printed and drawn."""

import statistics
import sys
from collections.abc import Mapping
from pathlib import Path

type Milliseconds = dict[str, list[float]]


def progress(what: str) -> None:
    """Say what is measured now."""
    print(f"… {what}", file=sys.stderr, flush=True)


def quantiles(series: Milliseconds) -> dict[str, dict[str, float]]:
    """Return p50, p95 and p99 of each series, and its median as a multiple of the floor if that is one of them."""
    found = {}
    for name, values in series.items():
        cuts = statistics.quantiles(values, n=100)
        found[name] = {"p50": statistics.median(values), "p95": cuts[94], "p99": cuts[98]}
    if "floor" in found:
        floor = found["floor"]["p50"]
        found = {name: {**row, "x floor": row["p50"] / floor} for name, row in found.items()}
    return found


def table(title: str, found: Mapping[str, Mapping[str, float | str]]) -> None:
    """Print a table. Each row has the same columns: whole numbers and texts as they are, others with two decimals."""
    import pandas  # type: ignore[import-untyped]  # here, since its import takes long

    rows = pandas.DataFrame.from_dict(found, orient="index", dtype=object).rename_axis(columns=title)
    print(rows.to_string(float_format="{:.2f}".format), end="\n\n", flush=True)


def plot(series: Milliseconds, file: Path) -> None:
    """Draw each series as a cumulative distribution, the share of calls by milliseconds, into a PNG."""
    from matplotlib.figure import Figure  # here, since its import takes long and most runs draw nothing

    figure = Figure(figsize=(9, 5), layout="constrained")
    axes = figure.subplots()
    for name, values in series.items():
        axes.ecdf(values, label=name)
    axes.set(xscale="log", xlabel="milliseconds", ylabel="share of calls", ylim=(0, 1.01))
    axes.grid(alpha=0.3)
    axes.legend(fontsize="small", ncols=2)
    figure.savefig(file, dpi=120)
