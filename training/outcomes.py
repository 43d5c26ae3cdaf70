"""How a run or a sweep ends when it does not simply finish, and how a job tells its sweep. Imports nothing heavy."""

import signal

RESULT_VARIABLE = "STYLECOLOR_RESULT_FILE"
"""Environment variable of a sweep's job: the file into which it writes its monitored value or its error, as JSON."""
SWEEP_VARIABLE = "STYLECOLOR_SWEEP"
"""Environment variable of a sweep's job: the sweep's name, which is its group on W&B."""


class Interrupted(BaseException):
    """Raised where a run or a sweep stops after SIGINT or SIGTERM. Its exit status is the shell's convention, 128 + the signal's number."""

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.exit_status = 128 + number


class SweepFailed(Exception):
    """Some jobs of a sweep failed; the table of them has been printed."""
