"""The curves of a training run, from its metrics.csv."""

from collections.abc import Sequence

import numpy as np

from stylecolor.reports.charts import LineChart, make_axis, thin_out
from stylecolor.reports.tables import Table

SPLITS = ("train", "val", "test")
_TITLES = {
    "loss": ("Loss", ""),
    "psnr": ("PSNR", "dB"),
    "psnr_global": ("PSNR with global hints", "dB"),
    "psnr_points": ("PSNR by shown pixels", "dB"),
    "huber": ("Huber loss", ""),
    "reconstruction": ("Reconstruction loss", ""),
    "content": ("Content loss", ""),
    "style": ("Style loss", ""),
    "cross_entropy": ("Cross-entropy", ""),
    "accuracy": ("Accuracy", ""),
    "learning_rate": ("Learning rate", ""),
    "pictures_per_second": ("Speed", "pictures/s"),
    "seconds_per_batch": ("Time of a batch", "s"),
    "seconds_per_epoch": ("Time of an epoch", "s"),
    "waiting_for_data": ("Waiting for data", "share of the time"),
    "memory": ("Memory", "GiB"),
    "gradient_norm": ("Gradient norm", ""),
}
_FIRST = ("loss", "psnr", "psnr_points", "psnr_global")
_LAST = ("learning_rate", "gradient_norm", "pictures_per_second", "seconds_per_batch", "seconds_per_epoch", "waiting_for_data", "memory")


def split_name(column: str) -> tuple[str, str]:
    """A column's chart and its line there: `val/psnr_points/10` is the line `10` of `psnr_points`."""
    first, _, rest = column.partition("/")
    if not rest:
        return first, first
    if first == "memory":
        return first, rest.removesuffix("_gib")
    chart, _, line = rest.partition("/")
    return chart, line or first


def make_curves(metrics: Table, only: Sequence[str] = ()) -> list[LineChart]:
    """A chart for each quantity, training and validation in the same one; those in `only`, or all.

    Raises:
        ValueError: for what is no number.
    """
    steps = metrics.numbers("step")
    groups: dict[str, list[tuple[str, np.ndarray]]] = {}
    for column in metrics.names:
        chart, line = split_name(column)
        # a test is a single number
        if column in ("epoch", "step") or column.startswith("test/") or (only and chart not in only):
            continue
        values = metrics.numbers(column)
        if np.isfinite(values).any():
            groups.setdefault(chart, []).append((line, values))
    charts = [_make_chart(name, names, steps, groups[name]) for name, names in _without_copies(groups).items()]
    order = [*_FIRST, *(name for name in groups if name not in _FIRST + _LAST), *_LAST]
    return [chart for _, chart in sorted(charts, key=lambda pair: order.index(pair[0]))]


def _without_copies(groups: dict[str, list[tuple[str, np.ndarray]]]) -> dict[str, list[str]]:
    """The charts to draw, each with the quantities it shows: the only part of a loss equals the loss."""
    kept: dict[str, list[str]] = {}
    for name in sorted(groups, key=lambda name: name != "loss"):
        for other in kept:
            if len(groups[name]) == len(groups[other]) and all(
                a[0] == b[0] and np.array_equal(a[1], b[1], equal_nan=True) for a, b in zip(groups[name], groups[other], strict=True)
            ):
                kept[other].append(name)
                break
        else:
            kept[name] = [name]
    return kept


def _make_chart(name: str, names: Sequence[str], steps: np.ndarray, lines: Sequence[tuple[str, np.ndarray]]) -> tuple[str, LineChart]:
    title, unit = _TITLES.get(name, (name.replace("_", " "), ""))
    same = [_TITLES.get(other, (other, ""))[0].lower() for other in names if other != name]
    drawn = [thin_out(line, steps, values, color=_color(line, index)) for index, (line, values) in enumerate(lines)]
    broken = sum(int(np.isinf(values).sum()) for _, values in lines)
    caption = "; ".join(
        [*([f"here the same as {', '.join(same)}"] if same else []), *([f"infinite values left out: {broken}"] if broken else [])]
    )
    x_axis = make_axis(steps, log=False, include=(0,))
    return name, LineChart(title, "step", unit, drawn, x_axis, make_axis([value for line in drawn for value in _extent(line)]), caption)


def _extent(line: object) -> list[float]:
    found: list[float] = []
    for part in ("y", "low", "high"):
        values = getattr(line, part)
        if values is not None:
            found += values.tolist()
    return found


def _color(line: str, index: int) -> int:
    return SPLITS.index(line) if line in SPLITS else index
