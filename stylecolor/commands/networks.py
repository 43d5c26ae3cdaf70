"""The networks that a command works with."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from stylecolor.choices import MATCHINGS, check_site_names
from stylecolor.errors import NoRoomError, check_choice

if TYPE_CHECKING:
    from stylecolor.exemplar_colorizer import AnyLabels, ExemplarColorizer
    from stylecolor.pictures.files import Picture
    from stylecolor.reference_style import ReferenceStyle


@dataclass(frozen=True)
class NetworkSettings:
    """What options say of the networks.

    Raises ValueError for a matching and sites that are none.
    """

    checkpoint: Path | None
    size: int | None
    device: str
    precision: str
    matching: str | None = None
    sites: str | None = None
    """Separated by commas."""

    def __post_init__(self) -> None:
        if self.matching is not None:
            check_choice("--matching", self.matching, MATCHINGS)
        if self.sites is not None:
            check_site_names("--sites", self.sites.split(","))

    def refuse_matching(self, remedy: str) -> None:
        """Where no reference is followed, refuse to say how.

        Raises:
            ValueError: naming the option, with `remedy`.
        """
        for option, value in (("--matching", self.matching), ("--sites", self.sites)):
            if value is not None:
                raise ValueError(f"{option} {value}: says how a reference is followed; {remedy}")

    def load(self, needs_reference: bool) -> "ExemplarColorizer":
        """Read the networks that `--checkpoint` names, or else those that `find_default_checkpoint` finds, which is said on stderr.

        Raises:
            ValueError: when there are none, or they cannot be used so.
        """
        if self.checkpoint is None:
            from stylecolor.default_checkpoint import find_default_checkpoint

            source = find_default_checkpoint(needs_reference)
            typer.echo(f"checkpoint: {source}", err=True)
        else:
            source = str(self.checkpoint)
        published = not Path(source).exists()
        if published:
            from stylecolor.published_weights import PUBLISHED

            if source not in PUBLISHED:
                raise ValueError(f"--checkpoint {source}: no such file or folder")
        # after what can be refused without it, as torch takes seconds
        from stylecolor.exemplar_colorizer import SIZE, ExemplarColorizer

        size = SIZE if self.size is None else self.size
        if published:
            return ExemplarColorizer.from_colorizer(source, size=size, device=self.device, precision=self.precision)
        read = ExemplarColorizer.from_pretrained if Path(source).is_dir() else ExemplarColorizer.from_checkpoint
        colorizer = read(source, size=size, device=self.device, precision=self.precision)
        if self.matching is None and self.sites is None:
            return colorizer
        return colorizer.rematched(self.matching, None if self.sites is None else self.sites.split(","))


def encode_references(
    colorizer: "ExemplarColorizer", pictures: Sequence["Picture"], shares: Sequence[float] | None, labels: "AnyLabels | None" = None
) -> "ReferenceStyle":
    """The statistics of references, mixed in `shares`, equal ones if left out; `labels` belong to a single reference."""
    from stylecolor.reference_style import mix_styles

    with explain_out_of_memory():
        styles = [colorizer.encode_reference(picture, labels) for picture in pictures]
    return mix_styles(styles, shares) if len(styles) > 1 else styles[0]


@contextmanager
def explain_out_of_memory() -> Iterator[None]:
    """Memory that is full is no fault of this program.

    Raises:
        NoRoomError: naming what needs less.
    """
    import torch

    try:
        yield
    except RuntimeError as error:
        # of a processor's memory torch has no class of error
        if not isinstance(error, torch.OutOfMemoryError) and "can't allocate memory" not in str(error):
            raise
        raise NoRoomError("the device's memory is full; use a smaller --size, fewer --jobs, or --device cpu") from error
