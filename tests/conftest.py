"""One thread a worker, and one cache and one set of tiny data for all workers of a session."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from filelock import FileLock

from tests.data import make_coco
from tests.server import Server

torch.set_num_threads(1)


@pytest.fixture(scope="session")
def shared_directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A temporary directory that all xdist workers of this session share."""
    base = tmp_path_factory.getbasetemp()
    directory = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "shared"
    directory.mkdir(exist_ok=True)
    return directory


@pytest.fixture(scope="session", autouse=True)
def cache_directory(shared_directory: Path) -> Iterator[Path]:
    """Nothing is written into the user's cache. The sample data set is made here once, before a second worker or a run asks for it."""
    # imported late: the test data must not be needed to import the tests
    from datamodules.sample import VERSION, make_sample

    cache = shared_directory / "cache"
    with FileLock(shared_directory / "sample.lock"):
        make_sample(cache / f"sample-{VERSION}")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("STYLECOLOR_CACHE", str(cache))
        yield cache


@pytest.fixture(scope="session")
def coco_root(shared_directory: Path) -> Path:
    """A tiny COCO tree that no test may change, see `tests.data.make_coco`."""
    root = shared_directory / "coco"
    with FileLock(shared_directory / "coco.lock"):
        return root if root.is_dir() else make_coco(root)


@pytest.fixture
def server() -> Iterator[Server]:
    """A web server of this machine, which misbehaves on demand."""
    with Server() as server:
        yield server
