"""An evaluation's table of methods and measures, for one protocol: means, intervals, the best and what cannot be told from it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from jaxtyping import Float

from stylecolor.reports.method_names import is_trained, method_title, sees_truth
from stylecolor.reports.metric_names import METRICS, MetricName
from stylecolor.reports.tables import Table

RESAMPLES = 2000
ABSOLUTE = "colorfulness_difference_absolute"
"""The mean of the differences' absolute values, beside their signed mean."""
_ARROWS = {"higher": "↑", "lower": "↓", "nearest": "→0"}
_SEPARATE = ("seconds_per_picture", "peak_memory_gib")


@dataclass(frozen=True)
class Cell:
    """A mean with the bounds of its 95 % interval, as text; empty where there is none."""

    mean: str = ""
    low: str = ""
    high: str = ""
    best: bool = False
    tied: bool = False


@dataclass(frozen=True)
class Column:
    """A measure; `arrow` shows which way is better."""

    metric: MetricName
    arrow: str


@dataclass(frozen=True)
class Row:
    """A method's cells, one a column."""

    method: str
    title: str
    trained: bool
    competes: bool
    """Not where it is shown what it is to find."""
    cells: Sequence[Cell]


@dataclass(frozen=True)
class Comparison:
    """The table of a protocol."""

    protocol: str
    pictures: int
    columns: Sequence[Column]
    rows: Sequence[Row]
    truth_colorfulness: float | None
    """Mean over the true pictures, where it is known."""


def find_metric(name: str) -> MetricName:
    """A measure by its name; one that is not known is shown as it is called."""
    if name == ABSOLUTE:
        difference = METRICS["colorfulness_difference"]
        return MetricName(
            name, "|Colourfulness difference|", difference.unit, "lower", "Mean absolute value of the difference of colourfulness."
        )
    return METRICS.get(name) or MetricName(name, name, "", "nearest", "")


def compare(summary: Table, pictures: Table, protocol: str, unavailable: Sequence[str]) -> Comparison:
    """Of one protocol.

    Args:
        summary: summary.csv.
        pictures: pictures.csv.
        protocol: which.
        unavailable: measures that get a column all the same.
    """
    summary, pictures = summary.where("protocol", protocol), pictures.where("protocol", protocol)
    methods = list(dict.fromkeys(summary.text("method")))
    found = dict.fromkeys(name for name in summary.text("metric") if name not in _SEPARATE)
    order = [*METRICS]
    order.insert(order.index("colorfulness_difference") + 1, ABSOLUTE)
    names = sorted({*found, *unavailable}, key=lambda name: (order.index(name) if name in order else len(order), name))
    means = _read_means(summary)
    values = per_picture(pictures)
    table = {name: _column_cells(name, methods, means, values) for name in names}
    rows = [
        Row(method, method_title(method), is_trained(method), not sees_truth(method), [table[name][method] for name in names])
        for method in methods
    ]
    return Comparison(
        protocol,
        len(set(pictures.text("target"))),
        [Column(metric := find_metric(name), _arrow(metric)) for name in names],
        rows,
        _truth_colorfulness(values),
    )


def _arrow(metric: MetricName) -> str:
    if metric.name not in METRICS and metric.name != ABSOLUTE:
        return ""
    return "" if metric.name == "colorfulness" else _ARROWS[metric.better]


def _read_means(summary: Table) -> dict[tuple[str, str], tuple[float, float, float]]:
    numbers = (summary.numbers(name) for name in ("mean", "low", "high"))
    keys = zip(summary.text("method"), summary.text("metric"), strict=True)
    return dict(zip(keys, ((float(a), float(b), float(c)) for a, b, c in zip(*numbers, strict=True)), strict=True))


def per_picture(pictures: Table) -> dict[tuple[str, str], dict[tuple[str, str], float]]:
    """The values of each (method, measure) by (target, reference), of one protocol's rows."""
    keys = list(zip(pictures.text("target"), pictures.text("reference"), strict=True))
    methods = pictures.text("method")
    found: dict[tuple[str, str], dict[tuple[str, str], float]] = {}
    for name in pictures.names[4:]:
        for method, key, value in zip(methods, keys, pictures.numbers(name), strict=True):
            if not np.isnan(value):
                found.setdefault((method, name), {})[key] = float(value)
    if any(name == "colorfulness_difference" for _, name in found):
        for (method, name), values in list(found.items()):
            if name == "colorfulness_difference":
                found[method, ABSOLUTE] = {key: abs(value) for key, value in values.items()}
    return found


def _truth_colorfulness(values: Mapping[tuple[str, str], Mapping[tuple[str, str], float]]) -> float | None:
    for (method, name), results in values.items():
        if name == "colorfulness" and (differences := values.get((method, "colorfulness_difference"))):
            truths = [result - differences[key] for key, result in results.items() if key in differences]
            return float(np.mean(truths)) if truths else None
    return None


def _column_cells(
    name: str,
    methods: Sequence[str],
    means: Mapping[tuple[str, str], tuple[float, float, float]],
    values: Mapping[tuple[str, str], Mapping[tuple[str, str], float]],
) -> dict[str, Cell]:
    there = {method: means[method, name] for method in methods if (method, name) in means and not np.isnan(means[method, name][0])}
    decimals = choose_decimals(list(there.values()))
    # colourfulness is good where its difference from the truth's is near zero
    judged = "colorfulness_difference" if name == "colorfulness" else name
    metric = find_metric(judged) if judged in (*METRICS, ABSOLUTE) else None
    best, tied = _judge(metric, judged, [method for method in there if not sees_truth(method)], means, values) if metric else (set(), set())
    cells = dict.fromkeys(methods, Cell())
    for method, bounds in there.items():
        mean, low, high = ("" if np.isnan(value) else f"{value:.{decimals}f}" for value in bounds)
        cells[method] = Cell(mean, low, high, method in best, method in tied)
    return cells


def _judge(
    metric: MetricName,
    name: str,
    methods: Sequence[str],
    means: Mapping[tuple[str, str], tuple[float, float, float]],
    values: Mapping[tuple[str, str], Mapping[tuple[str, str], float]],
) -> tuple[set[str], set[str]]:
    """The best methods, more than one if they are equal, and those that cannot be told from them; none where there is one method only."""
    scores = {method: _score(metric, means[method, name][0]) for method in methods if (method, name) in means}
    if len(scores) < 2:
        return set(), set()
    highest = max(scores, key=scores.__getitem__)
    best = {method for method in scores if scores[method] == scores[highest]}
    of_best = values.get((highest, name), {})
    return best, {method for method in scores if method not in best and _is_tied(metric, of_best, values.get((method, name), {}))}


def _score(metric: MetricName, mean: Any) -> Any:
    """Of a mean, or an array of means: the higher the better."""
    return {"higher": mean, "lower": -mean, "nearest": -abs(mean)}[metric.better]


def _is_tied(metric: MetricName, best: Mapping[tuple[str, str], float], other: Mapping[tuple[str, str], float]) -> bool:
    """Whether the 95 % bootstrap interval of the difference of their scores, over the same pictures, includes zero."""
    shared = [key for key in best if key in other]
    pair = np.array([[best[key], other[key]] for key in shared]).reshape(-1, 2)
    if len(pair) < 2 or not np.isfinite(pair).all():
        return False
    means = _resampling_weights(len(pair)) @ pair
    difference = _score(metric, means[:, 0]) - _score(metric, means[:, 1])
    low, high = np.percentile(difference, (2.5, 97.5))
    return bool(low <= 0 <= high)


@lru_cache(maxsize=2)
def _resampling_weights(pictures: int) -> Float[np.ndarray, "resamples pictures"]:
    """How often each picture is drawn, as a share."""
    return np.random.default_rng(0).multinomial(pictures, np.full(pictures, 1 / pictures), size=RESAMPLES) / pictures


def choose_decimals(means: Sequence[tuple[float, float, float]]) -> int:
    """For a column: two digits of the usual half interval, or else four digits of the usual mean."""
    halves = [(high - low) / 2 for _, low, high in means if np.isfinite(high - low) and high > low]
    if halves:
        return int(np.clip(1 - np.floor(np.log10(np.median(halves))), 1, 4))
    sizes = [abs(mean) for mean, _, _ in means if mean and np.isfinite(mean)]
    return int(np.clip(3 - np.floor(np.log10(np.median(sizes))), 0, 8)) if sizes else 1
