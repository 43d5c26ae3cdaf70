import pytest

from stylecolor.studio.fields import read_number, read_whole_number


def test_numbers_are_taken_as_they_are() -> None:
    assert read_number("strength", 0.25, 0, 1) == 0.25
    assert read_number("weight 2", 1000, 0) == 1000
    assert read_whole_number("quality", 95.0, 1, 100) == 95


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (None, "strength is empty; write a number in 0..1"),
        ("", "strength is empty; write a number in 0..1"),
        ("half", "strength=half is no number; write a number in 0..1"),
        (True, "strength=True is no number; write a number in 0..1"),
        (5, "strength=5 is outside 0..1"),
        (-1e9, "strength=-1000000000.0 is outside 0..1"),
    ],
)
def test_what_is_no_number_or_outside_is_refused_by_the_fields_name(value: object, reason: str) -> None:
    with pytest.raises(ValueError) as refused:  # noqa: PT011
        read_number("strength", value, 0, 1)
    assert str(refused.value) == reason


def test_a_range_may_have_no_end() -> None:
    with pytest.raises(ValueError, match=r"^weight 2 is empty; write a number of at least 0$"):
        read_number("weight 2", None, 0)


def test_whole_numbers_are_whole() -> None:
    with pytest.raises(ValueError, match=r"^quality=95.5 is no whole number; write one in 1..100$"):
        read_whole_number("quality", 95.5, 1, 100)
