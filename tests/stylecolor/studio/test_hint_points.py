import numpy as np
import pytest
from PIL import Image
from skimage.color import lab2rgb, rgb2lab

from stylecolor.studio.hint_points import (
    RADIUS,
    ab_of,
    css_color,
    default_radius,
    draw_points,
    find_nearest,
    lightness_at,
    picker_color,
    read_rows,
    rows_of,
)
from stylecolor.studio.requests import POINTS
from stylecolor.user_hints import DEFAULT_RADIUS, HintPoint

PREVIEW = Image.new("RGB", (200, 100), (119, 119, 119))
"""Grey, of L 50."""


def test_the_radius_is_the_usual_one_at_the_networks_size() -> None:
    assert RADIUS * 256 == DEFAULT_RADIUS
    assert default_radius((2560, 5000)) == 40
    assert default_radius((20, 30)) == 1


def test_rows_are_points_and_back() -> None:
    points = [HintPoint(0.25, 0.75, 40.5, -11.5, 8.0), HintPoint(0, 1, -128, 127, 0.5)]
    assert read_rows(rows_of(points)) == points


def test_cells_are_what_people_type() -> None:
    rows = [[" 0.5", "1e-1", 3, "-4", None], ["", None, "", "", ""], ["0", "0", "0", "0", "7"]]
    assert read_rows(rows) == [HintPoint(0.5, 0.1, 3, -4), HintPoint(0, 0, 0, 0, 7)]


@pytest.mark.parametrize(
    ("cells", "reason"),
    [
        (["0.5", "1.5", "0", "0", "4"], "row 2: y=1.5 is outside 0..1; it is a share of the picture's height"),
        (["0,5", "0.5", "0", "0", "4"], "row 2: x=0,5 is no number; write one such as 0.5"),
        (["0.5", "", "0", "0", "4"], "row 2: y is missing"),
        (["0.5", "0.5", "0", "nan", "4"], "row 2: b=nan must be a finite number"),
        (["0.5", "0.5", "0", "0", "0"], "row 2: radius=0.0 must be greater than 0"),
        (["0.5", "0.5"], "row 2: has 2 cells"),
        (["x" * 1000, "0", "0", "0", "4"], "row 2: x=x{37}\\.\\.\\. is no number"),
    ],
)
def test_what_is_no_point_is_refused_by_row_and_column(cells: list[str], reason: str) -> None:
    with pytest.raises(ValueError, match=reason) as refused:
        read_rows([["0", "0", "0", "0", "4"], cells])
    assert "\n" not in str(refused.value)


def test_too_many_rows_are_refused() -> None:
    with pytest.raises(ValueError, match=f"{POINTS + 1} points are more than the {POINTS}"):
        read_rows([["0", "0", "0", "0", "4"]] * (POINTS + 1))


def test_the_nearest_point_is_found_in_pixels_not_in_shares() -> None:
    points = [HintPoint(0.5, 0.5, 0, 0), HintPoint(0.52, 0.6, 0, 0)]
    # 10 times as wide as high: 0.02 of the width are farther than 0.1 of the height
    assert find_nearest(points, 0.52, 0.5, (100, 1000)) == 1
    assert find_nearest(points, 0.5, 0.55, (1000, 100), reach=0.1) == 0


def test_no_point_is_found_far_away() -> None:
    assert find_nearest([HintPoint(0.5, 0.5, 0, 0)], 0.9, 0.5, (100, 100)) is None
    assert find_nearest([], 0.5, 0.5, (100, 100)) is None


def test_marks_have_the_colour_at_the_lightness_below_them() -> None:
    drawn = np.asarray(draw_points(PREVIEW, [HintPoint(0.5, 0.5, 40, 30, 1)], (100, 200)))
    expected = 255 * lab2rgb([[[lightness_at(PREVIEW, 0.5, 0.5), 40, 30]]])[0, 0]
    assert np.abs(drawn[50, 100] - expected).max() <= 2
    assert (drawn[10, 10] == 119).all()


def test_marks_at_the_border_and_endless_discs_can_be_drawn() -> None:
    points = [HintPoint(0, 0, 0, 0), HintPoint(1, 1, 127, -128, 1e300), HintPoint(1, 0, -128, 127, 1e-300)]
    assert draw_points(PREVIEW, points, (100, 200), selected=1).size == PREVIEW.size


@pytest.mark.parametrize("color", ["#cc8844", "rgb(204, 136, 68)", "hsl(30, 57.143%, 53.333%)", "#cc8844ff"])
def test_a_picked_colour_becomes_the_ab_of_its_lab(color: str) -> None:
    assert ab_of(color) == pytest.approx(rgb2lab([[[204 / 255, 136 / 255, 68 / 255]]])[0, 0, 1:], abs=0.1)


def test_what_is_no_colour_is_refused() -> None:
    with pytest.raises(ValueError, match="colour none at all is none that is known"):
        ab_of("none at all")


def test_colours_are_written_as_browsers_read_them() -> None:
    assert css_color(*rgb2lab([[[1.0, 0.5, 0.0]]])[0, 0]) in ("#ff8000", "#ff7f00")


@pytest.mark.parametrize("l", [0, 30, 95, 100])
def test_the_picker_shows_a_colour_that_has_the_same_ab(l: float) -> None:
    assert ab_of(picker_color(l, 24.2, 33.6)) == pytest.approx((24.2, 33.6), abs=1.5)


def test_the_picker_shows_a_paler_colour_where_there_is_no_such() -> None:
    a, b = ab_of(picker_color(50, -128, -128))
    assert a < 0
    assert b < 0
