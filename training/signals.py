"""What a signal that ends a run becomes."""

import signal


class Interrupted(BaseException):
    """Raised where a run or a sweep stops after SIGINT or SIGTERM. Its exit status is the shell's convention, 128 + the signal's number."""

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.exit_status = 128 + number
