"""What a loader's worker process does before anything else."""

import signal


def leave_signals_to_trainer(worker: int) -> None:
    """In a worker process: Ctrl-C and a scheduler's SIGTERM reach every process, but it is the trainer that ends its workers."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
