"""How a run or a sweep ends when it does not simply finish, and how a job tells its sweep. Imports nothing heavy."""

import signal

RESULT_VARIABLE = "STYLECOLOR_RESULT_FILE"
"""Environment variable of a sweep's job: the file into which it writes its monitored value or its error, as JSON."""
SWEEP_VARIABLE = "STYLECOLOR_SWEEP"
"""Environment variable of a sweep's job: the sweep's name, which is its group on W&B."""
TRIAL_VARIABLE = "STYLECOLOR_TRIAL"
"""Environment variable of a sweep's job: its trial in an Optuna study, as JSON, see `training.trials.TrialAddress`."""


class Interrupted(BaseException):
    """Raised where a run or a sweep stops after SIGINT or SIGTERM. Its exit status is the shell's convention, 128 + the signal's number."""

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.exit_status = 128 + number


class Pruned(BaseException):
    """Raised in every process of a sweep's job that is ended early because its value promises nothing; its checkpoints are saved."""

    def __init__(self, value: float) -> None:
        super().__init__(f"pruned at {value:.4g}")
        self.value = value


class SweepFailed(Exception):
    """Some jobs of a sweep failed; the table of them has been printed."""
