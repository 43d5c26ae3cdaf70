import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch

from stylecolor.hints import Hints, combine_hints
from stylecolor.user_hints import HintPoint, rasterize, read_hints, write_hints

POINT = {"x": 0.41, "y": 0.2, "a": 23.0, "b": -11.5, "radius": 4}


def save(path: Path, contents: object) -> Path:
    path.write_text(json.dumps(contents))
    return path


def random_points(count: int, largest: float) -> list[HintPoint]:
    random = np.random.default_rng(0)
    return [HintPoint(*random.uniform((0, 0, -128, -128, 0.1), (1, 1, 127, 127, largest))) for _ in range(count)]


def rasterize_by_hand(points: list[HintPoint], picture: tuple[int, int], working: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Pixel by pixel, the last point that covers it."""
    ab, mask = np.zeros((2, *working), dtype=np.float32), np.zeros((1, *working), dtype=np.float32)
    for row in range(working[0]):
        for column in range(working[1]):
            for point in reversed(points):
                down = (row + 0.5) / working[0] * picture[0] - point.y * picture[0]
                across = (column + 0.5) / working[1] * picture[1] - point.x * picture[1]
                holds_the_point = (row <= point.y * working[0] < row + 1 or row == working[0] - 1 <= point.y * working[0] - 1) and (
                    column <= point.x * working[1] < column + 1 or column == working[1] - 1 <= point.x * working[1] - 1
                )
                if math.sqrt(down**2 + across**2) <= point.radius or holds_the_point:
                    ab[:, row, column] = point.a, point.b
                    mask[0, row, column] = 1
                    break
    return ab, mask


def test_the_issues_example_is_read(tmp_path: Path) -> None:
    path = tmp_path / "hints.json"
    path.write_text('[{"x": 0.41, "y": 0.20, "a": 23.0, "b": -11.5, "radius": 4}]')
    assert read_hints(path) == [HintPoint(x=0.41, y=0.2, a=23.0, b=-11.5, radius=4)]


def test_the_radius_may_be_left_out(tmp_path: Path) -> None:
    path = save(tmp_path / "hints.json", [{"x": 0, "y": 1, "a": -128, "b": 127}])
    assert read_hints(path) == [HintPoint(x=0, y=1, a=-128, b=127, radius=4)]


def test_what_is_written_is_read_exactly(tmp_path: Path) -> None:
    path = tmp_path / "hints.json"
    for points in (random_points(50, 30), [HintPoint(*np.array([0.1, 0.2, 3, 4, 5], dtype=np.float32))], []):
        write_hints(path, points)
        assert read_hints(path) == points
    assert [file.name for file in tmp_path.iterdir()] == ["hints.json"]


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_what_editors_of_other_systems_write_is_read(tmp_path: Path, encoding: str) -> None:
    (tmp_path / "hints.json").write_text(json.dumps([POINT]), encoding=encoding)
    assert len(read_hints(tmp_path / "hints.json")) == 1


def test_a_write_that_fails_leaves_the_file_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = save(tmp_path / "hints.json", [POINT])
    before = path.read_bytes()

    def fill_the_disk(self: Path, contents: str) -> int:
        with self.open("w") as file:
            file.write(contents[: len(contents) // 2])
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_text", fill_the_disk)
    with pytest.raises(OSError, match="No space left on device"):
        write_hints(path, random_points(5, 3))
    assert path.read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == ["hints.json"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"x": 413}, r"x=413.0 is outside 0..1; it is a share of the picture's width, so divide pixels by the width$"),
        ({"y": -0.01}, r"y=-0.01 is outside 0..1; it is a share of the picture's height"),
        ({"a": 128}, r"a=128.0 is outside -128..127; it is a\* of CIELab"),
        ({"b": -1000}, r"b=-1000.0 is outside -128..127; it is b\* of CIELab"),
        ({"radius": 0}, r"radius=0.0 must be greater than 0; it is in pixels of the picture"),
        ({"radius": -2.5}, "radius=-2.5 must be greater than 0"),
        ({"radius": 10**400}, "radius=inf must be a finite number"),
        ({"x": math.nan}, "x=nan must be a finite number"),
        ({"b": math.inf}, "b=inf must be a finite number"),
        ({"a": "red"}, 'a="red" is no number; write one without quotes'),
        ({"a": True}, "a=true is no number"),
        ({"a": None}, "a=null is no number"),
        ({"a": list(range(1000))}, r"a=\[0.0, 1.0, .*\.\.\. is no number"),
        ({"radus": 3}, r'unknown field "radus"; a point has x, y, a, b, radius; did you mean radius\?'),
        ({"X": 0.5}, r'unknown field "X"; .*did you mean x\?'),
    ],
)
def test_a_wrong_value_is_named_with_its_entry_and_the_remedy(tmp_path: Path, change: dict[str, object], message: str) -> None:
    path = save(tmp_path / "hints.json", [POINT, POINT | change, POINT])
    with pytest.raises(ValueError, match=rf"^points .*hints\.json: entry 2: {message}") as raised:
        read_hints(path)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("missing", ["x", "y", "a", "b"])
def test_a_missing_field_is_named(tmp_path: Path, missing: str) -> None:
    path = save(tmp_path / "hints.json", [{name: value for name, value in POINT.items() if name != missing}])
    with pytest.raises(ValueError, match=f"entry 1: {missing} is missing; a point has x, y, a, b, radius, and only radius may be left out"):
        read_hints(path)


@pytest.mark.parametrize(
    ("contents", "message"),
    [
        (b"", r"is no JSON \(Expecting value: line 1 column 1 \(char 0\)\); write a list such as \[\{"),
        (b"[{'x': 0.1}]", "is no JSON .*double quotes"),
        (b'[{"x": 0.1, }', "is no JSON"),
        (b"\xff\xd8\xff\xe0 a JPEG file", "is no JSON"),
        (b"[" * 200_000, "is no JSON"),
        (json.dumps(POINT).encode(), "holds no list of points; write a list such as"),
        (b"null", "holds no list of points"),
        (b"[[0.1, 0.2]]", r"entry 1: \[0.1, 0.2\] is no point; write objects, as in"),
        (b'["' + b"x" * 1000 + b'"]', r"entry 1: \"x+\.\.\. is no point"),
    ],
)
def test_a_file_that_is_no_list_of_points_is_refused_in_one_line(tmp_path: Path, contents: bytes, message: str) -> None:
    path = tmp_path / "hints.json"
    path.write_bytes(contents)
    with pytest.raises(ValueError, match=rf"^points .*hints\.json: {message}") as raised:
        read_hints(path)
    assert "\n" not in str(raised.value)
    assert len(str(raised.value)) < 400


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    for path in (tmp_path / "none.json", tmp_path):
        with pytest.raises(ValueError, match=f"points {path}: no such file"):
            read_hints(path)


def test_points_made_in_python_are_checked_too() -> None:
    with pytest.raises(ValueError, match=r"x=12 is outside 0..1; it is a share of the picture's width"):
        HintPoint(12, 0.5, 0, 0)


@pytest.mark.parametrize(
    ("picture", "working", "largest"),
    [((64, 64), (64, 64), 9), ((480, 321), (32, 24), 60), ((20, 30), (40, 64), 5), ((4000, 6000), (24, 40), 4), ((1, 500), (8, 64), 20)],
)
def test_discs_equal_those_made_pixel_by_pixel(picture: tuple[int, int], working: tuple[int, int], largest: float) -> None:
    corners = [HintPoint(x, y, 10 * x, 10 * y, 1) for x in (0, 1) for y in (0, 1)]
    points = random_points(12, largest) + corners
    hints = rasterize(points, picture, working)
    assert (hints.ab.dtype, hints.mask.dtype) == (torch.float32, torch.float32)
    ab, mask = rasterize_by_hand(points, picture, working)
    np.testing.assert_array_equal(hints.ab[0].numpy(), ab)
    np.testing.assert_array_equal(hints.mask[0].numpy(), mask)


def test_a_tiny_disc_shows_the_pixel_that_it_lies_in() -> None:
    for x, y in ((0, 0), (0.999, 0.001), (1, 1), (0.5, 0.5)):
        hints = rasterize([HintPoint(x, y, 20, -30, 1e-6)], (5000, 7000), (16, 24))
        assert hints.mask.nonzero().tolist() == [[0, 0, min(int(16 * y), 15), min(int(24 * x), 23)]]
        assert hints.ab[hints.mask.bool().expand(-1, 2, -1, -1)].tolist() == [20, -30]


def test_a_huge_disc_shows_the_whole_picture() -> None:
    hints = rasterize([HintPoint(0.3, 0.2, 20, -30, 1e300)], (50, 70), (16, 24))
    assert hints.mask.all()
    assert hints.ab.mean((0, 2, 3)).tolist() == [20, -30]


def test_the_later_of_overlapping_points_wins() -> None:
    first, second = HintPoint(0.5, 0.5, 10, 10, 20), HintPoint(0.5, 0.5, -50, 40, 5)
    middle = rasterize([first, second], (64, 64), (64, 64)).ab[0, :, 32, 32]
    assert middle.tolist() == [-50, 40]
    assert rasterize([second, first], (64, 64), (64, 64)).ab[0, :, 32, 32].tolist() == [10, 10]


def test_no_points_are_no_hints() -> None:
    hints = rasterize([], (64, 64), (16, 16))
    assert not hints.mask.any()
    assert not hints.ab.any()


def test_a_users_hints_stand_above_those_of_a_reference() -> None:
    own = rasterize([HintPoint(0.25, 0.5, 0, 0, 2), HintPoint(0.75, 0.5, 60, -60, 2)], (16, 32), (16, 32))
    above = combine_hints(Hints(torch.full((3, 2, 16, 32), 7.0), torch.ones(3, 1, 16, 32)), own)
    assert above.mask.all()
    shown = own.mask.bool().expand(3, 2, -1, -1)
    assert torch.equal(above.ab[shown], own.ab.expand(3, -1, -1, -1)[shown])
    assert (above.ab[~shown] == 7).all()
