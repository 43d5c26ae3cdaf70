import shlex
import subprocess
import sys
import threading
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from stylecolor.pictures.files import read_picture
from stylecolor.studio.colorize_tab import make_request
from stylecolor.studio.config import StudioSettings
from stylecolor.studio.examples_panel import EXAMPLES, FOLDER
from stylecolor.studio.line import Ticket
from stylecolor.studio.model import StudioModel
from stylecolor.studio.page import describe
from stylecolor.studio.references_panel import set_references
from stylecolor.studio.visitor import VisitorState
from stylecolor.studio.work import Result
from stylecolor.user_hints import HintPoint
from tests.stylecolor.commands.running import assert_done, run, save_photograph
from tests.stylecolor.studio.page_client import PageClient
from tests.stylecolor.studio.served import LONGEST, wait_until


def state(page: PageClient) -> VisitorState:
    return page.served.studio.sessions.get(page.session_hash).visitor


def status(page: PageClient) -> str:
    return page["status"]["value"]


def result(page: PageClient) -> Result:
    found = state(page).result
    assert found is not None, status(page)
    return found


def add_references(page: PageClient, *paths: Path) -> None:
    """Drop them beside those that are there."""
    dropped = [{"image": page.file(path), "caption": None} for path in paths]
    page.use("references", "change", [*(page["references"]["value"] or []), *dropped])


def shown(page: PageClient, elem_id: str) -> np.ndarray:
    return np.asarray(Image.open(BytesIO(page.read(page[elem_id]["value"]))))


def chroma(result: Result) -> int:
    """The most that a pixel's colours differ by."""
    return int(np.ptp(read_picture(result.path).pixels.astype(int), axis=2).max())


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The visitor's pictures, and the working directory."""
    monkeypatch.chdir(tmp_path)
    save_photograph(tmp_path / "grey.jpg", 1)
    save_photograph(tmp_path / "sunset.png", 2)
    save_photograph(tmp_path / "meadow.png", 3)
    return tmp_path


@pytest.fixture
def page(client: PageClient, folder: Path) -> PageClient:
    """With a target and a reference."""
    client.open()
    assert "Drop a photograph" in status(client)
    client.upload("target", folder / "grey.jpg")
    assert "press Colorize for the colours that the networks expect" in status(client)
    add_references(client, folder / "sunset.png")
    assert "Press Colorize." in status(client)
    return client


def test_the_result_is_that_of_the_copied_command(page: PageClient, folder: Path) -> None:
    page["strength"]["value"], page["saturation"]["value"] = 0.6, 1.4
    page["matching"]["value"], page["size"]["value"], page["quality"]["value"] = "wct", 128, 40
    page.use("colorize", "click")
    assert "Done in" in status(page)
    assert page["colorize"]["value"] == "Colorize"
    program, *arguments = shlex.split(page["command"]["value"])
    assert (program, arguments[0]) == ("stylecolor", "colorize")
    assert "--sites" not in arguments
    assert_done(run(*arguments))
    assert page["download"]["value"]["orig_name"] == "grey_colorized.jpg"
    assert page.read(page["download"]["value"]) == (folder / "grey_colorized.jpg").read_bytes()


def test_several_references_are_mixed_by_their_weights(page: PageClient, folder: Path) -> None:
    assert page["weights"]["visible"] is False
    add_references(page, folder / "meadow.png")
    assert page["weights"]["visible"] is True
    assert [page[f"weight-{number}"]["visible"] for number in (1, 2, 3)] == [True, True, False]
    assert page["weight-2"]["label"] == "Weight 2: meadow.png"
    page.use("colorize", "click")
    equal = result(page).path.read_bytes()
    assert "--weights" not in page["command"]["value"]
    page.use("weight-2", "input", 0.25)
    assert "--weights 1.0,0.25" in page["command"]["value"]
    assert result(page).path.read_bytes() != equal


def test_weights_stay_with_their_references(page: PageClient, folder: Path) -> None:
    add_references(page, folder / "meadow.png")
    page["weight-1"]["value"] = 0.5
    add_references(page, folder / "grey.jpg")
    assert page["weight-1"]["value"] == 0.5
    page.use("references", "change", page["references"]["value"][1:])
    assert [path.name for path in state(page).references] == ["meadow.png", "grey.jpg"]
    assert page["weight-1"]["value"] == 1


def test_settings_are_heeded_at_once_where_there_is_a_result(page: PageClient, folder: Path) -> None:
    page.use("saturation", "input", 0.5)
    assert state(page).result is None
    page.use("colorize", "click")
    assert chroma(result(page)) > 10
    page.use("saturation", "input", 0.0)
    grey = result(page)
    assert chroma(grey) <= 2
    add_references(page, folder / "meadow.png")
    assert result(page) is not grey


def test_nothing_is_computed_for_what_the_page_itself_changes(page: PageClient) -> None:
    page.use("colorize", "click")
    before = result(page)
    page.use("references", "change", page["references"]["value"])
    page.open()
    page.use("saturation", "input", 1)
    assert result(page) is before


def test_strength_waits_for_a_reference(page: PageClient) -> None:
    assert page["strength"]["interactive"] is True
    page.use("references", "change", [])
    assert page["strength"]["interactive"] is False
    page["strength"]["value"] = 0.5
    page.use("colorize", "click")
    assert "--auto" in page["command"]["value"]
    assert "--strength" not in page["command"]["value"]


def test_another_target_takes_all_away_that_belonged_to_the_one_before(page: PageClient, folder: Path) -> None:
    page.use("colorize", "click")
    assert page["result"]["visible"] is True
    state(page).points = [HintPoint(0.5, 0.5, 10.0, 10.0)]
    page.upload("target", folder / "meadow.png")
    assert (state(page).result, state(page).points, state(page).target_labels) == (None, [], None)
    assert page["result"]["visible"] is page["result-actions"]["visible"] is False
    assert page["target-large"]["visible"] is True
    assert [path.name for path in state(page).references] == ["sunset.png"]
    page.use("target", "clear")
    assert state(page).target is None
    assert page["target-large"]["visible"] is False
    assert page["examples-panel"]["visible"] is True


def test_files_keep_their_names(client: PageClient, folder: Path) -> None:
    name = "a $5 {b} `c`!.jpg"
    for file in ("grey.jpg", "meadow.png"):
        (folder / file).rename(folder / f"{Path(file).stem} {name}")
    client.upload("target", folder / f"grey {name}")
    add_references(client, folder / f"meadow {name}")
    client.use("colorize", "click")
    assert client["download"]["value"]["orig_name"] == "grey a $5 {b} `c`!_colorized.jpg"
    arguments = shlex.split(client["command"]["value"])
    assert {f"grey {name}", f"meadow {name}"} <= set(arguments)


def test_what_is_replaced_is_removed(page: PageClient, folder: Path) -> None:
    directory = page.served.studio.sessions.get(page.session_hash).directory
    page.use("steps-panel", "expand")

    def go_round(target: str, reference: str) -> int:
        page.upload("target", folder / target)
        page.use("references", "change", [{"image": page.file(folder / reference), "caption": None}])
        page.use("colorize", "click")
        page.use("make-sheet", "click")
        page.use("saturation", "input", 1.2)
        page.use("saturation", "input", 1.1)
        page.use("make-sheet", "click")
        for name in ("target", "result", "download", "download-sheet", "step-mask"):
            files = page[name]["value"] if name == "result" else [page[name]["value"]]
            assert all(page.read(file) for file in files)
        # of the pictures with points some are kept for slow pages
        return sum(not (home / "points.jpg").exists() for home in directory.iterdir())

    first = go_round("meadow.png", "sunset.png")
    assert go_round("grey.jpg", "meadow.png") == go_round("sunset.png", "grey.jpg") == first
    names = {path.name for path in directory.rglob("*") if path.is_file()}
    # a thumbnail that the browser may still be fetching
    assert {name for name in names if name.startswith(("meadow", "grey_"))} == {"meadow.jpg"}
    page.use("target", "clear")
    assert not any(directory.rglob("sunset*"))


def test_files_stay_as_long_as_what_was_made_of_them(page: PageClient, folder: Path) -> None:
    page.use("colorize", "click")
    # a result that waits for its turn
    visitor, session = state(page), page.served.studio.sessions.get(page.session_hash)
    set_references(visitor, session, [])
    page.use("make-sheet", "click")
    assert page["download-sheet"]["visible"] is True
    assert not page.errors


def test_a_refused_target_leaves_the_one_before(page: PageClient, folder: Path) -> None:
    before = page["target"]["value"]
    Image.new("RGB", (1000, 1000)).save(folder / "large.png")
    page.upload("target", folder / "large.png")
    assert "picture large.png: its 1000 x 1000 px are more than the 0.1 megapixels" in status(page)
    (folder / "text.png").write_text("no picture")
    page.upload("target", folder / "text.png")
    assert "picture text.png: is no picture of a format that is read" in status(page)
    assert str(page.served.root) not in status(page) + "".join(page.warnings)
    assert page["target"]["value"]["path"] == before["path"]
    assert not page.errors


def test_a_refused_reference_leaves_the_others(page: PageClient, folder: Path) -> None:
    page.use("colorize", "click")
    before = result(page)
    (folder / "text.png").write_text("no picture")
    add_references(page, folder / "text.png")
    assert "picture text.png: is no picture of a format that is read" in status(page)
    assert [picture["caption"] for picture in page["references"]["value"]] == ["sunset.png"]
    assert result(page) is before


def test_without_a_photograph_the_page_asks_for_one(client: PageClient) -> None:
    client.use("colorize", "click")
    assert "there is no photograph yet; drop one" in status(client)
    assert client["colorize"]["value"] == "Colorize"
    # the page learns of the networks after a quick click
    client.open()
    assert "there is no photograph yet; drop one" in status(client)


def test_a_result_is_still_done_when_the_page_learns_of_the_networks(page: PageClient) -> None:
    page.use("colorize", "click")
    page.open()
    assert "Done in" in status(page)


def test_a_second_click_cancels(page: PageClient) -> None:
    studio = page.served.studio
    with studio.line.turn(Ticket(), lambda ahead: None):
        first = threading.Thread(target=page.use, args=("colorize", "click"))
        first.start()
        wait_until(lambda: studio.line.waiting)
        page.begin("colorize")
        wait_until(lambda: not studio.line.waiting)
        first.join(LONGEST)
    assert "Cancelled." in status(page)
    assert page["colorize"]["value"] == "Colorize"
    assert state(page).result is None
    page.use("colorize", "click")
    assert "Done in" in status(page)


def test_the_steps_between_are_drawn_when_they_are_looked_at(page: PageClient) -> None:
    page.use("colorize", "click")
    assert not page["step-coarse"]["value"]
    page.use("steps-panel", "expand")
    assert shown(page, "step-precolored").shape == shown(page, "step-coarse").shape == shown(page, "step-mask").shape
    before = page["step-coarse"]["value"]["path"]
    page.use("saturation", "input", 0.5)
    assert page["step-coarse"]["value"]["path"] != before
    page.use("steps-panel", "collapse")
    assert not page["step-coarse"]["value"]


def test_a_sheet_shows_target_reference_and_result(page: PageClient) -> None:
    page.use("colorize", "click")
    page.use("make-sheet", "click")
    assert page["download-sheet"]["visible"] is True
    assert page["download-sheet"]["value"]["orig_name"] == "grey_sheet.png"
    assert shown(page, "download-sheet").shape[1] > 3 * 48


def test_the_slider_is_moved_by_keyboard(page: PageClient) -> None:
    page.use("colorize", "click")
    for view, position in (("Before", 100), ("After", 0), ("Compare", 50)):
        page.use("view", "input", view)
        assert page["result"]["slider_position"] == position


def test_only_what_the_networks_take_is_offered(page: PageClient) -> None:
    model = page.served.studio.model
    assert page["matching"]["value"] == model.matching
    assert page["sites"]["value"] == list(model.trained_sites)
    assert [site for _, site in page["sites"]["choices"]] == list(model.sites)


def test_what_was_asked_before_anything_was_offered_is_what_was_trained(page: PageClient) -> None:
    asked = make_request(state(page), [1.0, 1.0, None, [], 256, 95])
    assert (asked.matching, asked.sites) == (None, None)
    with pytest.raises(ValueError, match=r"^saturation is empty; write a number in 0\.\.10$"):
        make_request(state(page), [1.0, None, None, [], 256, 95])


@pytest.mark.parametrize("number", range(len(EXAMPLES)))
def test_an_example_fills_in_a_target_and_a_reference(client: PageClient, number: int, monkeypatch: pytest.MonkeyPatch) -> None:
    # the examples have more pixels than the studio of these tests takes
    monkeypatch.setattr(client.served.studio, "settings", StudioSettings(client.served.studio.settings.checkpoint))
    client.use("examples", "select", data={"index": number, "value": None})
    target, (reference,) = state(client).target, state(client).references
    assert target is not None
    assert (target.name, reference.name) == (EXAMPLES[number].target, EXAMPLES[number].reference)
    assert client["examples-panel"]["visible"] is False
    assert "Press Colorize." in status(client)


def test_examples_are_small_and_their_photographs_grey() -> None:
    for example in EXAMPLES:
        for name, mode in ((example.target, "L"), (example.reference, "RGB")):
            assert (FOLDER / name).stat().st_size <= 60_000
            with Image.open(FOLDER / name) as picture:
                assert (picture.format, picture.mode) == ("JPEG", mode)
            assert f"`{name}`" in (FOLDER / "README.md").read_text()


def test_the_page_is_there_before_torch_is() -> None:
    program = "import sys, stylecolor.studio.page; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program]).returncode == 0


def describe_loaded(checkpoint: Path | None) -> str:
    """The banner of a studio that has looked for its networks."""
    model = StudioModel(StudioSettings(checkpoint))
    heading, banner = describe(model)
    assert "being loaded" in heading
    assert banner.visible is False
    model.start()
    model.wait()
    heading, banner = describe(model)
    assert "being loaded" not in heading
    assert banner.visible is True
    return str(banner.value)


def test_a_page_whose_networks_cannot_be_read_says_why(tmp_path: Path) -> None:
    banner = describe_loaded(tmp_path / "none<b>.ckpt")
    assert "none&lt;b&gt;.ckpt: no such file" in banner
    assert banner.count("<code>make demo</code>") == 1


def test_a_page_without_networks_says_how_to_get_some_to_who_knows_nothing_of_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("STYLECOLOR_CACHE", str(tmp_path))
    banner = describe_loaded(None)
    for command in ("make demo", "stylecolor weights fetch siggraph17", "stylecolor studio --checkpoint FILE"):
        assert banner.count(f"<code>{command}</code>") == 1
    assert "`" not in banner
    assert "train.py" not in banner
    assert str(tmp_path) not in banner


def test_thumbnails_stay_until_those_after_them_are_replaced(page: PageClient, folder: Path) -> None:
    (before,) = page["references"]["value"]
    add_references(page, folder / "meadow.png")
    page.use("references", "change", page["references"]["value"][1:])
    add_references(page, folder / "grey.jpg")
    # that of the second is fetched late, that of the first is gone
    second = page["references"]["value"][0]
    page.use("references", "change", [])
    assert page.read(second["image"])
    assert page.served.get(f"/gradio_api/file={before['image']['path']}").status_code in (403, 404)
