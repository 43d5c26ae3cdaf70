"""PSNR against the number of hints, beside the authors' published curve."""

import numpy as np

from stylecolor.reports.charts import Axis, Line, LineChart, make_axis, short
from stylecolor.reports.published_curve import POINTS_PSNR, POINTS_SOURCE
from stylecolor.reports.tables import Table


def make_points_chart(points: Table) -> LineChart:
    """A line for each checkpoint of points.csv, with its 95 % interval, and the published one."""
    numbers, psnr, low, high = (points.numbers(name) for name in ("points", "psnr", "low", "high"))
    checkpoints = points.text("checkpoint")
    lines = []
    for index, checkpoint in enumerate(dict.fromkeys(checkpoints)):
        rows = np.flatnonzero([name == checkpoint for name in checkpoints])
        rows = rows[np.argsort(numbers[rows], kind="stable")]
        lines.append(_make_line(checkpoint, numbers[rows], psnr[rows], low[rows], high[rows], color=index if index == 0 else index + 1))
    published = np.array(list(POINTS_PSNR)), np.array(list(POINTS_PSNR.values()))
    lines.append(_make_line(f"published ({POINTS_SOURCE})", *published, color=1, dashed=True))
    marks = sorted({*POINTS_PSNR, *(int(number) for number in numbers if np.isfinite(number))})
    axis = Axis(0, max(marks), "zero_log", _spaced(marks))
    every = np.concatenate([psnr, low, high, published[1]])
    return LineChart(
        "PSNR by number of hints", "hints: revealed 6 x 6 px patches of the true ab", "dB", lines, axis, make_axis(every, log=False)
    )


def _make_line(
    name: str,
    x: np.ndarray,
    y: np.ndarray,
    low: np.ndarray | None = None,
    high: np.ndarray | None = None,
    color: int = 0,
    dashed: bool = False,
) -> Line:
    labels = [f"{short(number)} hints: {value:.2f} dB" for number, value in zip(x, y, strict=True)]
    return Line(name, x, y, low, high, color, dashed, marked=True, labels=labels)


def _spaced(marks: list[int]) -> list[int]:
    """Those whose texts do not touch."""
    kept: list[int] = []
    for mark in marks:
        if not kept or np.log1p(mark) - np.log1p(kept[-1]) >= 0.05 * np.log1p(marks[-1]):
            kept.append(mark)
    return kept
