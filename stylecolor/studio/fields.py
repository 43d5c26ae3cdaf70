"""Numbers as the page's fields send them, which handlers take without preprocessing: Gradio's own refusals name no field."""

from stylecolor.errors import check_range


def read_number(name: str, value: object, low: float, high: float | None = None) -> float:
    """What somebody wrote into a field.

    Args:
        name: what the page calls the field.
        value: as the browser sends it, None for an empty field.
        low: the least that is taken.
        high: the most; None where there is none.

    Raises:
        ValueError: naming the field, the value and the range, for what is no number or outside.
    """
    # true and false are numbers to Python
    if isinstance(value, bool) or not isinstance(value, int | float):
        wrong = " is empty" if value in (None, "") else f"={str(value)[:40]} is no number"
        expected = f"of at least {low:g}" if high is None else f"in {low:g}..{high:g}"
        raise ValueError(f"{name}{wrong}; write a number {expected}")
    check_range(name, value, low, high)
    return float(value)


def read_whole_number(name: str, value: object, low: int, high: int) -> int:
    """Likewise, a whole one."""
    number = read_number(name, value, low, high)
    if not number.is_integer():
        raise ValueError(f"{name}={number:g} is no whole number; write one in {low}..{high}")
    return int(number)
