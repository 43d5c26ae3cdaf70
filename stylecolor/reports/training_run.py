"""The page of a training run, finished or not."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from stylecolor.reports.command_line import repeat_command, shell_command
from stylecolor.reports.curves import make_curves
from stylecolor.reports.pictures import Picture, embed_picture
from stylecolor.reports.tables import Settings, Table, read_settings, read_table

SAMPLE_WIDTH = 1000
LAST_LINES = 12
"""Of train.log, shown where a run failed."""
_LOGGED = re.compile(r"(?P<time>\d{4}-\d\d-\d\d \d\d:\d\d:\d\d),\d+ \[\d+\] (?P<level>[A-Z]+) (?P<logger>\S+): (?P<message>.*)")
_SAMPLE = re.compile(r"(?P<name>.*?)_?step_(?P<step>\d+)")


def is_training_run(directory: Path) -> bool:
    """Whether `train.py` made this directory."""
    return (directory / "config.yaml").is_file()


@dataclass(frozen=True)
class State:
    """How a run stands, by its log: `finished`, `pruned`, `stopped`, `failed`, or `unfinished` where it names no end; and what it said."""

    name: str
    reason: str = ""


@dataclass(frozen=True)
class Sample:
    """A sample picture and the step after which it was drawn."""

    name: str
    step: int
    picture: Picture


@dataclass(frozen=True)
class Best:
    """The best value of the monitored metric, and the step after which it was measured."""

    metric: str
    value: float
    step: int


class Monitored(NamedTuple):
    """A metric by which runs are judged."""

    metric: str
    mode: str
    """`min` or `max`."""


def monitored(settings: Settings) -> Monitored:
    """What a run is judged by, see `monitored_by`."""
    return monitored_by(str(settings.get("stage.name")))


def monitored_by(stage: str) -> Monitored:
    """The metric by which a stage's best checkpoint is chosen."""
    return Monitored("val/loss", "min") if stage == "transfer" else Monitored("val/psnr", "max")


def find_best(metrics: Table, metric: str, mode: str) -> Best | None:
    """None where it was never measured.

    Raises:
        ValueError: for what is no number.
    """
    if metric not in metrics.names:
        return None
    values = metrics.numbers(metric)
    finite = np.flatnonzero(np.isfinite(values))
    if not len(finite):
        return None
    place = finite[np.argmin(values[finite]) if mode == "min" else np.argmax(values[finite])]
    return Best(metric, float(values[place]), int(metrics.numbers("step")[place]) + 1)


def read_metrics(directory: Path) -> Table:
    """metrics.csv, or an empty table where nothing was measured yet.

    Raises:
        ValueError: when it is damaged.
        OSError: when it cannot be read.
    """
    path = directory / "metrics.csv"
    if not path.is_file() or not path.stat().st_size:
        return Table(path, ("epoch", "step"), ())
    return read_table(path, ("epoch", "step"))


def read_state(log: Sequence[str]) -> State:
    """From the lines of train.log; what a resumed run said before it went on does not count."""
    begins = [index for index, line in enumerate(log) if (found := _LOGGED.match(line)) and found["message"].startswith("run directory:")]
    for line in reversed(log[begins[-1] if begins else 0 :]):
        found = _LOGGED.match(line)
        if found is None:
            if line.startswith("error: "):
                return State("failed", line.removeprefix("error: "))
            continue
        message = found["message"]
        if message.startswith("stopped by "):
            return State("stopped", message)
        if message.startswith("pruned after "):
            return State("pruned", message)
        if message == "the run failed":
            return State("failed", _last_error(log))
        if message.startswith(("best ", "no step was left", "the run has made its", "test/")):
            return State("finished", message)
        if found["level"] == "INFO" and "no test split" in message:
            return State("finished")
    return State("unfinished")


def _last_error(log: Sequence[str]) -> str:
    """The last line of a traceback."""
    errors = [line for line in log if re.match(r"[A-Za-z_.]+(Error|Exception|Interrupt)\b", line)]
    return errors[-1] if errors else ""


def read_log(directory: Path) -> list[str]:
    """The lines of train.log; none where there is none."""
    path = directory / "train.log"
    return path.read_text(encoding="utf-8", errors="backslashreplace").splitlines() if path.is_file() else []


def describe_training_run(directory: Path, beside: Path) -> dict[str, Any]:
    """What the page shows of a run; `beside` is where the page will be.

    Raises:
        ValueError: when its files are damaged, or another program's.
        OSError: when a file cannot be read.
    """
    settings = read_settings(directory / "config.yaml")
    stage = settings.get("stage.name")
    if not isinstance(stage, str):
        raise ValueError(f"{directory / 'config.yaml'}: has no stage.name, so this is the directory of no training run")
    metrics, log = read_metrics(directory), read_log(directory)
    state = read_state(log)
    metric, mode = monitored(settings)
    steps, epochs = metrics.numbers("step"), metrics.numbers("epoch")
    return {
        "title": f"{stage}: {directory.resolve().name}",
        "stage": stage,
        "settings": settings,
        "all_settings": settings.flat(),
        "data": " ".join(str(part) for part in (settings.get("data.name"), settings.get("data.root")) if part),
        "state": state,
        "steps": int(steps[-1]) + 1 if len(steps) else 0,
        "epoch": int(epochs[-1]) + 1 if len(epochs) and np.isfinite(epochs[-1]) else 0,
        "planned_epochs": _limit(settings, "max_epochs"),
        "planned_steps": _limit(settings, "max_steps"),
        "best": find_best(metrics, metric, mode),
        "tests": _tests(metrics),
        "started": _time(log),
        "written": _written(directory),
        "seconds": _seconds(log, directory),
        "curves": make_curves(metrics),
        "samples": _samples(directory / "samples"),
        "checkpoints": _checkpoints(directory / "checkpoints"),
        "skipped": _skipped(directory),
        "last_lines": log[-LAST_LINES:] if state.name == "failed" else [],
        "command": repeat_command("train.py", settings),
        "resume": shell_command("python", "train.py", f"resume={directory}") if state.name != "finished" else "",
    }


def _limit(settings: Settings, name: str) -> int | None:
    value = settings.get(f"trainer.{name}")
    return value if isinstance(value, int) and value > 0 else None


def _tests(metrics: Table) -> list[tuple[str, float]]:
    found = []
    for name in metrics.names:
        if name.startswith("test/"):
            values = metrics.numbers(name)
            found += [(name.removeprefix("test/"), float(value)) for value in values[np.isfinite(values)][-1:]]
    return found


def _time(log: Sequence[str]) -> str:
    return next((found["time"] for line in log if (found := _LOGGED.match(line))), "")


def _written(directory: Path) -> datetime | None:
    """When the run last gave a sign of life."""
    times = [path.stat().st_mtime for name in ("metrics.csv", "train.log") if (path := directory / name).is_file()]
    return datetime.fromtimestamp(round(max(times))) if times else None


def _seconds(log: Sequence[str], directory: Path) -> float | None:
    started, written = _time(log), _written(directory)
    return (written - datetime.fromisoformat(started)).total_seconds() if started and written else None


def _samples(directory: Path) -> list[Sample]:
    """First, middle and last of the sample sheets; of other pictures the last."""
    groups: dict[str, list[tuple[int, Path]]] = {}
    for path in directory.glob("[!.]*.png"):
        if found := _SAMPLE.fullmatch(path.stem):
            groups.setdefault(found["name"], []).append((int(found["step"]), path))
    found = []
    for name, pictures in sorted(groups.items()):
        pictures.sort()
        places = {0, len(pictures) // 2, len(pictures) - 1} if not name else {len(pictures) - 1}
        found += [
            Sample(name.replace("_", " "), step, embed_picture(path, SAMPLE_WIDTH))
            for step, path in (pictures[place] for place in sorted(places))
        ]
    return found


def _checkpoints(directory: Path) -> list[tuple[str, str, datetime]]:
    return [
        (path.name, f"{path.stat().st_size / 2**20:.1f}", datetime.fromtimestamp(round(path.stat().st_mtime)))
        for path in sorted(directory.glob("[!.]*.ckpt"))
    ]


def _skipped(directory: Path) -> list[tuple[str, str, list[str]]]:
    """(split, reason, names)."""
    path = directory / "skipped.csv"
    if not path.is_file():
        return []
    table = read_table(path, ("split", "name", "reason"))
    groups: dict[tuple[str, str], list[str]] = {}
    for split, name, reason in zip(table.text("split"), table.text("name"), table.text("reason"), strict=True):
        groups.setdefault((split, reason), []).append(name)
    return [(split, reason, names) for (split, reason), names in groups.items()]
