"""What a look at a data set finds, split by split: numbers to sum up and pictures to look at."""

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Int64, UInt8

from datamodules.base import PictureDataModule
from datamodules.batch import Batch, collate
from datamodules.dataset import PictureDataset
from datamodules.mix import MixDataModule
from datamodules.pictures import READ_ERRORS, read_size
from stylecolor.color import rgb_to_lab

HEADERS = 2000
"""So many pictures of a split are opened for their sizes."""
CHROMA_PICTURES = 500
"""So many pictures of a split are read for their mean chroma."""
DRAWS = 20_000
"""For so many targets of a split the reference of epoch 0 is drawn."""
PAIRS = 24
"""Targets of a split on its contact sheet."""
MOST_USED = 8
"""References whose use is told one by one."""
_CHROMA_STEP = 8
"""Of the rows and columns of a picture, every so many are looked at."""
_CHUNK = 4096


@dataclass
class Pair:
    """A target and its reference as the networks see them in epoch 0, with label maps and the names of their numbers if there are any."""

    target_name: str
    reference_name: str
    kind: str
    distance: float
    target: UInt8[np.ndarray, "size size 3"]
    reference: UInt8[np.ndarray, "size size 3"]
    target_labels: UInt8[np.ndarray, "size size"] | None
    reference_labels: UInt8[np.ndarray, "size size"] | None
    label_names: dict[int, str]


@dataclass
class UsedReference:
    """A picture and for how many targets it is the reference."""

    name: str
    times: int
    pixels: UInt8[np.ndarray, "height width 3"]


@dataclass
class SplitSurvey:
    """A split.

    `left_out` are names by reason; `categories` (instances, pictures) by name; `sizes` the files' width and height, `color_ranges` range
    of a plus range of b and `chroma` the mean chroma, both of pictures at network size and in Lab units; `distances` those of the palettes
    of target and reference, by the kind of the reference. Sizes, chroma and references may be those of some evenly chosen pictures.
    """

    name: str
    used: int
    left_out: dict[str, list[str]]
    categories: dict[str, tuple[int, int]]
    sizes: Int64[np.ndarray, "pictures 2"]
    color_ranges: Float[np.ndarray, " pictures"]
    chroma: Float[np.ndarray, " pictures"]
    distances: dict[str, Float[np.ndarray, " targets"]]
    references: int
    most_used: list[UsedReference]
    pairs: list[Pair]

    @cached_property
    def all_distances(self) -> Float[np.ndarray, " targets"]:
        """Of the references that are other pictures than their targets."""
        return np.concatenate([np.zeros(0), *(found for kind, found in self.distances.items() if kind != "self")])

    @property
    def draws(self) -> int:
        """How many references were drawn."""
        return sum(map(len, self.distances.values()))


def survey(module: PictureDataModule, pairs: int = PAIRS) -> list[SplitSurvey]:
    """Look at every split of a data module that is prepared."""
    return [_survey_split(module, split, pairs) for split in module.splits()]


def left_out(module: PictureDataModule, split: str) -> dict[str, list[str]]:
    """The pictures and annotations of a split that are not used, by the reason, the most frequent first."""
    found: dict[str, list[str]] = defaultdict(list)
    for (of, name), why in module.skipped.items():
        if of == split:
            # numbers are the entry's own: "is 3 x 4 px" and "is 5 x 6 px" are one reason
            found[re.sub(r"\d+", "N", why)].append(name)
    return dict(sorted(found.items(), key=lambda item: -len(item[1])))


def parts_of(module: PictureDataModule, split: str) -> list[tuple[PictureDataModule, PictureDataset]]:
    """The data sets of a split with the modules they come from: one, or those of a mix."""
    if isinstance(module, MixDataModule):
        return [found for part in module.parts if part.has_split(split) for found in parts_of(part, split)]
    dataset = module.datasets[split]
    assert isinstance(dataset, PictureDataset)
    return [(module, dataset)]


def evenly(count: int, limit: int) -> Int64[np.ndarray, " chosen"]:
    """At most `limit` of `count` positions, evenly spaced."""
    return np.unique(np.linspace(0, count - 1, min(count, limit)).round().astype(np.int64))


def _survey_split(module: PictureDataModule, split: str, pairs: int) -> SplitSurvey:
    parts = parts_of(module, split)
    total = sum(len(dataset) for _, dataset in parts)
    shares = [len(dataset) / total for _, dataset in parts]
    draws = [_draw(dataset, round(DRAWS * share)) for (_, dataset), share in zip(parts, shares, strict=True)]
    distances: dict[str, list[float]] = {kind: [] for _, dataset in parts for kind in dataset.references.kinds}
    for drawn in draws:
        for kind, distance in zip(drawn.kinds, drawn.distances, strict=True):
            distances[kind].append(distance)
    used = Counter({(part, int(index)): times for part, drawn in enumerate(draws) for index, times in drawn.use.items()})
    return SplitSurvey(
        name=split,
        used=total,
        left_out=left_out(module, split),
        categories=_count_categories(parts),
        sizes=np.concatenate([_read_sizes(dataset, round(HEADERS * share)) for (_, dataset), share in zip(parts, shares, strict=True)]),
        color_ranges=np.concatenate([dataset.prepared.color_ranges[dataset.targets] for _, dataset in parts]),
        chroma=np.concatenate(
            [_measure_chroma(dataset, round(CHROMA_PICTURES * share)) for (_, dataset), share in zip(parts, shares, strict=True)]
        ),
        distances={kind: np.array(values) for kind, values in distances.items() if values},
        references=len(used),
        most_used=[_used_reference(parts[part][1], index, times) for (part, index), times in used.most_common(MOST_USED)],
        pairs=[
            pair
            for (part, dataset), share in zip(parts, shares, strict=True)
            for pair in _show_pairs(module, part, dataset, split, max(1, round(pairs * share)))
        ],
    )


def _count_categories(parts: Sequence[tuple[PictureDataModule, PictureDataset]]) -> dict[str, tuple[int, int]]:
    found: dict[str, tuple[int, int]] = {}
    for _, dataset in parts:
        pictures = dataset.prepared.pictures
        table = pictures.categories[dataset.targets].tocsc()
        instances, shown = np.asarray(table.sum(axis=0)).ravel(), np.diff(table.indptr)
        for name, count, present in zip(pictures.category_names, instances, shown, strict=True):
            if present:
                # pictures that lie in no directory of their own have the class "."
                found[dataset.prefix + ("(no directory)" if name == "." else name)] = (int(count), int(present))
    return found


def _read_sizes(dataset: PictureDataset, limit: int) -> Int64[np.ndarray, "pictures 2"]:
    pictures = dataset.prepared.pictures
    sizes = []
    for position in evenly(len(dataset), limit):
        path = pictures.path(int(dataset.targets[position]))
        try:
            sizes.append(read_size(path))
        except READ_ERRORS as error:
            raise ValueError(f"data.root: {path} could be read before and cannot be read now ({error})") from error
    return np.array(sizes, dtype=np.int64).reshape(-1, 2)


def _measure_chroma(dataset: PictureDataset, limit: int) -> Float[np.ndarray, " pictures"]:
    chosen = dataset.targets[evenly(len(dataset), limit)]
    read = [dataset.prepared.read(int(index))[0][::_CHROMA_STEP, ::_CHROMA_STEP].reshape(-1, 3) for index in chosen]
    # all pixels in one row: the conversion looks at each alone
    rgb = torch.from_numpy(np.concatenate(read)).T[None, :, None].float() / 255
    chroma = rgb_to_lab(rgb)[0, 1:, 0].square().sum(dim=0).sqrt().numpy()
    return np.array([part.mean() for part in np.split(chroma, np.cumsum([len(pixels) for pixels in read])[:-1])])


@dataclass
class _Drawn:
    """The references of some targets in epoch 0; `use` counts those that are other pictures."""

    kinds: list[str]
    distances: Float[np.ndarray, " targets"]
    use: Counter[int]


def _draw(dataset: PictureDataset, limit: int) -> _Drawn:
    targets = dataset.targets[evenly(len(dataset), limit)]
    drawn = [dataset.references.draw(0, int(index)) for index in targets]
    lenders = np.array([reference for reference, _ in drawn], dtype=np.int64)
    return _Drawn([kind for _, kind in drawn], _palette_distances(dataset, targets, lenders), Counter(lenders[lenders != targets].tolist()))


def _palette_distances(dataset: PictureDataset, targets: np.ndarray, lenders: np.ndarray) -> Float[np.ndarray, " targets"]:
    """See `stylecolor.palette.palette_descriptor`; those of whole pictures, not of their crops."""
    rows = np.unique(np.concatenate((targets, lenders)))
    known = dataset.references.descriptors
    descriptors = dataset.prepared[rows].descriptors() if known is None else np.asarray(known[rows])
    found = [np.zeros(0)]
    for start in range(0, len(targets), _CHUNK):
        ends = (np.searchsorted(rows, part[start : start + _CHUNK]) for part in (targets, lenders))
        first, second = (descriptors[end].astype(np.float32) for end in ends)
        found.append(np.linalg.norm(first - second, axis=1))
    return np.concatenate(found)


def _used_reference(dataset: PictureDataset, index: int, times: int) -> UsedReference:
    pixels = dataset.prepared.read(index)[0]
    side = min(pixels.shape[:2])
    top, left = (pixels.shape[0] - side) // 2, (pixels.shape[1] - side) // 2
    return UsedReference(dataset.prefix + str(dataset.prepared.pictures.paths[index]), times, pixels[top : top + side, left : left + side])


def _show_pairs(module: PictureDataModule, part: PictureDataModule, dataset: PictureDataset, split: str, limit: int) -> Iterable[Pair]:
    """As the loader and `on_after_batch_transfer` of the module make them."""
    positions = evenly(len(dataset), limit)
    packed = collate([dataset[0, int(position)] for position in positions], random_crops=split == "train")
    batch = module.on_after_batch_transfer(packed, 0)
    targets = dataset.targets[positions]
    drawn = [dataset.references.draw(0, int(index)) for index in targets]
    distances = _palette_distances(dataset, targets, np.array([reference for reference, _ in drawn]))
    names = part.label_names()
    labels = _to_numpy(batch)
    for row, (reference, kind) in enumerate(drawn):
        yield Pair(
            target_name=batch.ids[row],
            reference_name=dataset.prefix + str(dataset.prepared.pictures.paths[reference]),
            kind=kind,
            distance=float(distances[row]),
            target=_to_pixels(batch.target_rgb[row]),
            reference=_to_pixels(batch.reference_rgb[row]),
            target_labels=labels[0][row],
            reference_labels=labels[1][row],
            label_names=names,
        )


def _to_numpy(batch: Batch) -> tuple[Sequence[np.ndarray | None], Sequence[np.ndarray | None]]:
    if batch.target_labels is None or batch.reference_labels is None:
        return [None] * len(batch), [None] * len(batch)
    return list(batch.target_labels.numpy()), list(batch.reference_labels.numpy())


def _to_pixels(rgb: torch.Tensor) -> UInt8[np.ndarray, "size size 3"]:
    return (rgb * 255).round().to(torch.uint8).permute(1, 2, 0).numpy()


def cache_directories(module: PictureDataModule) -> set[Path]:
    """Where in the cache the pictures of a module are that is prepared."""
    return {directory for split in module.splits() for _, dataset in parts_of(module, split) for directory in dataset.prepared.directories}
