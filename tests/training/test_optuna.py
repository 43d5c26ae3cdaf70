"""`sweep=optuna`: an Optuna study chooses the jobs, each in its own process or processes; it prunes, survives failures and goes on."""

import json
import os
import signal
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import optuna
import pytest
from filelock import FileLock
from hydra.core.override_parser.overrides_parser import OverridesParser
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import TrialState

from hydra_plugins.stylecolor_sweepers._study import distribution
from stylecolor.reports.training_run import read_log, read_state
from tests.training.runs import last_checkpoint, only, refusal, rows, run_command, run_main, tiny
from training import sweep_jobs, trials
from training.outcomes import RESULT_VARIABLE, TRIAL_VARIABLE
from training.sweep_table import SweepTable
from training.trials import TrialAddress

RATES = "stage.optimizer.lr=tag(log,interval(1e-5,1e-2))"
# what every process of a job really trains with, written down from inside it
SPY = """
import json, os, sys
if "hydra.mode=RUN" in sys.orig_argv:
    from torch.optim.optimizer import register_optimizer_step_post_hook

    def note(optimizer, *_):
        directory = next(each for each in sys.orig_argv if each.startswith("hydra.run.dir=")).strip('"').rpartition("/")[2]
        with open(os.path.join({directory!r}, f"rates-{{directory}}-{{os.environ.get('LOCAL_RANK', '0')}}"), "a") as file:
            file.write(f"{{optimizer.param_groups[0]['lr']!r}}\\n")

    register_optimizer_step_post_hook(note)
"""


def open_study(sweep: Path) -> optuna.Study:
    """The study that a sweep has left."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return optuna.load_study(study_name=None, storage=f"sqlite:///{sweep / 'study.db'}")


def test_both_processes_of_every_job_train_with_the_jobs_own_learning_rate_and_stop_together_when_it_is_pruned(tmp_path: Path) -> None:
    """The first job draws the higher learning rate of the two, so that the second one is worse than the median after its first step."""
    spies = tmp_path / "spies"
    spies.mkdir()
    (spies / "sitecustomize.py").write_text(SPY.format(directory=str(spies)))
    settings = ("sweep.n_trials=2", "sweep.n_startup_trials=1", "sweep.n_warmup_steps=0", "sweep.seed=1")
    job = [*tiny("transfer", "trainer.devices=2", "trainer.limit_train_batches=2"), "trainer.val_check_interval=1"]
    completed = run_command(tmp_path, "-m", "sweep=optuna", *job, RATES, *settings, timeout=400, PYTHONPATH=str(spies))
    assert completed.returncode == 0, completed.stderr
    sweep = only(tmp_path, "outputs/transfer/sweeps/*")
    assert {path.name for path in (tmp_path / "outputs/transfer").iterdir()} == {"sweeps"}
    assert {path.name for path in sweep.iterdir() if path.is_dir()} == {"0", "1"}
    first, second = open_study(sweep).trials
    assert (first.state, second.state) == (TrialState.COMPLETE, TrialState.PRUNED)
    assert (len(first.intermediate_values), len(second.intermediate_values)) == (2, 1)
    for trial, steps in ((first, 2), (second, 1)):
        rate = trial.params["stage.optimizer.lr"]
        for rank in range(2):
            noted = (spies / f"rates-{trial.number}-{rank}").read_text().split()
            assert [float(each) for each in noted] == [rate] * steps
        directory = sweep / str(trial.number)
        assert [float(value) for _, value in rows(directory, "learning_rate")] == pytest.approx([rate] * steps)
        assert last_checkpoint(directory)["global_step"] == steps
    assert first.params != second.params
    done, pruned = SweepTable(sweep).read()
    assert (done.status, done.value) == ("completed", first.value)
    assert (pruned.status, pruned.value) == ("pruned", second.intermediate_values[1])
    assert completed.stdout.splitlines()[-1].endswith(f"stage.optimizer.lr={first.params['stage.optimizer.lr']}")


class ScriptedJobs:
    """Stands for the processes of jobs: each ends as the next outcome of a script says."""

    def __init__(self, *script: dict[str, Any] | int) -> None:
        self.script = list(script)
        self.commands: list[list[str]] = []
        self.environments: list[dict[str, str]] = []

    def __call__(self, command: list[str], env: dict[str, str], **_: Any) -> "ScriptedJobs":
        self.commands.append(command)
        self.environments.append(env)
        return self

    def wait(self) -> int:
        """An outcome is what the job writes; a number is a signal that the sweep gets while the job runs."""
        outcome = self.script.pop(0)
        if isinstance(outcome, int):
            os.kill(os.getpid(), outcome)
            return 128 + outcome
        Path(self.environments[-1][RESULT_VARIABLE]).write_text(json.dumps(outcome))
        return int("error" in outcome)

    def send_signal(self, number: int) -> None:
        """It has ended already."""


@pytest.fixture
def play(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Put scripted jobs in the place of real ones."""

    def set_script(*script: dict[str, Any] | int) -> ScriptedJobs:
        jobs = ScriptedJobs(*script)
        monkeypatch.setattr(sweep_jobs.subprocess, "Popen", jobs)
        return jobs

    return set_script


def values(*numbers: float) -> list[dict[str, Any]]:
    return [{"value": number} for number in numbers]


SWEEP = ("-m", "sweep=optuna", "stage=transfer", RATES, "stage.norm=batch,none", "hydra.sweep.dir=s")


def test_a_failed_job_is_marked_and_survived(tmp_path: Path, play: Any, capfd: pytest.CaptureFixture[str]) -> None:
    jobs = play(*values(3.0), {"error": "stage.x: is wrong"}, *values(1.0), {"value": None}, *values(float("nan")))
    assert "3 of 5 jobs failed" in refusal(tmp_path, *SWEEP, "sweep.n_trials=5")
    study = open_study(tmp_path / "s")
    assert [trial.state.name for trial in study.trials] == ["COMPLETE", "FAIL", "COMPLETE", "FAIL", "FAIL"]
    assert study.trials[1].user_attrs["error"] == "stage.x: is wrong"
    table = SweepTable(tmp_path / "s").read()
    assert [job.status for job in table] == ["completed", "failed", "completed", "failed", "failed"]
    assert [job.error for job in table[3:]] == ["it validated nothing, so it cannot be judged", "val/loss is nan"]
    printed = capfd.readouterr()
    assert "failed: s/1" in printed.err
    best = next(line for line in printed.out.splitlines() if line.startswith("python "))
    # ready to paste: what job 2 was started with
    assert best.split()[2:] == jobs.commands[2][2:-2]
    assert [trial.params["stage.optimizer.lr"] for trial in study.trials] == [
        float(dict(argument.split("=", 1) for argument in command[2:])["stage.optimizer.lr"]) for command in jobs.commands
    ]


def test_the_table_tells_what_runs_while_it_runs(tmp_path: Path, play: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []
    jobs = play(*values(3.0, 2.0))
    wait = jobs.wait

    def look() -> int:
        seen.append([(job.status, job.value) for job in SweepTable(tmp_path / "s").read()])
        return wait()

    monkeypatch.setattr(ScriptedJobs, "wait", lambda self: look())
    run_main(tmp_path, *SWEEP, "sweep.n_trials=2")
    assert seen == [[("running", None)], [("completed", 3.0), ("running", None)]]
    described = json.loads((tmp_path / "s/sweep.json").read_text())
    assert (described["monitor"], described["mode"], described["sweeper"]) == ("val/loss", "min", "optuna")
    assert RATES in described["overrides"]


def test_a_sweep_whose_first_jobs_all_fail_ends_and_can_go_on(tmp_path: Path, play: Any) -> None:
    jobs = play(*[{"error": "no"}] * 9)
    assert "3 of 3 jobs failed" in refusal(tmp_path, *SWEEP, "sweep.n_trials=9")
    assert len(jobs.commands) == 3
    # once what was wrong has been mended
    jobs = play(*values(3.0), {"error": "no"}, *values(2.0))
    assert "4 of 6 jobs failed" in refusal(tmp_path, "sweep.resume=s", "sweep.n_trials=6")
    assert jobs.script == []


def test_the_best_of_a_psnr_is_the_highest(tmp_path: Path, play: Any, capfd: pytest.CaptureFixture[str]) -> None:
    play(*values(20.0, 22.0, 21.0))
    run_main(tmp_path, "-m", "sweep=random", "stage=colorizer", RATES, "sweep.n_trials=3", "hydra.sweep.dir=s")
    assert "best val/psnr: 22, job 1: s/1" in capfd.readouterr().out
    assert open_study(tmp_path / "s").best_value == 22


def test_no_job_of_a_grid_is_the_best_of_different_stages(tmp_path: Path, play: Any, capfd: pytest.CaptureFixture[str]) -> None:
    for stages, best in (("colorizer,joint", "best val/psnr: 22"), ("transfer,colorizer", "")):
        play(*values(20.0, 22.0))
        run_main(tmp_path, "-m", f"stage={stages}", f"hydra.sweep.dir={stages.replace(',', '-')}")
        printed = capfd.readouterr().out
        assert best in printed
        assert ("best" in printed) == bool(best)


def test_pruned_jobs_are_told_to_the_study(tmp_path: Path, play: Any) -> None:
    jobs = play(*values(3.0), {"value": 4.0, "pruned": True})
    run_main(tmp_path, *SWEEP, "sweep.n_trials=2", "sweep.pruner=hyperband")
    assert [trial.state.name for trial in open_study(tmp_path / "s").trials] == ["COMPLETE", "PRUNED"]
    assert [job.status for job in SweepTable(tmp_path / "s").read()] == ["completed", "pruned"]
    addresses = [TrialAddress.from_json(environment[TRIAL_VARIABLE]) for environment in jobs.environments]
    assert [(address.trial, address.pruner) for address in addresses] == [(1, "hyperband"), (2, "hyperband")]


def test_an_interrupted_sweep_goes_on_where_it_stopped(tmp_path: Path, play: Any) -> None:
    play(*values(3.0), signal.SIGINT)
    with pytest.raises(SystemExit) as ended:
        run_main(tmp_path, *SWEEP, "sweep.n_trials=3")
    assert ended.value.code == 130
    study = open_study(tmp_path / "s")
    assert [trial.state.name for trial in study.trials] == ["COMPLETE", "FAIL"]
    assert [job.status for job in SweepTable(tmp_path / "s").read()] == ["completed", "interrupted"]
    # what a killed sweep leaves behind
    study.ask()
    jobs = play(*values(2.0, 1.0))
    run_main(tmp_path, "sweep.resume=s")
    assert jobs.script == []
    assert {path.name for path in tmp_path.iterdir()} == {"s"}
    states = [(trial.state.name, trial.user_attrs["status"]) for trial in open_study(tmp_path / "s").trials]
    assert states == [
        ("COMPLETE", "completed"), ("FAIL", "interrupted"), ("FAIL", "interrupted"), ("COMPLETE", "completed"), ("COMPLETE", "completed"),
    ]  # fmt: skip
    assert [job.value for job in SweepTable(tmp_path / "s").read()] == [3.0, None, 2.0, 1.0]
    # and with more jobs
    jobs = play(*values(0.5))
    run_main(tmp_path, "sweep.resume=s", "sweep.n_trials=4")
    assert jobs.script == []
    drawn = [trial.params.get("stage.optimizer.lr") for trial in open_study(tmp_path / "s").trials]
    assert len(set(drawn)) == len(drawn)


def test_what_a_sweep_that_goes_on_cannot_change_is_refused(tmp_path: Path, play: Any) -> None:
    play(*values(3.0))
    run_main(tmp_path, *SWEEP, "sweep.n_trials=1")
    described = (tmp_path / "s/sweep.json").read_text()
    assert "stage.norm cannot change" in refusal(tmp_path, "sweep.resume=s", "stage.norm=none")
    assert "stage.norm: the choices of a sweep" in refusal(tmp_path, *SWEEP[:4], "stage.norm=none,batch", "hydra.sweep.dir=s")
    with FileLock(tmp_path / "s/.sweep.lock"):
        assert "running already" in refusal(tmp_path, "sweep.resume=s")
    assert "minimize" in refusal(tmp_path, "-m", "sweep=optuna", "stage=colorizer", RATES, "hydra.sweep.dir=s")
    assert (tmp_path / "s/sweep.json").read_text() == described
    assert "is no sweep's directory" in refusal(tmp_path, "sweep.resume=nowhere")
    (tmp_path / "s/sweep.json").write_text("{")
    assert "sweep.json is damaged" in refusal(tmp_path, "sweep.resume=s")


def test_a_job_that_promises_nothing_ends_early_with_a_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cache_directory: Path
) -> None:
    """The trial before it was at 0 after the first validation, which no loss gets below."""
    storage = f"sqlite:///{tmp_path / 'study.db'}"
    study = optuna.create_study(storage=storage, study_name="s", direction="minimize")
    perfect = study.ask()
    perfect.report(0.0, 1)
    study.tell(perfect, 0.0)
    trial = study.ask()
    address = TrialAddress(storage, "s", trial._trial_id, "percentile", n_startup_trials=1, n_warmup_steps=0)
    monkeypatch.setenv(TRIAL_VARIABLE, address.to_json())
    monkeypatch.setenv(RESULT_VARIABLE, str(tmp_path / "result.json"))
    job = tiny("transfer", "trainer.max_steps=8", "trainer.limit_train_batches=4")
    run_main(tmp_path, *job, "trainer.val_check_interval=2", "hydra.run.dir=run")
    ((step, value),) = rows(tmp_path / "run", "val/loss")
    assert step == "1"
    assert json.loads((tmp_path / "result.json").read_text()) == {"value": pytest.approx(float(value)), "pruned": True}
    assert last_checkpoint(tmp_path / "run")["global_step"] == 2
    assert (tmp_path / "run/checkpoints/best.ckpt").is_file()
    assert open_study(tmp_path).trials[1].intermediate_values == {1: pytest.approx(float(value))}
    assert "Traceback" not in (tmp_path / "run/train.log").read_text()
    assert read_state(read_log(tmp_path / "run")).name == "pruned"


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("interval(1e-5,1e-2)", FloatDistribution(1e-5, 1e-2)),
        ("tag(log,interval(1e-5,1e-2))", FloatDistribution(1e-5, 1e-2, log=True)),
        ("int(interval(1,8))", IntDistribution(1, 8)),
        ("tag(log,int(interval(1,8)))", IntDistribution(1, 8, log=True)),
        ("range(2,8,2)", IntDistribution(2, 6, step=2)),
        ("range(0,1,0.25)", FloatDistribution(0, 0.75, step=0.25)),
        ("a,b", CategoricalDistribution(["a", "b"])),
        ("choice([a,b],[c])", CategoricalDistribution(["[a,b]", "[c]"])),
    ],
)
def test_ranges_are_hydras_own(value: str, expected: Any) -> None:
    (override,) = OverridesParser.create().parse_overrides([f"seed={value}"])
    assert distribution(override) == expected


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["sweep=optun", RATES], "optuna"),
        (["sweep=optuna", RATES, "sweep.n_trial=3"], "sweep.n_trials"),
        (["sweep=optuna", RATES, "sweep.n_trials=0"], "sweep.n_trials=0"),
        (["sweep=optuna", RATES, "sweep.pruner=medan"], "median"),
        (["sweep=optuna", RATES, "sweep.storage=nosuch://x"], "sweep.storage=nosuch://x"),
        (["sweep=grid", "seed=1,2", "sweep.n_trials=3"], "sweep=optuna"),
        (["seed=1,2", RATES], "sweep=optuna"),
        (["sweep=optuna"], "nothing to search"),
        (["sweep=optuna", "stage=colorizer,joint,transfer"], "stage=transfer by val/loss"),
        (["sweep=optuna", "stage.optimizer.rl=interval(0,1)"], "stage.optimizer.lr"),
        (["sweep=optuna", "stage.width=0.5,-1"], "stage.width=-1"),
        (["sweep=optuna", "stage.width=interval(-1,1)"], "stage.width=-1"),
        (["sweep=optuna", "stage.width=tag(lgo,interval(0.5,1))"], "log"),
        (["sweep=optuna", "stage.width=tag(log,interval(0,1))"], "stage.width=tag(log,interval(0,1))"),
        (["sweep=optuna", "stage.width=range(1,1)"], "empty"),
        (["seed=1,2", "hydra/launcher=jobli"], "joblib"),
        (["seed=1,2", "hydra/launcher=joblib", "hydra.launcher.n_job=2"], "hydra.launcher.n_job"),
    ],
)
def test_wrong_settings_are_refused_before_any_job(arguments: Sequence[str], named: str, tmp_path: Path, play: Any) -> None:
    jobs = play()
    assert named in refusal(tmp_path, "-m", *arguments)
    assert jobs.commands == []
    assert list(tmp_path.iterdir()) == []


def test_without_optuna_the_remedy_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trials.importlib.util, "find_spec", lambda name: None)
    assert "pip install optuna" in refusal(tmp_path, *SWEEP)
