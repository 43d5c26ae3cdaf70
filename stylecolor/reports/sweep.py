"""The page of a sweep, finished or still running."""

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from json import JSONDecodeError, loads
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np

from stylecolor.overrides import hydra_value
from stylecolor.reports.charts import (
    Line,
    LineChart,
    ParallelCoordinates,
    choose_axis,
    make_axis,
    make_parallel_coordinates,
    short_value,
    thin_out,
)
from stylecolor.reports.command_line import shell_command
from stylecolor.reports.comparison import choose_decimals
from stylecolor.reports.tables import Settings, read_json, read_settings, read_table
from stylecolor.reports.training_run import Monitored, find_best, monitored, monitored_by, read_log, read_metrics, read_state

JOBS_FILE = "jobs.csv"
SWEEP_FILE = "sweep.json"
HYDRA_FILE = "multirun.yaml"
"""All that Hydra itself leaves."""
STATUSES = ("completed", "running", "waiting", "pruned", "failed", "interrupted", "unfinished")
MOST_CURVES = 40
"""Of the jobs, the best ones."""
_OF_LOG = {"finished": "completed", "pruned": "pruned", "stopped": "interrupted", "failed": "failed", "unfinished": "unfinished"}


@dataclass(frozen=True)
class Job:
    """A job of a sweep; `directory` is inside the sweep's own, None where there is none."""

    number: str
    status: str
    value: float
    seconds: float
    overrides: dict[str, str]
    directory: Path | None
    error: str
    judged_by: Monitored
    link: str = ""
    """To its own page, relative to the sweep's."""


@dataclass(frozen=True)
class Contest:
    """Jobs that are judged by the same metric, best first, and what the page draws of them."""

    judged_by: Monitored
    jobs: list[Job]
    best: Job | None
    decimals: int
    command: str
    """Repeats the best job; empty where there is none."""
    parallel: ParallelCoordinates | None
    scatters: list[LineChart]
    curves: LineChart | None


def is_sweep(directory: Path) -> bool:
    """Whether it holds jobs."""
    return any((directory / name).is_file() for name in (JOBS_FILE, SWEEP_FILE, HYDRA_FILE)) or (
        not (directory / "config.yaml").is_file() and bool(_job_directories(directory))
    )


def _job_directories(directory: Path) -> list[Path]:
    found = [
        path
        for path in directory.iterdir()
        if path.name.isdigit() and any((path / name).is_file() for name in ("config.yaml", "train.log"))
    ]
    return sorted(found, key=lambda path: int(path.name))


def _read_job_settings(directory: Path) -> Settings:
    """None for a job that ended before it had any."""
    path = directory / "config.yaml"
    return read_settings(path) if path.is_file() else Settings({}, "unknown")


def describe_sweep(directory: Path, beside: Path) -> dict[str, Any]:
    """What the page shows of a sweep; `beside` is where the page will be.

    Raises:
        ValueError: when its files are damaged.
        OSError: when a file cannot be read.
    """
    told = read_json(directory / SWEEP_FILE) if (directory / SWEEP_FILE).is_file() else {}
    has_table = (directory / JOBS_FILE).is_file()
    directories = _job_directories(directory)
    metric, mode = str(told.get("monitor") or ""), str(told.get("mode") or "")
    settings = next((path / "config.yaml" for path in directories if (path / "config.yaml").is_file()), None)
    if not metric and settings is not None:
        metric, mode = monitored(read_settings(settings))
    judged_by = Monitored(metric or "value", mode if mode in ("min", "max") else "min" if metric.endswith("loss") else "max")
    jobs = _read_jobs(directory, judged_by) if has_table else _jobs_by_directories(directories, judged_by)
    jobs = [replace(job, link=_link(job, beside)) for job in jobs]
    searched = _searched(jobs)
    # the sweep's own first, which stands for all while there are no jobs
    metrics = dict.fromkeys([judged_by, *(job.judged_by for job in jobs)])
    groups = {metric: [job for job in jobs if job.judged_by == metric] for metric in metrics}
    return {
        "title": f"Sweep {directory.resolve().name}",
        "sweeper": str(told.get("sweeper") or ""),
        "contests": [_contest(metric, group, searched, has_table) for metric, group in groups.items() if group or not jobs],
        "counts": {status: number for status in STATUSES if (number := sum(job.status == status for job in jobs))},
        "searched": searched,
        "shows_errors": any(job.error for job in jobs),
        "fixed": _fixed(jobs, searched),
        "has_table": has_table,
    }


def _contest(judged_by: Monitored, jobs: Sequence[Job], searched: Sequence[str], has_table: bool) -> Contest:
    jobs = sorted(jobs, key=lambda job: (_badness(job), int(job.number) if job.number.isdigit() else 0))
    best = next((job for job in jobs if np.isfinite(job.value) and job.status not in ("pruned", "failed")), None)
    differing = [name for name in searched if len({job.overrides.get(name) for job in jobs}) > 1]
    metric = judged_by.metric
    return Contest(
        judged_by,
        jobs,
        best,
        decimals=choose_decimals([(job.value, np.nan, np.nan) for job in jobs]),
        command=shell_command("python", "train.py", overrides=_best_overrides(best, has_table)) if best else "",
        parallel=_parallel(jobs, differing, metric),
        scatters=[_scatter(jobs, name, metric) for name in differing if sum(np.isfinite(job.value) for job in jobs) > 1],
        curves=_curves(jobs, metric),
    )


def _badness(job: Job) -> float:
    return np.inf if np.isnan(job.value) else job.value if job.judged_by.mode == "min" else -job.value


def _read_jobs(directory: Path, judged_by: Monitored) -> list[Job]:
    table = read_table(directory / JOBS_FILE, ("number", "status", "value", "seconds", "overrides", "directory", "error"))
    values, seconds = table.numbers("value"), table.numbers("seconds")
    names = ("number", "status", "overrides", "directory", "error")
    rows = zip(*(table.text(name) for name in names), strict=True)
    jobs = []
    for (number, status, written, place, error), value, time in zip(rows, values, seconds, strict=True):
        overrides, own = _split(written, table.path, number), _inside(directory, place or number)
        judged = _monitored_by_job(overrides, own) or judged_by
        jobs.append(Job(number, status, float(value), float(time), overrides, own, error, judged))
    return jobs


def _monitored_by_job(overrides: dict[str, str], directory: Path | None) -> Monitored | None:
    """None for a job that leaves it to the sweep, or has not begun."""
    if "stage" in overrides:
        return monitored_by(overrides["stage"])
    if "experiment" in overrides and directory is not None and (directory / "config.yaml").is_file():
        return monitored(_read_job_settings(directory))
    return None


def _split(overrides: str, path: Path, number: str) -> dict[str, str]:
    """A JSON list of `name=value` as a mapping, in order."""
    try:
        found = loads(overrides or "[]")
    except JSONDecodeError as error:
        raise ValueError(f"{path}: job {number}: overrides={overrides} is no JSON list; the file is damaged") from error
    if not isinstance(found, list):
        raise ValueError(f"{path}: job {number}: overrides={overrides} is no JSON list; the file is damaged")
    return {name: value for name, _, value in (str(override).partition("=") for override in found)}


def _inside(directory: Path, place: str) -> Path | None:
    """A job's directory: wherever the sweep was when it was written, it lies right in the sweep's own."""
    found = directory / Path(place).name
    return found if found.is_dir() and found.resolve().parent == directory.resolve() else None


def _jobs_by_directories(directories: Sequence[Path], judged_by: Monitored) -> list[Job]:
    """Of a sweep without a table of its jobs: their own settings, metrics and logs; overrides are where their settings differ."""
    settings = [_read_job_settings(path).flat() for path in directories]
    names = dict.fromkeys(name for flat in settings for name in flat)
    differing = [name for name in names if len({repr(flat.get(name)) for flat in settings if flat}) > 1]
    jobs = []
    for path, flat in zip(directories, settings, strict=True):
        judged = monitored_by(str(flat["stage.name"])) if "stage.name" in flat else judged_by
        state, best = read_state(read_log(path)), find_best(read_metrics(path), *judged)
        overrides = {name: hydra_value(flat[name]) for name in differing if name in flat}
        value = best.value if best else float("nan")
        error = state.reason if state.name == "failed" else ""
        jobs.append(Job(path.name, _OF_LOG[state.name], value, float("nan"), overrides, path, error, judged))
    return jobs


def _link(job: Job, beside: Path) -> str:
    if job.directory is None or not (job.directory / "report.html").is_file():
        return ""
    return quote(Path(os.path.relpath(job.directory.resolve() / "report.html", beside.resolve())).as_posix())


def _searched(jobs: Sequence[Job]) -> list[str]:
    """Overrides that differ among the jobs."""
    names = dict.fromkeys(name for job in jobs for name in job.overrides)
    return [name for name in names if len({job.overrides.get(name) for job in jobs}) > 1]


def _fixed(jobs: Sequence[Job], searched: Sequence[str]) -> dict[str, str]:
    return {name: value for name, value in jobs[0].overrides.items() if name not in searched} if jobs else {}


def _best_overrides(best: Job, has_table: bool) -> list[str]:
    overrides = [f"{name}={value}" if value else name for name, value in best.overrides.items()]
    if not has_table and best.directory is not None:
        settings = _read_job_settings(best.directory)
        groups = [f"{group}={settings.get(f'{group}.name')}" for group in ("stage", "data") if settings.get(f"{group}.name")]
        return groups + [override for override in overrides if override not in (f"{group}.name" for group in ("stage", "data"))]
    return overrides


def _texts(jobs: Sequence[Job], name: str) -> list[str]:
    return [job.overrides.get(name, "") for job in jobs]


def _parallel(jobs: Sequence[Job], searched: Sequence[str], metric: str) -> ParallelCoordinates | None:
    values = np.array([job.value for job in jobs])
    finite = np.isfinite(values)
    if not searched or len(jobs) < 2 or not finite.any():
        return None
    # jobs come best first
    ranks: list[float | None] = [None] * len(jobs)
    for place, index in enumerate(np.flatnonzero(finite)):
        ranks[index] = 100 - 100 * place / max(int(finite.sum()) - 1, 1)
    columns = [(name, _texts(jobs, name)) for name in searched]
    return make_parallel_coordinates(columns, [job.number for job in jobs], values, ranks, metric)


def _scatter(jobs: Sequence[Job], name: str, metric: str) -> LineChart:
    """The value by a hyperparameter, a dot for each job."""
    texts = _texts(jobs, name)
    axis, numbers = choose_axis(texts)
    values = np.array([job.value for job in jobs])
    labels = [f"job {job.number}: {text}, {short_value(job.value)}" for job, text in zip(jobs, texts, strict=True)]
    line = Line(metric, numbers, values, marked=True, joined=False, labels=labels)
    return LineChart(f"{metric} by {name}", name, "", [line], axis, make_axis(values))


def _curves(jobs: Sequence[Job], metric: str) -> LineChart | None:
    """The monitored metric of the best jobs over their steps."""
    lines = []
    for job in jobs[:MOST_CURVES]:
        table = read_metrics(job.directory) if job.directory else None
        if table is not None and metric in table.names:
            lines.append(thin_out(f"job {job.number}", table.numbers("step"), table.numbers(metric), color=len(lines)))
    lines = [line for line in lines if len(line.y)]
    if not lines:
        return None
    x = np.concatenate([line.x for line in lines])
    return LineChart(
        metric, "step", "", lines, make_axis(x, log=False, include=(0,)), make_axis(np.concatenate([line.y for line in lines]))
    )
