"""One pass over all pictures of a split: which can be read, and what palette each has. Done once, then kept in the cache directory."""

import hashlib
import logging
import os
import sys
from pathlib import Path

import numpy as np
import platformdirs
import torch
from rich.console import Console
from rich.progress import track
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from datamodules.pictures import READ_ERRORS, Pictures, read_rgb, to_square
from datamodules.workers import leave_signals_to_trainer
from stylecolor.color import rgb_to_lab
from stylecolor.palette import DESCRIPTOR_SIZE, palette_descriptor

INDEX_FORMAT = 1
THUMBNAIL_SIZE = 64
_BATCH_SIZE = 64

log = logging.getLogger(__name__)


def cache_directory() -> Path:
    """Where prepared data is kept: `STYLECOLOR_CACHE`, or the platform's cache directory."""
    return Path(os.environ.get("STYLECOLOR_CACHE") or platformdirs.user_cache_dir("stylecolor"))


class _Thumbnails(Dataset[tuple[Tensor, bool]]):
    def __init__(self, pictures: Pictures) -> None:
        self.pictures = pictures

    def __len__(self) -> int:
        return len(self.pictures)

    def __getitem__(self, index: int) -> tuple[Tensor, bool]:
        try:
            return to_square(read_rgb(self.pictures.path(index)), THUMBNAIL_SIZE, "squash"), True
        except READ_ERRORS:
            return torch.zeros(3, THUMBNAIL_SIZE, THUMBNAIL_SIZE, dtype=torch.uint8), False


def _index_path(pictures: Pictures) -> Path:
    digest = hashlib.sha256(f"{INDEX_FORMAT}/{THUMBNAIL_SIZE}/{DESCRIPTOR_SIZE}/{pictures.root.resolve()}".encode())
    for path in pictures.paths:
        try:
            status = os.stat(pictures.root / path)
            digest.update(f"{path}:{status.st_size}:{status.st_mtime_ns}\n".encode())
        except FileNotFoundError:
            digest.update(f"{path}: missing\n".encode())
    return cache_directory() / "index" / f"{digest.hexdigest()[:32]}.safetensors"


def picture_index(pictures: Pictures, split: str) -> tuple[np.ndarray, Tensor]:
    """Which pictures can be read, bool (pictures,), and their palette descriptors, float32 (pictures, bins).

    Read from the cache when the list of files, their sizes and their times are those of an earlier pass.
    """
    path = _index_path(pictures)
    if not path.is_file():
        _build_index(pictures, split, path)
    index = load_file(path)
    return index["readable"].numpy(), index["descriptors"]


def _build_index(pictures: Pictures, split: str, path: Path) -> None:
    log.info("reading every picture of the %s split once, for its palette (kept in %s)", split, path.parent)
    workers = min(os.cpu_count() or 1, 8) if len(pictures) > 4 * _BATCH_SIZE else 0
    loader = DataLoader(_Thumbnails(pictures), batch_size=_BATCH_SIZE, num_workers=workers, worker_init_fn=leave_signals_to_trainer)
    console = Console(stderr=True)
    descriptors, readable = [], []
    for thumbnails, good in track(loader, description=f"palettes of {split}", console=console, disable=not sys.stderr.isatty()):
        descriptors.append(palette_descriptor(rgb_to_lab(thumbnails.float() / 255)[:, 1:]))
        readable.append(good)
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_suffix(f".{os.getpid()}")
    save_file({"readable": torch.cat(readable), "descriptors": torch.cat(descriptors)}, aside)
    aside.replace(path)
