"""What visitors can ask for, checked when it is asked."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from stylecolor.errors import check_range
from stylecolor.studio.model import SIZES

if TYPE_CHECKING:
    from stylecolor.user_hints import HintPoint

SIZE = 256
"""px, that of `stylecolor.exemplar_colorizer`, whose import takes seconds."""
QUALITY = 95
"""That of the commands, as is `CRF`."""
CRF = 16
SATURATION = 10.0
"""More of it makes no difference: nothing is left inside sRGB."""
REFERENCES = 16
"""So many at most are mixed."""
POINTS = 1000
"""So many at most are heeded."""
FILE_BYTES = 1_000_000
"""A file of points is not larger."""
CLIP_FRAMES = 1500
"""A minute at 25 a second; all others wait for as long as it takes."""


@dataclass(frozen=True)
class ColorizeRequest:
    """What `stylecolor colorize` and `stylecolor hints` take, of one target.

    Raises ValueError for settings out of range, and for those that do not go together.
    """

    target: Path
    references: tuple[Path, ...] = ()
    """Without any the colorization sub-net chooses the colours."""
    weights: tuple[float, ...] | None = None
    target_labels: Path | None = None
    reference_labels: Path | None = None
    strength: float = 1.0
    saturation: float = 1.0
    matching: str | None = None
    """None takes what the networks were trained with, as of `sites`."""
    sites: tuple[str, ...] | None = None
    size: int = SIZE
    points: "tuple[HintPoint, ...]" = ()
    quality: int = QUALITY

    @property
    def files(self) -> tuple[Path, ...]:
        """All that it names."""
        labels = (self.target_labels, self.reference_labels)
        return (self.target, *self.references, *(path for path in labels if path is not None))

    def __post_init__(self) -> None:
        check_range("strength", self.strength, 0, 1)
        check_range("saturation", self.saturation, 0, SATURATION)
        check_range("size", self.size, *SIZES)
        check_range("quality", self.quality, 1, 100)
        _check_sites(self.sites)
        _check_mixture(self.references, self.weights)
        if not self.references and self.strength != 1:
            raise ValueError(f"strength={self.strength:g}: says how far colours follow a reference, and there is none; use saturation")
        if (self.target_labels is None) != (self.reference_labels is None):
            raise ValueError("label maps: one of the target and one of the reference belong together; add the other, or take it away")
        if self.target_labels is not None and len(self.references) != 1:
            raise ValueError(f"label maps: belong to one reference, there are {len(self.references)}")
        if len(self.points) > POINTS:
            raise ValueError(f"points: {len(self.points)} are more than the {POINTS} that are taken")


@dataclass(frozen=True)
class StylizeRequest:
    """What `stylecolor stylize` takes, of one photograph; raises ValueError as `ColorizeRequest`."""

    photo: Path
    references: tuple[Path, ...]
    weights: tuple[float, ...] | None = None
    strength: float = 1.0
    matching: str | None = None
    sites: tuple[str, ...] | None = None
    size: int = SIZE
    quality: int = QUALITY

    def __post_init__(self) -> None:
        check_range("strength", self.strength, 0, 1)
        check_range("size", self.size, *SIZES)
        check_range("quality", self.quality, 1, 100)
        _check_sites(self.sites)
        if not self.references:
            raise ValueError("references: there is none; add a photograph whose look to give")
        _check_mixture(self.references, self.weights)


@dataclass(frozen=True)
class ClipRequest:
    """What `stylecolor video` takes, of one clip and references that hold for all of it; raises ValueError as `ColorizeRequest`."""

    film: Path
    references: tuple[Path, ...] = ()
    strength: float = 1.0
    saturation: float = 1.0
    matching: str | None = None
    sites: tuple[str, ...] | None = None
    size: int = SIZE
    crf: int = CRF

    def __post_init__(self) -> None:
        check_range("strength", self.strength, 0, 1)
        check_range("saturation", self.saturation, 0, SATURATION)
        check_range("size", self.size, *SIZES)
        check_range("crf", self.crf, 0, 51)
        _check_sites(self.sites)
        _check_mixture(self.references, None)


def _check_sites(sites: Sequence[str] | None) -> None:
    if sites is not None and not sites:
        raise ValueError("sites: none is chosen; choose one, or matching=none")


def _check_mixture(references: Sequence[Path], weights: Sequence[float] | None) -> None:
    if len(references) > REFERENCES:
        raise ValueError(f"references: {len(references)} are more than the {REFERENCES} that are mixed")
    if weights is None:
        return
    for weight in weights:
        check_range("weights", weight, low=0)
    if len(references) < 2 or len(weights) != len(references) or not sum(weights):
        raise ValueError(f"weights: {len(weights)} for {len(references)} references; several need one each, not all of them 0")
