"""Measure checkpoints against the training-free methods: `python evaluate.py checkpoint=CKPT data=coco data.root=DIR limit=100`;
`python evaluate.py --help` explains the settings."""

import contextlib
import os
import sys
from pathlib import Path
from typing import NoReturn

from evaluation.checkpoints import NamedCheckpoint, name_checkpoints
from evaluation.choices import OF_CHECKPOINTS
from evaluation.config import EvaluationConfig
from evaluation.run_directory import find_evaluation
from training.composition import COMPOSITION_ERRORS, GROUPS, EntryPoint, compose, expand_resume, explain, to_dataclasses
from training.outcomes import Interrupted

CHANGEABLE = ("trainer.devices", "trainer.enable_progress_bar", "data.num_workers", "resume", "data", "logger")
"""Settings that an evaluation which goes on may change, as they change no number; and groups, which are compared by their choice."""
EVALUATION = EntryPoint(
    script="evaluate.py",
    config_name="evaluate",
    schema="evaluation",
    config=EvaluationConfig,
    groups={name: GROUPS[name] for name in ("data", "logger")},
    saved_groups=("data", "logger"),
    find_run=find_evaluation,
    can_change=lambda name: name in CHANGEABLE or name.startswith(("logger.", "hydra.")),
    draws_figures=True,
)


def evaluate() -> None:
    """Compose -> check -> measure -> write tables, pictures and the page."""
    if {"-m", "--multirun"} & set(sys.argv[1:]):
        raise ValueError("-m: an evaluation compares any number of checkpoints at once; use checkpoint=[A,B]")
    sys.argv[1:] = expand_resume(sys.argv[1:], EVALUATION)
    composed = compose(EVALUATION)
    if composed is None:
        return
    settings, directory = composed
    try:
        config = to_dataclasses(settings, EVALUATION)
        checkpoints = check_inputs(config)
        if config.resume is not None and directory.resolve() != find_evaluation(config.resume).resolve():
            raise ValueError(f"resume={config.resume}: goes on in its own directory; leave hydra.run.dir out")
    except ValueError:
        # Hydra has made the directory; an evaluation that never was leaves none
        with contextlib.suppress(OSError):
            directory.rmdir()
        raise
    # these seconds of imports are spent only once the settings are known to be good
    from evaluation.job import run_evaluation

    run_evaluation(config, checkpoints, directory)


def check_inputs(config: EvaluationConfig) -> list[NamedCheckpoint]:
    """Refuse what needs no heavy import to be found: missing data, checkpoints and files. Returns the checkpoints.

    Raises:
        ValueError: naming the setting and the remedy.
    """
    config.data.check_root()
    for name in ("pairs", "lpips_weights", "fid_weights"):
        path = getattr(config, name)
        # what goes on has its own copy of the pair list
        if name == "pairs" and config.resume is not None:
            continue
        if path not in (None, "none") and not Path(path).is_file():
            raise ValueError(f"{name}={path}: no such file")
    trained = config.methods is None or bool(set(config.methods) & set(OF_CHECKPOINTS))
    if config.checkpoint is None and not trained and not config.points and not config.figures:
        return []
    checkpoints = name_checkpoints(config.checkpoint)
    if config.checkpoint is None:
        config.checkpoint = checkpoints[0].source
    return checkpoints


def main() -> None:
    """Run, and end every mistake in one line and a non-zero exit status; its traceback is in the run's evaluate.log."""
    os.environ["HYDRA_FULL_ERROR"] = "1"
    try:
        evaluate()
    except COMPOSITION_ERRORS as error:
        refuse(explain(error, EVALUATION))
    except (ValueError, OSError) as error:
        refuse(str(error))
    except Interrupted as error:
        sys.exit(error.exit_status)
    except KeyboardInterrupt:
        sys.exit(130)


def refuse(message: str) -> NoReturn:
    """Say what is wrong in one line, and exit with status 1."""
    sys.exit(f"error: {' '.join(message.split())}")


if __name__ == "__main__":
    main()
