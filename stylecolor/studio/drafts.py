"""The drafts of all sessions, in memory that is bounded."""

import threading
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from stylecolor.draft import Draft
    from stylecolor.pictures.files import Picture

KEPT_BYTES = 2_000_000_000
"""Of pictures and of what the networks made of them; the one that is worked on may be larger."""


class Drafts:
    """Keeps those that were used last. Thread-safe.

    Args:
        kept_bytes: so much they may take together.
    """

    def __init__(self, kept_bytes: int = KEPT_BYTES) -> None:
        self.kept_bytes = kept_bytes
        self._lock = threading.Lock()
        self._drafts: OrderedDict[tuple[Path, Path], Draft] = OrderedDict()

    def get(self, session: Path, target: Path, read: Callable[[], "Picture"]) -> "Draft":
        """That of a target, with what has been computed of it before if that is still there.

        Args:
            session: the directory of the session, with which it is dropped.
            target: the picture's file.
            read: reads it, where there is no draft.
        """
        # imported late: torch takes seconds
        from stylecolor.draft import Draft

        with self._lock:
            draft = self._drafts.get((session, target))
        if draft is None:
            draft = Draft(read())
        with self._lock:
            self._drafts[session, target] = draft
            self._drafts.move_to_end((session, target))
        self.trim()
        return draft

    def trim(self) -> None:
        """Forget those that were not used for the longest time, until the others fit; called after work, as drafts grow by it."""
        with self._lock:
            sizes = {key: draft.nbytes for key, draft in self._drafts.items()}
            for key in list(sizes)[:-1]:
                if sum(sizes.values()) <= self.kept_bytes:
                    break
                del sizes[key], self._drafts[key]

    def drop(self, directory: Path) -> None:
        """Forget those of a session, or of a target, by its directory."""
        with self._lock:
            for key in [key for key in self._drafts if any(path.is_relative_to(directory) for path in key)]:
                del self._drafts[key]
