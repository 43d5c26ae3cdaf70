"""What a reference lends: its statistics at every site, computed once, kept in a small file, mixed, used for any number of targets."""

import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from jaxtyping import Float
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from stylecolor.errors import check_range
from stylecolor.matching import Statistics
from stylecolor.regions import VOID, pick_columns

FORMAT = "1"


@dataclass(frozen=True)
class ReferenceStyle:
    """All reference-side statistics of one batch of references, by site.

    Keys of `statistics` are `encoder1` ... `encoder4`, `skips1` ... `skips3`, `decoder1` ... `decoder4` and `bottleneck`; slot i + 1 of
    each belongs to `labels[i]`. `shares` says what share of its picture each region takes: 0 where it is missing or too small, infinity
    where it was assigned by hand and fits a region of any size. `feather` is the one that regions were measured with, None without any.
    """

    matching: str
    statistics: dict[str, Statistics]
    labels: tuple[int, ...]
    shares: Float[Tensor, "batch regions"]
    feather: int | None = None

    def __len__(self) -> int:
        return len(self.shares)

    @property
    def nbytes(self) -> int:
        """Size of all statistics."""
        return sum(tensor.nbytes for statistics in self.statistics.values() for tensor in statistics)

    def to(self, device: torch.device | str) -> "ReferenceStyle":
        """On another device."""
        return self._map(lambda tensor: tensor.to(device))

    def __getitem__(self, chosen: slice) -> "ReferenceStyle":
        """Some of the references."""
        return self._map(lambda tensor: tensor[chosen])

    def _map(self, function: Callable[[Tensor], Tensor]) -> "ReferenceStyle":
        statistics = {key: Statistics(*map(function, value)) for key, value in self.statistics.items()}
        return replace(self, statistics=statistics, shares=function(self.shares))

    def select(self, labels: Sequence[int]) -> dict[str, Statistics]:
        """The statistics of the whole picture and of these regions, in this order."""
        slots = [0, *(self.labels.index(label) + 1 for label in labels)]
        return {key: Statistics(*(pick_columns(tensor, slots) for tensor in value)) for key, value in self.statistics.items()}

    def save(self, path: str | Path) -> None:
        """Write a safetensors file, whole or not at all."""
        tensors = {f"{key}.{name}": tensor for key, value in self.statistics.items() for name, tensor in value._asdict().items()}
        tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in {**tensors, "shares": self.shares}.items()}
        description = {"format": FORMAT, "matching": self.matching, "labels": json.dumps(self.labels), "feather": json.dumps(self.feather)}
        path = Path(path)
        aside = path.with_name(f".{path.name}.{os.getpid()}")
        try:
            aside.write_bytes(save(tensors, description))
            aside.replace(path)
        finally:
            aside.unlink(missing_ok=True)

    @classmethod
    def load(cls, path: str | Path) -> "ReferenceStyle":
        """Read what `save` wrote, to the CPU.

        Raises:
            ValueError: for a missing file and one that holds no style of this format.
        """
        if not Path(path).is_file():
            raise ValueError(f"reference style {path}: no such file")
        try:
            with safe_open(path, framework="pt") as file:
                description = file.metadata() or {}
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        except (SafetensorError, OSError) as error:
            raise ValueError(f"reference style {path}: is no safetensors file, or is damaged or truncated") from error
        if description.get("format") != FORMAT:
            raise ValueError(f"reference style {path}: holds no reference style of format {FORMAT}; make it anew with encode_reference")
        try:
            shares = tensors.pop("shares")
            keys = sorted({name.rpartition(".")[0] for name in tensors})
            statistics = {key: Statistics(tensors[f"{key}.mean"], tensors[f"{key}.spread"]) for key in keys}
            labels, feather = (json.loads(description[name]) for name in ("labels", "feather"))
            return cls(description["matching"], statistics, tuple(labels), shares, feather)
        except (KeyError, ValueError, TypeError) as error:
            raise ValueError(f"reference style {path}: is damaged; make it anew with encode_reference") from error


def mix_styles(styles: Sequence[ReferenceStyle], weights: Sequence[float] | None = None) -> ReferenceStyle:
    """Several references at once: their statistics in the shares of `weights` (Huang and Belongie, ICCV 2017, equation 15).

    Means and spreads are mixed linearly, which is the same as mixing the matched features. A region is mixed from the references that
    have it.

    Args:
        styles: of the same network, at the same sites.
        weights: one for each style, none negative; equal if left out. They are divided by their sum.

    Raises:
        ValueError: for weights that do not fit, are negative or sum to 0, and for styles of different networks or feathers.
    """
    shares_of_all = _normalize(weights, len(styles))
    labels = tuple(sorted({label for style in styles for label in style.labels}))
    batch = max(map(len, styles))
    aligned = [_align(style, labels, batch, styles[0]) for style in styles]
    shares = torch.stack([style.shares for style in aligned])
    given = torch.tensor(shares_of_all, dtype=shares.dtype, device=shares.device).view(-1, 1, 1)
    # a reference of weight 0 lends no region
    shares = torch.where(given > 0, shares, 0.0)
    of_regions = given * (shares > 0)
    of_regions = of_regions / of_regions.sum(0).clamp(min=torch.finfo(torch.float32).tiny)
    slots = torch.cat((given.expand(-1, batch, 1), of_regions), dim=2)

    def mix(tensors: list[Tensor]) -> Tensor:
        stacked = torch.stack(tensors)
        return (slots.view(*slots.shape, *[1] * (stacked.ndim - slots.ndim)) * stacked).sum(0)

    mixed = {
        key: Statistics(*(mix(list(parts)) for parts in zip(*(style.statistics[key] for style in aligned), strict=True)))
        for key in styles[0].statistics
    }
    return ReferenceStyle(styles[0].matching, mixed, labels, shares.amax(0), _common_feather(styles))


def stack_styles(styles: Sequence[ReferenceStyle]) -> ReferenceStyle:
    """One batch of several, a reference for each target.

    Raises:
        ValueError: for styles of different networks or feathers.
    """
    labels = tuple(sorted({label for style in styles for label in style.labels}))
    aligned = [_align(style, labels, len(style), styles[0]) for style in styles]
    statistics = {
        key: Statistics(*(torch.cat(parts) for parts in zip(*(style.statistics[key] for style in aligned), strict=True)))
        for key in styles[0].statistics
    }
    shares = torch.cat([style.shares for style in aligned])
    return ReferenceStyle(styles[0].matching, statistics, labels, shares, _common_feather(styles))


def assign_regions(default: ReferenceStyle, regions: Mapping[int, ReferenceStyle]) -> ReferenceStyle:
    """A different reference for each region of the target.

    Args:
        default: for the pixels of all other labels.
        regions: by the target's label; a style that knows this label lends that region's statistics, any other those of its whole picture.

    Raises:
        ValueError: for labels that are none, and styles of different networks or feathers.
    """
    for label in regions:
        if not 0 <= label < VOID:
            raise ValueError(f"regions: {label} is no label; labels are 0 to {VOID - 1}, and {VOID} is a pixel without one")
    labels = tuple(sorted({*default.labels, *regions}))
    styles = (default, *regions.values())
    batch = max(map(len, styles))
    result = replace(_align(default, labels, batch, default), feather=_common_feather(styles))
    for label, style in regions.items():
        lent = _align(style, labels, batch, default)
        slot = labels.index(label) + 1
        for key, statistics in result.statistics.items():
            for own, other in zip(statistics, lent.statistics[key], strict=True):
                own[:, slot] = other[:, slot]
        result.shares[:, slot - 1] = lent.shares[:, slot - 1] if label in style.labels else torch.inf
    return result


def _normalize(weights: Sequence[float] | None, count: int) -> list[float]:
    if not count:
        raise ValueError("references: none is given")
    weights = [1.0] * count if weights is None else list(weights)
    if len(weights) != count:
        raise ValueError(f"weights={weights}: {count} references need {count} weights")
    for weight in weights:
        check_range("weights", weight, low=0)
    largest = max(weights)
    if not largest > 0:
        raise ValueError(f"weights={weights} must sum to something positive")
    shares = [weight / largest for weight in weights]
    return [share / sum(shares) for share in shares]


def _common_feather(styles: Sequence[ReferenceStyle]) -> int | None:
    feathers = {style.feather for style in styles if style.feather is not None}
    if len(feathers) > 1:
        raise ValueError(f"references: their regions were measured with feather {sorted(feathers)}; encode them with the same")
    return next(iter(feathers), None)


def _align(style: ReferenceStyle, labels: tuple[int, ...], batch: int, like: ReferenceStyle) -> ReferenceStyle:
    """With a slot for each of these labels, of share 0 where the style lacks it, and for so many references; a copy."""
    shapes = [{key: value.spread.shape[2:] for key, value in one.statistics.items()} for one in (style, like)]
    if style.matching != like.matching or shapes[0] != shapes[1]:
        raise ValueError(
            "references: their statistics come from different networks or other stage.matching or stage.sites; encode them with one network"
        )
    if len(style) not in (1, batch):
        raise ValueError(f"references: a batch of {len(style)} cannot be combined with one of {batch}")
    slots = [style.labels.index(label) + 1 if label in style.labels else 0 for label in labels]
    # a share for slot 0 too, so that missing labels have one to take
    shares = torch.cat((style.shares.new_zeros(len(style), 1), style.shares), dim=1)
    statistics = {
        key: Statistics(*(tensor[:, [0, *slots]].expand(batch, *[-1] * (tensor.ndim - 1)).clone() for tensor in value))
        for key, value in style.statistics.items()
    }
    return ReferenceStyle(style.matching, statistics, labels, shares[:, slots].expand(batch, -1).clone())
