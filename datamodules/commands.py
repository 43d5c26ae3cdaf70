"""`python -m datamodules prepare` and `inspect`: a data set's cache, and a page and a summary that show what is in it."""

import logging
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from rich import box
from rich.console import Console
from rich.table import Table

from training.composition import compose_data

if TYPE_CHECKING:
    import numpy as np

    from datamodules.base import PictureDataModule
    from datamodules.survey import SplitSurvey


def prepare_command(overrides: Sequence[str]) -> None:
    """Build what training would build at its start, and say where it is and what was left out.

    Raises:
        ValueError: for whatever the user can mend.
    """
    module = _prepared_module(overrides)
    # these seconds of imports are spent only once the settings are known to be good
    from datamodules.cache import readable_size
    from datamodules.survey import cache_directories
    from stylecolor.cache_directory import cache_directory

    console = _console()
    _print_splits(console, module)
    for directory in sorted(cache_directories(module)):
        console.print(f"pictures: {directory} ({readable_size(_bytes_below(directory))})", soft_wrap=True)
    cache = cache_directory(module.config.cache_dir)
    console.print(f"cache: {cache} ({readable_size(_bytes_below(cache))} with what other data sets and settings left)", soft_wrap=True)


def inspect_command(overrides: Sequence[str], output: Path) -> None:
    """Write the page and print its summary.

    Raises:
        ValueError: for whatever the user can mend.
    """
    if output.is_dir() or not output.parent.is_dir() or not os.access(output.parent, os.W_OK):
        raise ValueError(f"--output={output}: cannot be written; name a file in a directory of yours")
    module = _prepared_module(overrides)
    from datamodules.inspection import write_page
    from datamodules.survey import survey

    splits = survey(module)
    try:
        write_page(output, module.config, module.seed, splits)
    except OSError as error:
        raise ValueError(f"--output={output}: {error.strerror or error}") from error
    console = _console()
    _print_splits(console, module)
    _print_categories(console, splits)
    _print_measures(console, splits)
    _print_references(console, splits)
    console.print(f"page: {output} ({output.stat().st_size / 1e6:.1f} MB)", soft_wrap=True)


def _prepared_module(overrides: Sequence[str]) -> "PictureDataModule":
    config, seed = compose_data(overrides)
    from datamodules import make_data_module

    module = make_data_module(config, seed)
    with _messages_on_terminal():
        module.prepare_data()
    return module


@contextmanager
def _messages_on_terminal() -> Iterator[None]:
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(message)s"))
    # the summary says in full what the data module warns of
    handler.addFilter(lambda record: record.name != "datamodules.base")
    log = logging.getLogger("datamodules")
    level = log.level
    log.setLevel(logging.INFO)
    log.addHandler(handler)
    try:
        yield
    finally:
        log.removeHandler(handler)
        log.setLevel(level)


def _console() -> Console:
    return Console(highlight=False)


def _bytes_below(directory: Path) -> int:
    return sum(file.stat().st_size for file in directory.rglob("*") if file.is_file())


def _table(title: str, first: Sequence[str], numbers: Sequence[str]) -> Table:
    table = Table(title=title, title_justify="left", title_style="bold", box=box.SIMPLE_HEAD, pad_edge=False)
    for name in first:
        table.add_column(name, overflow="fold")
    for name in numbers:
        table.add_column(name, justify="right")
    return table


def _print_splits(console: Console, module: "PictureDataModule") -> None:
    from datamodules.survey import left_out, parts_of
    from stylecolor.errors import name_few

    table = _table(f"data={module.config.name}", ("split",), ("pictures used", "left out"))
    reasons = _table("Left out", ("split", "reason"), ("how many",))
    reasons.add_column("which", overflow="fold")
    for split in module.splits():
        left = left_out(module, split)
        table.add_row(split, str(sum(len(dataset) for _, dataset in parts_of(module, split))), str(sum(map(len, left.values()))))
        for reason, names in left.items():
            reasons.add_row(split, reason, str(len(names)), name_few(names, limit=3))
    console.print(table)
    if reasons.row_count:
        console.print(reasons)


def _print_categories(console: Console, splits: "Sequence[SplitSurvey]") -> None:
    from datamodules.inspection import category_rows

    rows, rest = category_rows(splits)
    table = _table("Categories: instances / pictures", ("category",), [split.name for split in splits])
    for row in [*rows, *([rest] if rest else [])]:
        table.add_row(row.name, *(f"{instances} / {pictures}" for instances, pictures in row.counts))
    console.print(table)


def _print_measures(console: Console, splits: "Sequence[SplitSurvey]") -> None:
    table = _table("Median (10 % to 90 %)", ("",), [split.name for split in splits])

    def spread(values: "np.ndarray", digits: int = 0) -> str:
        import numpy as np

        if not len(values):
            return "-"
        tenth, middle, ninetieth = np.percentile(values, (10, 50, 90))
        return f"{middle:.{digits}f} ({tenth:.{digits}f} to {ninetieth:.{digits}f})"

    table.add_row("width, px", *(spread(split.sizes[:, 0]) for split in splits))
    table.add_row("height, px", *(spread(split.sizes[:, 1]) for split in splits))
    table.add_row("width / height", *(spread(split.sizes[:, 0] / split.sizes[:, 1], 2) for split in splits))
    table.add_row("range of a plus range of b", *(spread(split.color_ranges) for split in splits))
    table.add_row("mean chroma", *(spread(split.chroma) for split in splits))
    for kind in dict.fromkeys(kind for split in splits for kind in split.distances if kind != "self"):
        found = (spread(split.distances[kind], 2) if kind in split.distances else "-" for split in splits)
        table.add_row(f"distance of {kind} reference", *found)
    console.print(table)


def _print_references(console: Console, splits: "Sequence[SplitSurvey]") -> None:
    table = _table("References of epoch 0 (other pictures than their targets)", ("split",), ("targets", "different references"))
    table.add_column("most used", overflow="fold")
    for split in splits:
        most = ", ".join(f"{used.name} ({used.times} times)" for used in split.most_used[:3])
        table.add_row(split.name, str(len(split.all_distances)), str(split.references), most)
    console.print(table)
