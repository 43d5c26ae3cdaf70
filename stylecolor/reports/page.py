"""One HTML page for the directory of a training run, an evaluation or a sweep."""

import importlib.util
import json
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from stylecolor import __version__
from stylecolor.overrides import hydra_value
from stylecolor.reports.charts import DrawnLine, short_value
from stylecolor.reports.pictures import QUALITY
from stylecolor.reports.templating import make_environment
from stylecolor.whole_file import written_whole

REPORT_FILE = "report.html"
_PACKAGES = {"jinja2": "jinja2", "yaml": "pyyaml"}


def render_report(directory: Path, output: Path | None = None) -> Path:
    """Write the page that shows a run's, an evaluation's or a sweep's directory, finished or not; it holds all it shows and opens offline.

    Args:
        directory: as `train.py` or `evaluate.py` made it.
        output: the page's file; else report.html in the directory.

    Returns:
        Where the page is. It is there whole, or not at all.

    Raises:
        ValueError: for a directory that is none of them, an evaluation of fewer than two pictures, damaged files, or a missing package.
        OSError: when something cannot be read or written.
    """
    missing = [name for module, name in _PACKAGES.items() if importlib.util.find_spec(module) is None]
    if missing:
        raise ValueError(f"a report needs {' and '.join(missing)}; install stylecolor with its extra, stylecolor[train]")
    directory = Path(directory)
    output = directory / REPORT_FILE if output is None else Path(output)
    template, describe = _find_kind(directory)
    if output.is_dir():
        raise ValueError(f"--output={output}: is a directory; name a file")
    page = _render(template, describe(directory, output.parent), directory)
    output.parent.mkdir(parents=True, exist_ok=True)
    with written_whole(output) as aside:
        aside.write_text(page, encoding="utf-8")
    return output


def _find_kind(directory: Path) -> tuple[str, Callable[[Path, Path], dict[str, Any]]]:
    from stylecolor.reports.evaluation import describe_evaluation, is_evaluation
    from stylecolor.reports.sweep import describe_sweep, is_sweep
    from stylecolor.reports.training_run import describe_training_run, is_training_run

    if not directory.is_dir():
        raise ValueError(f"{directory}: {'is no directory' if directory.exists() else 'there is no such directory'}")
    # an evaluation has settings too
    if is_evaluation(directory):
        return "evaluation", describe_evaluation
    if is_sweep(directory):
        return "sweep", describe_sweep
    if is_training_run(directory):
        return "training_run", describe_training_run
    raise ValueError(
        f"{directory}: is the directory of no training run (config.yaml), evaluation (pairs.csv) or sweep (jobs.csv, or runs in 0, 1, ...)"
    )


def _render(template: str, content: dict[str, Any], directory: Path) -> str:
    environment = make_environment()
    environment.filters |= {
        "setting": hydra_value,
        "minus": lambda number: number.replace("-", "\u2212").replace("inf", "\u221e"),
        "readings": _readings,
        "short": short_value,
        "shorten": _shorten,
        "duration": format_duration,
    }
    shown = os.path.relpath(directory)
    return environment.get_template(f"{template}.html.jinja").render(
        content, directory=directory.name if shown.startswith("..") else shown, version=__version__, quality=QUALITY
    )


def _readings(lines: Sequence[DrawnLine]) -> str:
    return json.dumps([{"name": line.name, "color": line.color, "readings": line.readings} for line in lines], separators=(",", ":"))


def _shorten(text: str) -> str:
    """A number of many digits with four."""
    try:
        return short_value(float(text)) if len(text) > 8 else text
    except ValueError:
        return text


def format_duration(seconds: float) -> str:
    """`8 s`, `12 min` or `3 h 05 min`."""
    if seconds < 99.5:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 100 else f"{minutes // 60} h {minutes % 60:02d} min"
