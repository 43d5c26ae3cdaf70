"""How much of the bare training step train.py's loop keeps: `python -m benchmarks.train [--root COCO]`.

For each stage, a few steps of the whole loop (loader, Lab on the device, logging, callbacks) and as many bare steps (forward, backward,
optimiser) on a batch that is ready on the device, in turn; the ratio is taken pair by pair, since machines drift. On a CPU at a quarter of
the width, and one step each at full width; on a GPU at full width, batch 32, bf16-mixed and channels-last, with the share of the GPU's own
measured bf16 matrix rate that each stage reaches.
"""

import argparse
import gc
import logging
import multiprocessing
import resource
import statistics
import tempfile
import time
import warnings
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from rich.console import Console
from rich.table import Table
from torch.utils.flop_counter import FlopCounterMode

from datamodules import CocoConfig, DataConfig, SampleConfig, make_data_module
from datamodules.batch import Batch
from lightning_modules import STAGES, ColorizerConfig, JointConfig, StageConfig, TransferConfig, make_stage
from lightning_modules.base import Stage
from lightning_modules.config import EncoderConfig
from stylecolor.checkpoint import KEY
from training.checkpointing import LastCheckpoint
from training.config import ExperimentConfig, LoggerConfig, TrainerConfig
from training.interruption import StopOnSignal
from training.job import make_trainer, quieten_lightning
from training.run_directory import start_run

PAIRS = 3
IMAGE_SIZE = 256
MATRIX_SIZE = 8192


@dataclass
class Setting:
    """What is measured."""

    width: float
    batch_size: int
    precision: str
    steps: int
    pairs: int


class StepClock(Callback):
    """When each step ended."""

    def __init__(self, steps: int) -> None:
        self.steps = steps
        self.ends: list[float] = []

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int) -> None:
        """Note the time; a GPU is waited for at the first and the last step only."""
        if pl_module.device.type == "cuda" and batch_idx in (0, self.steps):
            torch.cuda.synchronize()
        self.ends.append(time.perf_counter())

    def seconds_per_step(self) -> float:
        """From the end of the first step to the end of the last."""
        return (self.ends[-1] - self.ends[0]) / (len(self.ends) - 1)


def stage_config(name: str, width: float, directory: Path) -> StageConfig:
    """The stage with random weights; joint starts from checkpoints of untrained stages."""
    encoder = EncoderConfig(weights="random")
    if name == "transfer":
        return TransferConfig(width=width, encoder=encoder)
    if name == "colorizer":
        return ColorizerConfig(width=width)
    paths = {}
    for stage in ("transfer", "colorizer"):
        paths[stage] = directory / f"{stage}_{width}.ckpt"
        if not paths[stage].exists():
            untrained = make_stage(stage_config(stage, width, directory))
            contents: dict[str, Any] = {"state_dict": untrained.state_dict(), "global_step": 0}
            untrained.on_save_checkpoint(contents)
            assert KEY in contents
            torch.save(contents, paths[stage])
    return JointConfig(width=width, transfer_checkpoint=str(paths["transfer"]), colorizer_checkpoint=str(paths["colorizer"]))


def loop_seconds(config: ExperimentConfig, directory: Path) -> float:
    """Seconds a step of train.py's loop, first step left out."""
    clock = StepClock(config.trainer.max_steps - 1)
    start_run(directory, config)
    last = LastCheckpoint(directory, config.trainer.max_steps)
    trainer = make_trainer(config, directory, None, [clock, StopOnSignal(last), last])
    data = make_data_module(config.data, config.seed)
    data.prepare_data()
    trainer.fit(make_stage(config.stage), datamodule=data)
    return clock.seconds_per_step()


def ready_batch(data: DataConfig, device: torch.device) -> Batch:
    """One batch, on the device and in Lab."""
    module = make_data_module(data, seed=0)
    module.prepare_data()
    module.setup("fit")
    dataset = module.datasets["train"]
    loader = torch.utils.data.DataLoader(
        dataset, batch_sampler=[[(0, i % len(dataset)) for i in range(data.batch_size)]], collate_fn=module.train_dataloader().collate_fn
    )
    return module.on_after_batch_transfer(next(iter(loader)).to(device), 0)


def bare_steps(stage: Stage, batch: Batch, precision: str) -> Iterator[torch.Tensor]:
    """Forward, backward, optimiser, without end."""
    optimizer = stage.configure_optimizers()
    assert isinstance(optimizer, torch.optim.Optimizer)
    stage.train()
    while True:
        with torch.autocast(stage.device.type, dtype=torch.bfloat16, enabled=precision == "bf16-mixed"):
            loss = stage.step(batch).losses["loss"]
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        yield loss


def synchronize(device: torch.device) -> None:
    """Wait for a GPU."""
    if device.type == "cuda":
        torch.cuda.synchronize()


def bare_seconds(config: ExperimentConfig, batch: Batch, steps: int, device: torch.device) -> float:
    """Seconds a bare step, first step left out as in the loop."""
    run = bare_steps(make_stage(config.stage).to(device), batch, config.trainer.precision)
    next(run)
    synchronize(device)
    start = time.perf_counter()
    for _ in range(steps):
        next(run)
    synchronize(device)
    return (time.perf_counter() - start) / steps


def peak_memory_gib(device: torch.device) -> float:
    """Of the device, or of this process, its libraries included."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated() / 2**30
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


def matrix_rate(device: torch.device) -> float:
    """Measured bf16 operations per second of a large matrix product."""
    left, right = (torch.randn(MATRIX_SIZE, MATRIX_SIZE, device=device, dtype=torch.bfloat16) for _ in range(2))
    for _ in range(5):
        torch.mm(left, right)
    synchronize(device)
    start = time.perf_counter()
    for _ in range(20):
        torch.mm(left, right)
    synchronize(device)
    return 20 * 2 * MATRIX_SIZE**3 / (time.perf_counter() - start)


def measure(name: str, setting: Setting, data: DataConfig, device: torch.device, directory: Path, peak_rate: float | None) -> list[str]:
    """One row of the table."""
    config = ExperimentConfig(
        stage=stage_config(name, setting.width, directory),
        data=data,
        trainer=TrainerConfig(
            accelerator="gpu" if device.type == "cuda" else "cpu",
            precision=setting.precision,
            max_steps=setting.steps + 1,
            max_epochs=-1,
            limit_val_batches=0,
            enable_progress_bar=False,
        ),
        logger=LoggerConfig(name="csv"),
    )
    batch = ready_batch(data, device)
    loops, bares = [], []
    for pair in range(setting.pairs):
        loops.append(loop_seconds(config, directory / f"{name}_{setting.width}_{pair}"))
        bares.append(bare_seconds(config, batch, setting.steps, device))
        gc.collect()
    ratio = statistics.median(bare / loop for bare, loop in zip(bares, loops, strict=True))
    row = [
        name,
        f"{setting.width:g}",
        f"{setting.batch_size / statistics.median(loops):.2f}",
        f"{setting.batch_size / statistics.median(bares):.2f}",
        f"{ratio:.3f}",
        f"{peak_memory_gib(device):.2f}",
    ]
    if peak_rate is not None:
        with FlopCounterMode(display=False) as counter:
            next(bare_steps(make_stage(config.stage).to(device), batch, setting.precision))
        row.append(f"{counter.get_total_flops() / statistics.median(bares) / peak_rate:.1%}")
    return row


def full_width_step(name: str, data: DataConfig, directory: Path) -> list[str]:
    """One step at full width on a CPU: too long for pairs."""
    config = stage_config(name, 1.0, directory)
    batch = ready_batch(data, torch.device("cpu"))
    run = bare_steps(make_stage(config), batch, "32-true")
    start = time.perf_counter()
    next(run)
    seconds = time.perf_counter() - start
    return [name, "1", "-", f"{data.batch_size / seconds:.2f}", "-", f"{peak_memory_gib(torch.device('cpu')):.2f}"]


def start_process() -> None:
    """Leave the terminal to the table, and fork the loaders' workers, as a run of train.py on Linux does."""
    multiprocessing.set_start_method("fork", force=True)
    quieten_lightning()
    logging.getLogger("datamodules").setLevel(logging.ERROR)
    warnings.simplefilter("ignore")


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", help="a COCO directory to read pictures from, instead of the sample data set")
    parser.add_argument("--steps", type=int, default=8, help="steps of each half of a pair")
    arguments = parser.parse_args()
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    on_gpu = device.type == "cuda"
    setting = Setting(1.0, 32, "bf16-mixed", 5 * arguments.steps, PAIRS) if on_gpu else Setting(0.25, 4, "32-true", arguments.steps, PAIRS)
    options: dict[str, Any] = {"image_size": IMAGE_SIZE, "batch_size": setting.batch_size}
    data = CocoConfig(root=arguments.root, categories="all", **options) if arguments.root else SampleConfig(**options)
    peak_rate = matrix_rate(device) if on_gpu else None

    title = f"{IMAGE_SIZE} px, batch {setting.batch_size}, {setting.precision}, {torch.cuda.get_device_name() if on_gpu else 'CPU'}"
    columns = ["stage", "width", "loop, pictures/s", "bare step, pictures/s", "kept", "peak memory, GiB"]
    table = Table(*columns, *(["of the bf16 matrix rate"] if on_gpu else []), title=title)
    # each row in a process of its own, so that its peak memory is its own
    spawn = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(1, spawn, max_tasks_per_child=1, initializer=start_process)
    with tempfile.TemporaryDirectory() as directory, pool:
        rows = [pool.submit(measure, name, setting, data, device, Path(directory), peak_rate) for name in STAGES]
        if not on_gpu:
            rows += [pool.submit(full_width_step, name, data, Path(directory)) for name in STAGES]
        for row in rows:
            table.add_row(*row.result())
    Console().print(table)
    if peak_rate is not None:
        print(f"bf16 matrix rate: {peak_rate / 1e12:.0f} TFLOP/s")


if __name__ == "__main__":
    main()
