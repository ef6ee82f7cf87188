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
    floor = statistics.median(series["floor"]) if "floor" in series else None
    found = {}
    for name, values in series.items():
        cuts, median = statistics.quantiles(values, n=100), statistics.median(values)
        found[name] = {
            "p50": median,
            "p95": cuts[94],
            "p99": cuts[98],
            **({"x floor": median / floor} if floor else {}),
        }
    return found


def table(title: str, found: Mapping[str, Mapping[str, float | str]]) -> None:
    """Print a table. Each row has the same columns: whole numbers and texts as they are, others with two decimals."""
    columns = list(next(iter(found.values())))
    rows = [[title, *columns]]
    for name, row in found.items():
        rows.append([name, *(f"{cell:.2f}" if isinstance(cell, float) else str(cell) for cell in row.values())])
    widths = [max(len(cell) for cell in column) for column in zip(*rows, strict=True)]
    for first, *rest in rows:
        cells = [cell.rjust(width) for cell, width in zip(rest, widths[1:], strict=True)]
        print("  ".join([first.ljust(widths[0]), *cells]))
    print(flush=True)


def plot(series: Milliseconds, file: Path) -> None:
    """Draw each series as a cumulative distribution, the share of calls by milliseconds, into a PNG."""
    import matplotlib as mpl  # here, since its import takes long and most runs draw nothing

    mpl.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(9, 5), layout="constrained")
    for name, values in series.items():
        shares = [(number + 1) / len(values) for number in range(len(values))]
        axes.step(sorted(values), shares, where="post", label=name)
    axes.set(xscale="log", xlabel="milliseconds", ylabel="share of calls", ylim=(0, 1.01))
    axes.grid(alpha=0.3)
    axes.legend(fontsize="small", ncols=2)
    figure.savefig(file, dpi=120)
    pyplot.close(figure)
