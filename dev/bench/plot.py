"""A picture of how latencies are distributed."""

from pathlib import Path


def distributions(milliseconds: dict[str, list[float]], file: Path) -> None:
    """Draw each series as the share of calls that took at most so many milliseconds, as a PNG."""
    import matplotlib as mpl  # only who draws waits for it

    mpl.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(9, 5), layout="constrained")
    for name, values in milliseconds.items():
        shares = [(number + 1) / len(values) for number in range(len(values))]
        axes.step(sorted(values), shares, where="post", label=name)
    axes.set(xscale="log", xlabel="milliseconds", ylabel="share of calls", ylim=(0, 1.01))
    axes.grid(alpha=0.3)
    axes.legend(fontsize="small", ncols=2)
    figure.savefig(file, dpi=120)
    pyplot.close(figure)
