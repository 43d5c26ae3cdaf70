"""Charts as places in percent, which the templates draw as SVG that stretches while its text does not."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from jaxtyping import Float

FEW_VALUES = 5
"""So many different numbers are equally far from each other on an axis."""
SHORT = 6
"""Digits of a number that a person chose."""
COLORS = 8
"""Of lines, as the style sheet has them: `--line-0` and so on."""
MOST_POINTS = 120
"""Longer curves are drawn as the mean of neighbouring values, over the band of their extremes."""


@dataclass(frozen=True)
class Axis:
    """A scale from `low` to `high`: linear, logarithmic, or logarithmic with a place for zero (log(1 + value))."""

    low: float
    high: float
    scale: str = "linear"
    marks: Sequence[float] = ()
    """Where its ticks are; else at round numbers."""
    texts: Sequence[str] = ()
    """What stands at the marks, if not their numbers."""

    def places(self, values: Any) -> Float[np.ndarray, " values"]:
        """Of values, in percent from the low end."""
        low, high, moved = (_TRANSFORMS[self.scale](np.asarray(value, dtype=float)) for value in (self.low, self.high, values))
        return 100 * (moved - low) / (high - low)

    @property
    def ticks(self) -> list[tuple[float, str]]:
        """(place in percent, text)."""
        values = np.asarray(self.marks if len(self.marks) else _round_numbers(self.low, self.high, self.scale))
        places = self.places(values)
        texts = self.texts or [short(value) for value in values]
        return [(float(place), text) for place, text in zip(places, texts, strict=True) if -0.01 <= place <= 100.01]


_TRANSFORMS: dict[str, Callable[[np.ndarray], np.ndarray]] = {"linear": np.asarray, "log": np.log10, "zero_log": np.log1p}


def short(value: float) -> str:
    """A number as people write it on an axis."""
    if value and not 1e-3 <= abs(value) < 1e5:
        digits, _, power = f"{value:.3g}".partition("e")
        return f"{digits}e{int(power)}" if power else digits
    return f"{value + 0.0:.6g}"


def _step(span: float, parts: int) -> float:
    """The 1, 2 or 5 times a power of ten that divides a span into at most so many parts."""
    power = 10 ** np.floor(np.log10(span / parts))
    return float(next(factor * power for factor in (1, 2, 5, 10) if span / (factor * power) <= parts * 1.0001))


def _round_numbers(low: float, high: float, scale: str) -> np.ndarray:
    if scale == "log":
        powers = 10.0 ** np.arange(np.floor(np.log10(low)), np.ceil(np.log10(high)) + 1)
        # every so many powers of ten, or the steps between them
        inside = powers[(powers >= low * (1 - 1e-9)) & (powers <= high * (1 + 1e-9))]
        if len(inside) >= 3:
            return inside[:: int(np.ceil(len(inside) / 6))]
        between = np.outer(powers, (1, 2, 5)).ravel()
        between = between[(between >= low) & (between <= high)]
        if len(between) >= 2:
            return between
    step = _step(high - low, 6)
    return np.arange(np.ceil(low / step - 1e-9), np.floor(high / step + 1e-9) + 1) * step


def make_axis(values: Any, log: bool | None = None, include: Sequence[float] = ()) -> Axis:
    """The axis on which all finite values lie, with a little room; logarithmic by itself for positive values over two decades or more."""
    finite = np.concatenate([np.ravel(np.asarray(values, dtype=float)), np.asarray(include, dtype=float)])
    finite = finite[np.isfinite(finite)]
    if not len(finite):
        return Axis(0, 1)
    low, high = float(finite.min()), float(finite.max())
    if log is None:
        log = low > 0 and high / low >= 100
    if log and low > 0:
        room = max((high / low) ** 0.05, 1.05)
        return Axis(low / room, high * room, "log")
    room = (high - low) * 0.06 or abs(high) * 0.1 or 1.0
    # a quantity that is never negative is not shown below zero
    return Axis(max(low - room, 0.0) if low >= 0 else low - room, high + room)


@dataclass(frozen=True)
class Line:
    """Of a chart: points in order of x, joined or not; NaN is a gap."""

    name: str
    x: Float[np.ndarray, " points"]
    y: Float[np.ndarray, " points"]
    low: Float[np.ndarray, " points"] | None = None
    high: Float[np.ndarray, " points"] | None = None
    color: int = 0
    dashed: bool = False
    marked: bool = False
    joined: bool = True
    labels: Sequence[str] = ()
    """What each point stands for; else its numbers."""


@dataclass(frozen=True)
class LineChart:
    """Lines over the same axes."""

    title: str
    x_name: str
    unit: str
    lines: Sequence[Line]
    x_axis: Axis
    y_axis: Axis
    caption: str = ""

    @property
    def description(self) -> str:
        """For who cannot see it."""
        said = []
        for line in self.lines:
            finite = line.y[np.isfinite(line.y)]
            if len(finite):
                ends = f"first {short_value(finite[0])}, last {short_value(finite[-1])}, " if line.joined else ""
                said.append(
                    f"{line.name}: {len(finite)} values, {ends}lowest {short_value(finite.min())}, highest {short_value(finite.max())}"
                )
        return f"{self.title}. {'; '.join(said)}" if said else self.title

    @property
    def drawn(self) -> list["DrawnLine"]:
        """The lines as SVG paths in a square of 100 x 100."""
        return [self._draw(line) for line in self.lines]

    def _draw(self, line: Line) -> "DrawnLine":
        x, y = self.x_axis.places(line.x), 100 - self.y_axis.places(line.y)
        band = ""
        if line.low is not None and line.high is not None:
            band = _band(x, 100 - self.y_axis.places(line.low), 100 - self.y_axis.places(line.high))
        labels = line.labels or [f"{self.x_name} {short(a)}: {short_value(b)}" for a, b in zip(line.x, line.y, strict=True)]
        readings = [
            [round(float(a), 2), round(float(b), 2), label]
            for a, b, label in zip(x, y, labels, strict=True)
            if np.isfinite(a) and np.isfinite(b)
        ]
        joined, dots = _path(x, y), "".join(f"M{a:.2f} {b:.2f}h0" for a, b, _ in readings)
        if line.joined and not line.marked and len(readings) > 1:
            dots = ""
        return DrawnLine(line.name, joined if line.joined else "", dots, band, line.color % COLORS, line.dashed, readings)


@dataclass(frozen=True)
class DrawnLine:
    """SVG paths; `readings` are (x, y, text) in percent from the upper left."""

    name: str
    path: str
    dots: str
    band: str
    color: int
    dashed: bool
    readings: list[list[Any]]


def short_value(value: float) -> str:
    """A measured number with four digits."""
    return short(float(f"{value:.4g}"))


def _path(x: np.ndarray, y: np.ndarray) -> str:
    parts, drawing = [], False
    for a, b in zip(x, y, strict=True):
        if np.isfinite(a) and np.isfinite(b):
            parts.append(f"{'L' if drawing else 'M'}{a:.2f} {b:.2f}")
        drawing = bool(np.isfinite(a) and np.isfinite(b))
    return "".join(parts)


def _band(x: np.ndarray, low: np.ndarray, high: np.ndarray) -> str:
    there = np.isfinite(x) & np.isfinite(low) & np.isfinite(high)
    if there.sum() < 2:
        return ""
    around = [*zip(x[there], high[there], strict=True), *reversed([*zip(x[there], low[there], strict=True)])]
    return "M" + "L".join(f"{a:.2f} {b:.2f}" for a, b in around) + "Z"


def thin_out(name: str, x: np.ndarray, y: np.ndarray, color: int = 0, marked: bool = False) -> Line:
    """A line of at most `MOST_POINTS` points, see there."""
    there = np.isfinite(y)
    x, y = x[there], y[there]
    if len(y) <= MOST_POINTS:
        return Line(name, x, y, color=color, marked=marked)
    parts = np.array_split(np.arange(len(y)), MOST_POINTS)
    means, lows, highs = (np.array([reduce(y[part]) for part in parts]) for reduce in (np.mean, np.min, np.max))
    # the last value of each part is where its mean is known
    return Line(name, np.array([x[part[-1]] for part in parts]), means, lows, highs, color, marked=marked)


@dataclass(frozen=True)
class Box:
    """Of a box plot, in percent from the left: quartiles, whiskers to the last value within 1.5 box lengths (Tukey), the rest as dots."""

    name: str
    emphasized: bool
    whiskers: tuple[float, float]
    quartiles: tuple[float, float]
    median: float
    mean: float
    outliers: Sequence[float]
    description: str


@dataclass(frozen=True)
class BoxChart:
    """Boxes below each other over the same axis."""

    title: str
    axis: Axis
    caption: str = ""
    boxes: list[Box] = field(default_factory=list)


def make_boxes(title: str, caption: str, groups: Sequence[tuple[str, np.ndarray, bool]]) -> BoxChart:
    """A box for each (name, values, whether to point it out); NaN are left out."""
    finite = [(name, values[np.isfinite(values)], emphasized) for name, values, emphasized in groups]
    finite = [group for group in finite if len(group[1])]
    chart = BoxChart(title, make_axis(np.concatenate([values for _, values, _ in finite]), log=False), caption)
    for name, values, emphasized in finite:
        first, median, third = np.percentile(values, (25, 50, 75))
        reach = 1.5 * (third - first)
        inside = values[(values >= first - reach) & (values <= third + reach)]
        outside = np.unique(chart.axis.places(values[(values < first - reach) | (values > third + reach)]).round(1))
        low, a, b, c, high, mean = (
            float(place) for place in chart.axis.places([inside.min(), first, median, third, inside.max(), values.mean()])
        )
        numbers = [short_value(value) for value in (median, first, third, values.mean())]
        said = "{}: median {}, half of the pictures between {} and {}, mean {}".format(name, *numbers)
        chart.boxes.append(Box(name, emphasized, (low, high), (a, c), b, mean, outside.tolist(), said))
    return chart


@dataclass(frozen=True)
class Strand:
    """Of parallel coordinates: a job's way through the axes. `rank` is 0 for the worst and 100 for the best, None without a value."""

    name: str
    path: str
    rank: float | None
    description: str


@dataclass(frozen=True)
class ParallelCoordinates:
    """An upright axis for each hyperparameter and the value, at equal distances."""

    names: Sequence[str]
    axes: Sequence[Sequence[tuple[float, str]]]
    """Their ticks: (place in percent from below, text)."""
    strands: Sequence[Strand]


def make_parallel_coordinates(
    columns: Sequence[tuple[str, Sequence[str]]], jobs: Sequence[str], values: np.ndarray, ranks: Sequence[float | None], value_name: str
) -> ParallelCoordinates:
    """From the hyperparameters' texts, one a job; the last axis is the value, where jobs without one end before it."""
    places, ticks = [], []
    for _, texts in columns:
        axis, numbers = choose_axis(texts)
        places.append(axis.places(numbers))
        ticks.append(axis.ticks)
    value_axis = make_axis(values)
    places.append(value_axis.places(values))
    ticks.append(value_axis.ticks)
    x = np.linspace(0, 100, len(places))
    strands = []
    for index, job in enumerate(jobs):
        settings = ", ".join(f"{name}={texts[index]}" for name, texts in columns)
        value = f": {short_value(values[index])}" if np.isfinite(values[index]) else ""
        path = _path(x, 100 - np.array([column[index] for column in places]))
        strands.append(Strand(job, path, ranks[index], f"job {job}: {settings}{value}"))
    # the best are drawn last, above the others
    strands.sort(key=lambda strand: -1 if strand.rank is None else strand.rank)
    return ParallelCoordinates([*(name for name, _ in columns), value_name], ticks, strands)


def choose_axis(texts: Sequence[str]) -> tuple[Axis, Float[np.ndarray, " texts"]]:
    """The axis for a hyperparameter's values, and their numbers on it; empty texts are NaN.

    Many numbers lie on a scale; a few different ones, and words, stand at 0, 1, 2, ... in order.
    """
    there = sorted(set(texts) - {""})
    try:
        numbers = {text: float(text) for text in there}
    except ValueError:
        numbers = None
    if numbers is not None and all(map(np.isfinite, numbers.values())):
        # what a person chose is short; what was drawn at random has many digits
        if len(there) > FEW_VALUES or max(map(len, there), default=0) > SHORT:
            low, high = min(numbers.values()), max(numbers.values())
            axis = make_axis(list(numbers.values()), log=low > 0 and high / low >= 10)
            return axis, np.array([numbers.get(text, np.nan) for text in texts])
        there.sort(key=numbers.__getitem__)
    axis = Axis(-0.3, max(len(there) - 0.7, 0.3), marks=tuple(range(len(there))), texts=tuple(there))
    return axis, np.array([there.index(text) if text else np.nan for text in texts], dtype=float)
