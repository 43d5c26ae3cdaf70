"""Colorizing and measuring: every process takes whole batches, and leaves a file for each."""

import logging
import multiprocessing
import resource
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from multiprocessing.context import SpawnProcess
from pathlib import Path
from typing import Any

import torch
from lightning.fabric import Fabric
from rich.console import Console
from rich.progress import Progress
from torch import Tensor
from torch.multiprocessing.spawn import ProcessExitedException, ProcessRaisedException
from torch.utils.data import DataLoader

from datamodules.batch import Batch, PictureBatch
from datamodules.workers import start_worker
from evaluation.batches import PairBatch, PairBatches, to_pictures
from evaluation.checkpoints import NamedCheckpoint
from evaluation.choices import METRICS
from evaluation.config import EvaluationConfig
from evaluation.feature_extractors import LPIPS_MINIMUM_SIDE
from evaluation.methods import Method, Pictures, make_methods, round_to_8_bits
from evaluation.metrics import PictureMetrics, mean_ab_error, psnr
from evaluation.networks import LoadedCheckpoint, load_checkpoints
from evaluation.pairs import PictureTable
from evaluation.parts import Part, write_part
from evaluation.revealed_points import random_patches
from evaluation.run_directory import LOG_FILE
from evaluation.set_metrics import SetMetrics
from stylecolor.color import join_lab
from stylecolor.randomness import make_key
from training.ranks import global_rank
from training.run_log import log_to

# here, since the processes that are started import this before they tell of themselves
for _name in ("lightning.fabric", "lightning.pytorch"):
    logging.getLogger(_name).setLevel(logging.WARNING)
# when one fails, its own message says more than that the others are ended
logging.getLogger("torch.multiprocessing.spawn").setLevel(logging.ERROR)

log = logging.getLogger(__name__)


@dataclass
class Job:
    """What every process is told."""

    config: EvaluationConfig
    directory: Path
    checkpoints: list[NamedCheckpoint]
    table: PictureTable
    batches: list[PairBatch]


def make_fabric(config: EvaluationConfig) -> Fabric:
    """Lightning's launcher for the devices.

    Raises:
        ValueError: for devices that are not there.
    """
    settings = config.trainer
    try:
        fabric = Fabric(accelerator=settings.accelerator, devices=settings.devices)
        if fabric.world_size > 1:
            # each process is started by this one and ends with it
            fabric = Fabric(accelerator=settings.accelerator, devices=settings.devices, strategy="ddp_spawn")
    except (ValueError, RuntimeError) as error:
        raise ValueError(f"trainer: {str(error).strip()}") from error
    return fabric


def measure_batches(fabric: Fabric, job: Job, measurer: "Measurer") -> None:
    """Measure the batches of a job, each process its share.

    Args:
        fabric: from `make_fabric`.
        job: what to do.
        measurer: that measures where this process is the only one; others make their own.

    Raises:
        ValueError: for whatever a process can name, and when one was killed.
    """
    try:
        fabric.launch(partial(_work, job=job, measurer=None if fabric.world_size > 1 else measurer))
    except ProcessRaisedException as error:
        # what the process said stands last, below its traceback
        kind, _, message = str(error).strip().splitlines()[-1].partition(": ")
        if kind != "ValueError":
            raise
        raise ValueError(message) from error
    except ProcessExitedException as error:
        raise ValueError(f"another process ended before its time: {error}; go on with resume={job.directory}") from error
    finally:
        # loaders' workers, which are forked, are their loaders' concern
        for process in multiprocessing.active_children():
            if isinstance(process, SpawnProcess):
                process.kill()
                process.join()


def _work(fabric: Fabric, job: Job, measurer: "Measurer | None") -> None:
    """One process's share: of N processes, each takes every N-th batch."""
    if fabric.world_size > 1:
        log_to(job.directory / LOG_FILE)
    mine = job.batches[fabric.global_rank :: fabric.world_size]
    if not mine:
        return
    # the same numbers in every run
    torch.backends.cudnn.benchmark = False
    torch.backends.cudnn.deterministic = True
    measurer = measurer or Measurer(job.config, job.checkpoints, fabric.device)
    loader = _loader(PairBatches(mine, job.table, job.config.seed), job.config, fabric)
    with _progress(job.config) as progress:
        for batch, packed in zip(progress(mine), loader, strict=True):
            write_part(job.directory, batch.number, measurer.measure(batch, packed))


def _loader(batches: PairBatches, config: EvaluationConfig, fabric: Fabric) -> DataLoader[Any]:
    workers = config.data.num_workers
    if workers < 0:
        # from the cache pictures come faster than they are colorized
        workers = 0 if config.data.cache else 1
    return DataLoader(
        batches, batch_size=None, num_workers=workers, pin_memory=fabric.device.type == "cuda", worker_init_fn=start_worker
    )  # fmt: skip


@contextmanager
def _progress(config: EvaluationConfig) -> Iterator[Any]:
    """A bar on the terminal, in the first process."""
    console = Console(stderr=True)
    disable = global_rank() != 0 or not config.trainer.enable_progress_bar
    with Progress(console=console, disable=disable) as bar:
        yield lambda batches: bar.track(batches, description="evaluating")


class Measurer:
    """Colorizes batches by every method and measures the results.

    Args:
        config: of the evaluation.
        checkpoints: whose networks are loaded.
        device: where.

    Raises:
        ValueError: for checkpoints that cannot be read.
    """

    def __init__(self, config: EvaluationConfig, checkpoints: Sequence[NamedCheckpoint], device: torch.device) -> None:
        self.config = config
        self.device = device
        self.loaded = load_checkpoints(checkpoints, device, config.trainer.precision, config.weights_mirror)
        self.methods = make_methods(self.loaded, config.methods)
        self.metrics, set_metrics = make_metrics(config, device)
        wanted = METRICS if config.metrics is None else config.metrics
        self.names = [name for name in self.metrics.names if name in wanted]
        self.unavailable = {name: why for name, why in (self.metrics.unavailable | set_metrics.unavailable).items() if name in wanted}
        self.feature_extractors = self.metrics.feature_extractors | set_metrics.feature_extractors
        self.set_metrics = set_metrics if set_metrics.names else None
        self._warm: set[str] = set()

    def measure(self, batch: PairBatch, packed: dict[str, PictureBatch]) -> Part:
        """All methods on the pairs of a batch; what needs no reference is colorized once for all protocols with the same targets."""
        part = Part()
        known: dict[tuple[str, tuple[str, ...]], tuple[Tensor, Tensor | None]] = {}
        for protocol, pairs in batch.pairs.items():
            squares, pictures = to_pictures(packed[protocol], protocol, self.config.data.image_size, self.device)
            targets = tuple(squares.ids)
            for method in self.methods:
                if not method.takes_part(protocol):
                    continue
                if (method.name, targets) not in known:
                    result = self._colorize(method, pictures, part)
                    features = None if self.set_metrics is None else self.set_metrics.features(result)
                    if not method.needs_reference:
                        known[method.name, targets] = result, features
                else:
                    result, features = known[method.name, targets]
                self._add_rows(part, pairs, method, pictures, result)
                if features is not None:
                    part.features[f"{protocol}:{method.name}"] = features.cpu().numpy()
            self._measure_truth(part, squares)
        return part

    def _colorize(self, method: Method, pictures: Pictures, part: Part) -> Tensor:
        if method.name not in self._warm:
            self._warm.add(method.name)
            method(pictures.first(1))
        _synchronize(self.device)
        if self.device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(self.device)
        start = time.perf_counter()
        result = method(pictures)
        _synchronize(self.device)
        seconds, count = part.seconds.get(method.name, (0.0, 0))
        part.seconds[method.name] = (seconds + time.perf_counter() - start, count + len(pictures))
        part.peak_memory[method.name] = max(part.peak_memory.get(method.name, 0), _peak_memory(self.device))
        return result

    def _add_rows(self, part: Part, pairs: Sequence[tuple[int, Any]], method: Method, pictures: Pictures, result: Tensor) -> None:
        measured = self.metrics.measure(result, pictures.truth_rgb, pictures.reference_rgb)
        values = {name: column.double().tolist() for name, column in measured.items()}
        for row, (place, _) in enumerate(pairs):
            part.rows.append({"place": place, "method": method.name, **{name: column[row] for name, column in values.items()}})

    def _measure_truth(self, part: Part, squares: Batch) -> None:
        """What is measured once for each target, with the first pair that has it."""
        measured = {row["target"] for row in part.points} | {name.removeprefix("truth:") for name in part.features}
        new = [row for row, target in enumerate(squares.ids) if target not in measured and target not in squares.ids[:row]]
        if not new:
            return
        truth, l, ab = squares.target_rgb[new], squares.target_l[new], squares.target_ab[new]
        targets = [squares.ids[row] for row in new]
        if self.set_metrics is not None:
            for target, row in zip(targets, self.set_metrics.features(truth).cpu().numpy(), strict=True):
                part.features[f"truth:{target}"] = row
        keys = torch.tensor([make_key(self.config.seed, target, "points") for target in targets], device=self.device)
        for checkpoint in self.loaded:
            if checkpoint.takes_hints:
                for points in self.config.points:
                    part.points += _reveal(checkpoint, points, targets, truth, l, ab, keys)


@torch.inference_mode()
def _reveal(
    checkpoint: LoadedCheckpoint, points: int, targets: Sequence[str], truth: Tensor, l: Tensor, ab: Tensor, keys: Tensor
) -> list[dict[str, Any]]:
    """PSNR, and the error at what was revealed, with so many patches of true ab."""
    colorizer = checkpoint.networks.colorizer
    assert colorizer is not None
    hints = random_patches(ab, keys, points)
    predicted = colorizer(l, *hints)
    quality = psnr(round_to_8_bits(join_lab(l, predicted)), truth).tolist()
    errors = mean_ab_error(predicted, hints).tolist()
    return [
        {"checkpoint": checkpoint.name, "points": points, "target": target, "psnr": quality[row], "mean_ab_error": errors[row]}
        for row, target in enumerate(targets)
    ]


def make_metrics(config: EvaluationConfig, device: torch.device) -> tuple[PictureMetrics, SetMetrics]:
    """What is measured of every picture, and of all of a method's.

    Raises:
        ValueError: for weights that are missing or damaged, and pictures that are too small for LPIPS.
    """
    wanted = METRICS if config.metrics is None else config.metrics
    weights = {name: getattr(config, f"{name}_weights") if name in wanted else "none" for name in ("lpips", "fid")}
    metrics = PictureMetrics(device, weights["lpips"], config.weights_mirror)
    if "lpips" in metrics.names and config.data.image_size < LPIPS_MINIMUM_SIDE:
        raise ValueError(
            f"data.image_size={config.data.image_size}: LPIPS needs pictures of {LPIPS_MINIMUM_SIDE} px or more; "
            "leave it out with lpips_weights=none"
        )
    return metrics, SetMetrics(device, weights["fid"], config.weights_mirror)


def _synchronize(device: torch.device) -> None:
    if device.type != "cpu":
        torch.accelerator.synchronize(device)


def _peak_memory(device: torch.device) -> int:
    """Bytes: of the device since the peak was reset, or of this process since it began."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
