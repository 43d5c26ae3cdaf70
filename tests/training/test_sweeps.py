"""`-m`: each job in its own process and directory, whatever launches it; one that fails does not stop the others; a signal ends all."""

import os
import signal
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from hydra.core.config_store import ConfigStore

from tests.training.runs import (
    assert_all_gone,
    command_line,
    count_rows,
    descendants,
    finish,
    last_checkpoint,
    only,
    refusal,
    rows,
    run_command,
    run_main,
    start_command,
    tiny,
    wait_until,
)
from training import sweep_jobs
from training.composition import compose
from training.outcomes import RESULT_VARIABLE, SWEEP_VARIABLE
from training.sweep_jobs import run_job_process
from training.sweep_table import Job, SweepTable

Started = list[tuple[list[str], dict[str, str]]]
"""Commands and environments."""


class FakeProcess:
    """Stands for a job: remembers its command and environment, and ends as told."""

    started: Started
    status = 0

    def __init__(self, command: list[str], env: dict[str, str], **_: Any) -> None:
        self.started.append((command, env))

    def wait(self) -> int:
        return self.status


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> Started:
    """The jobs that a sweep would start."""
    monkeypatch.setattr(FakeProcess, "started", [], raising=False)
    monkeypatch.setattr(sweep_jobs.subprocess, "Popen", FakeProcess)
    return FakeProcess.started


def test_every_job_gets_its_own_process_directory_and_the_sweeps_name(tmp_path: Path, started: Started) -> None:
    run_main(tmp_path, "-m", "stage=transfer,colorizer", "seed=1,2", "data.root=x")
    assert len(started) == 4
    # conf/config.yaml keeps the jobs of each stage together, where the joint stage looks for them
    name = only(tmp_path, "outputs/transfer/sweeps/*").name
    combinations = set()
    for number, (command, environment) in enumerate(started):
        arguments = dict(argument.split("=", 1) for argument in command[2:])
        combinations.add((arguments["stage"], arguments["seed"]))
        assert arguments["data.root"] == "x"
        assert Path(arguments["hydra.run.dir"].strip('"')) == Path("outputs", arguments["stage"], "sweeps", name, str(number))
        assert arguments["hydra.mode"] == "RUN"
        assert environment[SWEEP_VARIABLE] == name
    assert combinations == {("transfer", "1"), ("transfer", "2"), ("colorizer", "1"), ("colorizer", "2")}
    assert len({environment[RESULT_VARIABLE] for _, environment in started}) == 4


def test_values_reach_the_jobs_as_they_were_written(tmp_path: Path, started: Started) -> None:
    """Lists, quotes and paths go through two of Hydra's parsers."""
    path = "weights/it's a, [path] (x)=1"
    escaped = path.replace("'", "\\'")
    run_main(tmp_path, "-m", "seed=1,2", "stage.sites=[bottleneck,decoder]", f"data.root='{escaped}'", "data.categories=[cat,zebra]")
    for command, _ in started:
        with command_line(tmp_path, *command[2:]):
            composed = compose()
        assert composed is not None
        config, _ = composed
        assert config.data.root == path
        assert list(config.stage.sites) == ["bottleneck", "decoder"]
        assert list(config.data.categories) == ["cat", "zebra"]


def test_one_bad_job_refuses_the_whole_sweep_before_any_starts(tmp_path: Path, started: Started) -> None:
    assert "stage.width=-1" in refusal(tmp_path, "-m", "stage.width=0.5,-1,1")
    assert "stage.lambda_" in refusal(tmp_path, "-m", "stage=colorizer,transfer", "stage.lambda_=3")
    assert started == []


def test_a_job_that_was_killed_is_told_from_one_that_failed(
    tmp_path: Path, started: Started, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(FakeProcess, "status", -signal.SIGKILL)
    assert "2 of 2 jobs failed" in refusal(tmp_path, "-m", "seed=1,2")
    assert "SIGKILL" in capfd.readouterr().err
    assert "SIGKILL" in only(tmp_path, "outputs/transfer/sweeps/*/1/train.log").read_text()


def test_a_job_that_fails_leaves_its_error_and_the_others_run_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    processes = []
    popen = subprocess.Popen

    def spy(command: list[str], **settings: Any) -> Any:
        processes.append(popen(command, **settings))
        return processes[-1]

    (tmp_path / "broken").write_text("no weights")
    with monkeypatch.context() as patch:
        patch.setattr(sweep_jobs.subprocess, "Popen", spy)
        message = refusal(tmp_path, "-m", *tiny("colorizer"), "stage.weights=broken,random")
    assert "1 of 2 jobs failed" in message
    assert len({process.pid for process in processes}) == 2
    assert [process.returncode for process in processes] == [1, 0]
    sweep = only(tmp_path, "outputs/colorizer/sweeps/*")
    assert {path.name for path in sweep.iterdir() if path.is_dir()} == {"0", "1"}
    assert "stage.weights=broken: is no weight file" in (sweep / "0/train.log").read_text()
    assert last_checkpoint(sweep / "1")["global_step"] == 2
    assert [yaml.safe_load((sweep / name / "config.yaml").read_text())["stage"]["weights"] for name in "01"] == ["broken", "random"]
    assert [(job.status, job.error) for job in SweepTable(sweep).read()] == [
        ("failed", (sweep / "0/train.log").read_text().splitlines()[-1].removeprefix("error: ")),
        ("completed", ""),
    ]
    table = capfd.readouterr().err
    assert f"failed: {sweep.relative_to(tmp_path)}/0" in table
    assert "stage.weights=broken: is no weight file" in table
    assert "Traceback" not in table


ENDLESS = ("trainer.max_steps=100000", "trainer.max_epochs=-1")


@pytest.mark.parametrize(
    ("number", "status", "group"),
    [
        (signal.SIGTERM, 143, False),
        pytest.param(signal.SIGINT, 130, True, marks=pytest.mark.slow),
    ],
    ids=["SIGTERM to the sweep", "Ctrl-C in the terminal"],
)
def test_a_signal_stops_the_job_with_a_checkpoint_and_the_sweep(number: signal.Signals, status: int, group: bool, tmp_path: Path) -> None:
    process = start_command(tmp_path, "-m", *tiny("colorizer"), *ENDLESS, "seed=1,2")
    found: list[Path] = []

    def training() -> bool:
        found[:] = tmp_path.glob("outputs/colorizer/sweeps/*/0")
        return bool(found) and count_rows(found[0]) >= 3

    wait_until(training, "three steps", process)
    children = descendants(process)
    assert children
    os.killpg(process.pid, number) if group else process.send_signal(number)
    completed = finish(process)
    assert completed.returncode == status, completed.stderr
    assert "Traceback" not in completed.stderr
    assert_all_gone(children)
    assert last_checkpoint(found[0])["global_step"] >= 3
    assert not (found[0].parent / "1").exists()
    first, second = SweepTable(found[0].parent).read()
    assert (first.status, first.error) == ("interrupted", f"stopped by {number.name}")
    assert (second.status, second.error) == ("interrupted", "not started")


@pytest.mark.slow
@pytest.mark.parametrize(
    "launcher", [["hydra/launcher=joblib", "hydra.launcher.n_jobs=2"], ["hydra/launcher=submitit_local"]], ids=" ".join
)
@pytest.mark.parametrize("sweep", [["sweep=grid", "stage.optimizer.lr=1e-3,1e-4"], ["sweep=optuna", "sweep.n_trials=2", "sweep.n_jobs=2"]])
def test_jobs_side_by_side_are_as_isolated_as_one_after_the_other(launcher: list[str], sweep: list[str], tmp_path: Path) -> None:
    """Each of two processes, on Hydra's own launchers."""
    ranges = ["stage.optimizer.lr=interval(1e-4,1e-3)"] if "sweep=optuna" in sweep else []
    job = tiny("colorizer", "trainer.devices=2", "logger=wandb")
    completed = run_command(tmp_path, "-m", *job, *sweep, *ranges, *launcher, timeout=400)
    assert completed.returncode == 0, completed.stderr
    found = only(tmp_path, "outputs/colorizer/sweeps/*")
    assert {path.name for path in (tmp_path / "outputs").iterdir()} == {"colorizer"}
    assert {path.name for path in (tmp_path / "outputs/colorizer").iterdir()} == {"sweeps"}
    assert {path.name for path in found.iterdir() if not path.name.startswith(".") and path.is_dir()} == {"0", "1"}
    jobs = SweepTable(found).read()
    assert [(job.number, job.status) for job in jobs] == [(0, "completed"), (1, "completed")]
    rates = [dict(override.split("=", 1) for override in job.overrides)["stage.optimizer.lr"] for job in jobs]
    assert rates[0] != rates[1]
    runs = []
    for number, rate in enumerate(rates):
        directory = found / str(number)
        assert [float(value) for _, value in rows(directory, "learning_rate")] == pytest.approx([float(rate)] * 2)
        assert last_checkpoint(directory)["global_step"] == 2
        runs += (directory / "wandb").glob("offline-run-*")
    assert len(runs) == 2
    best = completed.stdout.splitlines()[-1]
    assert f"stage.optimizer.lr={max(zip([job.value for job in jobs], rates, strict=True))[1]}" in best.split()


@pytest.mark.slow
def test_a_signal_stops_jobs_side_by_side_with_checkpoints(tmp_path: Path) -> None:
    job = [*tiny("colorizer"), *ENDLESS, "hydra/launcher=joblib", "hydra.launcher.n_jobs=2", "hydra.sweep.dir=s"]
    process = start_command(tmp_path, "-m", *job, "seed=1,2,3")
    wait_until(lambda: all(count_rows(tmp_path / "s" / number) >= 3 for number in "01"), "three steps of both", process)
    children = descendants(process)
    process.send_signal(signal.SIGTERM)
    completed = finish(process)
    assert completed.returncode == 143, completed.stderr
    assert "Traceback" not in completed.stderr
    assert_all_gone(children)
    assert all(last_checkpoint(tmp_path / "s" / number)["global_step"] >= 3 for number in "01")
    assert [(job.status, job.error) for job in SweepTable(tmp_path / "s").read()] == [
        ("interrupted", "stopped by SIGTERM"),
        ("interrupted", "stopped by SIGTERM"),
        ("interrupted", "not started"),
    ]


@pytest.mark.parametrize("launcher", ["joblib", "submitit_slurm"])
def test_a_launcher_that_is_not_installed_is_named_with_its_package(
    launcher: str, tmp_path: Path, started: Started, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Hydra finds nothing of that name."""
    monkeypatch.delitem(ConfigStore.instance().repo["hydra"]["launcher"], f"{launcher}.yaml")
    assert "pip install hydra-" in refusal(tmp_path, "-m", "seed=1,2", f"hydra/launcher={launcher}")
    assert started == []


def test_a_sweep_is_not_written_over(tmp_path: Path, started: Started) -> None:
    SweepTable(tmp_path).add([Job(0, "completed", 1.0, 2.0, ("seed=1",), "0", "")])
    assert "holds a sweep already" in refusal(tmp_path, "-m", "seed=1,2", "hydra.sweep.dir=.")
    assert started == []


def test_a_job_of_a_slurm_array_starts_its_own_processes(tmp_path: Path, started: Started, monkeypatch: pytest.MonkeyPatch) -> None:
    """Lightning would take the launcher's one task for the only rank; jobs of several tasks are SLURM's ranks."""
    monkeypatch.setenv("SLURM_PROCID", "0")
    for tasks, kept in (("1", False), ("8", True)):
        monkeypatch.setenv("SLURM_NTASKS", tasks)
        run_job_process(Path("train.py"), ["seed=1"], tmp_path, "s")
        assert ("SLURM_NTASKS" in started[-1][1]) is kept
        assert ("SLURM_PROCID" in started[-1][1]) is kept


@pytest.mark.slow
def test_the_number_of_devices_can_be_swept(tmp_path: Path) -> None:
    completed = run_command(tmp_path, "-m", *tiny("colorizer"), "stage.optimizer.lr=1e-3,1e-4", "trainer.devices=1,2", timeout=400)
    assert completed.returncode == 0, completed.stderr
    sweep = only(tmp_path, "outputs/colorizer/sweeps/*")
    assert {path.name for path in (tmp_path / "outputs/colorizer").iterdir()} == {"sweeps"}
    assert {path.name for path in sweep.iterdir() if path.is_dir()} == {"0", "1", "2", "3"}
    for number, (rate, devices) in enumerate([(1e-3, 1), (1e-3, 2), (1e-4, 1), (1e-4, 2)]):
        job = sweep / str(number)
        saved = yaml.safe_load((job / "config.yaml").read_text())
        assert (saved["stage"]["optimizer"]["lr"], saved["trainer"]["devices"]) == (rate, devices)
        assert [float(value) for _, value in rows(job, "learning_rate")] == pytest.approx([rate, rate])
        assert last_checkpoint(job)["global_step"] == 2
