"""One line for all who want something computed: first come, first served, one at a time, and no longer than a bound."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

WAITING = 32
"""So many may wait; the next one is told at once that the line is full."""


class LineFullError(ValueError):
    """Too many wait already."""


class Cancelled(Exception):
    """Whoever wanted the work wants it no more; no error."""


class Ticket:
    """Somebody's place in the line, and then at work. Any thread may cancel it, and does not wait for that."""

    def __init__(self) -> None:
        self._cancelled = threading.Event()
        self.changed = threading.Event()
        """Set when there is news for who waits with this ticket."""

    def cancel(self) -> None:
        """Give up the place; work that has begun ends at its next step."""
        self._cancelled.set()
        self.changed.set()

    @property
    def cancelled(self) -> bool:
        """Whether it has been given up."""
        return self._cancelled.is_set()

    def check(self) -> None:
        """Go on unless it has been given up.

        Raises:
            Cancelled: otherwise.
        """
        if self.cancelled:
            raise Cancelled


class WaitingLine:
    """Lets one thread after the other work.

    Args:
        limit: so many may wait besides the one at work.
    """

    def __init__(self, limit: int = WAITING) -> None:
        self.limit = limit
        self._lock = threading.Lock()
        self._tickets: list[Ticket] = []
        """The first one is at work."""

    @property
    def waiting(self) -> int:
        """How many wait."""
        return max(0, len(self._tickets) - 1)

    @contextmanager
    def turn(self, ticket: Ticket, waiting: Callable[[int], None]) -> Iterator[None]:
        """Wait for one's turn, and work inside the block.

        Args:
            ticket: gives the place up when it is cancelled.
            waiting: is told how many are ahead, whenever that changes.

        Raises:
            LineFullError: at once, when too many wait.
            Cancelled: as soon as the ticket is cancelled, while it waits.
        """
        with self._lock:
            if len(self._tickets) > self.limit:
                raise LineFullError(f"{self.limit} requests are waiting already; try again in a minute")
            self._tickets.append(ticket)
        try:
            self._wait(ticket, waiting)
            yield
        finally:
            with self._lock:
                self._tickets.remove(ticket)
                for other in self._tickets:
                    other.changed.set()

    def _wait(self, ticket: Ticket, waiting: Callable[[int], None]) -> None:
        told: int | None = None
        while True:
            ticket.changed.clear()
            ticket.check()
            with self._lock:
                ahead = self._tickets.index(ticket)
            if not ahead:
                return
            if ahead != told:
                waiting(ahead)
                told = ahead
            ticket.changed.wait()
