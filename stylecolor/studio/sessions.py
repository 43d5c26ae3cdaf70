"""What belongs to each visitor: choices, files, and work that can be picked up again. All of it ends with the visit."""

import os
import secrets
import shutil
import threading
import time
from collections import Counter, OrderedDict
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from stylecolor.studio.drafts import KEPT_BYTES, Drafts
from stylecolor.studio.line import Ticket
from stylecolor.studio.uploads import PREFIX, Uploads, own_name, safe_name
from stylecolor.studio.visitor import VisitorState

if TYPE_CHECKING:
    from stylecolor.draft import Draft
    from stylecolor.pictures.files import Picture

LEFT_SECONDS = 60.0
"""A session has ended when no page has been open, and nothing been asked of it, for so long: phones that show something else break
connections off, and come back."""
IDLE_SECONDS = 4 * 3600.0
"""A session that nothing was asked of for so long has ended, too."""
UNKEPT_SECONDS = 900.0
"""A file that is in no slot of its session is removed by then, and an upload that broke off."""
UNTAKEN_SECONDS = 120.0
"""An upload that no session has taken is removed by then."""
SESSIONS = 1000
"""Of more, one ends: without a page rather than with one, without files rather than with some, and that was idle the longest."""
REMEMBERED = 10 * SESSIONS
"""Of so many that have ended it is known that they had been there."""
ENDED = "this session has ended; load the page again"


class EndedError(ValueError):
    """The visitor has gone."""

    def __init__(self) -> None:
        super().__init__(ENDED)


class Session:
    """One visitor's.

    Every file lies in a directory of its own. Those that are still wanted are in slots, see `keep`; the others are removed after a while.

    Attributes:
        directory: of its files; its name cannot be guessed.
        visitor: the choices on the page.
    """

    def __init__(self, directory: Path, uploads: Uploads, drafts: Drafts) -> None:
        self.directory = directory
        self.visitor = VisitorState()
        self.seen = time.monotonic()
        """When something was last asked of it."""
        self.left: float | None = self.seen
        """Since when no page of it is open; None while one is."""
        self.used = False
        """Whether it ever had a file."""
        self._uploads = uploads
        self._drafts = drafts
        self._lock = threading.Lock()
        self._tickets: list[Ticket] = []
        self._slots: dict[str, frozenset[Path]] = {}
        self._names: dict[Path, str] = {}
        """What files are called on the visitor's machine, by their directories."""
        self._noted: set[Path] = set()
        self._ended = False
        directory.mkdir()

    @property
    def ticket(self) -> Ticket | None:
        """That of the latest job that waits or runs; None where there is none."""
        return next(reversed(self._tickets), None)

    @property
    def ended(self) -> bool:
        """Whether the visitor has gone."""
        return self._ended

    def cancel(self) -> None:
        """Cancel whatever waits or runs, without waiting for that."""
        with self._lock:
            tickets = list(self._tickets)
        for ticket in tickets:
            ticket.cancel()

    @contextmanager
    def job(self, ticket: Ticket | None = None) -> Iterator[Ticket]:
        """While a job waits and runs; the files stay until it has ended.

        Args:
            ticket: the job's; left out, a new one.

        Raises:
            EndedError: when the session has ended before.
        """
        ticket = ticket or Ticket()
        with self._lock:
            self._check_open()
            self._tickets.append(ticket)
        try:
            yield ticket
        finally:
            try:
                self._drafts.trim()
            finally:
                with self._lock:
                    self._tickets.remove(ticket)
                    self.seen = time.monotonic()
                    last = self._ended and not self._tickets
                if last:
                    self._remove_all()

    def adopt(self, upload: str | Path, name: str | None = None) -> Path:
        """Take an upload into the session.

        Args:
            upload: its file in the folder of uploads.
            name: what it is called on the visitor's machine; left out, as the upload.

        Returns:
            Its path here, in a directory of its own.

        Raises:
            ValueError: for what was not uploaded, or is gone.
        """
        with self._lock:
            place = self._fresh_place(Path(upload).name if name is None else name)
            self._uploads.link(upload, place)
        return place

    def note(self, uploads: Iterable[Path]) -> None:
        """Let uploads that a page has named go with its session, whether or not it adopts them."""
        with self._lock:
            # of those that have gone meanwhile nothing is known any more
            self._noted = {upload for upload in self._noted if upload.exists()}.union(uploads)

    def name_of(self, file: Path) -> str:
        """What a file is called on the visitor's machine; that of a file which did not come from there is its name."""
        return self._names.get(file.parent, file.name)

    def write(self, name: str, contents: BinaryIO) -> Path:
        """Put a file into the session, in a directory of its own, and return its path.

        Args:
            name: what it is called on the visitor's machine.
            contents: read to the end.
        """
        with self._lock:
            place = self._fresh_place(name)
        with place.open("wb") as file:
            shutil.copyfileobj(contents, file)
        return place

    def fresh_directory(self) -> Path:
        """A new directory inside that of the session.

        Raises:
            EndedError: when the session has ended.
        """
        self._check_open()
        directory = self.directory / secrets.token_hex(8)
        directory.mkdir()
        self.used = True
        return directory

    def keep(self, slot: str, *files: Path | None) -> None:
        """Let these files be what a slot has from now on; what it had before, and no slot has any more, is removed.

        Args:
            slot: what the files are to the visitor, such as `target`.
            files: those outside the session, and None, are passed over; without any the slot is empty. What lies beside one is kept, too.
        """
        with self._lock:
            before = self._slots.pop(slot, frozenset())
            self._slots[slot] = frozenset(self._homes(files))
            self._remove(before.difference(*self._slots.values()))

    def discard(self, *files: Path) -> None:
        """Remove files that are in no slot."""
        with self._lock:
            self._remove(set(self._homes(files)).difference(*self._slots.values()))

    def sweep(self, unkept: float = UNKEPT_SECONDS) -> None:
        """Remove what is in no slot and older than this, unless something runs, which may be about to use it.

        Args:
            unkept: seconds.
        """
        oldest = time.time() - unkept
        with self._lock:
            if self._tickets or self._ended:
                return
            loose = set(self.directory.iterdir()).difference(*self._slots.values())
            self._remove(directory for directory in loose if directory.stat().st_mtime <= oldest)

    def draft(self, target: Path, read: Callable[[], "Picture"]) -> "Draft":
        """The draft of a target, see `stylecolor.studio.drafts.Drafts.get`."""
        return self._drafts.get(self.directory, target, read)

    def end(self) -> None:
        """Cancel what runs, and remove all that was uploaded and made, as soon as nothing runs any more; does not wait for that."""
        with self._lock:
            removable = not self._ended and not self._tickets
            self._ended = True
        self.cancel()
        if removable:
            self._remove_all()

    def _fresh_place(self, name: str) -> Path:
        """For a file of this name on the visitor's machine."""
        directory = self.fresh_directory()
        self._names[directory] = own_name(name)
        return directory / safe_name(name)

    def _check_open(self) -> None:
        if self._ended:
            raise EndedError

    def _homes(self, files: Iterable[Path | None]) -> Iterator[Path]:
        """The directories, right below that of the session, in which they lie."""
        for file in files:
            if file is not None and self.directory in file.parents:
                yield self.directory / file.relative_to(self.directory).parts[0]

    def _remove(self, directories: Iterable[Path]) -> None:
        directories = list(directories)
        self._uploads.release(*directories)
        for directory in directories:
            self._names.pop(directory, None)
            self._drafts.drop(directory)
            shutil.rmtree(directory, ignore_errors=True)

    def _remove_all(self) -> None:
        self._uploads.release(*self.directory.iterdir())
        self._uploads.drop(self._noted)
        self._drafts.drop(self.directory)
        shutil.rmtree(self.directory, ignore_errors=True)


class Sessions:
    """All visitors'. Thread-safe.

    Args:
        root: the directory of uploads and sessions, which is there.
        kept_bytes: see `Drafts`.
    """

    def __init__(self, root: Path, kept_bytes: int = KEPT_BYTES) -> None:
        self.root = Path(os.path.realpath(root))
        self.uploads = Uploads(self.root)
        self.drafts = Drafts(kept_bytes)
        self._lock = threading.Lock()
        self._sessions: dict[str, Session] = {}
        self._pages: Counter[str] = Counter()
        """How many connections say that a page is open, of each session that there is or will be or was."""
        self._ended: OrderedDict[str, None] = OrderedDict()
        """Those that have ended, the latest last: their pages may come back."""

    def __len__(self) -> int:
        return len(self._sessions)

    def begin(self, session_hash: str) -> Session:
        """The session of a page that is loaded, or of a client that calls; a new one unless there is one."""
        with self._lock:
            session = self._sessions.get(session_hash)
            surplus = self._surplus() if session is None else []
            if session is None:
                directory = self.root / f"{PREFIX}{secrets.token_urlsafe(16)}"
                session = self._sessions[session_hash] = Session(directory, self.uploads, self.drafts)
                if session_hash in self._pages:
                    session.left = None
            session.seen = time.monotonic()
        for key in surplus:
            self.end(key)
        return session

    def get(self, session_hash: str) -> Session:
        """The session of a page. It begins here if what a visitor does comes before the page has told that it is loaded.

        Raises:
            EndedError: when it has ended. A new one would have nothing of what the page shows.
        """
        with self._lock:
            session = self._sessions.get(session_hash)
            if session is None and (session_hash not in self._pages or session_hash in self._ended):
                raise EndedError
        return self.begin(session_hash)

    @contextmanager
    def single(self) -> Iterator[Session]:
        """A session that lasts as long as the block."""
        key = secrets.token_urlsafe(16)
        try:
            # nobody else knows the key, so the page is as good as open
            with self.present(key):
                yield self.begin(key)
        finally:
            self.end(key)
            with self._lock:
                # nobody will ask for it again
                self._ended.pop(key, None)

    def note(self, session_hash: str, paths: Iterable[str]) -> None:
        """Let the uploads among the files that a page has named go with its session, see `Session.note`."""
        session = self._sessions.get(session_hash)
        if session is not None:
            uploads = (self.uploads.find(path) for path in paths)
            session.note(upload for upload in uploads if upload is not None)

    def _surplus(self) -> list[str]:
        """Those that have to go before there is another one."""

        def worth(key: str) -> tuple[bool, bool, float]:
            session = self._sessions[key]
            return key in self._pages, session.used, session.seen

        idle = sorted((key for key, session in self._sessions.items() if session.ticket is None), key=worth)
        return idle[: max(0, len(self._sessions) + 1 - SESSIONS)]

    @contextmanager
    def present(self, session_hash: str) -> Iterator[None]:
        """While the page of a session is open; when it is closed, what runs for it is cancelled, and the session ends soon.

        This begins none: any address may be asked for as if it were a page's.
        """
        with self._lock:
            self._pages[session_hash] += 1
            session = self._sessions.get(session_hash)
            if session is not None:
                session.left = None
        try:
            yield
        finally:
            with self._lock:
                self._pages[session_hash] -= 1
                session = self._sessions.get(session_hash)
                closed = not self._pages[session_hash]
                if closed:
                    del self._pages[session_hash]
                    if session is not None:
                        session.left = time.monotonic()
            if closed and session is not None:
                session.cancel()

    def end(self, session_hash: str) -> None:
        """End a session, if there is one."""
        with self._lock:
            session = self._sessions.pop(session_hash, None)
            if session is not None:
                self._ended[session_hash] = None
                self._ended.move_to_end(session_hash)
                if len(self._ended) > REMEMBERED:
                    self._ended.popitem(last=False)
        if session is not None:
            session.end()

    def end_all(self) -> None:
        """End all sessions."""
        for key in list(self._sessions):
            self.end(key)

    def sweep(
        self,
        left: float = LEFT_SECONDS,
        idle: float = IDLE_SECONDS,
        unkept: float = UNKEPT_SECONDS,
        untaken: float = UNTAKEN_SECONDS,
    ) -> None:
        """End the sessions whose visitors have gone, and remove the files that nobody took or kept.

        Args:
            left: seconds, see `LEFT_SECONDS`.
            idle: see `IDLE_SECONDS`.
            unkept: see `UNKEPT_SECONDS`.
            untaken: see `UNTAKEN_SECONDS`.
        """
        now = time.monotonic()
        with self._lock:
            quiet = {key: session for key, session in self._sessions.items() if session.ticket is None}
        for key, session in quiet.items():
            if session.seen <= now - idle or (session.left is not None and max(session.left, session.seen) <= now - left):
                self.end(key)
            else:
                session.sweep(unkept)
        self.uploads.sweep(untaken, unkept)
