"""Work that takes a while, in a thread of its own, followed by the handler of an event."""

import asyncio
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Generic, TypeVar

from stylecolor.studio.line import Ticket
from stylecolor.studio.work import Report

T = TypeVar("T")

# more than may wait in the line, so that whoever comes on top is refused and does not wait here
_threads = ThreadPoolExecutor(64, "studio")


class Job(Generic[T]):
    """Begins at once. Made inside a coroutine, and used there alone.

    Args:
        work: is given its ticket in the line, and what it reports its steps to, which raises `Cancelled` there once the job is cancelled.
        ticket: to give it; left out, a new one.
    """

    def __init__(self, work: Callable[[Ticket, Report], T], ticket: Ticket | None = None) -> None:
        loop = asyncio.get_running_loop()
        self.ticket = ticket or Ticket()
        self._news: asyncio.Queue[tuple[float, str] | None] = asyncio.Queue()

        def report(fraction: float, step: str) -> None:
            self.ticket.check()
            loop.call_soon_threadsafe(self._news.put_nowait, (fraction, step))

        self._future = loop.run_in_executor(_threads, work, self.ticket, report)
        self._future.add_done_callback(lambda _: self._news.put_nowait(None))

    async def steps(self) -> AsyncIterator[tuple[float, str]]:
        """What is reported, until the work has ended; of what comes at once the newest."""
        while (news := await self._news.get()) is not None:
            while not self._news.empty() and (newer := self._news.get_nowait()) is not None:
                news = newer
            yield news
            if self._future.done():
                return

    async def result(self) -> T:
        """What the work returned.

        Raises:
            Cancelled: when it was cancelled.
            Exception: whatever it raised.
        """
        return await self._future

    def cancel(self) -> None:
        """Let the work end at its next step, or leave the line."""
        self.ticket.cancel()
