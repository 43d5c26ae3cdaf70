"""The comparison on the terminal."""

import math
from collections.abc import Collection

import pandas as pd
from rich import box
from rich.console import Console
from rich.table import Table

from stylecolor.reports.metric_names import METRICS

HIDDEN = ("colorfulness_difference_absolute",)


def print_summary(summary: pd.DataFrame, oracles: Collection[str], console: Console) -> None:
    """A table for each protocol, the best of every column in bold; oracles do not compete."""
    for protocol, rows in summary.groupby("protocol", sort=False):
        means = rows.pivot(index="method", columns="metric", values="mean")
        methods = list(dict.fromkeys(rows["method"]))
        metrics = [name for name in METRICS if name in means.columns and name not in HIDDEN]
        table = Table(box=box.SIMPLE, title=f"{protocol}, {rows['pictures'].max()} pictures", title_justify="left")
        table.add_column("method", no_wrap=True)
        for metric in metrics:
            table.add_column(METRICS[metric].title, justify="right")
        best = {metric: _best(means[metric], metric, oracles) for metric in metrics}
        for method in methods:
            cells = [_cell(float(means.loc[method, metric]), method == best[metric]) for metric in metrics]  # pyright: ignore[reportArgumentType]
            table.add_row(f"{method} *" if method in oracles else method, *cells)
        if set(methods) & set(oracles):
            table.caption = "* is shown the true colours"
        console.print(table)


def _best(means: pd.Series, metric: str, oracles: Collection[str]) -> object:
    means = means.drop([name for name in oracles if name in means.index]).dropna()
    if len(means) < 2 or metric == "colorfulness":
        return None
    better = METRICS[metric].better
    scores = means if better == "higher" else -means.abs() if better == "nearest" else -means
    return scores.idxmax()


def _cell(mean: float, best: bool) -> str:
    if math.isnan(mean):
        return ""
    text = f"{mean:.2f}" if abs(mean) >= 10 else f"{mean:.3f}"
    return f"[bold green]{text}[/]" if best else text
