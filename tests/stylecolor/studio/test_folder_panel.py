import threading
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from stylecolor.pictures import files
from stylecolor.pictures.files import Picture
from stylecolor.studio.config import StudioSettings
from stylecolor.studio.folder_panel import NONE_READABLE
from stylecolor.studio.line import Ticket
from stylecolor.studio.reference_index import INDEXING, ReferenceIndex
from stylecolor.studio.status import say
from stylecolor.studio.visitor import VisitorState
from tests.data import photograph
from tests.stylecolor.commands.running import save_photograph
from tests.stylecolor.studio.page_client import PageClient
from tests.stylecolor.studio.served import LONGEST, Served, serving, wait_until


@pytest.fixture(scope="module")
def served_page(joint_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """With a folder of references, of which one cannot be read."""
    folder = tmp_path_factory.mktemp("references")
    for seed in range(3):
        save_photograph(folder / f"{seed}.png", seed)
    (folder / "broken.png").write_text("no picture")
    with serving(StudioSettings(joint_checkpoint, references=folder), tmp_path_factory.mktemp("served_page")) as served:
        yield served


@pytest.fixture
def page(client: PageClient) -> PageClient:
    client.open()
    return client


def state(page: PageClient) -> VisitorState:
    return page.served.studio.sessions.get(page.session_hash).visitor


def choose(page: PageClient, number: int) -> None:
    page.use("folder", "select", data={"index": number, "value": None})


def offered(page: PageClient) -> list[str]:
    assert len(page["folder"]["value"]) == len(state(page).offered)
    return [path.name for path in state(page).offered]


def test_the_folder_is_shown_by_name_until_there_is_a_target(page: PageClient, tmp_path: Path) -> None:
    assert offered(page) == ["0.png", "1.png", "2.png"]
    photograph(2, 2, 48, 40).convert("L").save(tmp_path / "grey.png")
    page.upload("target", tmp_path / "grey.png")
    # that of the same scene
    assert offered(page)[0] == "2.png"
    similarities = [int(picture["caption"].rpartition("(")[2].removesuffix("%)")) for picture in page["folder"]["value"]]
    assert similarities == sorted(similarities, reverse=True)


def test_a_picture_of_the_folder_becomes_the_reference(page: PageClient, tmp_path: Path) -> None:
    page.upload("target", save_photograph(tmp_path / "grey.png", 5))
    choose(page, 1)
    first = state(page).references
    assert first == [state(page).offered[1]]
    page.use("colorize", "click")
    folder = page.served.studio.settings.references
    assert f"--reference {folder}/{first[0].name}" in page["command"]["value"]
    before = state(page).result
    choose(page, 0)
    assert state(page).references == [state(page).offered[0]]
    assert state(page).result is not before


def test_pictures_of_the_folder_are_mixed_where_that_is_wanted(page: PageClient) -> None:
    choose(page, 0)
    page["folder-add"]["value"] = True
    choose(page, 1)
    choose(page, 1)
    assert [path.name for path in state(page).references] == ["0.png", "1.png"]
    assert [picture["caption"] for picture in page["references"]["value"]] == ["0.png", "1.png"]


class Reading(NamedTuple):
    """How far the index is."""

    begun: threading.Event
    go_on: threading.Event


@pytest.fixture
def reading(page: PageClient, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Reading]:
    """A studio that has not looked at the folder yet, and does not get beyond its first picture until it may go on."""
    monkeypatch.setenv("STYLECOLOR_CACHE", str(tmp_path / "cache"))
    model = page.served.studio.model
    index = ReferenceIndex(model)
    monkeypatch.setattr(model, "index", index)
    reading = Reading(threading.Event(), threading.Event())
    read_picture = files.read_picture

    def wait(path: Path, max_pixels: int) -> Picture:
        if threading.current_thread().name == INDEXING:
            reading.begun.set()
            assert reading.go_on.wait(LONGEST)
        return read_picture(path, max_pixels)

    with monkeypatch.context() as patch:
        patch.setattr(files, "read_picture", wait)
        yield reading
        reading.go_on.set()
        wait_until(lambda: index.done)


def ask_for_order(page: PageClient) -> Ticket:
    """What happens for another target, without waiting for the folder's new order."""
    before = state(page).offer
    page.happen("folder")
    wait_until(lambda: state(page).offer not in (None, before))
    ticket = state(page).offer
    assert ticket is not None
    return ticket


def test_nobody_waits_while_the_folder_is_looked_at(page: PageClient, reading: Reading, tmp_path: Path) -> None:
    photograph(2, 2, 48, 40).convert("L").save(tmp_path / "grey.png")
    uploading = threading.Thread(target=page.upload, args=("target", tmp_path / "grey.png"))
    uploading.start()
    studio = page.served.studio
    assert reading.begun.wait(LONGEST)
    with studio.line.turn(Ticket(), lambda ahead: pytest.fail("somebody is at work")):
        assert uploading.is_alive()
    reading.go_on.set()
    uploading.join(LONGEST)
    assert offered(page)[0] == "2.png"
    assert page["folder-status"]["value"] == ""


def test_of_several_targets_the_last_one_waits_until_the_visitor_goes(page: PageClient, reading: Reading, tmp_path: Path) -> None:
    state(page).target = save_photograph(tmp_path / "grey.png", 5)
    session = page.served.studio.sessions.get(page.session_hash)
    first = ask_for_order(page)
    second = ask_for_order(page)
    assert first.cancelled
    wait_until(lambda: session.ticket is second)
    session.cancel()
    wait_until(lambda: session.ticket is None)
    assert not reading.go_on.is_set()


def test_pictures_that_cannot_be_compared_stay_in_the_order_of_their_names(
    page: PageClient, reading: Reading, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[Path] = []
    index = page.served.studio.model.index

    def refuse(path: Path) -> Picture:
        read.append(path)
        raise ValueError("broken")

    monkeypatch.setattr(index, "_read", refuse)
    for seed in (5, 6):
        page.upload("target", save_photograph(tmp_path / f"{seed}.png", seed))
        assert "cannot be compared" in page["folder-status"]["value"]
        assert str(page.served.studio.settings.references) not in page["folder-status"]["value"]
        assert offered(page) == ["0.png", "1.png", "2.png"]
    assert len(read) == 4


def test_a_click_on_a_picture_that_is_not_offered_any_more_is_refused(page: PageClient) -> None:
    choose(page, len(offered(page)))
    assert page.errors == ["the pictures have changed; choose again"]
    assert state(page).references == []


def test_a_folder_of_which_nothing_can_be_read_says_so(joint_checkpoint: Path, tmp_path: Path) -> None:
    for name in ("album", "root"):
        (tmp_path / name).mkdir()
    (tmp_path / "album" / "broken.png").write_text("no picture")
    with serving(StudioSettings(joint_checkpoint, references=tmp_path / "album"), tmp_path / "root") as served:
        page = PageClient(served)
        with served.studio.sessions.present(page.session_hash):
            page.open()
            page.upload("target", save_photograph(tmp_path / "grey.png", 5))
            assert page["folder-status"]["value"] == say(NONE_READABLE)
            assert page["folder"]["visible"] is page["folder-add"]["visible"] is False
            assert not page.errors


def test_a_picture_that_is_gone_is_refused(page: PageClient) -> None:
    state(page).offered[1] = state(page).offered[1].with_name("gone.png")
    choose(page, 1)
    (error,) = page.errors
    assert error.endswith("gone.png: no such file")
