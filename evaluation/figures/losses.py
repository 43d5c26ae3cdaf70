"""Loss curves of the stages."""

import numpy as np

from evaluation.figures.context import Figure, FigureContext
from evaluation.figures.plots import to_picture
from stylecolor.reports.tables import Table, read_table
from training.run_directory import METRICS_FILE

_TITLES = {"transfer": "Transfer sub-net", "colorizer": "Colorization sub-net", "joint": "Total network"}
_SMOOTHED_SHARE = 0.05
"""Of the logged steps: how many a point of the smooth line is the mean of."""


def draw_losses(figure: str, context: FigureContext) -> Figure:
    """Training and validation loss of the stages that made a checkpoint (the project report, figures 6.5 and 6.6).

    Raises:
        ValueError: for a checkpoint that lies in no run, and a damaged metrics.csv.
    """
    # imported late, as it takes long and few runs draw
    from matplotlib.figure import Figure as Plot

    checkpoint, runs = context.curves(figure)
    plot = Plot(figsize=(1 + 4 * len(runs), 3.5), layout="constrained")
    ordered = [stage for stage in _TITLES if stage in runs]
    for axis, stage in zip(plot.subplots(1, len(runs), squeeze=False)[0], ordered, strict=True):
        table = read_table(runs[stage] / METRICS_FILE, ["step", "train/loss"])
        steps, losses = _column(table, "train/loss")
        axis.plot(steps, losses, color="C0", alpha=0.3, linewidth=0.8)
        axis.plot(*_smoothed(steps, losses), color="C0", label="train")
        if "val/loss" in table.names:
            axis.plot(*_column(table, "val/loss"), color="C1", marker=".", label="val")
        axis.set(title=_TITLES[stage], xlabel="step", yscale="log")
        axis.grid(alpha=0.3, which="both")
        axis.legend()
    plot.axes[0].set_ylabel("loss")
    caption = (
        f"The runs that made the checkpoint {checkpoint}: training loss as it was logged (pale) and its running mean, and validation loss. "
        "Stages have different losses, which do not compare."
    )
    return Figure(to_picture(plot), "Losses", caption)


def _column(table: Table, name: str) -> tuple[np.ndarray, np.ndarray]:
    """Steps and values, where there are values that a logarithm has."""
    steps, values = table.numbers("step"), table.numbers(name)
    shown = np.isfinite(values) & (values > 0)
    return steps[shown], values[shown]


def _smoothed(steps: np.ndarray, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    window = max(1, round(_SMOOTHED_SHARE * len(values)))
    kernel = np.full(window, 1 / window)
    return np.convolve(steps, kernel, "valid"), np.convolve(values, kernel, "valid")
