"""The tables that an evaluation leaves, from its parts."""

import json
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from evaluation.batches import PairBatch
from evaluation.methods import Method
from evaluation.pairs import Pair
from evaluation.parts import Part
from evaluation.set_metrics import SetMetrics, fid_caution
from evaluation.statistics import bootstrap_interval
from stylecolor.whole_file import written_whole

PICTURES, SUMMARY, COSTS, POINTS, NOTES = "pictures.csv", "summary.csv", "costs.csv", "points.csv", "notes.json"
ABSOLUTE = "colorfulness_difference_absolute"
"""The mean of the absolute differences, beside the signed one."""
TEXTS = ("protocol", "method", "target", "reference")
"""The columns of pictures.csv that are no metrics."""
GIB = 2**30
_DIGITS = "%.7g"
"""Of numbers in tables: what float32 holds."""

log = logging.getLogger(__name__)


def write_table(table: pd.DataFrame, path: Path) -> None:
    """Write a table as CSV, whole."""
    with written_whole(path) as aside:
        table.to_csv(aside, index=False, float_format=_DIGITS, lineterminator="\n", errors="surrogateescape")


def picture_table(pairs: Sequence[Pair], methods: Sequence[Method], metrics: Sequence[str], parts: Sequence[Part]) -> pd.DataFrame:
    """A row for each protocol, method and picture, in the order of the protocols, the methods and the pair list."""
    measured = {(row["place"], row["method"]): row for part in parts for row in part.rows}
    rows: list[dict[str, Any]] = []
    for protocol in dict.fromkeys(pair.protocol for pair in pairs):
        for method in methods:
            for place, pair in enumerate(pairs):
                if pair.protocol == protocol and method.takes_part(protocol):
                    row = measured[place, method.name]
                    names = {"protocol": protocol, "method": method.name, "target": pair.target, "reference": pair.reference or ""}
                    rows.append({**names, **{metric: row[metric] for metric in metrics}})
    # pandas' own text is Unicode, which not all file names are
    texts = {name: pd.Series([row[name] for row in rows], dtype=object) for name in TEXTS}
    return pd.DataFrame({**texts, **{metric: [row[metric] for row in rows] for metric in metrics}})


def write_pictures(table: pd.DataFrame, directory: Path) -> None:
    """Write the table of pictures as pictures.csv and pictures.parquet."""
    write_table(table, directory / PICTURES)
    text = table.assign(**{name: [_as_unicode(id) for id in table[name]] for name in ("target", "reference")})
    with written_whole(directory / "pictures.parquet") as aside:
        text.to_parquet(aside, engine="pyarrow", index=False)


def _as_unicode(id: str) -> str:
    return id.encode(errors="surrogateescape").decode(errors="backslashreplace")


def summary_table(pictures: pd.DataFrame, distances: dict[tuple[str, str], float], seed: int) -> pd.DataFrame:
    """The mean of every metric with its 95 % interval, by protocol and method; `distances` are the FIDs, which have no interval."""
    metrics = list(pictures.columns[len(TEXTS) :])
    rows: list[tuple[Any, ...]] = []
    for (protocol, method), group in pictures.groupby(["protocol", "method"], sort=False):
        for metric in metrics:
            values = group[metric].to_numpy(dtype=np.float64)
            named = {metric: values, ABSOLUTE: np.abs(values)} if metric == "colorfulness_difference" else {metric: values}
            for name, numbers in named.items():
                count = int((~np.isnan(numbers)).sum())
                if count:
                    rows.append((protocol, method, name, *bootstrap_interval(numbers, seed), count))
        if (str(protocol), str(method)) in distances:
            rows.append((protocol, method, "fid", distances[str(protocol), str(method)], np.nan, np.nan, len(group)))
    return pd.DataFrame(rows, columns=["protocol", "method", "metric", "mean", "low", "high", "pictures"])


def frechet_distances(
    metrics: SetMetrics, pairs: Sequence[Pair], batches: Sequence[PairBatch], methods: Sequence[Method], parts: Sequence[Part]
) -> dict[tuple[str, str], float]:
    """The FID of each (protocol, method), from the features that the parts hold."""
    truths = {name.removeprefix("truth:"): row for part in parts for name, row in part.features.items() if name.startswith("truth:")}
    found = {}
    for protocol in dict.fromkeys(pair.protocol for pair in pairs):
        truth = np.stack([truths[pair.target] for batch in batches for _, pair in batch.pairs.get(protocol, [])])
        for method in methods:
            rows = [part.features[name] for part in parts if (name := f"{protocol}:{method.name}") in part.features]
            if rows:
                results = torch.from_numpy(np.concatenate(rows))
                found[protocol, method.name] = metrics.compute(results, torch.from_numpy(truth))
    return found


def cost_table(methods: Sequence[Method], parts: Sequence[Part]) -> pd.DataFrame:
    """Seconds a picture and the peak of the memory, by method."""
    rows = []
    for method in methods:
        times = [part.seconds[method.name] for part in parts if method.name in part.seconds]
        if times:
            seconds, pictures = np.sum(times, axis=0)
            peak = max(part.peak_memory[method.name] for part in parts if method.name in part.peak_memory)
            rows.append((method.name, seconds / pictures, peak / GIB))
    return pd.DataFrame(rows, columns=["method", "seconds_per_picture", "peak_memory_gib"])


def points_table(parts: Sequence[Part], seed: int) -> pd.DataFrame:
    """PSNR with its 95 % interval and the mean ab error at revealed places, by checkpoint and number of revealed patches."""
    rows = []
    found = pd.DataFrame([row for part in parts for row in part.points], columns=["checkpoint", "points", "psnr", "mean_ab_error"])
    for (checkpoint, points), group in found.groupby(["checkpoint", "points"], sort=False):
        interval = bootstrap_interval(group["psnr"].to_numpy(), seed)
        rows.append((checkpoint, points, *interval, group["mean_ab_error"].mean()))
    return pd.DataFrame(rows, columns=["checkpoint", "points", "psnr", "low", "high", "mean_ab_error"])


def write_notes(directory: Path, unavailable: Mapping[str, str], feature_extractors: Mapping[str, str], pictures: int) -> None:
    """Say which metrics could not be had, and of which networks the others are.

    Args:
        directory: of the evaluation.
        unavailable: why, by metric.
        feature_extractors: the networks, by metric.
        pictures: how many were measured.
    """
    notes: dict[str, Any] = {name: f"not available: {reason}" for name, reason in unavailable.items()}
    for name, reason in notes.items():
        log.warning("%s is %s", name, reason)
    notes["feature_extractors"] = dict(feature_extractors)
    if "fid" in feature_extractors and (caution := fid_caution(pictures)):
        notes["fid_caution"] = caution
        log.warning("%s", caution)
    with written_whole(directory / NOTES) as aside:
        aside.write_text(json.dumps(notes, indent=2))
