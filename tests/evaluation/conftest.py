"""Weight files that several test files share."""

import os
import shutil
from pathlib import Path

import pytest
from filelock import FileLock

from tests.evaluation.networks import write_alexnet, write_inception
from tests.evaluation.runs import run_main, tiny
from tests.stylecolor.colorizers_for_tests import save_joint


@pytest.fixture(scope="package")
def alexnet_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """See `tests.evaluation.networks.write_alexnet`."""
    return write_alexnet(tmp_path_factory.mktemp("alexnet") / "alexnet.pth")


@pytest.fixture(scope="package")
def inception_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """See `tests.evaluation.networks.write_inception`."""
    return write_inception(tmp_path_factory.mktemp("inception") / "inception.pth")


@pytest.fixture(autouse=True)
def no_wandb_account(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    """The user's W&B account must not get the tests' runs."""
    monkeypatch.setenv("HOME", str(tmp_path_factory.getbasetemp()))
    monkeypatch.setenv("NETRC", os.devnull)
    for name in [name for name in os.environ if name.startswith("WANDB_")]:
        monkeypatch.delenv(name)


@pytest.fixture(scope="session")
def checkpoint(shared_directory: Path) -> Path:
    """A tiny checkpoint of the joint stage, beside the transfer.ckpt and colorizer.ckpt that it started from; no test may change it."""
    directory = shared_directory / "evaluated"
    with FileLock(shared_directory / "evaluated.lock"):
        if not directory.is_dir():
            unfinished = directory.with_name("unfinished")
            save_joint(unfinished / "joint.ckpt")
            unfinished.rename(directory)
    return directory / "joint.ckpt"


@pytest.fixture(scope="session")
def evaluated(shared_directory: Path, checkpoint: Path, cache_directory: Path) -> Path:
    """The directory of an evaluation of all protocols and methods on three pictures; no test may change it."""
    directory = shared_directory / "evaluation"
    with FileLock(shared_directory / "evaluation.lock"):
        if not (directory / "run" / "report.html").is_file():
            shutil.rmtree(directory, ignore_errors=True)
            directory.mkdir()
            run_main(directory, *tiny(f"checkpoint={checkpoint}", "points=[0,1,40]", "hydra.run.dir=run"))
    return directory / "run"
