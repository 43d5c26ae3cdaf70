import shlex
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from stylecolor.studio import stylize_tab
from stylecolor.studio.previews import one_at_a_time
from stylecolor.studio.stylize_tab import INVITATION
from stylecolor.studio.visitor import TabState
from stylecolor.studio.work import Result
from tests.stylecolor.commands.running import assert_done, run, save_photograph
from tests.stylecolor.studio.page_client import PageClient

STATUS = "stylize-status"


def state(page: PageClient) -> TabState:
    return page.served.studio.sessions.get(page.session_hash).visitor.stylize


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The visitor's photographs, and the working directory."""
    monkeypatch.chdir(tmp_path)
    save_photograph(tmp_path / "photo.png", 1)
    save_photograph(tmp_path / "look.png", 2)
    return tmp_path


@pytest.fixture
def page(client: PageClient, folder: Path) -> PageClient:
    """With both photographs."""
    assert "Drop a colour photograph" in client[STATUS]["value"]
    client.upload("stylize-photo", folder / "photo.png")
    assert "whose look" in client[STATUS]["value"]
    client.upload("stylize-reference", folder / "look.png")
    assert "Press Stylize." in client[STATUS]["value"]
    return client


def test_the_result_is_that_of_the_command(page: PageClient, folder: Path) -> None:
    page["stylize-strength"]["value"] = 0.6
    page.use("stylize", "click")
    assert "photo_stylized.png" in page[STATUS]["value"]
    assert page["stylize"]["value"] == "Stylize"
    program, *arguments = shlex.split(page["stylize-command"]["value"])
    assert (program, arguments[0]) == ("stylecolor", "stylize")
    assert_done(run(*arguments))
    assert page.read(page["stylize-download"]["value"]) == (folder / "photo_stylized.png").read_bytes()


def test_another_strength_is_computed_once_there_is_a_result(page: PageClient) -> None:
    page.use("stylize-strength", "input", 0.5)
    assert state(page).result is None
    page.use("stylize", "click")
    first = state(page).result
    assert isinstance(first, Result)
    before = first.path.read_bytes()
    page.use("stylize-strength", "input", 0.0)
    second = state(page).result
    assert isinstance(second, Result)
    assert second.path.read_bytes() != before


@pytest.mark.parametrize(("strength", "reason"), [(None, "strength is empty; write a number in 0..1"), (5, "strength=5 is outside 0..1")])
def test_a_field_that_cannot_be_heeded_is_told_by_its_name(page: PageClient, strength: float | None, reason: str) -> None:
    page["stylize-strength"]["value"] = strength
    page.use("stylize", "click")
    assert page[STATUS]["value"].startswith(f'<p role="alert" class="refused">{reason}')
    page["stylize-strength"]["value"] = 0.5
    page.use("stylize", "click")
    assert "Done in" in page[STATUS]["value"]
    page.warnings.clear()
    page["stylize-strength"]["value"] = strength
    page.use("stylize-strength", "input")
    assert page[STATUS]["value"].startswith(f'<p role="alert" class="refused">{reason}')
    # it may be half written: nothing covers the page
    assert not page.errors + page.warnings


def test_the_result_is_drawn_in_turn_with_other_previews(page: PageClient, monkeypatch: pytest.MonkeyPatch) -> None:
    alone: list[bool] = []
    write_preview = stylize_tab.write_preview

    def write(*arguments: Any) -> Path:
        alone.append(one_at_a_time.locked())
        return write_preview(*arguments)

    monkeypatch.setattr(stylize_tab, "write_preview", write)
    page.use("stylize", "click")
    assert alone == [True]


def test_former_pictures_stay_until_the_next_ones(page: PageClient, folder: Path) -> None:
    page.use("stylize", "click")
    before = page["stylize-result"]["value"]
    page.upload("stylize-photo", folder / "look.png")
    # a browser that is slow still has to have them
    assert all(page.read(picture) for picture in before)
    page.upload("stylize-photo", folder / "photo.png")
    assert not any(Path(picture["path"]).exists() for picture in before)


def test_something_invites_until_there_is_a_result(page: PageClient, folder: Path) -> None:
    (invitation,) = (one for one in page.properties.values() if INVITATION in str(one.get("value")))
    page.use("stylize", "click")
    assert invitation["visible"] is False
    page.upload("stylize-photo", folder / "look.png")
    assert invitation["visible"] is True


def test_other_photographs_have_no_result_yet(page: PageClient, folder: Path) -> None:
    page.use("stylize", "click")
    assert page["stylize-result"]["visible"] is True
    page.upload("stylize-photo", folder / "look.png")
    assert state(page).result is None
    assert page["stylize-result"]["visible"] is False
    page.use("stylize-reference", "clear")
    assert "whose look" in page[STATUS]["value"]


def test_what_is_replaced_is_removed(page: PageClient, folder: Path) -> None:
    directory = page.served.studio.sessions.get(page.session_hash).directory

    def go_round() -> int:
        page.upload("stylize-reference", folder / "photo.png")
        page.upload("stylize-photo", folder / "look.png")
        page.use("stylize", "click")
        before = page["stylize-result"]["value"]
        page.use("stylize-strength", "input", 0.5)
        page.use("stylize-strength", "input", 1)
        for file in (*page["stylize-result"]["value"], page["stylize-download"]["value"]):
            assert page.read(file)
        assert not Path(before[1]["path"]).exists()
        return len(list(directory.iterdir()))

    assert go_round() == go_round()
    page.use("stylize-photo", "clear")
    assert {path.name for path in directory.rglob("*.png")} == {"photo.png"}


def test_photographs_keep_their_names(client: PageClient, folder: Path) -> None:
    (folder / "photo.png").rename(folder / "my $1 {photo}.png")
    client.upload("stylize-photo", folder / "my $1 {photo}.png")
    source = state(client).source
    assert source is not None
    assert source.path.name == "my $1 {photo}.png"


def test_both_photographs_are_needed(client: PageClient) -> None:
    client.use("stylize", "click")
    assert "a photograph and a reference are needed; drop both" in client[STATUS]["value"]
    assert client["stylize"]["value"] == "Stylize"
    # the page learns of the networks after a quick click
    client.open()
    assert "a photograph and a reference are needed; drop both" in client[STATUS]["value"]


def test_a_refused_photograph_leaves_the_one_before(page: PageClient, folder: Path) -> None:
    before = page["stylize-photo"]["value"]
    Image.new("RGB", (1000, 1000)).save(folder / "large.png")
    page.upload("stylize-photo", folder / "large.png")
    assert page["stylize-photo"]["value"]["path"] == before["path"]
    assert "large.png: its 1000 x 1000 px are more than" in page[STATUS]["value"]
    source = state(page).source
    assert source is not None
    assert source.path.name == "photo.png"
