"""The folder in which Gradio puts uploads: those of the same bytes and name in the same file, whoever uploads them."""

import os
import threading
import time
from collections import Counter
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

PREFIX = "session-"
"""Of the directories of sessions, which lie beside those of the uploads, as Gradio serves no others."""
LONGEST_NAME = 255
"""Bytes that a file's name may have."""
LONGEST_KEPT = LONGEST_NAME - 40
"""Bytes of names here, as those of what is made of the files, such as label maps and sheets, are longer by an ending."""
SHARED_SECONDS = 60.0
"""An upload that is not older stays, though the session that had it has done with it: somebody else may have uploaded the same just before,
and be about to ask for something that names it."""


class _Link(NamedTuple):
    upload: Path
    place: Path


class Uploads:
    """Gives uploads to sessions, and removes them when no session has them any more. Thread-safe.

    Args:
        root: the folder.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self._lock = threading.Lock()
        self._links: dict[Path, _Link] = {}
        """By the directory of the place, which is its own."""
        self._taken: Counter[Path] = Counter()
        """How many places each upload has."""
        self.kept: frozenset[Path] = frozenset()
        """What belongs to the page itself, and stays."""

    def keep_present(self) -> None:
        """Let what lies here now be `kept`."""
        self.kept = frozenset(self.root.iterdir())

    def link(self, upload: str | Path, place: Path) -> None:
        """Let a session have an upload as its own file, whatever becomes of the upload.

        Args:
            upload: a file in the folder.
            place: where the session will find it, in a directory of its own.

        Raises:
            ValueError: for what is no upload, or is gone.
        """
        real = self.find(upload)
        if real is None:
            raise ValueError("a file is named that was not uploaded here")
        with self._lock:
            try:
                os.link(real, place)
            except FileNotFoundError:
                raise ValueError(f"{place.name}: the upload is gone; upload it again") from None
            self._links[place.parent] = _Link(real, place)
            self._taken[real] += 1

    def release(self, *directories: Path) -> None:
        """Remove the uploads whose places are in these directories, unless they have others, or somebody has uploaded them again since."""
        with self._lock:
            for upload, place in (self._links.pop(directory) for directory in directories if directory in self._links):
                self._taken[upload] -= 1
                if self._taken[upload]:
                    continue
                del self._taken[upload]
                if upload.exists() and upload.samefile(place):
                    self._remove_old(upload, SHARED_SECONDS)

    def drop(self, uploads: Iterable[Path]) -> None:
        """Remove those of these uploads that no session has."""
        with self._lock:
            for upload in uploads:
                if upload not in self._taken:
                    self._remove_old(upload, SHARED_SECONDS)

    def sweep(self, untaken: float, broken: float) -> None:
        """Remove the uploads that no session has.

        Args:
            untaken: seconds since they were there.
            broken: seconds since something came of those that are not complete, which others may be at yet.
        """
        with self._lock:
            for entry in set(self.root.iterdir()) - self.kept:
                if entry.name.startswith(PREFIX):
                    continue
                uploads, seconds = (list(entry.iterdir()), untaken) if entry.is_dir() else ([entry], broken)
                for upload in uploads:
                    if upload not in self._taken:
                        self._remove_old(upload, seconds)

    def find(self, path: str | Path) -> Path | None:
        """The upload that a path names; None where it names something else."""
        real = Path(os.path.realpath(path))
        return real if real.parent.parent == self.root and not real.parent.name.startswith(PREFIX) else None

    def _remove_old(self, upload: Path, seconds: float) -> None:
        # Gradio may move it meanwhile. Its last bytes may have come long before it was moved here, after which others came; being moved
        # and being linked count, too
        with suppress(FileNotFoundError):
            if upload.parent not in self.kept and upload.stat().st_ctime <= time.time() - seconds:
                self._remove(upload)

    def _remove(self, upload: Path) -> None:
        upload.unlink(missing_ok=True)
        if upload.parent != self.root:
            # it is not empty where another name of the same bytes is there
            with suppress(OSError):
                upload.parent.rmdir()


def own_name(name: str) -> str:
    """What a visitor's file is called on the visitor's machine: the last part of a path of any system."""
    last = name.replace("\\", "/").rpartition("/")[2].replace("\0", "")
    # what is no text cannot be a part of a command
    last = last.encode(errors="ignore").decode()
    return "picture" if last in ("", ".", "..") else last


def safe_name(name: str, longest: int = LONGEST_KEPT) -> str:
    """What that file is called here: no longer than so many bytes, and without what addresses of files cannot have."""
    stem, suffix = os.path.splitext("".join(character for character in own_name(name) if character.isprintable()).strip())
    room = longest - len(suffix.encode())
    shortened = cut(stem, max(0, room)) + (suffix if room > 0 else "")
    return shortened if shortened.strip(". ") else "picture"


def cut(text: str, count: int) -> str:
    """The beginning of a text that has at most so many bytes."""
    return text.encode()[:count].decode(errors="ignore")
