import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor

import pytest

from stylecolor.studio.line import Cancelled, LineFullError, Ticket, WaitingLine

LONGEST = 60


class Visitor:
    """Stands in a line in a thread of its own: `places` are those that it was told."""

    def __init__(self, line: WaitingLine, pool: ThreadPoolExecutor, work: Callable[[], object] = lambda: None) -> None:
        self.ticket = Ticket()
        self.places: list[int] = []
        self.told = threading.Event()
        self.at_work = threading.Event()
        self.done = threading.Event()
        self._line, self._work = line, work
        self.future: Future[None] = pool.submit(self._stand)

    def _stand(self) -> None:
        with self._line.turn(self.ticket, self._note):
            self.at_work.set()
            self._work()
            assert self.done.wait(LONGEST)

    def _note(self, ahead: int) -> None:
        self.places.append(ahead)
        self.told.set()


@pytest.fixture
def pool():
    with ThreadPoolExecutor(64) as pool:
        yield pool


def stand(line: WaitingLine, pool: ThreadPoolExecutor, count: int) -> list[Visitor]:
    """One at work, and the others in their order behind it."""
    visitors = []
    for number in range(count):
        visitor = Visitor(line, pool)
        assert (visitor.told if number else visitor.at_work).wait(LONGEST)
        visitors.append(visitor)
    return visitors


def test_the_first_to_come_is_the_first_to_work_and_each_works_alone(pool: ThreadPoolExecutor) -> None:
    visitors = stand(WaitingLine(), pool, 5)
    for number, visitor in enumerate(visitors):
        assert visitor.at_work.wait(LONGEST)
        assert not any(later.at_work.is_set() for later in visitors[number + 1 :])
        visitor.done.set()
        visitor.future.result(LONGEST)
    # of two changes at once the second alone is told
    assert visitors[4].places[0] == 4
    assert visitors[4].places == sorted(set(visitors[4].places), reverse=True)


def test_the_33rd_to_wait_is_told_so_at_once_and_the_others_are_served(pool: ThreadPoolExecutor) -> None:
    line = WaitingLine()
    visitors = stand(line, pool, 33)
    assert line.waiting == 32
    with pytest.raises(LineFullError, match="32 requests are waiting"), line.turn(Ticket(), lambda ahead: pytest.fail("it waits")):
        pytest.fail("there was no room")
    for visitor in visitors:
        visitor.done.set()
        visitor.future.result(LONGEST)
    with line.turn(Ticket(), lambda ahead: None):
        assert line.waiting == 0


def test_who_gives_up_leaves_the_line_at_once_and_those_behind_move_up(pool: ThreadPoolExecutor) -> None:
    line = WaitingLine()
    first, second, third = stand(line, pool, 3)
    third.told.clear()
    second.ticket.cancel()
    with pytest.raises(Cancelled):
        second.future.result(LONGEST)
    assert third.told.wait(LONGEST)
    assert third.places == [2, 1]
    assert not second.at_work.is_set()
    first.done.set()
    third.done.set()
    third.future.result(LONGEST)


def test_a_ticket_that_was_cancelled_before_gets_no_turn() -> None:
    ticket = Ticket()
    ticket.cancel()
    line = WaitingLine()
    with pytest.raises(Cancelled), line.turn(ticket, lambda ahead: None):
        pytest.fail("it was cancelled")
    with line.turn(Ticket(), lambda ahead: None):
        pass


def test_work_that_fails_makes_way_for_the_next() -> None:
    line = WaitingLine()
    with pytest.raises(ZeroDivisionError), line.turn(Ticket(), lambda ahead: None):
        raise ZeroDivisionError
    with line.turn(Ticket(), lambda ahead: pytest.fail("nobody is ahead")):
        pass
