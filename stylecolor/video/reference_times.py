"""Which reference colours which part of a film: each from its own time on."""

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

from stylecolor.errors import check_range
from stylecolor.reference_style import ReferenceStyle, mix_styles

_CLOCK = re.compile(r"(?:(?:(?P<hours>\d+):)?(?P<minutes>\d+):)?(?P<seconds>\d+(?:\.\d*)?|\.\d+)")


@dataclass(frozen=True)
class TimedReference:
    """A picture and the time from which it is the reference, in seconds from the film's first frame."""

    path: Path
    start: float


def parse_timed_reference(text: str) -> TimedReference:
    """A reference on the command line: `a.jpg` from the beginning, `a.jpg@12.5`, `a.jpg@1:30` or `a.jpg@1:02:03` from that time on.

    A file that has this whole name is that file. Anything else after the last @ is part of the name.
    """
    name, _, clock = text.rpartition("@")
    match = _CLOCK.fullmatch(clock)
    if not name or match is None or Path(text).exists():
        return TimedReference(Path(text), 0.0)
    hours, minutes, seconds = (float(match[part] or 0) for part in ("hours", "minutes", "seconds"))
    return TimedReference(Path(name), 3600 * hours + 60 * minutes + seconds)


def check_times(starts: Collection[float], blend: float) -> None:
    """Refuse references that leave the beginning of the film without one, and a negative blend.

    Raises:
        ValueError: with the remedy.
    """
    check_range("blend", blend, low=0)
    if starts and min(starts) > 0:
        raise ValueError(f"the first reference is for {min(starts):g} s on; give one without a time, for what comes before")


class ReferenceTimes:
    """The references of a film, in the order of their times.

    Args:
        styles: (start in seconds, style); those of the same time are mixed in equal shares. One must start at 0.
        blend: seconds over which each takes over from the one before, beginning at its start; 0 changes at once.

    Raises:
        ValueError: for a negative blend, no style that starts at 0, and styles that cannot be mixed where they have to be.
    """

    def __init__(self, styles: Sequence[tuple[float, ReferenceStyle]], blend: float = 0.0) -> None:
        check_times([start for start, _ in styles], blend)
        self.starts = sorted({start for start, _ in styles})
        self._styles = [mix_styles([style for own, style in styles if own == start]) for start in self.starts]
        self._blend = blend
        if blend:
            mix_styles(self._styles)

    def section(self, time: float) -> int:
        """A number that changes where the colours change at once: that of the reference, or 0 where references blend."""
        return 0 if self._blend else self._latest(time)

    def style(self, time: float) -> ReferenceStyle:
        """The reference's statistics at a time in seconds, mixed while one takes over from another."""
        latest = self._latest(time)
        shares = [0.0] * latest + [1.0]
        rest = 1.0
        for index in range(latest, 0, -1):
            taken = min(1.0, (time - self.starts[index]) / self._blend) if self._blend else 1.0
            shares[index] = rest * taken
            rest *= 1 - taken
        shares[0] += rest if latest else 0.0
        if max(shares) == 1.0:
            return self._styles[shares.index(1.0)]
        shown = [index for index, share in enumerate(shares) if share]
        return mix_styles([self._styles[index] for index in shown], [shares[index] for index in shown])

    def _latest(self, time: float) -> int:
        return max((index for index, start in enumerate(self.starts) if start <= max(time, 0.0)), default=0)
