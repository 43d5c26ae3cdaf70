"""`stylecolor studio` as a process of its own, as a person starts it."""

import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Self

# torch's import and a checkpoint, on a machine that is busy with other tests
START = 120
STOP = 30


@contextmanager
def _signals_heeded() -> Iterator[None]:
    """What is started here heeds the signals of a terminal, even where the tests run in the background, which ignores them."""
    before = {number: signal.signal(number, signal.SIG_DFL) for number in (signal.SIGINT, signal.SIGHUP)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


class StudioProcess:
    """A running studio: `url` is where it listens, `lines` what it has printed so far.

    Args:
        directory: its working directory.
        arguments: of the command; the port is any that is free.
        environment: variables beside those of this process.
    """

    def __init__(self, directory: Path, *arguments: object, environment: dict[str, str] | None = None) -> None:
        command = [str(Path(sys.executable).with_name("stylecolor")), "studio", "--port", "0", *map(str, arguments)]
        # the same threads as the tests', on which the last bit of a sum may depend
        variables = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1", **(environment or {})}
        self.lines: list[str] = []
        self._listening = threading.Event()
        with _signals_heeded():
            self.process = subprocess.Popen(
                command, cwd=directory, env=variables, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True
            )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.lines.append(line.rstrip("\n"))
            if line.startswith("studio: http"):
                self._listening.set()
        # it has ended, so that nobody waits in vain
        self._listening.set()

    @property
    def url(self) -> str:
        """Where it listens, once it does."""
        assert self._listening.wait(START), self.output
        found = re.search(r"^studio: (http\S+)", self.output, re.MULTILINE)
        assert found is not None, self.output
        return found[1].rstrip("/")

    @property
    def output(self) -> str:
        """All that it has printed."""
        return "\n".join(self.lines)

    def stop(self, number: signal.Signals = signal.SIGINT) -> int:
        """Ctrl-C, or another signal.

        Returns:
            The exit status.
        """
        self.process.send_signal(number)
        try:
            return self.process.wait(STOP)
        finally:
            self.process.kill()
            self._reader.join()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.stop()
