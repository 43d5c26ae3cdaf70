"""One evaluation: pairs, measurements, tables, gallery, figures, page."""

import json
import logging
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import FrameType
from typing import Any

import pandas as pd
import torch
from rich.console import Console

from datamodules import make_data_module
from datamodules.config import DataConfig, MixConfig
from evaluation.batches import PairBatches, make_batches
from evaluation.checkpoints import NamedCheckpoint
from evaluation.config import EvaluationConfig
from evaluation.curves import copy_curves
from evaluation.dashboards import Dashboard
from evaluation.feature_extractors import LEFT_OUT
from evaluation.figures import FIGURES, figure_function
from evaluation.figures.context import DIRECTORY as FIGURES_DIRECTORY
from evaluation.figures.context import FigureContext, check_figures, save_figure
from evaluation.gallery import DIRECTORY as GALLERY
from evaluation.gallery import METRIC, draw_gallery
from evaluation.methods import Method
from evaluation.pairs import Pair, PictureTable, make_pairs, read_pairs, write_pairs
from evaluation.parts import missing_parts, read_parts, remove_parts
from evaluation.run_directory import CHECKPOINTS_FILE, LOG_FILE, PAIRS_FILE, REPORT_FILE, is_complete, start_evaluation
from evaluation.runner import Job, Measurer, make_fabric, measure_batches
from evaluation.tables import (
    COSTS,
    POINTS,
    SUMMARY,
    cost_table,
    frechet_distances,
    picture_table,
    points_table,
    summary_table,
    write_notes,
    write_pictures,
    write_table,
)
from evaluation.terminal import print_summary
from stylecolor.cache_directory import cache_directory
from stylecolor.errors import name_few
from stylecolor.reports import render_report
from stylecolor.whole_file import remove_stale_parts, written_whole
from training.job import quieten_lightning
from training.loggers import close_loggers
from training.outcomes import Interrupted
from training.run_log import log_to

SIGNALS = (signal.SIGINT, signal.SIGTERM)
WIDTH_OF_LOGS = 140
"""Columns of the terminal's tables where there is no terminal."""

log = logging.getLogger(__name__)


def run_evaluation(config: EvaluationConfig, checkpoints: Sequence[NamedCheckpoint], directory: Path) -> None:
    """Evaluate as configured into a directory, or go on there.

    Raises:
        ValueError: for whatever the user can mend; the traceback is in evaluate.log.
        Interrupted: after Ctrl-C or SIGTERM; what was measured is kept.
    """
    if config.resume is None:
        start_evaluation(directory, config)
    for written in (directory, directory / GALLERY, directory / FIGURES_DIRECTORY):
        remove_stale_parts(written)
    log_to(directory / LOG_FILE)
    try:
        if is_complete(directory):
            log.info("%s is complete: nothing is left to measure", directory)
            return
        with _stoppable():
            _evaluate(config, checkpoints, directory)
    except Interrupted as interrupted:
        log.info("stopped by %s; go on with: python evaluate.py resume=%s", interrupted, directory)
        raise
    except ValueError as error:
        if "in DataLoader worker process" not in str(error):
            raise
        # what the worker said stands last, below its traceback
        raise ValueError(str(error).strip().splitlines()[-1].removeprefix("ValueError: ")) from error
    except torch.OutOfMemoryError as error:
        raise ValueError("the device is out of memory; use a smaller data.batch_size, or data.image_size") from error
    finally:
        error = sys.exception()
        if isinstance(error, Exception):
            log.error("the evaluation failed", exc_info=True)
        close_loggers(failed=error is not None)


@contextmanager
def _stoppable() -> Iterator[None]:
    """Ctrl-C and SIGTERM raise `Interrupted`."""

    def stop(number: int, frame: FrameType | None) -> None:
        raise Interrupted(number)

    previous = {number: signal.signal(number, stop) for number in SIGNALS}
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


def _evaluate(config: EvaluationConfig, checkpoints: Sequence[NamedCheckpoint], directory: Path) -> None:
    quieten_lightning()
    _warn_of_ignored(config)
    _check_unchanged(checkpoints, directory)
    fabric = make_fabric(config)
    measurer = Measurer(config, checkpoints, fabric.device)
    _check_measures(config, measurer)
    table = _open_pictures(config)
    pairs = _make_pairs(config, table, directory)
    _check_methods(config, measurer.methods, pairs)
    batches = make_batches(pairs, config.data.batch_size)
    reader = PairBatches(batches, table, config.seed)
    runs = {checkpoint.name: checkpoint.run for checkpoint in checkpoints}
    context = FigureContext(config, measurer.loaded, runs, pairs, reader, fabric.device)
    check_figures(context)
    dashboard = Dashboard(config, directory)
    log.info("run directory: %s", directory)
    for checkpoint in checkpoints:
        log.info("checkpoint %s: %s", checkpoint.name, checkpoint.source)

    missing = missing_parts(directory, len(batches), measurer.names, measurer.set_metrics is not None)
    if len(missing) < len(batches):
        log.info("%d of %d batches are measured already", len(batches) - len(missing), len(batches))
    if missing:
        # other processes do not wait for what cannot be fetched again
        left_out = {f"{name}_weights": LEFT_OUT for name in measurer.unavailable}
        job = Job(replace(config, **left_out), directory, list(checkpoints), table, [batches[number] for number in missing])
        measure_batches(fabric, job, measurer)

    parts = read_parts(directory, len(batches))
    pictures = picture_table(pairs, measurer.methods, measurer.names, parts)
    distances = {}
    if measurer.set_metrics is not None:
        distances = frechet_distances(measurer.set_metrics, pairs, batches, measurer.methods, parts)
    summary = summary_table(pictures, distances, config.seed)
    costs = cost_table(measurer.methods, parts)
    write_pictures(pictures, directory)
    write_table(summary, directory / SUMMARY)
    write_table(costs, directory / COSTS)
    tables = {"summary": summary, "costs": costs, "pictures": pictures}
    if config.points:
        tables["points"] = points_table(parts, config.seed)
        write_table(tables["points"], directory / POINTS)
    write_notes(directory, measurer.unavailable, measurer.feature_extractors, len(set(pictures["target"])))
    copy_curves(checkpoints, directory)

    strips = []
    if config.gallery and METRIC in measurer.names:
        strips = draw_gallery(pictures, pairs, measurer.methods, reader, config, fabric.device, directory)
    figures = _draw_figures(replace(context, points=tables.get("points")), directory)
    dashboard.show_tables(tables, summary)
    dashboard.show_pictures("gallery", strips)
    dashboard.show_pictures("figures", figures)
    _finish(summary, [method.name for method in measurer.methods if method.is_oracle], directory)


def _warn_of_ignored(config: EvaluationConfig) -> None:
    ignored = {}
    default = type(config.data)()
    for name in ("references", "top_k"):
        if getattr(config.data, name) != getattr(default, name):
            ignored[f"data.{name}"] = "protocols say which references are used"
    if config.data.label_maps != "none" and not _shows_regions(config):
        ignored["data.label_maps"] = "whole pictures are matched"
    if config.gallery and config.metrics is not None and METRIC not in config.metrics:
        ignored["gallery"] = f"its pictures are ordered by {METRIC}, which metrics leaves out"
    if config.pairs is not None:
        fresh = EvaluationConfig()
        ignored |= {name: "pairs names them" for name in ("protocols", "limit") if getattr(config, name) != getattr(fresh, name)}
    for name, why in ignored.items():
        log.warning("%s is ignored: %s", name, why)


def _check_measures(config: EvaluationConfig, measurer: Measurer) -> None:
    """Refuse an evaluation that would measure nothing of what was asked for.

    Raises:
        ValueError: when no metric can be had, and for `points` without a colorizer that takes hints.
    """
    if not measurer.names and measurer.set_metrics is None:
        reasons = "; ".join(f"{name}: {reason}" for name, reason in measurer.unavailable.items())
        raise ValueError(f"metrics: none of them is available here ({reasons})")
    if config.points and not any(checkpoint.takes_hints for checkpoint in measurer.loaded):
        raise ValueError("points: needs a checkpoint of stage=joint or colorizer whose network takes hints; name one with checkpoint=FILE")


def _check_methods(config: EvaluationConfig, methods: Sequence[Method], pairs: Sequence[Pair]) -> None:
    """Warn of chosen methods that nothing is measured of.

    Raises:
        ValueError: when that is all of them.
    """
    protocols = list(dict.fromkeys(pair.protocol for pair in pairs))
    idle = [method.name for method in methods if not any(map(method.takes_part, protocols))]
    why = f"not measured in protocols={','.join(protocols)}: auto has only gray and colorizer, and reconstruction is of self"
    if len(idle) == len(methods):
        raise ValueError(f"methods={','.join(idle)}: {why}; choose other protocols or methods")
    if idle and config.methods is not None:
        log.warning("%s: %s", name_few(idle), why)


def _check_unchanged(checkpoints: Sequence[NamedCheckpoint], directory: Path) -> None:
    """Keep what the checkpoints are, so that no evaluation goes on with others.

    Raises:
        ValueError: when one has changed since.
    """
    file = directory / CHECKPOINTS_FILE
    found = {checkpoint.name: {"source": checkpoint.source, "sha256": checkpoint.digest()} for checkpoint in checkpoints}
    if not file.is_file():
        with written_whole(file) as aside:
            aside.write_text(json.dumps(found, indent=2))
        return
    try:
        known = json.loads(file.read_text())
    except ValueError as error:
        raise ValueError(f"resume={directory}: {file} is damaged; start a new evaluation") from error
    changed = [checkpoint.source for checkpoint in checkpoints if known.get(checkpoint.name) != found[checkpoint.name]]
    if changed:
        raise ValueError(f"resume={directory}: {name_few(changed)} changed since the evaluation began; start a new one")


def _open_pictures(config: EvaluationConfig) -> PictureTable:
    """The pictures of the split.

    Raises:
        ValueError: for data that cannot be read, and a split that there is not.
    """
    data = make_data_module(_data_without_references(config.data, _shows_regions(config)), config.seed)
    if not data.has_split(config.split):
        raise ValueError(f"split={config.split}: data={config.data.name} has no such split; use {' or '.join(data.splits())}")
    data.prepare_splits([config.split])
    return PictureTable(data.datasets[config.split])


def _shows_regions(config: EvaluationConfig) -> bool:
    return any(FIGURES[name].shows_regions for name in config.figures)


def _data_without_references(data: DataConfig, keep_label_maps: bool) -> DataConfig:
    """With every picture a target, whatever references there are."""
    changes: dict[str, Any] = {"references": "self"}
    if not keep_label_maps:
        changes["label_maps"] = "none"
    if isinstance(data, MixConfig):
        changes["sources"] = [{name: value for name, value in source.items() if name not in changes} for source in data.sources]
    return replace(data, **changes)


def _make_pairs(config: EvaluationConfig, table: PictureTable, directory: Path) -> list[Pair]:
    """Those of the evaluation that goes on, those that are given, or new ones; written to pairs.csv.

    Raises:
        ValueError: for a pair list that does not fit, and fewer than two pictures.
    """
    file = directory / PAIRS_FILE
    if file.is_file():
        pairs = read_pairs(file, table, "resume")
    elif config.pairs is not None:
        pairs = read_pairs(Path(config.pairs), table)
    else:
        cache = cache_directory(config.data.cache_dir)
        pairs = make_pairs(table.dataset, config.protocols, config.limit, config.seed, cache)
    for protocol in dict.fromkeys(pair.protocol for pair in pairs):
        targets = {pair.target for pair in pairs if pair.protocol == protocol}
        if len(targets) < 2:
            raise ValueError(f"protocol {protocol} has only {len(targets)} picture: an interval needs at least 2; evaluate more pictures")
    write_pairs(file, pairs)
    return pairs


def _draw_figures(context: FigureContext, directory: Path) -> list[tuple[str, Path]]:
    drawn = []
    for name in context.config.figures:
        figure = figure_function(name)(name, context)
        drawn.append((figure.caption, save_figure(name, figure, directory)))
    return drawn


def _finish(summary: pd.DataFrame, oracles: Sequence[str], directory: Path) -> None:
    """Make the page and say where everything is; what was measured is in the tables now."""
    page = render_report(directory, directory / REPORT_FILE)
    remove_parts(directory)
    # a log file has no width of its own; at the usual 80 columns the headings would be cut
    console = Console() if sys.stdout.isatty() else Console(width=WIDTH_OF_LOGS)
    print_summary(summary, oracles, console)
    console.print(f"page: {page}", soft_wrap=True)
    console.print(f"tables and pictures: {directory}", soft_wrap=True)
