"""Train one stage: `python train.py stage=transfer data=coco data.root=DIR`; `python train.py --help` explains the settings."""

import contextlib
import json
import os
import sys
from pathlib import Path
from typing import NoReturn

from stylecolor.overrides import hydra_value
from training.composition import COMPOSITION_ERRORS, check_inputs, compose, expand_resume, expand_sweep_resume, explain, to_experiment
from training.outcomes import RESULT_VARIABLE, Interrupted, Pruned, SweepFailed
from training.ranks import global_rank
from training.run_directory import find_newest_checkpoints, find_run


def train() -> float | None:
    """Compose -> build -> fit -> test -> return the monitored value.

    Hydra only composes; the job runs outside it, so that its errors are told in the job's own words.
    """
    sys.argv[1:] = expand_resume(expand_sweep_resume(sys.argv[1:]))
    composed = compose()
    if composed is None:
        return None
    config, directory = composed
    try:
        experiment = to_experiment(config)
        check_inputs(experiment)
        if experiment.resume is not None and directory.resolve() != find_run(experiment.resume)[0].resolve():
            raise ValueError(f"resume={experiment.resume}: goes on in its own directory; leave hydra.run.dir and -m out")
        found = find_newest_checkpoints(experiment, Path("outputs"))
    except ValueError:
        # Hydra has made the directory; a run that never was leaves none
        with contextlib.suppress(OSError):
            directory.rmdir()
        raise
    # Lightning starts further processes with these arguments: they must compose the same run
    sys.argv += [f"{setting}={hydra_value(path)}" for setting, path in {"hydra.run.dir": str(directory), **found}.items()]
    # these seconds of imports are spent only once the settings are known to be good
    from training.job import run_job

    value = run_job(experiment, directory, found)
    report_to_sweep(value=value)
    return value


def main() -> float | None:
    """Run, and end every mistake in one line and a non-zero exit status; its traceback is in the run's train.log."""
    os.environ["HYDRA_FULL_ERROR"] = "1"
    try:
        return train()
    except COMPOSITION_ERRORS as error:
        refuse(explain(error))
    except (ValueError, OSError, SweepFailed) as error:
        refuse(str(error))
    except Pruned as pruned:
        report_to_sweep(value=pruned.value, pruned=True)
    except Interrupted as error:
        # Lightning's first process is killed in its clean-up when another one ends with a status of its own
        sys.exit(error.exit_status if global_rank() == 0 else 0)
    except KeyboardInterrupt:
        sys.exit(130)
    finally:
        # a mistake of ours keeps its traceback; what was refused above leaves by SystemExit
        if isinstance(error := sys.exception(), Exception):
            report_to_sweep(error=f"{type(error).__name__}: {error}")


def refuse(message: str) -> NoReturn:
    """Say what is wrong in one line, to the sweep too if this is one of its jobs, and exit with status 1."""
    message = " ".join(message.split())
    report_to_sweep(error=message)
    sys.exit(f"error: {message}")


def report_to_sweep(**outcome: float | str | bool | None) -> None:
    """Give the monitored value or the error to the sweep that started this job."""
    if file := os.environ.get(RESULT_VARIABLE):
        Path(file).write_text(json.dumps(outcome))


if __name__ == "__main__":
    # not the value itself, which would become the exit status
    main()
