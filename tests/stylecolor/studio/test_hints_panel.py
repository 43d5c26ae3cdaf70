import json
from html import unescape
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from stylecolor.studio.visitor import VisitorState
from stylecolor.user_hints import HintPoint
from tests.stylecolor.commands.running import save_photograph
from tests.stylecolor.studio.page_client import PageClient

MESSAGE = "hints-message"


@pytest.fixture
def page(client: PageClient, tmp_path: Path) -> PageClient:
    """With a target."""
    client.upload("target", save_photograph(tmp_path / "grey.png", 3))
    assert not client.errors
    return client


def state(page: PageClient) -> VisitorState:
    return page.served.studio.sessions.get(page.session_hash).visitor


def size(page: PageClient) -> tuple[int, int]:
    """Height and width of the target, and of its preview."""
    found = state(page).target_size
    assert found is not None
    return found


def click(page: PageClient, x: float, y: float) -> None:
    height, width = size(page)
    page.use("hints-picture", "select", data={"index": [round(x * width), round(y * height)], "value": None})


def picture(page: PageClient) -> np.ndarray:
    return np.asarray(Image.open(BytesIO(page.read(page["hints-picture"]["value"]))))


def test_a_click_adds_a_point_in_the_picked_colour(page: PageClient) -> None:
    before = picture(page)
    page.use("hints-color", "release", "#ff0000")
    click(page, 0.5, 0.25)
    (point,) = state(page).points
    height, width = size(page)
    assert (point.x * width, point.y * height) == pytest.approx((round(0.5 * width), round(0.25 * height)), abs=0.01)
    assert (point.a, point.b) == (80.1, 67.2)
    assert "Point 1 is added. There is 1 colour hint." in page[MESSAGE]["value"]
    assert page["hints-table"]["value"]["data"] == [[point.x, point.y, 80.1, 67.2, point.radius]]
    assert picture(page).shape == before.shape
    assert np.abs(picture(page).astype(int) - before).max() > 50


def test_likely_colours_are_offered_and_taken(page: PageClient) -> None:
    click(page, 0.5, 0.25)
    choices = page["hints-suggestions"]["choices"]
    assert choices
    assert page["hints-swatches"]["value"].count("--swatch: #") == len(choices)
    name, value = choices[-1]
    page.use("hints-suggestions", "input", value)
    (point,) = state(page).points
    assert f"{point.a:.1f},{point.b:.1f}" == value
    assert name == f"a {round(point.a)}, b {round(point.b)}"


def test_a_picked_colour_is_that_of_the_selected_point_and_of_the_next_one(page: PageClient) -> None:
    click(page, 0.2, 0.2)
    page.use("hints-color", "release", "#0000ff")
    click(page, 0.8, 0.8)
    first, second = state(page).points
    assert (first.a, first.b) == (second.a, second.b) == pytest.approx((79.2, -107.9), abs=0.1)


def test_closing_the_picker_changes_nothing(page: PageClient) -> None:
    page.use("hints-table", "input", {"headers": [], "data": [["0.5", "0.5", "12.3", "4.5", "3"]]})
    click(page, 0.5, 0.5)
    before, shown = state(page).points, page["hints-color"]["value"]
    page.use("hints-color", "blur", shown)
    assert state(page).points == before


def test_a_point_is_moved_by_two_clicks(page: PageClient) -> None:
    click(page, 0.2, 0.2)
    page["hints-mode"].update(value="moves a point")
    click(page, 0.2, 0.2)
    assert "click its new place" in page[MESSAGE]["value"]
    click(page, 0.7, 0.6)
    (point,) = state(page).points
    assert (point.x, point.y) == pytest.approx((0.7, 0.6), abs=0.02)


def test_a_point_is_deleted_by_a_click(page: PageClient) -> None:
    click(page, 0.2, 0.2)
    click(page, 0.8, 0.8)
    page["hints-mode"].update(value="deletes a point")
    click(page, 0.2, 0.2)
    (point,) = state(page).points
    assert point.x > 0.5
    assert "Point 1 is deleted. There is 1 colour hint." in page[MESSAGE]["value"]


def test_a_click_far_from_all_points_is_told(page: PageClient) -> None:
    page["hints-mode"].update(value="deletes a point")
    click(page, 0.2, 0.2)
    assert page.errors == ["there is no point near that place; click one of the marks"]


@pytest.mark.parametrize("index", [[-1, 5], [5, 10**9]])
def test_a_place_outside_the_picture_is_refused(page: PageClient, index: list[int]) -> None:
    page.use("hints-picture", "select", data={"index": index, "value": None})
    assert page.errors == ["that place is not in the photograph"]
    assert state(page).points == []


def test_the_radius_is_in_pixels_of_the_photograph(page: PageClient) -> None:
    assert page["hints-radius"]["value"] == max(1, round(min(size(page)) / 64))
    click(page, 0.5, 0.5)
    page.use("hints-radius", "submit", 7)
    assert state(page).points[0].radius == 7
    for radius in (0, -3):
        page.use("hints-radius", "submit", radius)
        assert f"radius={radius:.1f} must be greater than 0" in page.errors.pop()


def test_points_are_typed_into_the_table(page: PageClient) -> None:
    page.use("hints-add", "click")
    page.use("hints-table", "input", {"headers": [], "data": [["0.25", "0.75", "-20", "30", "5"], ["0.5", "0.5", "0", "0", ""]]})
    assert state(page).points == [HintPoint(0.25, 0.75, -20, 30, 5), HintPoint(0.5, 0.5, 0, 0)]


def test_rows_that_are_added_are_points_in_the_middle(page: PageClient) -> None:
    page.use("hints-color", "release", "#ff0000")
    empty = ["", "", "", "", ""]
    # what + below the empty table makes, and then "Add row above"
    page.use("hints-table", "input", {"headers": [], "data": [empty]})
    (first,) = state(page).points
    assert (first.x, first.y, first.a, first.b) == (0.5, 0.5, 80.1, 67.2)
    assert "Point 1 is added. There is 1 colour hint." in page[MESSAGE]["value"]
    (row,) = page["hints-table"]["value"]["data"]
    page.use("hints-radius", "submit", 7)
    page.use("hints-table", "input", {"headers": [], "data": [empty, row]})
    assert state(page).points == [HintPoint(0.5, 0.5, 80.1, 67.2, 7), first]
    assert "Point 1 is added. There are 2 colour hints." in page[MESSAGE]["value"]
    # and one whose cells are emptied goes
    page.use("hints-table", "input", {"headers": [], "data": [empty, row]})
    assert state(page).points == [first]


def test_the_table_keeps_its_columns(page: PageClient) -> None:
    assert page["hints-table"]["col_count"] == [5, "fixed"]
    page.use("hints-add", "click")
    table = page["hints-table"]["value"]["data"]
    page.use("hints-table", "input", {"headers": [], "data": [[*table[0], ""]]})
    assert "row 1: has 6 cells" in page[MESSAGE]["value"]
    # nobody could mend it
    assert page["hints-table"]["value"]["data"] == table


def test_a_table_without_a_photograph_stays_empty(client: PageClient) -> None:
    client.use("hints-table", "input", {"headers": [], "data": [["", "", "", "", ""]]})
    assert "there is no photograph yet" in client[MESSAGE]["value"]
    assert client["hints-table"]["value"]["data"] in ([], [[]])


def test_a_wrong_cell_is_told_and_changes_nothing(page: PageClient) -> None:
    page.use("hints-add", "click")
    before = state(page).points
    page.use("hints-table", "input", {"headers": [], "data": [["0.25", "75", "-20", "30", "5"]]})
    assert state(page).points == before
    assert page[MESSAGE]["value"].startswith('<p role="alert"')
    assert "row 1: y=75.0 is outside 0..1" in page[MESSAGE]["value"]
    # what was typed stays
    assert page["hints-table"]["value"]["data"] == [["0.25", "75", "-20", "30", "5"]]


def test_points_are_saved_as_the_command_reads_them_and_loaded_again(page: PageClient, tmp_path: Path) -> None:
    page.use("hints-table", "input", {"headers": [], "data": [["0.1", "0.2", "-20.125", "30", "5"], ["0.5", "0.6", "1", "2", "3.5"]]})
    saved = page["hints-save"]["value"]
    assert saved["orig_name"] == "points.json"
    (tmp_path / "mine.json").write_bytes(page.read(saved))
    points = state(page).points
    page.use("hints-clear", "click")
    assert state(page).points == []
    assert page["hints-save"]["interactive"] is False
    page.upload("hints-load", tmp_path / "mine.json")
    assert state(page).points == points
    assert "2 points are loaded" in page[MESSAGE]["value"]


@pytest.mark.parametrize(
    ("contents", "reason"),
    [
        ("{}", "points mine.json: holds no list of points"),
        (json.dumps([{"x": 2, "y": 0, "a": 0, "b": 0}]), "points mine.json: entry 1: x=2.0 is outside 0..1"),
        ("[" * 1_500_000, "points mine.json: is larger than 1000000 bytes"),
        (json.dumps([{"x": 0, "y": 0, "a": 0, "b": 0}] * 1001), "1001 points are more than the 1000"),
    ],
)
def test_a_file_that_holds_no_points_is_refused(page: PageClient, tmp_path: Path, contents: str, reason: str) -> None:
    (tmp_path / "mine.json").write_text(contents)
    page.upload("hints-load", tmp_path / "mine.json")
    (warning,) = page.warnings
    assert warning.startswith(reason)
    assert str(page.served.root) not in warning
    # for as long as one looks
    assert page[MESSAGE]["value"].startswith('<p role="alert"')
    assert reason in unescape(page[MESSAGE]["value"])
    assert state(page).points == []


def test_points_need_a_photograph(client: PageClient) -> None:
    client.use("hints-add", "click")
    assert client.errors == ["there is no photograph yet; choose one to colorize first"]


def test_another_photograph_has_no_points(page: PageClient, tmp_path: Path) -> None:
    click(page, 0.2, 0.2)
    page.upload("target", save_photograph(tmp_path / "other.png", 4))
    assert state(page).points == []
    assert page["hints-table"]["value"]["data"] in ([], [[]])
    assert page["hints-suggestions"]["visible"] is False


def test_a_point_changes_the_result_and_its_command(page: PageClient) -> None:
    page.use("colorize", "click")
    first = state(page).result
    assert first is not None
    before = first.path.read_bytes()
    page.use("hints-color", "release", "#ff0000")
    click(page, 0.5, 0.5)
    second = state(page).result
    assert second is not None
    assert "--points points.json" in second.command
    assert second.path.read_bytes() != before
    # it is drawn on the result
    assert picture(page).std(axis=2).max() > 10


def test_a_picture_that_is_gone_is_told_without_the_studios_directory(page: PageClient) -> None:
    page.use("colorize", "click")
    result = state(page).result_preview
    assert result is not None
    result.unlink()
    for elem_id, event in (("hints-beneath", "input"), ("hints-add", "click")):
        page.use(elem_id, event)
        assert page.errors.pop() == "result.jpg: No such file or directory"


def test_nothing_is_suggested_for_a_target_that_has_gone(page: PageClient, monkeypatch: pytest.MonkeyPatch) -> None:
    def suggest(*_: object) -> list[tuple[float, float]]:
        state(page).preview = None
        return [(10.0, 10.0)]

    monkeypatch.setattr(page.served.studio, "suggest_colors", suggest)
    click(page, 0.5, 0.5)
    assert not page.errors
    assert page["hints-suggestions"]["choices"] == []


def test_a_photograph_without_points_has_none(page: PageClient) -> None:
    assert "There are no colour hints." in page[MESSAGE]["value"]
    assert page["hints-picture"]["alt_text"] == "The photograph to colorize, with no colour hints"


def test_old_pictures_with_points_do_not_pile_up(page: PageClient) -> None:
    directory = page.served.studio.sessions.get(page.session_hash).directory
    for _ in range(12):
        page.use("hints-add", "click")
    kept = len(list(directory.glob("*/points.jpg")))
    for _ in range(5):
        page.use("hints-add", "click")
    assert len(list(directory.glob("*/points.jpg"))) == kept
