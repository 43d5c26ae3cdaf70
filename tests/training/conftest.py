"""A run of each stage that other tests start from."""

import os
import shutil
from pathlib import Path

import pytest
from filelock import FileLock

from tests.training.runs import RUN, STAGES, run_main, tiny


@pytest.fixture(autouse=True)
def no_wandb_account(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    """The user's W&B account must not get the tests' runs."""
    monkeypatch.setenv("HOME", str(tmp_path_factory.getbasetemp()))
    monkeypatch.setenv("NETRC", os.devnull)
    for name in [name for name in os.environ if name.startswith("WANDB_")]:
        monkeypatch.delenv(name)


@pytest.fixture(scope="session")
def trained(shared_directory: Path, cache_directory: Path) -> Path:
    """A directory with outputs/{transfer,colorizer,joint}/first, each trained for two steps; no test may change it."""
    directory = shared_directory / "trained"
    with FileLock(shared_directory / "trained.lock"):
        if not directory.is_dir():
            unfinished = directory.with_name("training")
            shutil.rmtree(unfinished, ignore_errors=True)
            unfinished.mkdir()
            for stage in STAGES:
                run_main(unfinished, *tiny(stage), f"hydra.run.dir=outputs/{stage}/first")
            unfinished.rename(directory)
    return directory


@pytest.fixture(scope="session")
def uninterrupted(shared_directory: Path, cache_directory: Path) -> Path:
    """The run directory of 23 steps of `RUN` at once, to compare with; no test may change it."""
    directory = shared_directory / "uninterrupted"
    with FileLock(shared_directory / "uninterrupted.lock"):
        if not (directory / "done").is_file():
            shutil.rmtree(directory, ignore_errors=True)
            directory.mkdir()
            run_main(directory, *tiny("transfer", "trainer.max_steps=23"), *RUN, "hydra.run.dir=run")
            (directory / "done").touch()
    return directory / "run"
