"""How much of the disk visitors may fill together."""

import os
import shutil
import threading
from pathlib import Path

from stylecolor.errors import NoRoomError

MOST_BYTES = 20_000_000_000
"""Of uploads and results; half of what the disk has where that is less, as others use it too."""


class Room:
    """Is asked before anything is uploaded. Thread-safe.

    Args:
        root: the directory of uploads and sessions, which is there.
        most: bytes that may lie there; left out, see `MOST_BYTES`.
    """

    def __init__(self, root: Path, most: int | None = None) -> None:
        self.root = root
        self.most = min(MOST_BYTES, shutil.disk_usage(root).free // 2) if most is None else most
        self._lock = threading.Lock()
        self._reserved = 0

    def reserve(self, count: int) -> None:
        """Keep room for so many bytes that are on their way.

        Raises:
            NoRoomError: when there is not so much.
        """
        with self._lock:
            if self._used() + self._reserved + count > self.most:
                raise NoRoomError("the studio's disk space is taken up by others; try again in a few minutes")
            self._reserved += count

    def free(self, count: int) -> None:
        """They have arrived, or will not."""
        with self._lock:
            self._reserved -= count

    def _used(self) -> int:
        # uploads that sessions have taken have two names
        sizes: dict[int, int] = {}
        for _, _, names, folder in os.fwalk(self.root):
            for name in names:
                try:
                    status = os.stat(name, dir_fd=folder, follow_symlinks=False)
                except FileNotFoundError:
                    # others remove what is theirs meanwhile
                    continue
                sizes[status.st_ino] = status.st_size
        return sum(sizes.values())
