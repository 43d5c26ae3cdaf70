import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from stylecolor.studio import colorize_tab, target_panel
from stylecolor.studio.line import Ticket
from stylecolor.studio.previews import one_at_a_time
from stylecolor.studio.requests import ColorizeRequest
from stylecolor.studio.sessions import Session
from stylecolor.studio.visitor import VisitorState
from tests.stylecolor.commands.running import save_photograph
from tests.stylecolor.studio.page_client import PageClient
from tests.stylecolor.studio.served import LONGEST, wait_until


def session(page: PageClient) -> Session:
    return page.served.studio.sessions.get(page.session_hash)


def state(page: PageClient) -> VisitorState:
    return session(page).visitor


def status(page: PageClient) -> str:
    return page["status"]["value"]


def take_references(page: PageClient, *paths: Path) -> None:
    """Those alone."""
    page.use("references", "change", [{"image": page.file(path), "caption": None} for path in paths])


@pytest.fixture
def page(client: PageClient, tmp_path: Path) -> PageClient:
    """With a target and two references."""
    client.open()
    client.upload("target", save_photograph(tmp_path / "grey.png", 1))
    take_references(client, save_photograph(tmp_path / "sunset.png", 2), save_photograph(tmp_path / "meadow.png", 3))
    return client


@pytest.mark.parametrize(
    ("field", "value", "reason"),
    [
        ("strength", None, "strength is empty; write a number in 0..1"),
        ("strength", 5, "strength=5 is outside 0..1"),
        ("saturation", 1e9, "saturation=1000000000.0 is outside 0..10.0"),
        ("quality", 0, "quality=0 is outside 1..100"),
        ("weight-2", None, "weight 2 is empty; write a number of at least 0"),
        ("weight-2", -1, "weight 2=-1 must be at least 0"),
        ("size", 10_000_000, "size=10000000 is outside 16..1024"),
        ("sites", ["roof"], "sites=roof is not one of bottleneck, encoder, skips, decoder"),
    ],
)
def test_a_field_that_cannot_be_heeded_is_told_by_its_name(page: PageClient, field: str, value: Any, reason: str) -> None:
    page.use("colorize", "click")
    before, taken = state(page).result, page[field]["value"]
    page[field]["value"] = value
    page.use(field, "input")
    assert status(page).startswith(f'<p role="alert" class="refused">{reason}')
    assert page["colorize"]["value"] == "Colorize"
    # it may be half written: nothing covers the page
    assert not page.errors + page.warnings
    assert state(page).result is before
    page[field]["value"] = taken
    page.use(field, "input")
    assert "Done in" in status(page)
    assert state(page).result is before
    page[field]["value"] = value
    page.use("colorize", "click")
    assert reason in status(page)


def test_fields_that_nobody_sees_do_not_matter(page: PageClient, tmp_path: Path) -> None:
    take_references(page, tmp_path / "sunset.png")
    page["weight-1"]["value"] = page["weight-9"]["value"] = None
    page.use("colorize", "click")
    assert "Done in" in status(page)
    take_references(page)
    page["strength"]["value"] = None
    page.use("colorize", "click")
    assert "Done in" in status(page)


def hold_up(page: PageClient, meanwhile: Callable[[], None]) -> None:
    """Let a job wait in the line, and do something."""
    studio = page.served.studio
    with studio.line.turn(Ticket(), lambda ahead: None):
        first = threading.Thread(target=page.use, args=("colorize", "click"))
        first.start()
        wait_until(lambda: studio.line.waiting)
        meanwhile()
        wait_until(lambda: not studio.line.waiting)
        first.join(LONGEST)


def test_the_files_of_a_cancelled_job_go(page: PageClient, tmp_path: Path) -> None:
    reference = state(page).references[0]

    def replace_and_cancel() -> None:
        drop_references(page)
        assert reference.exists()
        page.begin("colorize")

    hold_up(page, replace_and_cancel)
    wait_until(lambda: not reference.exists())


def test_a_change_that_is_told_of_after_a_click_begins_nothing_anew(page: PageClient, monkeypatch: pytest.MonkeyPatch) -> None:
    studio, asked = page.served.studio, list[ColorizeRequest]()
    colorize = studio.colorize

    def listen(request: ColorizeRequest, *others: Any) -> Any:
        asked.append(request)
        return colorize(request, *others)

    monkeypatch.setattr(studio, "colorize", listen)
    with studio.line.turn(Ticket(), lambda ahead: None):
        first = threading.Thread(target=page.use, args=("colorize", "click"))
        first.start()
        wait_until(lambda: studio.line.waiting)
        page.begin("strength", "input")
        wait_until(lambda: page.running == 1)
    first.join(LONGEST)
    assert "Done in" in status(page)
    assert len(asked) == 1


def drop_references(page: PageClient) -> None:
    """As another event does while the page follows the job."""
    state(page).references = []
    session(page).keep("references")


def test_the_files_of_a_job_that_fails_go(page: PageClient, monkeypatch: pytest.MonkeyPatch) -> None:
    reference = state(page).references[0]

    def fail(*_: object) -> None:
        drop_references(page)
        raise ValueError("it is broken")

    monkeypatch.setattr(page.served.studio, "colorize", fail)
    page.use("colorize", "click")
    assert "it is broken" in status(page)
    assert not reference.exists()


@pytest.mark.parametrize("error", [RuntimeError("the accelerator is gone"), MemoryError()])
def test_the_button_comes_back_whatever_fails(page: PageClient, monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr(page.served.studio, "colorize", fail)
    page.use("colorize", "click")
    assert page["colorize"]["value"] == "Colorize"
    assert status(page).startswith('<p role="alert"')
    assert str(error) in status(page)
    assert state(page).job is None


def test_another_photograph_changes_the_button_only_where_it_took_a_job(page: PageClient, tmp_path: Path) -> None:
    # as if a click came before the answer
    page["colorize"]["value"] = "Cancel"
    page.upload("target", save_photograph(tmp_path / "other.png", 4))
    assert page["colorize"]["value"] == "Cancel"
    hold_up(page, lambda: target_panel.forget_target(state(page), session(page)))
    assert page["colorize"]["value"] == "Cancel"
    page.upload("target", save_photograph(tmp_path / "third.png", 5))
    assert page["colorize"]["value"] == "Colorize"


def test_what_is_dropped_is_answered_once(page: PageClient, tmp_path: Path) -> None:
    # by a second answer the page would lose what is dropped before it comes
    page.given.clear()
    page.upload("target", save_photograph(tmp_path / "other.png", 4))
    assert (page.given["target"], page.given["references"]) == (1, 0)
    take_references(page, save_photograph(tmp_path / "forest.png", 5))
    assert (page.given["target"], page.given["references"]) == (1, 1)


def test_former_pictures_stay_until_the_next_ones(page: PageClient) -> None:
    page.use("steps-panel", "expand")
    page.use("colorize", "click")
    shown = [[page["result"]["value"][1], page["step-mask"]["value"]]]
    for saturation in (0.5, 0.6):
        page.use("saturation", "input", saturation)
        # a browser that is slow still has to have them
        assert all(page.read(picture) for picture in shown[-1])
        shown.append([page["result"]["value"][1], page["step-mask"]["value"]])
    assert not any(Path(picture["path"]).exists() for picture in shown[0])
    page.use("target", "clear")
    assert page.read(shown[-1][0])


def test_the_result_is_drawn_in_turn_with_other_previews(page: PageClient, monkeypatch: pytest.MonkeyPatch) -> None:
    alone: list[bool] = []
    write_preview = colorize_tab.write_preview

    def write(*arguments: Any) -> Path:
        alone.append(one_at_a_time.locked())
        return write_preview(*arguments)

    monkeypatch.setattr(colorize_tab, "write_preview", write)
    page.use("colorize", "click")
    assert alone == [True]
