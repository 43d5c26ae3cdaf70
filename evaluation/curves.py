"""The loss curves of the runs that made a checkpoint, copied to where its evaluation is."""

import logging
import shutil
from collections.abc import Sequence
from pathlib import Path

import yaml

from evaluation.checkpoints import NamedCheckpoint, find_checkpoint_run
from stylecolor.whole_file import written_whole
from training.run_directory import CONFIG_FILE, METRICS_FILE

DIRECTORY = "curves"

log = logging.getLogger(__name__)


def copy_curves(checkpoints: Sequence[NamedCheckpoint], directory: Path) -> None:
    """Copy metrics.csv of each checkpoint's run, and of the runs that a joint one started from, to curves/<stage>.csv.

    With several checkpoints their names come first: <checkpoint>-<stage>.csv.
    """
    for checkpoint in checkpoints:
        for stage, run in find_runs(checkpoint.run).items():
            file = f"{stage}.csv" if len(checkpoints) == 1 else f"{checkpoint.name}-{stage}.csv"
            (directory / DIRECTORY).mkdir(exist_ok=True)
            with written_whole(directory / DIRECTORY / file) as aside:
                shutil.copyfile(run / METRICS_FILE, aside)


def find_runs(run: Path | None) -> dict[str, Path]:
    """The run, and those that its settings name, by stage; those that are gone are left out."""
    if run is None:
        return {}
    found = {}
    stage = _read_stage(run)
    for name in ("transfer", "colorizer"):
        source = stage.get(f"{name}_checkpoint")
        earlier = _find_earlier(source, run) if isinstance(source, str) else None
        if earlier is not None:
            found[name] = earlier
    if (run / METRICS_FILE).is_file() and isinstance(stage.get("name"), str):
        found[stage["name"]] = run
    return found


def _read_stage(run: Path) -> dict[str, object]:
    try:
        stage = yaml.safe_load((run / CONFIG_FILE).read_text())["stage"]
    except (OSError, ValueError, yaml.YAMLError, KeyError, TypeError):
        log.warning("%s is damaged: no curves of this run are shown", run / CONFIG_FILE)
        return {}
    return stage if isinstance(stage, dict) else {}


def _find_earlier(source: str, run: Path) -> Path | None:
    """The run of a checkpoint that a run's settings name, from the directory where it was started: the working one or one above the run.

    It lies in the working directory or beside the run, or else is not taken.
    """
    run = run.resolve()
    roots = (Path.cwd(), run.parent.parent)
    for base in (Path.cwd(), *run.parents):
        earlier = find_checkpoint_run((base / source).resolve())
        if earlier is not None and (earlier / METRICS_FILE).is_file() and any(earlier.is_relative_to(root) for root in roots):
            return earlier
    return None
