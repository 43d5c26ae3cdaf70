from itertools import pairwise
from pathlib import Path

import pytest
import torch

from stylecolor.matching import Statistics
from stylecolor.reference_style import ReferenceStyle, mix_styles
from stylecolor.video.reference_times import ReferenceTimes, TimedReference, parse_timed_reference


def style(value: float) -> ReferenceStyle:
    statistics = {"bottleneck": Statistics(torch.full((1, 1, 4), value), torch.full((1, 1, 4), value))}
    return ReferenceStyle("adain", statistics, (), torch.zeros(1, 0))


def mean(shown: ReferenceStyle) -> float:
    return shown.statistics["bottleneck"].mean[0, 0, 0].item()


@pytest.mark.parametrize(
    ("text", "name", "start"),
    [
        ("a.jpg", "a.jpg", 0),
        ("a.jpg@12.5", "a.jpg", 12.5),
        ("a.jpg@0", "a.jpg", 0),
        ("a.jpg@.5", "a.jpg", 0.5),
        ("a.jpg@1:30", "a.jpg", 90),
        ("a.jpg@1:02:03.5", "a.jpg", 3723.5),
        ("me@home/a@2.jpg", "me@home/a@2.jpg", 0),
        ("me@home/a@2.jpg@3", "me@home/a@2.jpg", 3),
        ("a.jpg@soon", "a.jpg@soon", 0),
        ("@3", "@3", 0),
    ],
)
def test_references_are_read_with_their_times(text: str, name: str, start: float) -> None:
    assert parse_timed_reference(text) == TimedReference(Path(name), start)


def test_a_file_of_the_whole_name_has_no_time(tmp_path: Path) -> None:
    path = tmp_path / "photo@2"
    path.touch()
    assert parse_timed_reference(str(path)) == TimedReference(path, 0)


def test_each_reference_lasts_until_the_next_begins() -> None:
    times = ReferenceTimes([(4.0, style(3)), (0.0, style(1)), (2.0, style(2))])
    assert [mean(times.style(time)) for time in (-0.01, 0, 1.99, 2, 3.99, 4, 1000)] == [1, 1, 1, 2, 2, 3, 3]
    sections = [times.section(time) for time in (0, 1.99, 2, 3.99, 4)]
    assert sections[0] == sections[1] != sections[2] == sections[3] != sections[4]


def test_references_of_the_same_time_are_mixed() -> None:
    times = ReferenceTimes([(0.0, style(1)), (0.0, style(4)), (0.0, style(7))])
    assert mean(times.style(5)) == pytest.approx(mean(mix_styles([style(1), style(4), style(7)])))


def test_blended_references_take_over_gradually_and_without_a_cut() -> None:
    times = ReferenceTimes([(0.0, style(1)), (2.0, style(3))], blend=1.0)
    found = [mean(times.style(time)) for time in (0, 2, 2.25, 2.5, 3, 9)]
    assert found == pytest.approx([1, 1, 1.5, 2, 3, 3])
    assert len({times.section(time) for time in (0, 2, 2.5, 9)}) == 1


def test_a_reference_may_begin_while_the_one_before_is_taking_over() -> None:
    times = ReferenceTimes([(0.0, style(0)), (2.0, style(10)), (3.0, style(20))], blend=2.0)
    # at 3.5 the third has a quarter, the second three quarters of the rest
    assert mean(times.style(3.5)) == pytest.approx(0.25 * 20 + 0.75 * 0.75 * 10)
    # nowhere does it jump
    found = [mean(times.style(time / 100)) for time in range(600)]
    assert max(abs(after - before) for before, after in pairwise(found)) < 0.2


def test_a_film_needs_a_reference_for_its_beginning() -> None:
    with pytest.raises(ValueError, match="the first reference is for 2 s on; give one without a time"):
        ReferenceTimes([(2.0, style(1)), (3.0, style(1))])
    with pytest.raises(ValueError, match=r"^blend=-1"):
        ReferenceTimes([(0.0, style(1))], blend=-1)
