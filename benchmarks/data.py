"""How fast pictures come, and what they cost: `python -m benchmarks.data [--root COCO]`.

1. Pictures per second of what a tutorial does (CocoDetection, PIL, Resize, ToTensor, scikit-image's Lab for each sample, default collate)
   against ours, decoding in every epoch and from the cache, two workers each, in turn. A sample of ours is two pictures, target and
   reference. The last columns include crops and Lab of the targets, which are the device's work, here on the processor that loads.
2. The share of its time that a training loop waits for data, when its compute takes a millisecond a picture.
3. A COCO of full size, made of small pictures: 118 287 of them with 860 001 instances. Time to set up, and memory.
"""

import argparse
import gc
import json
import logging
import multiprocessing
import statistics
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import psutil
import skimage.color
import torch
import torchvision
from PIL import Image
from rich.console import Console
from rich.table import Table
from torch.utils.data import DataLoader, default_collate

from datamodules import CocoConfig, make_data_module
from datamodules.base import PictureDataModule
from datamodules.sample import make_sample

IMAGE_SIZE = 256
BATCH_SIZE = 32
WORKERS = 2
ROUNDS = 3
SECONDS = 6.0
"""Of each measurement, after the workers have started."""
LONG_EPOCH = 4000
"""Batches."""
COMPUTE_PICTURES_PER_SECOND = 1000
FULL_PICTURES, FULL_INSTANCES = 118_287, 860_001
MIB = 2**20


class TutorialDataset(torchvision.datasets.CocoDetection):
    """The reading that tutorials show."""

    def __init__(self, root: Path) -> None:
        resize = [torchvision.transforms.Resize(IMAGE_SIZE), torchvision.transforms.CenterCrop(IMAGE_SIZE)]
        transform = torchvision.transforms.Compose([*resize, torchvision.transforms.ToTensor()])
        super().__init__(str(root / "train2017"), str(root / "annotations/instances_train2017.json"), transform=transform)

    def __getitem__(self, index: int) -> torch.Tensor:
        picture, _ = super().__getitem__(index)
        return torch.from_numpy(skimage.color.rgb2lab(picture.permute(1, 2, 0).numpy())).permute(2, 0, 1).float()


def attach_trainer(module: PictureDataModule) -> None:
    """As far as a data module looks at its trainer."""
    progress = SimpleNamespace(total=SimpleNamespace(ready=0))
    fit_loop = SimpleNamespace(epoch_loop=SimpleNamespace(batch_progress=progress))
    trainer = SimpleNamespace(global_rank=0, world_size=1, num_training_batches=float("inf"), fit_loop=fit_loop)
    module.trainer = trainer  # pyright: ignore[reportAttributeAccessIssue]


def our_module(root: Path, directory: Path, **settings: Any) -> PictureDataModule:
    """Ours, ready to load."""
    given = {"image_size": IMAGE_SIZE, "batch_size": BATCH_SIZE, "num_workers": WORKERS, "categories": "all", "cache_dir": str(directory)}
    module = make_data_module(CocoConfig(root=str(root), **{**given, **settings}), seed=0)
    module.prepare_data()
    attach_trainer(module)
    return module


def one_long_epoch(loader: DataLoader[Any]) -> Iterator[Any]:
    """As of a data set that is much larger, so that the start of an epoch does not count."""
    batches = [list(batch) for _ in range(1 + LONG_EPOCH // len(loader)) for batch in loader.batch_sampler or ()]
    options = {"num_workers": WORKERS, "collate_fn": loader.collate_fn, "worker_init_fn": loader.worker_init_fn}
    return iter(DataLoader(loader.dataset, batch_sampler=batches, **options))


def pictures_per_second(batches: Iterator[Any], pictures: Callable[[Any], int], device_work: Callable[[Any], object]) -> float:
    """Over some seconds, once the first batches have come."""
    for _ in range(2 * WORKERS):
        device_work(next(batches))
    start, count = time.perf_counter(), 0
    while time.perf_counter() - start < SECONDS:
        batch = next(batches)
        device_work(batch)
        count += pictures(batch)
    return count / (time.perf_counter() - start)


def throughput(root: Path, cache: Path) -> Table:
    """Part 1."""
    tutorial = DataLoader(TutorialDataset(root), BATCH_SIZE, shuffle=True, num_workers=WORKERS, collate_fn=default_collate, drop_last=True)
    modules = {"ours, decoding": our_module(root, cache, cache=False), "ours, from the cache": our_module(root, cache)}
    rates: dict[str, list[float]] = {"tutorial": [], **{f"{name}{lab}": [] for name in modules for lab in ("", " + Lab")}}
    for _ in range(ROUNDS):
        rates["tutorial"].append(pictures_per_second(one_long_epoch(tutorial), len, lambda batch: None))
        for name, module in modules.items():
            for lab in ("", " + Lab"):
                work = (lambda batch, module=module: module.on_after_batch_transfer(batch, 0)) if lab else (lambda batch: None)
                rates[name + lab].append(pictures_per_second(one_long_epoch(module.train_dataloader()), lambda batch: 2 * len(batch), work))
                gc.collect()  # ends the workers
    table = Table("", "pictures/s", "times the tutorial", "with crop and Lab on this CPU", "times the tutorial", title=f"{IMAGE_SIZE} px")
    base = rates["tutorial"]
    table.add_row("tutorial (its Lab is in the workers)", f"{statistics.median(base):.0f}", "", "", "")
    for name in modules:
        cells = []
        for lab in ("", " + Lab"):
            ratio = statistics.median(ours / theirs for ours, theirs in zip(rates[name + lab], base, strict=True))
            cells += [f"{statistics.median(rates[name + lab]):.0f}", f"{ratio:.1f}"]
        table.add_row(name, *cells)
    return table


def waiting(root: Path, cache: Path) -> Table:
    """Part 2."""
    title = f"a loop that computes {COMPUTE_PICTURES_PER_SECOND} targets/s, each with its reference"
    table = Table("", "batch size", "waiting for data", title=title)
    for name, kept, batch_size in (("decoding", False, BATCH_SIZE), ("from the cache", True, BATCH_SIZE), ("", True, 4 * BATCH_SIZE)):
        batches = one_long_epoch(our_module(root, cache, cache=kept, batch_size=batch_size).train_dataloader())
        for _ in range(2 * WORKERS):
            next(batches)
        waited, start = 0.0, time.perf_counter()
        while time.perf_counter() - start < SECONDS:
            asked = time.perf_counter()
            batch = next(batches)
            waited += time.perf_counter() - asked
            time.sleep(len(batch) / COMPUTE_PICTURES_PER_SECOND)
        table.add_row(name, str(batch_size), f"{waited / (time.perf_counter() - start):.1%}")
        del batches
        gc.collect()
    return table


def make_full_coco(root: Path) -> None:
    """Annotations and pictures of COCO's full number; the pictures are small."""
    random = np.random.default_rng(0)
    (root / "annotations").mkdir(parents=True)
    for split, pictures, instances in (("train", FULL_PICTURES, FULL_INSTANCES), ("val", 500, 3500)):
        directory = root / f"{split}2017"
        directory.mkdir()
        images = []
        for number in range(pictures):
            name = f"{number:012d}.jpg"
            colors = random.integers(0, 256, (4, 4, 3), dtype=np.uint8)
            Image.fromarray(colors).resize((48, 36), Image.Resampling.BICUBIC).save(directory / name)
            images.append({"id": number, "file_name": name, "width": 48, "height": 36, "coco_url": f"http://images/{name}", "license": 1})
        owners, kinds = random.integers(0, pictures, instances), random.integers(1, 81, instances)
        annotations = []
        for number, (owner, kind, corners) in enumerate(zip(owners, kinds, random.uniform(0, 36, (instances, 40)), strict=True)):
            box = [round(float(value), 2) for value in corners[:4]]
            polygon = [round(float(value), 2) for value in corners]
            item = {"id": number, "image_id": int(owner), "category_id": int(kind), "bbox": box, "area": 500.0, "iscrowd": 0}
            annotations.append({**item, "segmentation": [polygon]})
        categories = [{"id": number, "name": f"category {number}", "supercategory": "thing"} for number in range(1, 81)]
        contents = {"images": images, "annotations": annotations, "categories": categories}
        (root / f"annotations/instances_{split}2017.json").write_text(json.dumps(contents))


def unshared_mib(processes: list[psutil.Process]) -> float:
    """Memory of processes, what they share counted once, without the cache's mapped files, which the system drops when it needs room."""
    kinds = ("Pss_Anon:", "Pss_Shmem:")
    lines = [line.split() for process in processes for line in Path(f"/proc/{process.pid}/smaps_rollup").read_text().splitlines()]
    return sum(int(fields[1]) for fields in lines if fields[0] in kinds) / 1024


def full_size(root: Path, cache: Path, prepared: bool) -> dict[str, float]:
    """Part 3, in a process of its own."""
    here = psutil.Process()
    settings = CocoConfig(root=str(root), image_size=16, categories="all", cache_dir=str(cache), batch_size=BATCH_SIZE, num_workers=8)
    module = make_data_module(settings, seed=0)
    found: dict[str, float] = {}
    if not prepared:
        start = time.perf_counter()
        for split in ("train", "val"):
            module.list_pictures(split)
        found["read the annotations, s"] = time.perf_counter() - start
        start = time.perf_counter()
        module.prepare_data()
        found["prepare the pictures and references, s"] = time.perf_counter() - start
        return found
    gc.collect()
    before = here.memory_info().rss / MIB
    start = time.perf_counter()
    module.setup("fit")
    found["set up from the cache, s"] = time.perf_counter() - start
    gc.collect()
    found["memory of the data module, MiB"] = here.memory_info().rss / MIB - before
    attach_trainer(module)
    alone = unshared_mib([here])
    batches = iter(module.train_dataloader())
    for _ in range(100):
        next(batches)
    workers = here.children(recursive=True)
    early = unshared_mib([here, *workers])
    for _ in batches:
        pass
    late = unshared_mib([here, *workers])
    found["this process alone, MiB"] = alone
    found["with 8 workers after 100 batches, MiB"] = early
    found["with 8 workers after an epoch, MiB"] = late
    return found


def start_workers_as_train_does() -> None:
    """In a spawned process: its own loaders' workers are forked, as they are in a run of train.py on Linux."""
    multiprocessing.set_start_method("fork", force=True)
    logging.getLogger("datamodules").setLevel(logging.ERROR)
    warnings.simplefilter("ignore")


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", help="a COCO directory to read pictures from, instead of the sample data set")
    parser.add_argument("--parts", default="123", help="which parts to measure")
    arguments = parser.parse_args()
    logging.getLogger("datamodules").setLevel(logging.ERROR)
    console = Console()
    with tempfile.TemporaryDirectory() as directory:
        root, cache = Path(arguments.root or f"{directory}/sample"), Path(directory) / "cache"
        if arguments.root is None:
            make_sample(root)
        if "1" in arguments.parts:
            console.print(throughput(root, cache))
        if "2" in arguments.parts:
            console.print(waiting(root, cache))
        if "3" in arguments.parts:
            table = Table("", "", title=f"{FULL_PICTURES} pictures, {FULL_INSTANCES} instances")
            make_full_coco(Path(directory) / "full")
            spawn = multiprocessing.get_context("spawn")
            for prepared in (False, True):
                # a fresh process each time, which no earlier part has made larger
                with ProcessPoolExecutor(1, spawn, initializer=start_workers_as_train_does) as pool:
                    for name, value in pool.submit(full_size, Path(directory) / "full", cache, prepared).result().items():
                        table.add_row(name, f"{value:.1f}")
            console.print(table)


if __name__ == "__main__":
    torch.set_num_threads(2)
    main()
