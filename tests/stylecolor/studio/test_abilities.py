from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from stylecolor.studio.config import StudioSettings
from stylecolor.studio.visitor import VisitorState
from tests.stages import make_colorizer_stage, make_transfer_stage, save_checkpoint
from tests.stylecolor.commands.running import save_photograph
from tests.stylecolor.films import make_film, pan
from tests.stylecolor.studio.page_client import PageClient, visiting
from tests.stylecolor.studio.served import serving


@contextmanager
def opening(checkpoint: Path, root: Path) -> Iterator[PageClient]:
    """The page of a studio with these networks, and a folder of references."""
    save_photograph(root / "album" / "meadow.png", 3)
    (root / "served").mkdir()
    with serving(StudioSettings(checkpoint, references=root / "album"), root / "served") as served, visiting(served) as page:
        page.open()
        yield page


@pytest.fixture(scope="module")
def colorizer_only(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PageClient]:
    root = tmp_path_factory.mktemp("colorizer_only")
    with opening(save_checkpoint(make_colorizer_stage(), root / "colorizer.ckpt"), root) as page:
        yield page


@pytest.fixture(scope="module")
def transfer_only(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PageClient]:
    root = tmp_path_factory.mktemp("transfer_only")
    with opening(save_checkpoint(make_transfer_stage(), root / "transfer.ckpt"), root) as page:
        yield page


def state(page: PageClient) -> VisitorState:
    return page.served.studio.sessions.get(page.session_hash).visitor


def seen(page: PageClient, *names: str) -> list[bool]:
    return [page[name]["visible"] for name in names]


def usable(page: PageClient, *names: str) -> list[bool]:
    return [page[name]["interactive"] for name in names]


def test_networks_that_follow_no_reference_are_offered_none(colorizer_only: PageClient, tmp_path: Path) -> None:
    page = colorizer_only
    assert seen(page, "references", "clip-reference", "strength", "clip-strength", "folder-panel") == [False] * 5
    assert usable(page, "stylize-tab", "stylize", "regions-tab") == [False] * 3
    assert usable(page, "hints-tab", "colorize", "clip-colorize") == [True] * 3
    banner = page["networks"]
    assert banner["visible"] is True
    assert banner["value"].count("follow no reference") == 1
    assert "need a reference" not in banner["value"]
    assert "of another one" not in page["heading"]["value"]
    assert page["more-settings"]["label"] == "Size and quality"
    assert "picture in colour" not in page["examples-note"]["value"]
    assert [picture["caption"] for picture in page["examples"]["value"]] == ["A cat", "A cameraman", "A temple"]
    page.upload("target", save_photograph(tmp_path / "grey.png", 1))
    assert page["status"]["value"] == '<p role="status">Press Colorize for the colours that the networks expect.</p>'
    page.use("colorize", "click")
    assert "Done in" in page["status"]["value"]
    page.upload("clip", make_film(tmp_path / "old.mp4", pan(frames=2)))
    assert "Press Colorize for the colours that the networks expect." in page["clip-status"]["value"]


def test_an_example_lends_no_reference_to_networks_that_follow_none(colorizer_only: PageClient) -> None:
    colorizer_only.use("examples", "select", data={"index": 0, "value": None})
    target = state(colorizer_only).target
    assert target is not None
    assert target.name == "cat.jpg"
    assert state(colorizer_only).references == []


def test_a_reference_is_forgotten_when_the_networks_turn_out_to_follow_none(
    colorizer_only: PageClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = colorizer_only.served.studio.model
    with visiting(colorizer_only.served) as page:
        with monkeypatch.context() as patch:
            patch.setattr(model, "state", "loading")
            for name in ("target", "clip-reference"):
                page.upload(name, save_photograph(tmp_path / f"{name}.png", 1))
            page.use("references", "change", [{"image": page.file(save_photograph(tmp_path / "look.png", 2)), "caption": None}])
            assert [path.name for path in state(page).references] == ["look.png"]
        page.open()
        assert state(page).references == []
        assert state(page).clip.reference is None
        page.use("colorize", "click")
        assert "Done in" in page["status"]["value"]


def test_networks_that_need_a_reference_ask_for_one(transfer_only: PageClient, tmp_path: Path) -> None:
    page = transfer_only
    assert seen(page, "references", "clip-reference", "strength", "clip-strength") == [True] * 4
    assert usable(page, "stylize-tab", "stylize", "regions-tab", "colorize", "clip-colorize") == [True] * 5
    assert usable(page, "hints-tab") == [False]
    assert page["networks"]["visible"] is True
    for sentence in ("They need a reference for each photograph and film.", "They take no colour hints."):
        assert page["networks"]["value"].count(sentence) == 1
    page.upload("target", save_photograph(tmp_path / "grey.png", 1))
    assert page["status"]["value"] == '<p role="status">Add a reference, whose colours it is to take on.</p>'
    page.upload("clip", make_film(tmp_path / "old.mp4", pan(frames=2)))
    assert "Add a reference, whose colours it is to take on." in page["clip-status"]["value"]
    page.use("folder", "select", data={"index": 0, "value": None})
    assert "Press Colorize." in page["status"]["value"]
    page.use("colorize", "click")
    assert "Done in" in page["status"]["value"]


def test_what_to_do_next_is_said_anew_once_the_networks_are_there(
    transfer_only: PageClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with visiting(transfer_only.served) as page:
        with monkeypatch.context() as patch:
            patch.setattr(transfer_only.served.studio.model, "state", "loading")
            page.upload("target", save_photograph(tmp_path / "grey.png", 1))
            assert "press Colorize for the colours that the networks expect" in page["status"]["value"]
        page.open()
        assert "Add a reference, whose colours it is to take on." in page["status"]["value"]


def test_networks_that_take_no_hints_are_offered_none(tmp_path: Path) -> None:
    checkpoint = save_checkpoint(make_colorizer_stage(network="eccv16"), tmp_path / "colorizer.ckpt")
    with opening(checkpoint, tmp_path) as page:
        assert usable(page, "hints-tab", "colorize") == [False, True]
        assert "They take no colour hints." in page["networks"]["value"]


def test_without_networks_nothing_can_be_pressed(tmp_path: Path) -> None:
    with opening(tmp_path / "none.ckpt", tmp_path) as page:
        assert usable(page, "colorize", "stylize", "clip-colorize") == [False] * 3
        assert page["networks"]["value"].count("no such file") == 1
        assert page["networks"]["value"].count("make demo") == 1
