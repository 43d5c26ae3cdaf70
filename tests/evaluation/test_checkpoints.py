from pathlib import Path

import pytest
import yaml

from evaluation.checkpoints import NamedCheckpoint, name_checkpoints
from evaluation.curves import copy_curves, find_runs


def make_run(directory: Path, stage: str, **settings: str) -> Path:
    """A run directory as training leaves it, its networks apart."""
    (directory / "checkpoints").mkdir(parents=True)
    (directory / "checkpoints" / "best.ckpt").write_bytes(b"weights")
    (directory / "config.yaml").write_text(yaml.safe_dump({"stage": {"name": stage, **settings}}))
    (directory / "metrics.csv").write_text(f"epoch,step,train/loss\n0,0,{stage}\n")
    return directory


@pytest.fixture
def joint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A joint run beside those that it started from, and the working directory elsewhere."""
    outputs = tmp_path / "project" / "outputs"
    for stage in ("transfer", "colorizer"):
        make_run(outputs / stage / "first", stage)
    sources = {f"{stage}_checkpoint": f"outputs/{stage}/first/checkpoints/best.ckpt" for stage in ("transfer", "colorizer")}
    monkeypatch.chdir(tmp_path)
    return make_run(outputs / "joint" / "second", "joint", **sources)


def test_checkpoints_are_called_by_their_runs_or_files(joint: Path, tmp_path: Path) -> None:
    (tmp_path / "loose.ckpt").touch()
    paths = [str(joint), str(joint / "checkpoints" / "best.ckpt"), str(tmp_path / "loose.ckpt"), "siggraph17"]
    found = name_checkpoints(paths)
    assert [checkpoint.name for checkpoint in found] == ["second", "second-2", "loose", "siggraph17"]
    assert [checkpoint.path for checkpoint in found] == [*[joint / "checkpoints" / "best.ckpt"] * 2, tmp_path / "loose.ckpt", None]
    assert [checkpoint.run for checkpoint in found] == [joint, joint, None, None]
    assert name_checkpoints({"mine": str(joint)}) == [NamedCheckpoint("mine", str(joint / "checkpoints" / "best.ckpt"))]


def test_names_hold_no_separators_of_tables(tmp_path: Path) -> None:
    (tmp_path / "a|b=c.ckpt").touch()
    assert [checkpoint.name for checkpoint in name_checkpoints(str(tmp_path / "a|b=c.ckpt"))] == ["a-b-c"]


def test_the_newest_joint_checkpoint_is_taken_where_none_is_named(joint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path / "project")
    assert name_checkpoints(None)[0].source == "outputs/joint/second/checkpoints/best.ckpt"


def test_the_curves_of_all_runs_that_made_a_checkpoint_are_copied(joint: Path, tmp_path: Path) -> None:
    (checkpoint,) = name_checkpoints(str(joint))
    (tmp_path / "evaluation").mkdir()
    copy_curves([checkpoint], tmp_path / "evaluation")
    copied = sorted((tmp_path / "evaluation" / "curves").iterdir())
    assert [path.name for path in copied] == ["colorizer.csv", "joint.csv", "transfer.csv"]
    assert all(path.stem in path.read_text() for path in copied)
    copy_curves([NamedCheckpoint("a", checkpoint.source), NamedCheckpoint("b", "siggraph17")], tmp_path / "evaluation")
    assert (tmp_path / "evaluation" / "curves" / "a-transfer.csv").is_file()


def test_runs_outside_the_working_directory_and_the_outputs_are_left_alone(
    joint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    foreign = make_run(tmp_path / "elsewhere" / "run", "transfer")
    monkeypatch.chdir(tmp_path / "project")
    run = make_run(joint.with_name("third"), "joint", transfer_checkpoint=str(foreign / "checkpoints" / "best.ckpt"))
    assert set(find_runs(run)) == {"joint"}
    monkeypatch.chdir(tmp_path)
    assert set(find_runs(run)) == {"joint", "transfer"}


def test_a_run_with_damaged_settings_has_no_curves(joint: Path) -> None:
    (joint / "config.yaml").write_text("[")
    assert find_runs(joint) == {}
    assert find_runs(None) == {}
