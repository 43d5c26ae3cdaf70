"""Makes directories as evaluate.py, train.py and sweeps leave them, small."""

import csv
import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from PIL import Image

from tests.data import photograph

METHODS = ("gray", "reference_mean", "reinhard", "welsh", "histogram_matching", "monge_kantorovitch", "transfer", "colorizer", "both")
QUALITY: dict[str, float] = dict(zip(METHODS, (23.1, 23.9, 22.5, 22.0, 21.4, 23.0, 24.1, 24.9, 25.0), strict=True))
METRICS = ("psnr", "ssim", "ciede2000", "colorfulness", "colorfulness_difference", "histogram_intersection")
REVISION = "0123456789abcdef0123456789abcdef01234567"


def write_csv(path: Path, names: Sequence[str], rows: Iterable[Sequence[Any]]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(names)
        writer.writerows(rows)
    return path


def write_config(directory: Path, settings: dict[str, Any]) -> None:
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "config.yaml").write_text(f"# git revision: {REVISION}\n{yaml.safe_dump(settings, sort_keys=False)}")


def save_strip(path: Path, columns: int, side: int = 48) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    strip = Image.new("RGB", (columns * side, side))
    for column in range(columns):
        strip.paste(photograph(column, column, side, side), (column * side, 0))
    strip.save(path)


def make_evaluation(
    directory: Path, pictures: int = 12, protocols: Sequence[str] = ("palette", "auto"), names: Sequence[str] = (), side: int = 48
) -> Path:
    """Of made-up numbers; `names` are some of the targets' ids."""
    rng = np.random.default_rng(7)
    targets = [*names, *(f"val/{index:04d}.jpg" for index in range(pictures - len(names)))]
    hard = rng.normal(0, 2, pictures)
    write_config(
        directory,
        {
            "checkpoint": "outputs/joint/first/checkpoints/best.ckpt",
            "data": {
                "name": "coco",
                "root": "photographs of mine",
                "image_size": 128,
                "categories": ["giraffe", "zebra"],
                "cache_dir": None,
            },
            "limit": pictures,
            "protocols": list(protocols),
            "seed": 0,
        },
    )
    rows, summary = [], []
    for protocol in protocols:
        for method in ("gray", "colorizer") if protocol == "auto" else METHODS:
            values = _measure(rng, method, hard)
            if protocol == "auto":
                values["histogram_intersection"][:] = np.nan
            for index, target in enumerate(targets):
                reference = "" if protocol == "auto" else f"val/{index + 100:04d}.jpg"
                rows.append([protocol, method, target, reference, *(_cell(values[name][index]) for name in METRICS)])
            for name in METRICS:
                if np.isfinite(values[name]).any():
                    mean, spread = values[name].mean(), 1.96 * values[name].std() / np.sqrt(max(pictures, 1))
                    summary.append([protocol, method, name, mean, mean - spread, mean + spread, pictures])
    write_csv(directory / "pictures.csv", ("protocol", "method", "target", "reference", *METRICS), rows)
    write_csv(directory / "summary.csv", ("protocol", "method", "metric", "mean", "low", "high", "pictures"), summary)
    write_csv(directory / "pairs.csv", ("protocol", "target", "reference"), dict.fromkeys((row[0], row[2], row[3]) for row in rows))
    write_csv(
        directory / "costs.csv",
        ("method", "seconds_per_picture", "peak_memory_gib"),
        [(name, 0.0123 * (i + 1), 1.5) for i, name in enumerate(METHODS)],
    )
    (directory / "notes.json").write_text(
        json.dumps(
            {
                "lpips": "not available: no weights of AlexNet here; name a file",
                "feature_extractors": {"fid": "InceptionV3 of torch-fidelity"},
            }
        )
    )
    points = [0, 1, 2, 5, 10, 20, 50, 100, 200, 501]
    write_csv(
        directory / "points.csv",
        ("checkpoint", "points", "psnr", "low", "high", "mean_ab_error"),
        [
            ("best", count, value := 23 + 2.2 * np.log10(1 + count), value - 0.3, value + 0.3, 9 / (1 + count / 9) if count else "")
            for count in points
        ],
    )
    columns = ("target", "reference", "reinhard", "transfer", "colorizer", "both", "truth")
    index = []
    for protocol in protocols:
        for order in ("best", "median", "worst"):
            for rank in range(2):
                name = f"{protocol}_{order}_{rank}.png"
                save_strip(directory / "gallery" / name, len(columns), side)
                index.append(
                    (protocol, order, rank, targets[rank % len(targets)], "val/0100.jpg", "both", 24.5 + rank, name, "|".join(columns))
                )
    write_csv(
        directory / "gallery" / "index.csv",
        ("protocol", "order", "rank", "target", "reference", "method", "score", "file", "columns"),
        index,
    )
    for stage in ("transfer", "colorizer"):
        write_metrics(directory / "curves" / f"{stage}.csv", stage, 40)
    save_strip(directory / "figures" / "references.png", 4, side)
    (directory / "figures" / "references.json").write_text(
        json.dumps(
            {
                "title": "Several references",
                "caption": "One target, four references.",
                "recipe": "python evaluate.py experiment=figure_references",
            }
        )
    )
    return directory


def _measure(rng: np.random.Generator, method: str, hard: np.ndarray) -> dict[str, np.ndarray]:
    quality = QUALITY[method] + hard + rng.normal(0, 0.6, len(hard))
    colorfulness = np.full(len(hard), 0.0) if method == "gray" else rng.normal(30, 5, len(hard))
    return {
        "psnr": quality,
        "ssim": 0.5 + quality / 60,
        "ciede2000": 30 - quality,
        "colorfulness": colorfulness,
        "colorfulness_difference": colorfulness - 40,
        "histogram_intersection": rng.uniform(0.3, 0.8, len(hard)),
    }


def _cell(value: float) -> str:
    return "" if np.isnan(value) else repr(float(value))


def write_metrics(path: Path, stage: str, rows: int, last_line_end: str = "\n") -> Path:
    """Training rows every 10 steps, and a validation after each ten of them."""
    loss = {"transfer": "reconstruction", "colorizer": "huber", "joint": "huber"}[stage]
    names = (
        "epoch",
        "step",
        "train/loss",
        f"train/{loss}",
        "learning_rate",
        "speed/pictures_per_second",
        "memory/host_gib",
        "val/loss",
        "val/psnr",
    )
    lines = []
    for index in range(rows):
        value = 0.5 + 3 / (1 + index)
        lines.append((index // 20, index * 10 + 9, value, value, 1e-4, 25.5, 1.25, "", ""))
        if index % 10 == 9:
            lines.append((index // 20, index * 10 + 9, "", "", "", "", "", value + 0.25, 20 + index / 10))
    write_csv(path, names, lines)
    path.write_text(path.read_text().removesuffix("\n") + last_line_end)
    return path


def make_training_run(
    directory: Path, stage: str = "colorizer", rows: int = 40, log: Sequence[str] = (), samples: int = 5, epochs: int = 3
) -> Path:
    """A run that made `rows` rows of training metrics."""
    write_config(
        directory,
        {
            "stage": {"name": stage, "width": 0.25, "optimizer": {"lr": 1e-4}},
            "data": {"name": "sample", "batch_size": 8},
            "trainer": {"max_epochs": epochs, "max_steps": -1},
            "logger": {"name": "csv"},
            "seed": 0,
        },
    )
    write_metrics(directory / "metrics.csv", stage, rows)
    lines = ("run directory: outputs/here", *log)
    (directory / "train.log").write_text(
        "".join(f"2026-01-02 03:04:{index:02d},123 [0] INFO training.job: {line}\n" for index, line in enumerate(lines))
    )
    (directory / "checkpoints").mkdir(exist_ok=True)
    (directory / "checkpoints" / "best.ckpt").write_bytes(bytes(2048))
    for index in range(samples):
        save_strip(directory / "samples" / f"step_{(index + 1) * 100:08d}.png", 5)
    write_csv(directory / "skipped.csv", ("split", "name", "reason"), [("train", "a.jpg", "nearly grey"), ("val", "b.jpg", "nearly grey")])
    return directory


def make_sweep(directory: Path, jobs: int = 12, table: bool = True, seed: int = 3) -> Path:
    """Two hyperparameters over jobs, some of which failed, were pruned or still run; without a table it is as older versions left it."""
    rng = np.random.default_rng(seed)
    rows = []
    for number in range(jobs):
        rate, weight, sites = (
            float(10 ** rng.uniform(-5, -2)),
            float(rng.choice([0.0, 0.01, 0.1])),
            str(rng.choice(["bottleneck", "encoder"])),
        )
        status = {3: "failed", 5: "pruned", jobs - 2: "running", jobs - 1: "waiting"}.get(number, "completed")
        value = 26 - (np.log10(rate) + 3.5) ** 2 - weight if status in ("completed", "pruned") else ""
        overrides = [
            "stage=colorizer",
            "data=sample",
            f"stage.optimizer.lr={rate:.3g}",
            f"stage.optimizer.weight_decay={weight}",
            f"stage.sites=[{sites}]",
        ]
        error = "stage.optimizer.lr=<b>0</b> must be > 0" if status == "failed" else ""
        rows.append((number, status, value, 31.5 + number if value else "", json.dumps(overrides), f"outputs/elsewhere/{number}", error))
        if status == "waiting":
            continue
        log = {
            "completed": ["best val/psnr: 25.1 (best.ckpt)"],
            "failed": [],
            "running": [],
            "pruned": ["pruned after 2 validations: val/psnr=20 promises nothing"],
        }[status]
        job = make_training_run(
            directory / str(number),
            "colorizer",
            rows=0 if status == "failed" else 10 * (number + 1),
            log=log,
            samples=0,
            epochs=number % 3 + 1,
        )
        if status == "failed":
            with (job / "train.log").open("a") as file:
                file.write(f"error: {error}\n")
    if table:
        write_csv(directory / "jobs.csv", ("number", "status", "value", "seconds", "overrides", "directory", "error"), rows)
        (directory / "sweep.json").write_text(
            json.dumps({"monitor": "val/psnr", "mode": "max", "sweeper": "optuna", "overrides": ["stage.optimizer.lr=interval(1e-5,1e-2)"]})
        )
    return directory
