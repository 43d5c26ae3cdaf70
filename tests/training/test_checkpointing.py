"""Checkpoints that appear whole or not at all, hold what they should, and are read safely."""

import errno
import os
import pickle
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.training.runs import DEADLINE_SECONDS, REPOSITORY, environment, last_checkpoint, refusal, rows, run_main, tiny
from training.checkpointing import AtomicCheckpointIO


def files(directory: Path) -> set[str]:
    return {path.name for path in directory.iterdir()}


def full_disk(*_: object, **__: object) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.mark.parametrize("function", [(os, "fsync"), (torch, "save")], ids=["fsync", "save"])
def test_a_full_disk_keeps_the_checkpoint_before(function: tuple[Any, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "last.ckpt"
    AtomicCheckpointIO().save_checkpoint({"number": 1}, path)
    with monkeypatch.context() as patch:
        patch.setattr(*function, full_disk)
        with pytest.raises(ValueError, match=r"cannot write .*No space left.*the checkpoint before it is kept"):
            AtomicCheckpointIO().save_checkpoint({"number": 2}, path)
    assert files(tmp_path) == {"last.ckpt"}
    assert AtomicCheckpointIO().load_checkpoint(path) == {"number": 1}


def test_a_full_disk_at_the_first_checkpoint_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "fsync", full_disk)
    with pytest.raises(ValueError, match="cannot write") as refused:
        AtomicCheckpointIO().save_checkpoint({"number": 1}, tmp_path / "last.ckpt")
    assert "kept" not in str(refused.value)
    assert files(tmp_path) == set()


def test_a_directory_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "checkpoints").write_text("a file")
    with pytest.raises(ValueError, match="cannot write"):
        AtomicCheckpointIO().save_checkpoint({"number": 1}, tmp_path / "checkpoints" / "last.ckpt")


def test_an_interruption_while_writing_leaves_no_file_aside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", interrupted)
    with pytest.raises(KeyboardInterrupt):
        AtomicCheckpointIO().save_checkpoint({"number": 1}, tmp_path / "last.ckpt")
    assert files(tmp_path) == set()


LIMITED = """
import resource, signal, sys
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[1]), resource.RLIM_INFINITY))
sys.argv = ["train.py", *sys.argv[2:]]
import train
train.main()
"""


def test_a_run_whose_disk_fills_ends_in_one_line_and_can_be_resumed(trained: Path, tmp_path: Path) -> None:
    """The kernel refuses to write files longer than a third of a checkpoint."""
    run = tmp_path / "run"
    shutil.copytree(trained / "outputs/transfer/first", run)
    limit = (run / "checkpoints/last.ckpt").stat().st_size // 3
    assert limit > 50_000, "metrics.csv and the log must fit"
    completed = subprocess.run(
        [sys.executable, "-c", LIMITED, str(limit), "resume=run", "trainer.max_steps=4"],
        cwd=tmp_path,
        env=environment(PYTHONPATH=str(REPOSITORY)),
        capture_output=True,
        text=True,
        timeout=DEADLINE_SECONDS,
    )
    assert completed.returncode == 1, completed.stderr
    assert "Traceback" not in completed.stderr
    assert [line for line in completed.stderr.splitlines() if line.startswith("error: ")] == completed.stderr.splitlines()[-1:]
    assert "cannot write" in completed.stderr
    assert files(run / "checkpoints") == {"last.ckpt", "best.ckpt"}
    assert last_checkpoint(run)["global_step"] == 2
    run_main(tmp_path, "resume=run", "trainer.max_steps=4")
    assert last_checkpoint(run)["global_step"] == 4


def test_a_full_disk_for_the_samples_ends_in_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from PIL import Image

    monkeypatch.setattr(Image.Image, "save", full_disk)
    assert "No space left" in refusal(tmp_path, *tiny("colorizer"), "hydra.run.dir=run")
    assert last_checkpoint(tmp_path / "run")["global_step"] == 2


@pytest.mark.parametrize("stage", ["transfer", "colorizer", "joint"])
def test_a_checkpoint_holds_plain_values_and_no_loss_network(stage: str, trained: Path) -> None:
    for name in ("last.ckpt", "best.ckpt"):
        contents = torch.load(trained / "outputs" / stage / "first/checkpoints" / name, weights_only=True)
        assert contents["stylecolor"]["stage"] == stage
        networks = {key.partition(".")[0] for key in contents["state_dict"]}
        assert networks <= {"transfer", "colorizer"}


def test_best_is_the_best_of_all_validations_also_of_those_before_resuming(tmp_path: Path) -> None:
    """At a learning rate that wrecks the network the last validation is not the best."""
    arguments = ["trainer.val_check_interval=2", "trainer.max_steps=6", "trainer.limit_train_batches=8", "stage.optimizer.lr=30"]
    run_main(tmp_path, *tiny("transfer", *arguments), "hydra.run.dir=run")
    value = run_main(tmp_path, "resume=run", "trainer.max_steps=8")
    losses = [(float(loss), int(step) + 1) for step, loss in rows(tmp_path / "run", "val/loss")]
    assert [step for _, step in losses] == [2, 4, 6, 8]
    assert min(losses)[1] <= 6, "what comes after resuming has to be worse for this test to tell anything"
    assert torch.load(tmp_path / "run/checkpoints/best.ckpt", weights_only=True)["global_step"] == min(losses)[1]
    assert value == pytest.approx(min(losses)[0])


def test_best_stays_the_best_in_a_directory_that_was_renamed(tmp_path: Path) -> None:
    """Its value is made one that no loss gets below."""
    run_main(tmp_path, *tiny("transfer"), "hydra.run.dir=run")
    best = tmp_path / "run/checkpoints/best.ckpt"
    contents = torch.load(best, weights_only=True)
    (state,) = (state for name, state in contents["callbacks"].items() if name.startswith("BestCheckpoint"))
    state["best_model_score"] = state["kth_value"] = torch.tensor(0.0)
    state["best_k_models"] = {state["best_model_path"]: torch.tensor(0.0)}
    torch.save(contents, best)
    (tmp_path / "run").rename(tmp_path / "moved")
    assert run_main(tmp_path, "resume=moved", "trainer.max_steps=4") == 0
    assert torch.load(tmp_path / "moved/checkpoints/best.ckpt", weights_only=True)["global_step"] == 2


def kept(directory: Path) -> dict[int, float]:
    """Step and value that the names of the further checkpoints say, each of which holds the weights of that step."""
    found = {}
    for path in (directory / "checkpoints").glob("step_*.ckpt"):
        _, step, name, value = path.stem.split("_")
        assert name == "loss"
        assert torch.load(path, weights_only=True)["global_step"] == int(step)
        found[int(step)] = float(value)
    return found


def best_of(directory: Path, number: int) -> dict[int, Any]:
    """The same from metrics.csv."""
    losses = sorted((float(loss), int(step) + 1) for step, loss in rows(directory, "val/loss"))
    return {step: pytest.approx(loss, abs=5e-5) for loss, step in losses[:number]}


def test_the_best_checkpoints_are_kept_by_step_and_value_also_of_those_before_resuming(tmp_path: Path) -> None:
    """Validations at 2, 4, ... of which the later ones are worse, and at 5, where the run was stopped."""
    arguments = ["trainer.val_check_interval=2", "trainer.max_steps=5", "trainer.limit_train_batches=10", "stage.optimizer.lr=30"]
    run_main(tmp_path, *tiny("transfer", *arguments), "trainer.save_top_k=3", "hydra.run.dir=run")
    assert kept(tmp_path / "run") == best_of(tmp_path / "run", 3)
    (tmp_path / "run").rename(tmp_path / "moved")
    run_main(tmp_path, "resume=moved", "trainer.max_steps=9")
    assert len(rows(tmp_path / "moved", "val/loss")) == 6
    assert kept(tmp_path / "moved") == best_of(tmp_path / "moved", 3)
    run_main(tmp_path, "resume=moved", "trainer.max_steps=10", "trainer.save_top_k=2")
    assert kept(tmp_path / "moved") == best_of(tmp_path / "moved", 2)
    assert files(tmp_path / "moved/checkpoints") >= {"last.ckpt", "best.ckpt"}


class Attack:
    """Unpickling runs code."""

    def __init__(self, victim: Path) -> None:
        self.victim = victim

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.victim),)


@pytest.mark.parametrize("zipped", [True, False], ids=["torch.save", "bare pickle"])
def test_a_checkpoint_that_would_run_code_is_refused(zipped: bool, trained: Path, tmp_path: Path) -> None:
    contents = {"state_dict": {}, "attack": Attack(tmp_path / "attacked")}
    file = tmp_path / "attack.ckpt"
    if zipped:
        torch.save(contents, file)
    else:
        file.write_bytes(pickle.dumps(contents))
    assert "stage.weights" in refusal(tmp_path, *tiny("colorizer"), f"stage.weights={file}")
    assert "stage.transfer_checkpoint" in refusal(
        tmp_path, *tiny("joint"), f"stage.transfer_checkpoint={file}", f"stage.colorizer_checkpoint={file}"
    )
    shutil.copytree(trained / "outputs/colorizer/first", tmp_path / "run")
    shutil.copy(file, tmp_path / "run/checkpoints/last.ckpt")
    assert "resume=" in refusal(tmp_path, "resume=run", "trainer.max_steps=4")
    assert not (tmp_path / "attacked").exists()
    # and the file does what it says when it is trusted
    torch.load(file, weights_only=False) if zipped else pickle.loads(file.read_bytes())
    assert (tmp_path / "attacked").is_dir()
