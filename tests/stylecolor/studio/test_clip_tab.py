import shlex
import threading
from pathlib import Path

import av
import pytest

from stylecolor.studio.clip_tab import INVITATION
from stylecolor.studio.line import Cancelled, Ticket
from stylecolor.studio.requests import ClipRequest
from stylecolor.studio.sessions import Session
from stylecolor.studio.visitor import TabState
from stylecolor.studio.work import ClipResult, Report
from tests.stylecolor.commands.running import assert_done, run, save_photograph
from tests.stylecolor.films import make_film, pan
from tests.stylecolor.studio.page_client import PageClient
from tests.stylecolor.studio.served import LONGEST

STATUS = "clip-status"


def state(page: PageClient) -> TabState:
    return page.served.studio.sessions.get(page.session_hash).visitor.clip


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The visitor's files, and the working directory."""
    monkeypatch.chdir(tmp_path)
    make_film(tmp_path / "old.mp4", pan(frames=4))
    save_photograph(tmp_path / "look.png", 2)
    return tmp_path


@pytest.fixture
def page(client: PageClient, folder: Path) -> PageClient:
    """With a film."""
    assert "Drop a short film" in client[STATUS]["value"]
    client.upload("clip", folder / "old.mp4")
    assert "Add a reference, or press Colorize" in client[STATUS]["value"]
    assert client["clip-strength"]["interactive"] is False
    return client


@pytest.mark.parametrize("reference", [True, False])
def test_the_result_is_that_of_the_command(page: PageClient, folder: Path, reference: bool) -> None:
    if reference:
        page.upload("clip-reference", folder / "look.png")
        assert "Press Colorize." in page[STATUS]["value"]
        assert page["clip-strength"]["interactive"] is True
    page["clip-strength"]["value"] = 0.5
    page["clip-saturation"]["value"] = 1.5
    page.use("clip-colorize", "click")
    assert "old_colorized.mp4, 4 frames." in page[STATUS]["value"]
    made = page.read(page["clip-result"]["value"])
    assert made == page.read(page["clip-download"]["value"])
    program, *arguments = shlex.split(page["clip-command"]["value"])
    assert (program, arguments[0]) == ("stylecolor", "video")
    assert ("--auto" in arguments) is not reference
    assert_done(run(*arguments))
    assert made == (folder / "old_colorized.mp4").read_bytes()


def test_browsers_play_the_result(page: PageClient, folder: Path) -> None:
    page.use("clip-colorize", "click")
    (folder / "made.mp4").write_bytes(page.read(page["clip-result"]["value"]))
    with av.open(str(folder / "made.mp4")) as film:
        codec = film.streams.video[0].codec_context
        assert (codec.name, codec.pix_fmt) == ("h264", "yuv420p")


def test_a_second_click_cancels(page: PageClient, monkeypatch: pytest.MonkeyPatch) -> None:
    studio = page.served.studio
    at_work, go_on, cancelled = threading.Event(), threading.Event(), threading.Event()
    colorize_clip = studio.colorize_clip

    def wait(asked: ClipRequest, session: Session, report: Report, ticket: Ticket) -> ClipResult:
        def told(share: float, step: str) -> None:
            report(share, step)
            if step.startswith("frame"):
                at_work.set()
                assert go_on.wait(LONGEST)

        try:
            return colorize_clip(asked, session, told, ticket)
        except Cancelled:
            cancelled.set()
            raise

    monkeypatch.setattr(studio, "colorize_clip", wait)
    first = threading.Thread(target=page.use, args=("clip-colorize", "click"))
    first.start()
    assert at_work.wait(LONGEST)
    page.begin("clip-colorize")
    # the button is free at once, whatever the frame takes
    while state(page).job is not None:
        assert first.is_alive()
    go_on.set()
    first.join(LONGEST)
    assert cancelled.wait(LONGEST)
    assert "Cancelled." in page[STATUS]["value"]
    assert page["clip-colorize"]["value"] == "Colorize"
    assert state(page).result is None


def test_what_is_replaced_is_removed(page: PageClient, folder: Path) -> None:
    directory = page.served.studio.sessions.get(page.session_hash).directory
    for saturation in (1.0, 0.5):
        page["clip-saturation"]["value"] = saturation
        page.use("clip-colorize", "click")
    assert page.read(page["clip-result"]["value"])
    assert sorted(path.name for path in directory.rglob("*.mp4")) == ["old.mp4", "old_colorized.mp4"]
    (folder / "old.mp4").rename(folder / "my $1 {film}.mp4")
    page.upload("clip", folder / "my $1 {film}.mp4")
    assert [path.name for path in directory.rglob("*.mp4")] == ["my $1 {film}.mp4"]


@pytest.mark.parametrize(
    ("name", "contents", "reason"),
    [("old.mp4", b"#EXTM3U\n", "is no MP4"), ("old.png", b"", "suffix of old.png")],
)
def test_what_is_no_film_is_refused(page: PageClient, folder: Path, name: str, contents: bytes, reason: str) -> None:
    before = state(page).source
    (folder / "other").mkdir()
    (folder / "other" / name).write_bytes(contents)
    page.upload("clip", folder / "other" / name)
    assert state(page).source == before
    assert before is not None
    assert page["clip"]["value"]["path"] == str(before.path)
    assert any(reason in message for message in page.warnings)
    # for as long as one looks
    assert page[STATUS]["value"].startswith('<p role="alert"')
    assert reason in page[STATUS]["value"]


def test_a_film_with_large_frames_is_refused(page: PageClient, folder: Path) -> None:
    make_film(folder / "large.mp4", pan(frames=2, size=(400, 400)))
    page.upload("clip", folder / "large.mp4")
    assert page.warnings == ["large.mp4: its frames of 400 x 400 px have more than 0.1 megapixels; use stylecolor video for it"]


@pytest.mark.parametrize(
    ("field", "value", "reason"),
    [
        ("clip-strength", 5, "strength=5 is outside 0..1"),
        ("clip-strength", None, "strength is empty; write a number in 0..1"),
        ("clip-saturation", None, "saturation is empty; write a number in 0..10"),
    ],
)
def test_a_field_that_cannot_be_heeded_is_told_by_its_name(
    page: PageClient, folder: Path, field: str, value: float | None, reason: str
) -> None:
    page.upload("clip-reference", folder / "look.png")
    page[field]["value"] = value
    page.use("clip-colorize", "click")
    assert reason in page[STATUS]["value"]
    assert not page.errors


def test_something_invites_until_there_is_a_result(page: PageClient, folder: Path) -> None:
    (invitation,) = (one for one in page.properties.values() if INVITATION in str(one.get("value")))
    page.use("clip-colorize", "click")
    assert invitation["visible"] is False
    page.upload("clip", folder / "old.mp4")
    assert invitation["visible"] is True


def test_a_film_is_needed(client: PageClient, folder: Path) -> None:
    client.use("clip-colorize", "click")
    assert "there is no film yet; drop one" in client[STATUS]["value"]
    # the page learns of the networks after a quick click
    client.open()
    assert "there is no film yet; drop one" in client[STATUS]["value"]
    client.upload("clip", folder / "old.mp4")
    assert "press Colorize" in client[STATUS]["value"]
