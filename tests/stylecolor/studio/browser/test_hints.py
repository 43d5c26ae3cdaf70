"""Colours that a person puts at points, by clicking."""

import shlex
import shutil
from pathlib import Path

import pytest
from playwright.sync_api import expect

from stylecolor.user_hints import HintPoint, read_hints
from tests.stylecolor.commands.running import assert_done, run
from tests.stylecolor.studio.browser.studio_page import StudioPage

PLACE = 0.01
"""Share of the picture by which a click may miss."""


def click_photograph(page: StudioPage, x: float, y: float) -> None:
    """At shares of its width and height."""
    picture = page.element("hints-picture").locator("img")
    page.wait_for_picture(picture)
    box = picture.bounding_box()
    assert box is not None
    picture.click(position={"x": x * box["width"], "y": y * box["height"]})


def expect_message(page: StudioPage, text: str) -> None:
    expect(page.element("hints-message")).to_contain_text(text)


def expect_points(page: StudioPage, folder: Path, *places: tuple[float, float]) -> list[HintPoint]:
    """Save them, and look where they are."""
    points = read_hints(page.download(folder, "hints-save"))
    assert [(point.x, point.y) for point in points] == [pytest.approx(place, abs=PLACE) for place in places]
    return points


def test_points_are_added_moved_deleted_saved_and_loaded(page: StudioPage, photographs: Path, tmp_path: Path) -> None:
    page.upload_target(photographs / "grey.png")
    page.choose_tab("Colour hints")
    click_photograph(page, 0.25, 0.3)
    expect_message(page, "Point 1 is added. There is 1 colour hint.")
    click_photograph(page, 0.7, 0.6)
    expect_message(page, "Point 2 is added. There are 2 colour hints.")
    page.element("hints-mode").get_by_text("moves a point").click()
    click_photograph(page, 0.25, 0.3)
    expect_message(page, "click its new place")
    click_photograph(page, 0.5, 0.2)
    expect_message(page, "Point 1 is changed")
    expect_points(page, tmp_path, (0.5, 0.2), (0.7, 0.6))
    page.element("hints-mode").get_by_text("deletes a point").click()
    click_photograph(page, 0.7, 0.6)
    expect_message(page, "Point 2 is deleted. There is 1 colour hint.")
    (tmp_path / "two.json").write_text('[{"x": 0.1, "y": 0.2, "a": 40, "b": 30}, {"x": 0.9, "y": 0.8, "a": -40, "b": 20, "radius": 9}]')
    page.upload_by_button("hints-load", tmp_path / "two.json")
    expect_message(page, "2 points are loaded")
    assert expect_points(page, tmp_path, (0.1, 0.2), (0.9, 0.8)) == read_hints(tmp_path / "two.json")


def test_the_result_with_points_is_that_of_the_copied_command(
    page: StudioPage, photographs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    page.upload_target(photographs / "grey.png")
    page.upload_references(photographs / "coffee.jpg")
    page.choose_tab("Colour hints")
    click_photograph(page, 0.4, 0.5)
    expect_message(page, "Point 1 is added")
    suggestion = page.element("hints-suggestions").locator("label").first
    suggestion.click()
    expect_message(page, "Point 1 is changed")
    (point,) = expect_points(page, tmp_path, (0.4, 0.5))
    assert suggestion.inner_text().strip() == f"a {point.a:.0f}, b {point.b:.0f}"
    page.choose_tab("Result")
    page.colorize()
    saved = page.download(tmp_path)
    command = page.command()
    shutil.copytree(photographs, tmp_path / "own")
    shutil.copy(tmp_path / "points.json", tmp_path / "own")
    monkeypatch.chdir(tmp_path / "own")
    program, *words = shlex.split(command)
    assert (program, words[0]) == ("stylecolor", "hints")
    assert_done(run(*words))
    assert Path(saved.name).read_bytes() == saved.read_bytes()


def test_a_click_that_comes_before_the_radius_of_the_photograph_sends_one_that_is_taken(page: StudioPage, photographs: Path) -> None:
    radius = page.element("hints-radius").locator("input")
    page.choose_tab("Colour hints")
    expect(radius).to_have_value("4")
    page.upload_target(photographs / "grey.png")
    expect(radius).to_have_value("5")


def test_rows_are_added_to_the_table_and_columns_are_not(page: StudioPage, photographs: Path, tmp_path: Path) -> None:
    page.upload_target(photographs / "grey.png")
    page.choose_tab("Colour hints")
    # the table of the photograph is there
    expect_message(page, "There are no colour hints.")
    table = page.element("hints-table")
    table.get_by_role("button", name="Add row").click()
    expect_message(page, "Point 1 is added. There is 1 colour hint.")
    table.get_by_role("gridcell").first.click(button="right")
    # nothing here adds columns, or deletes them
    expect(page.tab.get_by_role("menuitem")).to_have_text(["Add row above", "Add row below"])
    page.tab.get_by_role("menuitem", name="Add row below").click()
    expect_message(page, "Point 2 is added. There are 2 colour hints.")
    expect_points(page, tmp_path, (0.5, 0.5), (0.5, 0.5))


def test_a_new_point_changes_the_result_that_there_is(page: StudioPage, photographs: Path) -> None:
    page.upload_target(photographs / "grey.png")
    page.colorize()
    before = page.result_source()
    page.choose_tab("Colour hints")
    click_photograph(page, 0.4, 0.5)
    expect_message(page, "Point 1 is added")
    page.choose_tab("Result")
    page.wait_for_result(unlike=before)
    assert page.command().startswith("stylecolor hints grey.png --points points.json")
