"""Strips of the best, the median and the worst pictures, each method beside the other."""

import csv
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from PIL import Image
from torch import Tensor
from torch.nn.functional import interpolate

from evaluation.batches import PairBatches, to_pictures
from evaluation.config import EvaluationConfig
from evaluation.methods import Method
from evaluation.pairs import Pair
from stylecolor.color import gray_rgb
from stylecolor.whole_file import written_whole

DIRECTORY = "gallery"
INDEX = "index.csv"
ORDERS = ("best", "median", "worst")
METRIC = "ciede2000"
_PREFERRED = ("both", "transfer", "colorizer")
_MARGIN = 4
"""px of white between pictures."""


def main_method(methods: Sequence[Method], pictures: pd.DataFrame) -> Method | None:
    """The method by which a protocol's pictures are ordered: both sub-nets of the first checkpoint, else what it can do, else the
    training-free one with the lowest mean difference; None where nothing takes part."""
    there = [method for method in methods if method.name in set(pictures["method"])]
    for kind in _PREFERRED:
        found = next((method for method in there if method.kind == kind), None)
        if found is not None:
            return found
    means = pictures.groupby("method")[METRIC].mean()
    return min((method for method in there if not method.is_oracle), key=lambda method: means[method.name], default=None)


def choose_places(scores: Sequence[float], count: int) -> dict[str, list[int]]:
    """The places of the lowest scores, of those in the middle and of the highest, worst first; none of them is NaN."""
    order = [int(place) for place in np.argsort(scores, kind="stable")]
    count = min(count, len(order))
    middle = (len(order) - count) // 2
    return dict(zip(ORDERS, (order[:count], order[middle : middle + count], order[::-1][:count]), strict=True))


def draw_gallery(
    pictures: pd.DataFrame,
    pairs: Sequence[Pair],
    methods: Sequence[Method],
    batches: PairBatches,
    config: EvaluationConfig,
    device: torch.device,
    directory: Path,
) -> list[tuple[str, Path]]:
    """Colorize the chosen pairs again and write gallery/*.png and gallery/index.csv.

    Args:
        pictures: the table of pictures, with `METRIC`.
        pairs: the pair list.
        methods: all methods.
        batches: that read the pictures.
        config: of the evaluation.
        device: where to colorize.
        directory: of the evaluation.

    Returns:
        (caption, file) of each strip.
    """
    (directory / DIRECTORY).mkdir(exist_ok=True)
    rows, drawn = [], []
    for protocol, table in pictures.groupby("protocol", sort=False):
        main = main_method(methods, table)
        if main is None:
            continue
        scores = table.loc[table["method"] == main.name, METRIC].tolist()
        of_protocol = [pair for pair in pairs if pair.protocol == protocol]
        taking_part = [method for method in methods if method.takes_part(str(protocol))]
        chosen = choose_places(scores, config.gallery)
        places = sorted({place for section in chosen.values() for place in section})
        names, columns = _colorize([of_protocol[place] for place in places], taking_part, batches, config, device)
        for order, section in chosen.items():
            for rank, place in enumerate(section, start=1):
                pair, score = of_protocol[place], scores[place]
                file = f"{protocol}-{order}-{rank}.png"
                save_strip([column[places.index(place)] for column in columns], directory / DIRECTORY / file)
                rows.append((protocol, order, rank, pair.target, pair.reference or "", main.name, f"{score:.7g}", file, "|".join(names)))
                drawn.append((f"{protocol}, {order} {rank}: {pair.target}, {METRIC} {score:.2f}", directory / DIRECTORY / file))
    with written_whole(directory / DIRECTORY / INDEX) as aside, aside.open("w", newline="", errors="surrogateescape") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(("protocol", "order", "rank", "target", "reference", "method", "score", "file", "columns"))
        writer.writerows(rows)
    return drawn


def _colorize(
    pairs: Sequence[Pair], methods: Sequence[Method], batches: PairBatches, config: EvaluationConfig, device: torch.device
) -> tuple[list[str], list[Tensor]]:
    """The names of the columns, and each column's pictures, (pairs, 3, height, width), on the CPU."""
    size = config.data.image_size
    shown = [method for method in methods if method.kind != "gray"]
    parts: list[list[Tensor]] = []
    for start in range(0, len(pairs), config.data.batch_size):
        some = pairs[start : start + config.data.batch_size]
        _, given = to_pictures(batches.collate(some), some[0].protocol, size, device)
        reference = [] if given.reference_rgb is None else [interpolate(given.reference_rgb, (size, size), mode="bilinear")]
        columns = [gray_rgb(given.l), *reference, *(method(given) for method in shown), given.truth_rgb]
        parts.append([column.cpu() for column in columns])
    names = ["target", *(["reference"] if pairs[0].reference else []), *(method.name for method in shown), "truth"]
    return names, [torch.cat(column) for column in zip(*parts, strict=True)]


def save_strip(columns: Sequence[Tensor], path: Path) -> None:
    """Save pictures of one size, each (3, height, width) sRGB in [0, 1], side by side in equal columns."""
    pixels = [(column.clamp(0, 1) * 255).round().to(torch.uint8).permute(1, 2, 0).numpy() for column in columns]
    # the margin is part of a column, so that columns are equal shares of the strip
    padded = [np.pad(part, ((0, 0), (_MARGIN // 2, _MARGIN // 2), (0, 0)), constant_values=255) for part in pixels]
    with written_whole(path) as aside:
        Image.fromarray(np.concatenate(padded, axis=1)).save(aside, format="PNG")
