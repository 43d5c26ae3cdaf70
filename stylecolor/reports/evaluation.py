"""The page of an evaluation."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from stylecolor.choices import STAGES
from stylecolor.reports.charts import BoxChart, LineChart, make_boxes, short
from stylecolor.reports.command_line import repeat_command, shell_command
from stylecolor.reports.comparison import Comparison, compare, find_metric, per_picture
from stylecolor.reports.curves import make_curves
from stylecolor.reports.method_names import column_title, is_trained, method_title
from stylecolor.reports.pictures import Picture, embed_picture, find_inside
from stylecolor.reports.points_curve import make_points_chart
from stylecolor.reports.tables import Settings, Table, read_json, read_settings, read_table

PROTOCOLS = {
    "self": "The reference is the target's own colour picture, mirrored and cropped.",
    "palette": "The reference is the other picture with the nearest palette.",
    "random": "The reference is any other picture.",
    "auto": "No reference.",
}
ORDERS = ("best", "median", "worst")
STRIP_COLUMN = 144
"""Width of a gallery's pictures, px."""
FIGURE_WIDTH = 1400
CURVES = ("loss", "psnr")
_NOT_AVAILABLE = "not available"


def is_evaluation(directory: Path) -> bool:
    """Whether `evaluate.py` made this directory."""
    return any((directory / name).is_file() for name in ("pairs.csv", "summary.csv", "pictures.csv"))


@dataclass(frozen=True)
class Strip:
    """Pictures side by side, under their columns' names."""

    columns: Sequence[str]
    picture: Picture
    target: str
    reference: str
    method: str
    score_name: str
    score: str


@dataclass(frozen=True)
class Checkpoint:
    """What was evaluated: its name in tables, its file, and the SHA-256 of it, if known."""

    name: str
    source: str
    digest: str = ""


@dataclass(frozen=True)
class Figure:
    """A figure with its words, and how it is made."""

    picture: Picture
    title: str
    caption: str
    recipe: str


def describe_evaluation(directory: Path, beside: Path) -> dict[str, Any]:
    """What the page shows of an evaluation; `beside` is where the page will be.

    Raises:
        ValueError: for fewer than two pictures, an evaluation that has not come to its end, and damaged files.
        OSError: when a file cannot be read.
    """
    for name in ("pictures.csv", "summary.csv"):
        if not (directory / name).is_file():
            command = shell_command("python", "evaluate.py", f"resume={directory}")
            raise ValueError(f"{directory}: the evaluation has not come to its end, there is no {name}; go on with: {command}")
    pictures = read_table(directory / "pictures.csv", ("protocol", "method", "target", "reference"))
    summary = read_table(directory / "summary.csv", ("protocol", "method", "metric", "mean", "low", "high", "pictures"))
    targets = len(set(pictures.text("target")))
    if targets < 2:
        raise ValueError(f"{directory}: a report compares methods over at least 2 pictures, and this evaluation has {targets}; raise limit")
    notes = read_json(directory / "notes.json") if (directory / "notes.json").is_file() else {}
    unavailable = {name: text for name, text in notes.items() if isinstance(text, str) and text.startswith(_NOT_AVAILABLE)}
    settings = read_settings(directory / "config.yaml") if (directory / "config.yaml").is_file() else Settings({}, "unknown")
    protocols = list(dict.fromkeys(summary.text("protocol")))
    comparisons = [compare(summary, pictures, protocol, list(unavailable)) for protocol in protocols]
    checkpoints = _checkpoints(directory, settings)
    return {
        "title": f"Evaluation of {' and '.join(checkpoint.name for checkpoint in checkpoints)}" if checkpoints else "Evaluation",
        "checkpoints": checkpoints,
        "data": _data(settings),
        "settings": settings,
        "all_settings": settings.flat(),
        "targets": targets,
        "methods": len(set(summary.text("method"))),
        "comparisons": comparisons,
        "protocols": PROTOCOLS,
        "unavailable": {find_metric(name).title: text for name, text in unavailable.items()},
        "cautions": [text for name, text in notes.items() if isinstance(text, str) and name not in unavailable],
        "extractors": _extractors(notes),
        "metrics": _metrics(comparisons),
        "boxes": {protocol: make_box_charts(pictures.where("protocol", protocol)) for protocol in protocols},
        "galleries": _galleries(directory, pictures),
        "points": _points(directory),
        "loss_curves": _loss_curves(directory),
        "figures": _figures(directory),
        "costs": _costs(directory),
        "command": repeat_command("evaluate.py", settings),
    }


def _checkpoints(directory: Path, settings: Settings) -> list[Checkpoint]:
    """By what the evaluation found, or at least what it was asked for."""
    path = directory / "checkpoints.json"
    if path.is_file():
        found = {name: value if isinstance(value, dict) else {} for name, value in read_json(path).items()}
        return [Checkpoint(name, str(value.get("source", "")), str(value.get("sha256", ""))) for name, value in found.items()]
    asked = settings.get("checkpoint")
    if isinstance(asked, dict):
        return [Checkpoint(str(name), str(path)) for name, path in asked.items()]
    return [Checkpoint(Path(str(path)).stem, str(path)) for path in (asked if isinstance(asked, list) else [asked]) if path is not None]


def _data(settings: Settings) -> str:
    name = settings.get("data.name", "")
    places = [settings.get("data.root"), *(source.get("root") for source in settings.get("data.sources") or [] if isinstance(source, dict))]
    return " ".join(str(part) for part in (name, *places) if part)


def _extractors(notes: dict[str, Any]) -> dict[str, str]:
    found = notes.get("feature_extractors", {})
    return {find_metric(str(name)).title: str(text) for name, text in found.items()} if isinstance(found, dict) else {}


def _metrics(comparisons: Sequence[Comparison]) -> list[Any]:
    return list({column.metric.name: column.metric for comparison in comparisons for column in comparison.columns}.values())


def make_box_charts(pictures: Table) -> list[BoxChart]:
    """A chart for each measure that a protocol's pictures have, a box for each method."""
    values = per_picture(pictures)
    methods = list(dict.fromkeys(pictures.text("method")))
    charts = []
    for name in pictures.names[4:]:
        groups = [
            (method_title(method), np.array(list(values[method, name].values())), is_trained(method))
            for method in methods
            if (method, name) in values
        ]
        if any(np.isfinite(group[1]).any() for group in groups):
            metric = find_metric(name)
            charts.append(make_boxes(metric.title, ", ".join(part for part in (metric.unit, _way(metric.better)) if part), groups))
    return charts


def _way(better: str) -> str:
    return {"higher": "higher is better", "lower": "lower is better"}.get(better, "")


def _galleries(directory: Path, pictures: Table) -> dict[str, dict[str, list[Strip]]]:
    """Strips by protocol and order."""
    index = directory / "gallery" / "index.csv"
    found: dict[str, dict[str, list[Strip]]] = {}
    if not index.is_file():
        return found
    table = read_table(index, ("protocol", "order", "rank", "target", "reference", "method", "score", "file", "columns"))
    order = np.argsort(table.numbers("rank"), kind="stable")
    columns = {name: table.text(name) for name in table.names}
    scores = table.numbers("score")
    for row in order:
        names = columns["columns"][row].split("|")
        picture = embed_picture(find_inside(index.parent, columns["file"][row], index), STRIP_COLUMN * len(names))
        strip = Strip(
            [column_title(name) for name in names],
            picture,
            columns["target"][row],
            columns["reference"][row],
            method_title(columns["method"][row]),
            _name_score(pictures, columns["protocol"][row], columns["method"][row], columns["target"][row], float(scores[row])),
            f"{scores[row]:.2f}",
        )
        found.setdefault(columns["protocol"][row], {}).setdefault(columns["order"][row], []).append(strip)
    places = {name: place for place, name in enumerate(ORDERS)}
    return {protocol: dict(sorted(orders.items(), key=lambda item: places.get(item[0], len(places)))) for protocol, orders in found.items()}


def _name_score(pictures: Table, protocol: str, method: str, target: str, score: float) -> str:
    """The measure by which a gallery is sorted: that which has this value in the table of pictures; empty where none has."""
    row = pictures.where("protocol", protocol).where("method", method).where("target", target)
    found = [name for name in pictures.names[4:] if len(row) and np.isclose(row.numbers(name)[0], score, rtol=1e-4)]
    return find_metric(found[0]).title if found else ""


def _points(directory: Path) -> dict[str, Any] | None:
    path = directory / "points.csv"
    if not path.is_file():
        return None
    table = read_table(path, ("checkpoint", "points", "psnr", "low", "high"))
    if not len(table):
        return None
    numeric = {name: table.numbers(name) for name in table.names if name != "checkpoint"}
    rows = [
        (checkpoint, short(numeric["points"][index]), [_fixed(numeric[name][index], 2) for name in numeric if name != "points"])
        for index, checkpoint in enumerate(table.text("checkpoint"))
    ]
    titles = {"psnr": "PSNR, dB", "low": "from", "high": "to", "mean_ab_error": "mean ab error"}
    return {"chart": make_points_chart(table), "names": [titles.get(name, name) for name in numeric if name != "points"], "rows": rows}


def _fixed(value: float, decimals: int) -> str:
    return f"{value:.{decimals}f}" if np.isfinite(value) else ""


def _loss_curves(directory: Path) -> dict[str, list[LineChart]]:
    tables = {path.stem: read_table(path, ("step",)) for path in sorted((directory / "curves").glob("[!.]*.csv"), key=_stage_order)}
    return {stage: charts for stage, table in tables.items() if (charts := make_curves(table, CURVES))}


def _stage_order(path: Path) -> tuple[str, int]:
    checkpoint, _, stage = path.stem.rpartition("-")
    return checkpoint, STAGES.index(stage) if stage in STAGES else len(STAGES)


def _figures(directory: Path) -> list[Figure]:
    found = []
    for path in sorted((directory / "figures").glob("[!.]*.png")):
        words = read_json(path.with_suffix(".json")) if path.with_suffix(".json").is_file() else {}
        title, caption, recipe = (str(words.get(name) or "") for name in ("title", "caption", "recipe"))
        found.append(Figure(embed_picture(path, FIGURE_WIDTH), title or path.stem.replace("_", " "), caption, recipe))
    return found


def _costs(directory: Path) -> list[tuple[str, str, str]]:
    path = directory / "costs.csv"
    if not path.is_file():
        return []
    table = read_table(path, ("method", "seconds_per_picture", "peak_memory_gib"))
    seconds, memory = table.numbers("seconds_per_picture"), table.numbers("peak_memory_gib")
    return [
        (method_title(method), _fixed(time, 3), _fixed(held, 2))
        for method, time, held in zip(table.text("method"), seconds, memory, strict=True)
    ]
