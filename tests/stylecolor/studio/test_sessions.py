import io
import os
import threading
from pathlib import Path

import numpy as np
import pytest

from stylecolor.pictures.files import Picture
from stylecolor.studio import sessions as module
from stylecolor.studio import uploads
from stylecolor.studio.drafts import Drafts
from stylecolor.studio.line import Cancelled
from stylecolor.studio.sessions import EndedError, Session, Sessions
from stylecolor.studio.uploads import LONGEST_KEPT, own_name, safe_name

LONGEST = 60


@pytest.fixture(autouse=True)
def nobody_else_uploads(monkeypatch: pytest.MonkeyPatch) -> None:
    """What has just been uploaded may go."""
    monkeypatch.setattr(uploads, "SHARED_SECONDS", 0)


@pytest.fixture
def sessions(tmp_path: Path) -> Sessions:
    return Sessions(tmp_path)


def upload(sessions: Sessions, name: str = "grey.png", contents: bytes = b"bytes") -> Path:
    """As Gradio puts uploads down: under a name that follows from the bytes, in place of what was there."""
    path = sessions.root / contents.hex() / name
    path.parent.mkdir(exist_ok=True)
    part = sessions.root / "part"
    part.write_bytes(contents)
    part.rename(path)
    return path


def files(sessions: Sessions) -> list[Path]:
    return sorted(path for path in sessions.root.rglob("*") if path.is_file())


def test_an_upload_becomes_a_file_of_the_session_and_both_go_with_it(sessions: Sessions) -> None:
    path = sessions.begin("ann").adopt(upload(sessions), "Ännchen am See.png")
    assert path.name == "Ännchen am See.png"
    assert path.read_bytes() == b"bytes"
    sessions.end("ann")
    assert list(sessions.root.iterdir()) == []


def test_directories_of_sessions_cannot_be_guessed_and_differ(sessions: Sessions) -> None:
    names = {sessions.begin(visitor).directory.name for visitor in ("ann", "bob")}
    assert len(names) == 2
    assert all(len(name) > 25 and "ann" not in name and "bob" not in name for name in names)
    assert sessions.begin("ann") is sessions.begin("ann")


def test_two_visitors_with_the_same_bytes_do_not_depend_on_each_other(sessions: Sessions) -> None:
    shared = upload(sessions)
    ann, bob = sessions.begin("ann").adopt(shared), sessions.begin("bob").adopt(shared)
    sessions.end("ann")
    assert not ann.exists()
    assert bob.read_bytes() == shared.read_bytes() == b"bytes"
    sessions.end("bob")
    assert files(sessions) == []


def test_an_upload_that_somebody_repeats_outlives_the_session_of_who_was_first(sessions: Sessions) -> None:
    sessions.begin("ann").adopt(upload(sessions))
    repeated = upload(sessions)
    sessions.end("ann")
    assert sessions.begin("bob").adopt(repeated).read_bytes() == b"bytes"


def test_an_upload_that_somebody_else_may_have_repeated_just_now_stays_for_a_while(
    sessions: Sessions, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(uploads, "SHARED_SECONDS", 60)
    upload(sessions)
    shared = upload(sessions)
    sessions.begin("ann").adopt(shared)
    sessions.end("ann")
    assert sessions.begin("bob").adopt(shared).read_bytes() == b"bytes"
    sessions.end("bob")
    sessions.sweep()
    assert shared.exists()
    sessions.sweep(untaken=0)
    assert files(sessions) == []


def test_what_a_page_has_named_goes_with_its_session_though_nobody_took_it(sessions: Sessions) -> None:
    taken, own, other = (upload(sessions, contents=contents) for contents in (b"taken", b"own", b"other"))
    place = sessions.begin("bob").adopt(taken)
    written = sessions.begin("bob").write("grey.png", io.BytesIO(b"bytes"))
    sessions.begin("ann")
    sessions.note("ann", [str(taken), str(own), str(written), str(sessions.root), "/etc/hostname", "", "grey.png"])
    sessions.note("nobody", [str(other)])
    sessions.sweep()
    assert own.exists()
    sessions.end("ann")
    assert files(sessions) == sorted((taken, place, written, other))


def test_what_the_page_itself_shows_stays_whoever_uploads_the_same(sessions: Sessions) -> None:
    example = upload(sessions)
    sessions.uploads.keep_present()
    sessions.begin("ann").adopt(upload(sessions))
    sessions.end("ann")
    sessions.sweep(unkept=0, untaken=0)
    assert files(sessions) == [example]


@pytest.mark.parametrize("place", ["/etc/hostname", "outside", "other session", "link", "nested", "..", ""])
def test_nothing_but_an_upload_is_taken(sessions: Sessions, tmp_path_factory: pytest.TempPathFactory, place: str) -> None:
    outside = tmp_path_factory.mktemp("elsewhere") / "secret.png"
    outside.write_bytes(b"secret")
    other = sessions.begin("bob").write("secret.png", io.BytesIO(b"secret"))
    link = sessions.root / "link"
    link.symlink_to(outside)
    nested = sessions.root / "00" / ".." / other.relative_to(sessions.root)
    paths = {"outside": str(outside), "other session": str(other), "link": str(link), "nested": str(nested)}
    with pytest.raises(ValueError, match="not uploaded here"):
        sessions.begin("ann").adopt(paths.get(place, place), "grey.png")
    assert not list(sessions.begin("ann").directory.rglob("*.png"))


def test_an_upload_that_is_gone_is_asked_for_again(sessions: Sessions) -> None:
    path = upload(sessions)
    path.unlink()
    with pytest.raises(ValueError, match=r"grey\.png: the upload is gone; upload it again"):
        sessions.begin("ann").adopt(path)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("grey.png", "grey.png"),
        ("../../etc/passwd", "passwd"),
        ("C:\\scans\\grey.png", "grey.png"),
        ("", "picture"),
        ("..", "picture"),
        ("/", "picture"),
        ("a\nb\0c\x1b.png", "abc.png"),
        ("Grüße aus Köln.jpg", "Grüße aus Köln.jpg"),
    ],
)
def test_names_of_visitors_lead_nowhere(name: str, expected: str) -> None:
    assert safe_name(name) == expected


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        (" lead.jpg", " lead.jpg"),
        ("new\nline.jpg", "new\nline.jpg"),
        ("../../etc/passwd", "passwd"),
        ("C:\\scans\\grey.png ", "grey.png "),
        ("x" * 250 + ".jpg", "x" * 250 + ".jpg"),
        ("a\ud800b\0.jpg", "ab.jpg"),
        *((name, "picture") for name in ("", ".", "..", "a/..", "/")),
    ],
)
def test_what_a_file_is_called_where_it_came_from_is_known(sessions: Sessions, name: str, expected: str) -> None:
    assert own_name(name) == expected
    session = sessions.begin("ann")
    for path in (session.adopt(upload(sessions), name), session.write(name, io.BytesIO(b"bytes"))):
        assert session.name_of(path) == expected
        session.discard(path)
    made = session.fresh_directory() / "labels.png"
    assert session.name_of(made) == "labels.png"


@pytest.mark.parametrize("name", ["ä" * 300 + ".png", "a" * 300, "." + "x" * 300, "𝄞" * 100 + "." + "y" * 200])
def test_long_names_are_shortened_to_what_a_file_may_be_called(name: str) -> None:
    assert 0 < len(safe_name(name).encode()) <= LONGEST_KEPT
    if name.endswith(".png"):
        assert safe_name(name).endswith("ä.png")


def test_names_of_usual_length_stay(sessions: Sessions) -> None:
    for name in ("写" * 60 + ".jpg", "x" * 200 + ".tiff"):
        assert sessions.begin("ann").adopt(upload(sessions), name).name == name


class Job:
    """Runs in a thread until it is told to end, or is cancelled."""

    def __init__(self, session: Session) -> None:
        self.running, self.go_on = threading.Event(), threading.Event()
        self.cancelled = False
        self._session = session
        self._thread = threading.Thread(target=self._run)
        self._thread.start()
        assert self.running.wait(LONGEST)

    def _run(self) -> None:
        with self._session.job() as ticket:
            self.running.set()
            assert self.go_on.wait(LONGEST)
            try:
                ticket.check()
            except Cancelled:
                self.cancelled = True

    def end(self) -> None:
        self.go_on.set()
        self._thread.join(LONGEST)


def test_a_visitor_who_goes_in_the_middle_of_a_job_has_it_cancelled_and_the_files_go_after_it(sessions: Sessions) -> None:
    session = sessions.begin("ann")
    path = session.adopt(upload(sessions))
    job = Job(session)
    sessions.end("ann")
    assert path.exists(), "the job may be reading it"
    job.end()
    assert job.cancelled
    assert list(sessions.root.iterdir()) == []
    with pytest.raises(EndedError, match="load the page again"), session.job():
        pytest.fail("it has ended")
    with pytest.raises(EndedError):
        session.adopt(upload(sessions))


def test_a_job_whose_drafts_cannot_be_counted_ends_its_session_all_the_same(sessions: Sessions, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(drafts: Drafts) -> None:
        raise MemoryError

    session = sessions.begin("ann")
    monkeypatch.setattr(Drafts, "trim", fail)
    with pytest.raises(MemoryError), session.job():
        sessions.end("ann")
    assert session.ticket is None
    assert list(sessions.root.iterdir()) == []


def test_closing_the_page_cancels_its_jobs_and_ends_the_session_a_little_later(sessions: Sessions) -> None:
    with sessions.present("ann"), sessions.present("bob"):
        ann, bob = sessions.begin("ann"), sessions.begin("bob")
        with sessions.present("ann"):
            job = Job(ann)
        sessions.sweep(left=0)
        assert len(sessions) == 2
    job.end()
    assert job.cancelled
    sessions.sweep(left=60)
    assert len(sessions) == 2, "phones come back"
    with sessions.present("bob"):
        sessions.sweep(left=0)
        assert len(sessions) == 1
        assert not bob.ended


def test_a_client_that_keeps_no_page_open_has_a_session_for_as_long_as_it_works_and_a_little_longer(sessions: Sessions) -> None:
    job = Job(sessions.begin("curl"))
    sessions.sweep(left=0)
    assert len(sessions) == 1
    job.end()
    sessions.sweep(left=60)
    assert len(sessions) == 1, "the answer is yet to be fetched"
    sessions.sweep(left=0)
    assert len(sessions) == 0


def test_a_session_that_has_ended_does_not_come_back_empty(sessions: Sessions) -> None:
    with sessions.present("ann"):
        assert sessions.begin("ann") is sessions.get("ann")
        sessions.end("ann")
        with pytest.raises(EndedError, match=r"^this session has ended; load the page again$"):
            sessions.get("ann")
        with sessions.present("ann"):
            assert len(sessions) == 0


def test_a_page_that_comes_back_after_its_session_has_ended_is_told_so(sessions: Sessions, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "REMEMBERED", 2)
    with sessions.present("ann"):
        sessions.begin("ann")
    sessions.sweep(left=0)
    with sessions.present("ann"):
        for _ in range(3):
            with sessions.single():
                pass
        with pytest.raises(EndedError):
            sessions.get("ann")
    with sessions.present("ann"), pytest.raises(EndedError):
        sessions.get("ann")
    # a client, which has nothing that could be missing
    assert sessions.begin("ann") is sessions.get("ann")
    for visitor in ("bob", "ann", "eve"):
        sessions.begin(visitor)
        sessions.end(visitor)
    with sessions.present("ann"), pytest.raises(EndedError):
        sessions.get("ann")
    for visitor in ("bob", "eve"):
        sessions.begin(visitor)
        sessions.end(visitor)
    with sessions.present("ann"):
        assert not sessions.get("ann").ended, "it has been too long"


def test_what_a_visitor_does_before_the_page_is_loaded_begins_the_session(sessions: Sessions) -> None:
    with sessions.present("ann"):
        assert sessions.get("ann") is sessions.begin("ann")


def test_the_page_of_a_second_tab_keeps_the_job(sessions: Sessions) -> None:
    with sessions.present("ann"):
        session = sessions.begin("ann")
        with sessions.present("ann"):
            job = Job(session)
        job.end()
    assert not job.cancelled


def test_a_session_that_nothing_is_asked_of_ends_but_not_while_it_works(sessions: Sessions) -> None:
    job = Job(sessions.begin("ann"))
    sessions.begin("bob")
    sessions.sweep(idle=0)
    assert len(sessions) == 1
    job.end()
    sessions.sweep(idle=0)
    assert len(sessions) == 0
    assert not list(sessions.root.iterdir())


def test_uploads_that_nobody_takes_and_those_that_broke_off_are_swept(sessions: Sessions) -> None:
    taken = upload(sessions, contents=b"taken")
    session = sessions.begin("ann")
    place = session.adopt(taken)
    session.keep("target", place)
    upload(sessions, contents=b"left")
    (sessions.root / "tmpbroken").write_bytes(b"half")
    sessions.sweep(unkept=1e6, untaken=1e6)
    assert len(files(sessions)) == 4
    sessions.sweep(untaken=0)
    assert len(files(sessions)) == 3, "it may be on its way"
    sessions.sweep(unkept=0)
    assert files(sessions) == sorted((taken, place))


def test_there_are_never_more_sessions_than_a_bound(sessions: Sessions, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SESSIONS", 3)
    first, second = sessions.begin("first"), sessions.begin("second")
    sessions.begin("third")
    sessions.begin("first")
    sessions.begin("fourth")
    assert second.ended
    assert not first.ended
    assert len(sessions) == len(os.listdir(sessions.root)) == 3


def test_of_too_many_those_without_a_page_and_without_files_end_first(sessions: Sessions, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SESSIONS", 3)
    with sessions.present("page"):
        page, working = sessions.begin("page"), sessions.begin("working")
        working.write("grey.png", io.BytesIO(b"bytes"))
        passing = [sessions.begin(f"passing {number}") for number in range(10)]
        assert not page.ended
        assert not working.ended
        assert [session.ended for session in passing] == [True] * 9 + [False]
        sessions.get("passing 9").write("grey.png", io.BytesIO(b"bytes"))
        sessions.begin("another")
        assert working.ended
        assert not page.ended


def result(session: Session) -> Path:
    return session.write("grey_colorized.png", io.BytesIO(b"bytes"))


def test_what_is_put_into_a_slot_removes_what_was_there(sessions: Sessions) -> None:
    session = sessions.begin("ann")
    film = result(session)
    session.keep("film", film)
    results = [result(session) for _ in range(10)]
    for path in results:
        session.keep("result", path, None)
        assert path.exists()
    assert [path.exists() for path in results] == [False] * 9 + [True]
    assert film.exists(), "it is in another slot"
    session.keep("compared", results[-1])
    session.keep("result")
    assert results[-1].exists(), "it is in two slots"
    session.keep("compared")
    assert files(sessions) == [film]


def test_the_upload_behind_what_leaves_a_slot_goes_with_it_and_no_other_file_does(sessions: Sessions, tmp_path: Path) -> None:
    ann = sessions.begin("ann")
    album = tmp_path / "album.png"
    album.write_bytes(b"of the folder of references")
    first, second = ann.adopt(upload(sessions, contents=b"first")), ann.adopt(upload(sessions, contents=b"second"))
    ann.keep("references", first, second, album)
    ann.keep("references", second)
    assert album.exists()
    album.unlink()
    assert {path.read_bytes() for path in files(sessions)} == {b"second"}
    assert len(files(sessions)) == 2


def test_what_is_in_no_slot_goes_after_a_while_but_not_while_something_runs(sessions: Sessions) -> None:
    session = sessions.begin("ann")
    kept, loose = result(session), session.adopt(upload(sessions))
    session.keep("result", kept)
    job = Job(session)
    sessions.sweep(unkept=0)
    assert loose.exists()
    job.end()
    sessions.sweep(unkept=1e6)
    assert loose.exists()
    sessions.sweep(unkept=0)
    assert files(sessions) == [kept]


def test_a_result_that_is_yet_to_be_fetched_is_not_removed_by_others(sessions: Sessions) -> None:
    session = sessions.begin("client")
    results = [result(session) for _ in range(20)]
    sessions.sweep()
    assert all(path.exists() for path in results)
    session.discard(results[0])
    assert [path.exists() for path in results] == [False] + [True] * 19


def test_a_target_that_goes_takes_its_draft_with_it(sessions: Sessions) -> None:
    session = sessions.begin("ann")
    first, second = result(session), result(session)
    session.keep("target", first)

    def picture() -> Picture:
        return Picture(np.zeros((8, 8, 3), np.uint8))

    draft = session.draft(first, picture)
    assert session.draft(first, picture) is draft
    session.keep("target", second)
    assert session.draft(first, picture) is not draft


def test_at_the_end_nothing_is_left(sessions: Sessions) -> None:
    for visitor in ("ann", "bob"):
        sessions.begin(visitor).adopt(upload(sessions, contents=visitor.encode()))
    sessions.end_all()
    assert list(sessions.root.iterdir()) == []
    assert len(sessions) == 0
