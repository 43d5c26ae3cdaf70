"""What a loader's worker processes do before anything else."""

import atexit
import gc
import mmap
import os
import signal
from types import FrameType

_ending = mmap.mmap(-1, 1)
"""One byte that a process shares with the workers it forks: set when it ends."""
atexit.register(_ending.write_byte, 1)


def start_worker(worker: int) -> None:
    """In a worker process: leave signals to the trainer, and the memory that it shares with the trainer untouched.

    Ctrl-C and a scheduler's SIGTERM reach every process, but it is the trainer that ends its workers. The garbage collector would write
    to every object that stands since before the fork, and so copy its page.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, _end_with_parent)
    gc.freeze()


def _end_with_parent(number: int, frame: FrameType | None) -> None:
    # Python ends the workers of a loader that outlives the program by this signal, and waits for them
    if _ending[0]:
        os._exit(0)
