"""What has been measured so far: a file for each batch, so that an evaluation that was broken off goes on where it stood."""

import json
import shutil
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
from jaxtyping import Float32

from evaluation.run_directory import PARTS
from stylecolor.whole_file import remove_stale_parts, written_whole


@dataclass
class Part:
    """The measurements of a batch.

    `rows` hold `place` (in the pair list), `method` and the metrics; `points` hold `checkpoint`, `points`, `target`, `psnr` and
    `mean_ab_error`; `seconds` are (seconds, pictures) of each method, and `peak_memory` is in bytes; `features` are FID's, of the truths by
    target and of the results by (protocol, method).
    """

    rows: list[dict[str, Any]] = field(default_factory=list)
    points: list[dict[str, Any]] = field(default_factory=list)
    seconds: dict[str, tuple[float, int]] = field(default_factory=dict)
    peak_memory: dict[str, int] = field(default_factory=dict)
    features: dict[str, Float32[np.ndarray, "pictures features"]] = field(default_factory=dict)


def part_file(directory: Path, number: int) -> Path:
    """The file of a batch, which is there once the batch is done."""
    return directory / PARTS / f"{number:06d}.json"


def write_part(directory: Path, number: int, part: Part) -> None:
    """Write the measurements of a batch; its file appears last, and whole."""
    path = part_file(directory, number)
    path.parent.mkdir(exist_ok=True)
    if part.features:
        with written_whole(path.with_suffix(".npz")) as aside:
            np.savez(aside, **part.features)  # pyright: ignore[reportArgumentType]
    contents = {"rows": part.rows, "points": part.points, "seconds": part.seconds, "peak_memory": part.peak_memory}
    with written_whole(path) as aside:
        aside.write_text(json.dumps(contents))


def read_part(directory: Path, number: int) -> Part:
    """Read what `write_part` wrote.

    Raises:
        ValueError: when it is damaged.
    """
    path = part_file(directory, number)
    features = path.with_suffix(".npz")
    try:
        contents = json.loads(path.read_text())
        part = Part(**contents)
        if features.is_file():
            with np.load(features) as arrays:
                part.features = dict(arrays)
    except (OSError, ValueError, TypeError, EOFError, BadZipFile) as error:
        raise ValueError(
            f"{path}: it or {features.name} is damaged; remove both, and the evaluation that goes on measures their pictures again"
        ) from error
    return part


def missing_parts(directory: Path, batches: int, metrics: Collection[str], features: bool) -> list[int]:
    """The numbers of the batches that are not done, or lack a metric or FID's features, whose weights could not be had when they were.

    Raises:
        ValueError: when one is damaged.
    """
    remove_stale_parts(directory / PARTS)
    return [number for number in range(batches) if not _is_done(directory, number, metrics, features)]


def _is_done(directory: Path, number: int, metrics: Collection[str], features: bool) -> bool:
    if not part_file(directory, number).is_file():
        return False
    part = read_part(directory, number)
    return all(metric in row for row in part.rows for metric in metrics) and (bool(part.features) or not features)


def read_parts(directory: Path, batches: int) -> Sequence[Part]:
    """All of them, in order."""
    return [read_part(directory, number) for number in range(batches)]


def remove_parts(directory: Path) -> None:
    """Once everything is in the tables."""
    shutil.rmtree(directory / PARTS)
