"""Which pictures are colorized with which references: the four protocols, and their list in a file."""

import csv
import logging
from collections.abc import Collection, Iterator, Sequence
from dataclasses import astuple, dataclass, fields
from pathlib import Path, PurePosixPath

import numpy as np
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import interpolate

from datamodules.dataset import ConcatenatedDataset, PictureDataset
from datamodules.references import References
from evaluation.choices import PROTOCOLS
from stylecolor.cache_directory import cache_directory
from stylecolor.errors import check_choice, did_you_mean, name_few
from stylecolor.whole_file import written_whole

OWN_REFERENCE_SHARE = 0.875
"""Of the sides of the target that its own reference shows."""

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Pair:
    """A target and the reference that lends it its colours; none in protocol auto."""

    protocol: str
    target: str
    reference: str | None


def own_reference(rgb: Float[Tensor, "batch 3 height width"]) -> Float[Tensor, "batch 3 height width"]:
    """The reference of protocol self: the picture mirrored, and 7/8 of its sides, from the middle, enlarged to its size."""
    height, width = rgb.shape[-2:]
    rows, columns = (round(side * OWN_REFERENCE_SHARE) for side in (height, width))
    top, left = (height - rows) // 2, (width - columns) // 2
    middle = rgb[..., top : top + rows, left : left + columns].flip(-1)
    return interpolate(middle, size=(height, width), mode="bilinear", align_corners=False)


def _parts(dataset: PictureDataset | ConcatenatedDataset) -> Sequence[PictureDataset]:
    return dataset.parts if isinstance(dataset, ConcatenatedDataset) else [dataset]


class PictureTable:
    """The pictures of a split by their ids: the paths in the data set, of a mix behind its prefixes."""

    def __init__(self, dataset: PictureDataset | ConcatenatedDataset) -> None:
        parts = _parts(dataset)
        self.dataset = dataset
        self._places = {part.prefix + str(path): (part, index) for part in parts for index, path in enumerate(part.prepared.pictures.paths)}

    def __iter__(self) -> Iterator[str]:
        return iter(self._places)

    def __len__(self) -> int:
        return len(self._places)

    def __contains__(self, id: object) -> bool:
        return id in self._places

    def read(self, id: str) -> np.ndarray:
        """The prepared picture, resized and uncropped: 8-bit sRGB, (height, width, 3)."""
        return self.read_with_labels(id)[0]

    def read_with_labels(self, id: str) -> tuple[np.ndarray, np.ndarray | None]:
        """The picture, and its label map, (height, width), where the data set was opened with them."""
        part, index = self.place(id)
        return part.prepared.read(index)

    def place(self, id: str) -> tuple[PictureDataset, int]:
        """The data set that holds the picture, and its row there."""
        return self._places[id]


def make_pairs(
    dataset: PictureDataset | ConcatenatedDataset,
    protocols: Sequence[str],
    limit: int | None,
    seed: int,
    cache: Path | None = None,
) -> list[Pair]:
    """Pairs for the first `limit` targets of a split, protocol by protocol, the same targets in each.

    References are of the target's own data set, and never of its group nor near-duplicates of it, see `datamodules.references`. A picture
    that has no reference in one of the protocols is left out of all, with a warning.

    Args:
        dataset: of the split.
        protocols: some of `evaluation.choices.PROTOCOLS`.
        limit: number of targets; None takes all.
        seed: of the draws of protocol random.
        cache: where groups and nearest palettes are kept; None takes the usual one.

    Raises:
        ValueError: for an unknown protocol, and when no picture has a reference in each of them.
    """
    for protocol in protocols:
        check_choice("protocols", protocol, PROTOCOLS)
    found: dict[str, list[Pair]] = {protocol: [] for protocol in protocols}
    alone: list[str] = []
    targets = 0
    for part in _parts(dataset):
        wanted = part.targets if limit is None else part.targets[: max(0, limit - targets)]
        if not len(wanted):
            continue
        finders = {
            protocol: References(part.prepared, {protocol: 1.0}, 1, seed, cache or cache_directory())
            for protocol in protocols
            if protocol in ("palette", "random")
        }
        targets += len(wanted)
        paired = np.all([np.ones(len(part.prepared), dtype=bool), *(finder.has_reference() for finder in finders.values())], axis=0)
        for index in wanted:
            id = part.prefix + str(part.prepared.pictures.paths[index])
            if not paired[index]:
                alone.append(id)
                continue
            for protocol in found:
                reference = {"self": id, "auto": None}.get(protocol)
                if protocol in finders:
                    drawn, _ = finders[protocol].draw(0, int(index))
                    reference = part.prefix + str(part.prepared.pictures.paths[drawn])
                found[protocol].append(Pair(protocol, id, reference))
    if alone:
        log.warning("left out %d pictures, which have no reference in each of %s: %s", len(alone), ", ".join(protocols), name_few(alone))
    if len(alone) == targets:
        raise ValueError(
            f"protocols={','.join(protocols)}: no picture has another one as its reference; evaluate more pictures or only self and auto"
        )
    return [pair for pairs in found.values() for pair in pairs]


def write_pairs(path: Path, pairs: Sequence[Pair]) -> None:
    """Write a pair list as CSV: protocol, target, reference (empty in protocol auto).

    Raises:
        OSError: when it cannot be written.
    """
    with written_whole(path) as aside, aside.open("w", newline="", encoding="utf-8", errors="surrogateescape") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(_COLUMNS)
        writer.writerows(("" if value is None else value for value in astuple(pair)) for pair in pairs)


def read_pairs(path: Path, known: Collection[str], setting: str = "pairs") -> list[Pair]:
    """Read a pair list that `write_pairs` has written.

    Args:
        path: the file.
        known: the ids of the pictures that there are, such as a `PictureTable`.
        setting: that names the file, for errors.

    Raises:
        ValueError: when the file is missing, is no pair list or an empty one, or a line names an unknown protocol, a picture that is not
            there or lies outside the data set, a reference where the protocol has none or the other way round, or repeats another line.
    """
    what = f"{setting}={path}"
    try:
        with path.open(newline="", encoding="utf-8", errors="surrogateescape") as file:
            reader = csv.reader(file, strict=True)
            rows = [(reader.line_num, row) for row in reader]
    except OSError as error:
        raise ValueError(f"{what}: cannot be read ({error.strerror or error})") from error
    except csv.Error as error:
        raise ValueError(f"{what}: is no CSV file ({error})") from error
    if not rows or tuple(rows[0][1]) != _COLUMNS:
        raise ValueError(f"{what}: is no pair list, whose first line is {','.join(_COLUMNS)}")
    pairs: dict[Pair, int] = {}
    for line, row in rows[1:]:
        pair = _check_row(row, known, f"{what}: line {line}")
        if pair in pairs:
            raise ValueError(f"{what}: line {line}: repeats line {pairs[pair]}")
        pairs[pair] = line
    if not pairs:
        raise ValueError(f"{what}: names no pairs")
    return list(pairs)


_COLUMNS = tuple(field.name for field in fields(Pair))


def _check_row(row: list[str], known: Collection[str], where: str) -> Pair:
    if len(row) != len(_COLUMNS):
        raise ValueError(f"{where}: has {len(row)} column(s) instead of {','.join(_COLUMNS)}")
    protocol, target, reference = row
    if protocol not in PROTOCOLS:
        raise ValueError(f"{where}: protocol {protocol!r} is not one of {', '.join(PROTOCOLS)}{did_you_mean(protocol, PROTOCOLS)}")
    for name, id in (("target", target), ("reference", reference)):
        if (name == "reference" and not id) or id in known:
            continue
        if id.startswith(("/", "\\")) or ".." in PurePosixPath(id.replace("\\", "/")).parts:
            raise ValueError(f"{where}: {name} {id!r} lies outside the data set")
        raise ValueError(f"{where}: {name} {id!r} is no picture of the data set's split{did_you_mean(id, known)}")
    if protocol == "auto" and reference:
        raise ValueError(f"{where}: protocol auto takes no reference, and this line names {reference!r}")
    if protocol == "self" and reference != target:
        raise ValueError(f"{where}: in protocol self the reference is the target itself, {target!r}, and not {reference!r}")
    if protocol in ("palette", "random") and reference in ("", target):
        raise ValueError(f"{where}: protocol {protocol} takes another picture than the target {target!r} as its reference")
    return Pair(protocol, target, reference or None)
