import numpy as np
import pytest

from stylecolor.reports.charts import Axis, Line, LineChart, choose_axis, make_axis, make_boxes, short, thin_out


@pytest.mark.parametrize(
    ("low", "high", "scale", "texts"),
    [
        (0, 1, "linear", ["0", "0.2", "0.4", "0.6", "0.8", "1"]),
        (23.4, 27.2, "linear", ["24", "25", "26", "27"]),
        (-12, 11, "linear", ["-10", "-5", "0", "5", "10"]),
        (1e-5, 1e-2, "log", ["1e-5", "0.0001", "0.001", "0.01"]),
        (3e-4, 3e-2, "log", ["0.0005", "0.001", "0.002", "0.005", "0.01", "0.02"]),
        (0, 120000, "linear", ["0", "20000", "40000", "60000", "80000", "1e5", "1.2e5"]),
    ],
)
def test_ticks_stand_at_round_numbers(low: float, high: float, scale: str, texts: list[str]) -> None:
    assert [text for _, text in Axis(low, high, scale).ticks] == texts


def test_places_are_shares_of_the_scale() -> None:
    assert Axis(2, 4).places([2, 3, 4]).tolist() == [0, 50, 100]
    assert Axis(1e-4, 1e-2, "log").places([1e-4, 1e-3, 1e-2]) == pytest.approx([0, 50, 100])
    assert Axis(0, 99, "zero_log").places([0, 9, 99]) == pytest.approx([0, 50, 100])


@pytest.mark.parametrize("values", [[], [np.nan], [3.0], [0.0], [-2.0, -2.0], [1e-9, 1e9]])
def test_every_finite_value_has_a_place_within_the_axis(values: list[float]) -> None:
    axis = make_axis(values)
    places = axis.places([value for value in values if np.isfinite(value)])
    assert np.all((places >= 0) & (places <= 100))
    assert len(axis.ticks) >= 1


def test_positive_values_over_two_decades_are_on_a_logarithmic_axis() -> None:
    assert make_axis([0.01, 2]).scale == "log"
    assert make_axis([0.0, 2]).scale == "linear"
    assert make_axis([0.1, 2]).scale == "linear"


def test_what_is_not_finite_is_a_gap() -> None:
    x = np.arange(5.0)
    chart = LineChart("t", "x", "", [Line("a", x, np.array([0, 4, np.nan, 4, 0]))], Axis(0, 4), Axis(0, 4))
    assert chart.drawn[0].path == "M0.00 100.00L25.00 0.00M75.00 0.00L100.00 100.00"
    assert "4 values, first 0, last 0, lowest 0, highest 4" in chart.description


def test_thinned_lines_keep_means_and_extremes() -> None:
    rng = np.random.default_rng(0)
    y = rng.normal(size=1200)
    y[5] = 9
    line = thin_out("a", np.arange(1200.0), y)
    assert line.high is not None
    assert line.low is not None
    assert len(line.y) == 120
    assert line.y == pytest.approx(y.reshape(120, 10).mean(axis=1))
    assert line.high.max() == 9
    assert line.low == pytest.approx(y.reshape(120, 10).min(axis=1))
    assert line.x.tolist() == list(range(9, 1200, 10))


def test_boxes_follow_tukey() -> None:
    values = np.array([*range(1, 12), 40.0, np.nan])
    (box,) = make_boxes("t", "", [("a", values, False)]).boxes
    axis = make_boxes("t", "", [("a", values, False)]).axis
    assert box.quartiles == pytest.approx(tuple(axis.places([3.75, 9.25])))
    assert box.median == pytest.approx(axis.places(6.5))
    assert box.whiskers == pytest.approx(tuple(axis.places([1, 11])))
    assert box.outliers == pytest.approx([axis.places(40)], abs=0.1)


def test_words_and_few_short_numbers_are_equally_far_apart() -> None:
    axis, numbers = choose_axis(["b", "a", "", "b"])
    assert [text for _, text in axis.ticks] == ["a", "b"]
    assert numbers[:2].tolist() == [1, 0]
    assert np.isnan(numbers[2])
    axis, numbers = choose_axis(["0.1", "0", "1e-5"])
    assert [text for _, text in axis.ticks] == ["0", "1e-5", "0.1"]
    assert numbers.tolist() == [2, 0, 1]


def test_drawn_numbers_lie_on_a_scale() -> None:
    texts = ["0.00012345678", "0.0098765432", "0.0012345678"]
    axis, numbers = choose_axis(texts)
    assert axis.scale == "log"
    assert numbers.tolist() == [float(text) for text in texts]


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0, "0"),
        (-0.0, "0"),
        (1e-5, "1e-5"),
        (0.25, "0.25"),
        (250.0, "250"),
        (1.5e7, "1.5e7"),
        (-3e-4, "-0.0003"),
        (0.000123456, "0.000123"),
    ],
)
def test_numbers_are_written_short(value: float, text: str) -> None:
    assert short(value) == text
