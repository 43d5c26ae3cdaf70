from pathlib import Path

import pytest

from stylecolor.studio.line import Cancelled
from tests.stylecolor.commands.running import save_photograph
from tests.stylecolor.studio.page_client import PageClient


@pytest.fixture
def page(client: PageClient, tmp_path: Path) -> PageClient:
    """With a target."""
    client.upload("target", save_photograph(tmp_path / "grey.png", 1))
    return client


def test_a_sheet_needs_a_result(page: PageClient) -> None:
    page.use("make-sheet", "click")
    assert page.errors == ["there is no result yet; press Colorize"]


def leave(*_: object) -> None:
    """As when the page is closed while something waits."""
    raise Cancelled


def test_a_page_that_is_closed_leaves_no_traceback(page: PageClient, monkeypatch: pytest.MonkeyPatch) -> None:
    page.use("colorize", "click")
    for job in ("sheet", "draw_steps"):
        monkeypatch.setattr(page.served.studio, job, leave)
    page.use("make-sheet", "click")
    page.use("steps-panel", "expand")
    assert not page.errors
    assert page["download-sheet"]["visible"] is False
    assert not page["step-mask"]["value"]


def test_steps_that_cannot_be_drawn_are_told_without_the_studios_directory(page: PageClient, monkeypatch: pytest.MonkeyPatch) -> None:
    page.use("colorize", "click")
    root = page.served.studio.sessions.get(page.session_hash).directory

    def fail(*_: object) -> None:
        raise FileNotFoundError(2, "No such file or directory", str(root / "0123456789abcdef" / "grey.png"))

    monkeypatch.setattr(page.served.studio, "draw_steps", fail)
    page.use("steps-panel", "expand")
    assert page.errors == ["grey.png: No such file or directory"]


def test_the_views_of_the_slider_are_named(page: PageClient) -> None:
    assert page["view"]["label"] == "What the slider shows"
