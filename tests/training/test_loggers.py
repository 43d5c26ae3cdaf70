"""metrics.csv always; W&B, offline by itself; TensorBoard."""

import importlib.util
import json
import struct
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.training.runs import in_child, refusal, rows, run_main, tiny
from training.config import ExperimentConfig, WandbConfig
from training.loggers import MetricsFile, publish_best
from training.outcomes import SWEEP_VARIABLE


def wandb_records(file: Path) -> Iterator[Any]:
    """What an offline run sends later: protocol buffers in LevelDB's log format, after a header of 7 bytes."""
    from wandb.proto import wandb_internal_pb2

    contents = file.read_bytes()
    position, record = 7, b""
    while position + 7 <= len(contents):
        left_in_block = 32768 - position % 32768
        if left_in_block < 7:
            position += left_in_block
            continue
        _, size, kind = struct.unpack_from("<IHB", contents, position)
        record += contents[position + 7 : position + 7 + size]
        position += 7 + size
        # whole, or the last part
        if kind in (1, 4):
            message = wandb_internal_pb2.Record()  # pyright: ignore[reportAttributeAccessIssue]
            message.ParseFromString(record)
            record = b""
            yield message


def of_kind(directory: Path, kind: str) -> Iterator[Any]:
    """What a run directory's W&B runs say of one kind."""
    for file in sorted(directory.glob("wandb/offline-run-*/run-*.wandb")):
        yield from (getattr(message, kind) for message in wandb_records(file) if message.WhichOneof("record_type") == kind)


def described(directory: Path) -> list[Any]:
    """The W&B runs of a run directory: one for each start."""
    return list(of_kind(directory, "run"))


def settings(run: Any) -> dict[str, Any]:
    return {item.key: json.loads(item.value_json) for item in run.config.update}


def history(directory: Path) -> dict[str, list[Any]]:
    """Every value logged to W&B, by name."""
    values: dict[str, list[Any]] = {}
    for file in sorted(directory.glob("wandb/offline-run-*/run-*.wandb")):
        for message in wandb_records(file):
            if message.WhichOneof("record_type") == "history":
                for item in message.history.item:
                    values.setdefault(item.key or "/".join(item.nested_key), []).append(json.loads(item.value_json))
    return values


@pytest.fixture
def no_question(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever asks the user something fails."""
    monkeypatch.setattr("builtins.input", lambda *_: pytest.fail("asked the user"))
    monkeypatch.setattr("getpass.getpass", lambda *_: pytest.fail("asked the user"))


@pytest.mark.usefixtures("no_question")
def test_wandb_without_a_key_is_offline_by_itself_and_continues_its_run(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    directory = tmp_path / "run"
    run_main(tmp_path, *tiny("transfer", "logger=wandb"), "hydra.run.dir=run", "logger.tags=[a,b]", "logger.project=colours")
    assert "wandb sync" in capfd.readouterr().err
    run_main(tmp_path, "resume=run", "trainer.max_steps=4")

    first, second = described(directory)
    assert first.run_id == second.run_id
    assert (first.display_name, first.project, first.job_type, list(first.tags)) == (
        "run",
        "colours",
        "transfer",
        ["transfer", "sample", "a", "b"],
    )
    composed = settings(first)
    assert (composed["stage"]["width"], composed["data"]["image_size"], composed["trainer"]["max_steps"]) == (0.125, 32, 2)
    revision = (directory / "config.yaml").read_text().splitlines()[0].removeprefix("# git revision: ")
    assert composed["git_revision"] == revision
    logged = history(directory)
    names = [f"{split}/{name}" for split in ("train", "val") for name in ("loss", "reconstruction", "content", "style")]
    names += ["val/psnr", "learning_rate", "speed/pictures_per_second", "speed/waiting_for_data", "memory/host_gib"]
    assert set(names) <= logged.keys()
    assert len(logged["train/loss"]) == 4
    assert logged["samples/_type"] == ["images/separated"] * 2
    assert len(list(directory.glob("wandb/offline-run-*/files/media/images/*.png"))) == 2
    assert logged["train/loss"] == pytest.approx([float(loss) for _, loss in rows(directory, "train/loss")])


@pytest.mark.usefixtures("no_question")
def test_wandb_is_told_which_values_are_best_and_which_experiment_it_was(tmp_path: Path) -> None:
    value = run_main(tmp_path, "experiment=demo", *tiny("colorizer", "logger=wandb"), "logger.tags=[sample,mine]", "hydra.run.dir=run")
    (run,) = described(tmp_path / "run")
    assert list(run.tags) == ["colorizer", "sample", "demo", "mine"]
    defined = {metric.name: metric for metric in of_kind(tmp_path / "run", "metric")}
    assert defined["val/psnr"].summary.max
    assert defined["val/loss"].summary.min
    assert {defined[name].step_metric for name in ("val/psnr", "val/loss")} == {"trainer/global_step"}
    written = [item for record in of_kind(tmp_path / "run", "summary") for item in record.update]
    summary = {item.key or "/".join(item.nested_key): json.loads(item.value_json) for item in written}
    assert summary["best"] == {"val/psnr": value}
    assert not list(of_kind(tmp_path / "run", "artifact"))


@pytest.mark.parametrize(("offline", "upload", "sent"), [(False, True, True), (True, True, False), (False, False, False)])
def test_the_best_checkpoint_of_an_online_run_is_sent_once(
    offline: bool, upload: bool, sent: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import wandb

    checkpoint = tmp_path / "best.ckpt"
    checkpoint.write_bytes(b"weights")
    artifacts: list[Any] = []
    run = SimpleNamespace(
        offline=offline, id="abc", summary={}, log_artifact=lambda artifact, aliases: artifacts.append((artifact, aliases))
    )
    monkeypatch.setattr(wandb, "run", run)
    config = ExperimentConfig(logger=WandbConfig(upload_best=upload))
    publish_best(config, "val/loss", 0.5, checkpoint)
    assert run.summary == {"best": {"val/loss": 0.5}}
    assert len(artifacts) == sent
    for artifact, aliases in artifacts:
        assert (artifact.name, artifact.type, aliases) == ("transfer-abc", "model", ["best"])
        assert list(artifact.manifest.entries) == ["best.ckpt"]
        assert artifact.metadata == {"stage": "transfer", "monitor": "val/loss", "value": 0.5}


@pytest.mark.usefixtures("no_question")
def test_jobs_of_a_sweep_share_a_group_and_no_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(SWEEP_VARIABLE, "2030-01-01_00-00-00")
    for name in ("a", "b"):
        run_main(tmp_path, *tiny("colorizer", "logger=wandb", "trainer.max_steps=1"), f"hydra.run.dir={name}")
    (first,), (second,) = described(tmp_path / "a"), described(tmp_path / "b")
    assert first.run_group == second.run_group == "2030-01-01_00-00-00"
    assert first.run_id != second.run_id


def test_a_group_that_was_asked_for_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(SWEEP_VARIABLE, "2030-01-01_00-00-00")
    run_main(tmp_path, *tiny("colorizer", "logger=wandb", "trainer.max_steps=1"), "logger.group=mine", "hydra.run.dir=run")
    assert described(tmp_path / "run")[0].run_group == "mine"


def test_a_wrong_key_is_refused_in_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_API_KEY", "short")
    assert "logger=" in refusal(tmp_path, *tiny("colorizer", "logger=wandb"))


def test_a_server_that_cannot_be_reached_is_told_in_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import wandb
    from wandb.errors import CommError

    def unreachable(**_: object) -> None:
        raise CommError("Failed to get resume status for run: context deadline exceeded\nwhile retrying: connection refused")

    monkeypatch.setenv("WANDB_API_KEY", 40 * "0")
    monkeypatch.setattr(wandb, "init", unreachable)
    assert "logger=" in refusal(tmp_path, *tiny("colorizer", "logger=wandb"))


@pytest.mark.parametrize("package", ["wandb", "tensorboard"])
def test_a_logger_that_is_not_installed_names_the_remedy(package: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    find_spec = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *args: None if name == package else find_spec(name, *args))
    monkeypatch.delitem(sys.modules, package, raising=False)
    message = refusal(tmp_path, *tiny("colorizer", f"logger={package}"))
    assert f"pip install {package}" in message
    assert "logger=csv" in message


TRAIN_AND_LIST_MODULES = """
import contextlib, json, sys
sys.argv = ["train.py", *sys.argv[1:]]
import train
with contextlib.redirect_stdout(sys.stderr):
    train.main()
print(json.dumps("wandb" in sys.modules))
"""


def test_wandb_is_imported_only_when_used(tmp_path: Path) -> None:
    assert in_child(tmp_path, TRAIN_AND_LIST_MODULES, *tiny("colorizer", "trainer.max_steps=1"), "hydra.run.dir=run") is False
    assert {path.name for path in (tmp_path / "run").iterdir()} == {"config.yaml", "train.log", "metrics.csv", "checkpoints", "samples"}


def test_none_still_writes_metrics(tmp_path: Path) -> None:
    run_main(tmp_path, *tiny("colorizer", "logger=none"), "hydra.run.dir=run")
    assert {path.name for path in (tmp_path / "run").iterdir()} == {"config.yaml", "train.log", "metrics.csv", "checkpoints", "samples"}


def test_tensorboard_gets_the_scalars_and_the_sample_pictures(tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    run_main(tmp_path, *tiny("colorizer", "logger=tensorboard"), "hydra.run.dir=run")
    run_main(tmp_path, "resume=run", "trainer.max_steps=3")
    events = EventAccumulator(str(tmp_path / "run/tensorboard"))
    events.Reload()
    assert {"train/loss", "train/huber", "val/loss", "val/psnr", "learning_rate"} <= set(events.Tags()["scalars"])
    assert [scalar.step for scalar in events.Scalars("train/loss")] == [0, 1, 2]
    assert set(events.Tags()["images"]) == {"samples", "psnr_points"}
    in_csv = [float(value) for _, value in rows(tmp_path / "run", "val/psnr")]
    assert [scalar.value for scalar in events.Scalars("val/psnr")] == pytest.approx(in_csv)


def test_metrics_file_adds_columns_when_names_turn_up_and_keeps_earlier_rows(tmp_path: Path) -> None:
    file = MetricsFile(tmp_path / "metrics.csv", first_step=0)
    file.log_metrics({"train/loss": 1.5}, step=0)
    file.log_metrics({"train/loss": 1.25}, step=1)
    file.log_metrics({"val/loss": 2.0}, step=1)
    file.log_metrics({"test/loss": 3.0}, step=2)
    file.finalize("success")
    header, *written = (tmp_path / "metrics.csv").read_text().split()
    assert header == "epoch,step,train/loss,val/loss,test/loss"
    assert written == [",0,1.5,,", ",1,1.25,2.0,", ",2,,,3.0"]


def test_metrics_file_of_a_resumed_run_keeps_the_rows_before_its_first_step(tmp_path: Path) -> None:
    path = tmp_path / "metrics.csv"
    for first_step in (0, 2):
        file = MetricsFile(path, first_step)
        for step in range(first_step, 4):
            file.log_metrics({"train/loss": float(step + 10 * first_step)}, step=step)
        file.finalize("success")
    assert rows(tmp_path, "train/loss") == [("0", "0.0"), ("1", "1.0"), ("2", "22.0"), ("3", "23.0")]


def test_metrics_file_survives_a_row_that_a_crash_cut_short(tmp_path: Path) -> None:
    path = tmp_path / "metrics.csv"
    path.write_text("epoch,step,train/loss\n0,0,1.5\n0,1,1.25\n0")
    file = MetricsFile(path, first_step=2)
    file.log_metrics({"train/loss": 1.0}, step=2)
    file.finalize("success")
    assert rows(tmp_path, "train/loss") == [("0", "1.5"), ("1", "1.25"), ("2", "1.0")]
