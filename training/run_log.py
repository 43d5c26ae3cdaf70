"""Where a run's messages go."""

import logging
import sys
from pathlib import Path
from typing import Any

from training.ranks import global_rank


class _Terminal(logging.StreamHandler[Any]):
    """Standard error as it is at the moment: a progress bar puts itself before it, so that messages appear above the bar."""

    @property
    def stream(self) -> Any:
        return sys.stderr

    @stream.setter
    def stream(self, stream: Any) -> None:
        pass


def log_to(path: Path) -> None:
    """Messages go to the terminal and to a file, tracebacks and what other processes have to say of errors to the file alone."""
    root = logging.getLogger()
    for handler in list(root.handlers):
        root.removeHandler(handler)
        handler.close()
    root.setLevel(logging.INFO)
    file = logging.FileHandler(path, errors="backslashreplace")
    file.setFormatter(logging.Formatter(f"%(asctime)s [{global_rank()}] %(levelname)s %(name)s: %(message)s"))
    root.addHandler(file)
    if global_rank() == 0:
        terminal = _Terminal()
        terminal.setFormatter(logging.Formatter("%(message)s"))
        terminal.addFilter(lambda record: record.exc_info is None)
        root.addHandler(terminal)
    else:
        file.setLevel(logging.ERROR)
    logging.captureWarnings(True)
