"""From the command line to dataclasses: everything in conf/ composes, and whatever does not fit is refused in one line."""

import json
import re
import sys
from itertools import product
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir

from lightning_modules.config import ColorizerConfig, JointConfig, TransferConfig
from tests.training.runs import STAGES, assert_one_line, in_child, refusal, run_command
from training.composition import CONFIG_DIRECTORY, FIGURE_RECIPES, register, run_name, to_experiment
from training.config import ExperimentConfig


def choices(group: str) -> list[str]:
    return sorted(path.stem for path in (CONFIG_DIRECTORY / group).glob("*.yaml"))


def trained_experiments() -> list[str]:
    return [name for name in choices("experiment") if not name.startswith(FIGURE_RECIPES)]


def experiment(*overrides: str) -> ExperimentConfig:
    register()
    with initialize_config_dir(str(CONFIG_DIRECTORY), version_base="1.3"):
        return to_experiment(compose("config", overrides=list(overrides)))


EVERYTHING = [
    [f"stage={stage}", f"data={data}", f"trainer={trainer}", f"logger={logger}", *([f"experiment={recipe}"] if recipe else [])]
    for stage, data, trainer, logger, recipe in product(
        choices("stage"), choices("data"), choices("trainer"), choices("logger"), ["", *trained_experiments()]
    )
]


@pytest.mark.parametrize("overrides", EVERYTHING, ids=" ".join)
def test_every_choice_in_conf_composes(overrides: list[str]) -> None:
    composed = experiment(*overrides)
    for group in ("stage", "data", "logger"):
        assert f"{group}={getattr(composed, group).name}" in overrides


def test_conf_holds_every_stage() -> None:
    assert sorted(STAGES) == choices("stage")


def test_every_recipe_belongs_to_an_experiment_and_a_stage() -> None:
    assert set(choices("recipe")) <= {f"{recipe}_{stage}" for recipe in trained_experiments() for stage in STAGES}


def test_defaults_are_the_reports() -> None:
    """SPEC.md section 5, and the names of issue 2."""
    transfer, colorizer, joint = (experiment(f"stage={stage}") for stage in STAGES)
    assert isinstance(transfer.stage, TransferConfig)
    assert isinstance(colorizer.stage, ColorizerConfig)
    assert isinstance(joint.stage, JointConfig)
    assert [composed.stage.optimizer.lr for composed in (transfer, colorizer, joint)] == [1e-3, 1e-4, 1e-5]
    assert transfer.stage.sites == ["bottleneck"]
    assert transfer.stage.encoder.weights == "imagenet"
    assert colorizer.stage.weights == "random"
    assert (colorizer.stage.mask_probability, colorizer.stage.lambda_) == (0.99, 10.0)
    assert transfer.data.image_size == 256
    assert transfer.data.categories == ["giraffe", "zebra", "snowboard", "surfboard"]  # type: ignore[attr-defined]
    assert {composed.stage.width for composed in (transfer, colorizer, joint)} == {1.0}


def test_the_report_experiment_is_the_reports_recipe() -> None:
    """SPEC.md section 5."""
    transfer, joint = experiment("experiment=report").stage, experiment("experiment=report", "stage=joint").stage
    assert isinstance(transfer, TransferConfig)
    assert isinstance(joint, JointConfig)
    assert transfer.loss.style_coefficient == 1e6
    assert joint.colorizer_checkpoint == "siggraph17"
    assert experiment("experiment=report").data.resize == "squash"


def test_an_argument_outranks_the_experiment() -> None:
    composed = experiment("experiment=demo", "stage.width=0.5", "trainer.max_steps=7", "data=coco")
    assert (composed.stage.width, composed.trainer.max_steps, composed.data.name) == (0.5, 7, "coco")


@pytest.mark.parametrize(("value", "read"), [("all", "all"), ("cat", ["cat"]), ("[cat,zebra]", ["cat", "zebra"])])
def test_categories_are_all_a_name_or_names(value: str, read: str | list[str]) -> None:
    assert experiment(f"data.categories={value}").data.categories == read  # type: ignore[attr-defined]


# (arguments, what the refusal must name)
REFUSED = [
    # unknown keys, also added ones
    *(([f"{prefix}data.imagesize=64"], "data.image_size") for prefix in ("", "+", "++")),
    *(([f"{prefix}stage.optimizer.rl=1"], "stage.optimizer.lr") for prefix in ("", "+", "++")),
    *(([f"{prefix}sede=1"], "seed") for prefix in ("", "+", "++")),
    *(([f"{prefix}trainer.max_step=3"], "trainer.max_steps") for prefix in ("", "+", "++")),
    *(([f"{prefix}stage.encoder.weight=random"], "stage.encoder.weights") for prefix in ("", "+", "++")),
    *(([f"{prefix}stage.loss.style_coeficient=1"], "stage.loss.style_coefficient") for prefix in ("", "+", "++")),
    (["+logger.ofline=true"], "logger.offline"),
    (["trainer.devics=2"], "trainer.devices"),
    (["stage=colorizer", "stage.lambda=3"], "stage.lambda_"),
    # a key of another choice
    (["stage.lambda_=3"], "stage=colorizer"),
    (["stage=colorizer", "stage.sites=[bottleneck]"], "stage=transfer"),
    (["stage=joint", "stage.encoder.weights=random"], "stage=transfer"),
    (["logger=csv", "logger.project=x"], "logger=wandb"),
    # unknown choices
    (["stage=transfr"], "transfer"),
    (["data=cocoo"], "coco"),
    (["logger=wandbb"], "wandb"),
    (["experiment=repot"], "report"),
    (["experiment=figure_pipeline"], "evaluate.py experiment=figure_pipeline"),
    (["+stage=colorizer"], "stage="),
    (["++stage=joint"], "stage=joint"),
    (["stage.name=colorizer"], "stage="),
    (["stage.name=foo"], "stage.name"),
    (["data.name=sample"], "data="),
    (["logger=csv", "logger.name=wandb"], "logger="),
    (["data.resize=cropp"], "crop"),
    (["data.references=palete"], "palette"),
    (["stage.sites=[bottlenec]"], "bottleneck"),
    (["stage.sites=decodr"], "decoder"),
    (["stage=joint", "stage.sites=[botleneck]"], "bottleneck"),
    (["stage.skips=slice"], "slices"),
    (["stage.norm=batchnorm"], "batch"),
    (["stage.padding=zero"], "zeros"),
    (["stage.optimizer.schedule=stp"], "step"),
    (["stage=colorizer", "stage.hints=bernouli"], "bernoulli"),
    (["trainer.precision=bf16"], "bf16-mixed"),
    (["trainer.accelerator=cuda0"], "cuda"),
    (["trainer.strategy=dpp"], "ddp"),
    (["trainer.deterministic=maybe"], "warn"),
    (["trainer.profiler=simpl"], "simple"),
    (["trainer.gradient_clip_algorithm=nrm"], "norm"),
    # wrong types
    (["stage.width=abc"], "stage.width"),
    (["stage.width=null"], "stage.width"),
    (["stage.optimizer=3"], "stage.optimizer"),
    (["stage.optimizer.lr=fast"], "stage.optimizer.lr"),
    (["stage.encoder=random"], "stage.encoder"),
    (["stage.sites=3"], "stage.sites"),
    (["stage.loss.style_weights=[1,1,1,1,a]"], "stage.loss.style_weights"),
    (["data.batch_size=2.5"], "data.batch_size"),
    (["data.categories=null"], "data.categories"),
    (["data.categories=[1,2]"], "data.categories"),
    (["data.categories={a:1}"], "data.categories"),
    (["trainer.devices=two"], "trainer.devices"),
    (["trainer.devices=1.5"], "trainer.devices"),
    (["trainer.devices=true"], "trainer.devices"),
    (["trainer.devices=[a]"], "trainer.devices"),
    (["trainer.max_steps=1.5"], "trainer.max_steps"),
    (["trainer.max_time=1h"], "trainer.max_time"),
    (["trainer.limit_train_batches=many"], "trainer.limit_train_batches"),
    (["trainer.fast_dev_run=maybe"], "trainer.fast_dev_run"),
    (["trainer.sync_batchnorm=maybe"], "trainer.sync_batchnorm"),
    (["logger.tags=abc"], "logger.tags"),
    (["seed=a"], "seed"),
    (["seed=null"], "seed"),
    # out of range
    *(([f"stage.width={value}"], "stage.width") for value in ("0", "-1", "nan", "inf")),
    *(([f"stage.optimizer.lr={value}"], "stage.optimizer.lr") for value in ("0", "-1", "nan", "inf")),
    (["stage.optimizer.weight_decay=-1"], "stage.optimizer.weight_decay"),
    (["stage.optimizer.gamma=0"], "stage.optimizer.gamma"),
    (["stage.optimizer.step_epochs=0"], "stage.optimizer.step_epochs"),
    *(([f"stage.alpha={value}"], "stage.alpha") for value in ("2", "-0.1", "nan")),
    (["stage.sites=[skips]"], "stage.skips=pre_pool"),
    (["stage.sites=[decoder,decoder]"], "stage.sites"),
    (["stage.loss.content_layer=6"], "stage.loss.content_layer"),
    (["stage.loss.style_weights=[1,1]"], "stage.loss.style_weights"),
    (["stage.loss.style_weights=[1,1,1,1,-1]"], "stage.loss.style_weights"),
    (["stage.loss.style_coefficient=-1"], "stage.loss.style_coefficient"),
    (["stage=colorizer", "stage.mask_probability=1.5"], "stage.mask_probability"),
    (["stage=colorizer", "stage.empty_probability=-1"], "stage.empty_probability"),
    (["stage=colorizer", "stage.lambda_=-1"], "stage.lambda_"),
    (["stage=colorizer", "stage.delta=0"], "stage.delta"),
    (["data.batch_size=0"], "data.batch_size"),
    (["data.image_size=60"], "64"),
    (["data.image_size=8"], "data.image_size"),
    (["data.num_workers=-2"], "data.num_workers"),
    (["data.categories=[]"], "data.categories"),
    *(([f"trainer.devices={value}"], "trainer.devices") for value in ("0", "-2", "[]", "[0,0]", "[-3]")),
    (["trainer.num_nodes=0"], "trainer.num_nodes"),
    (["trainer.max_epochs=-2"], "trainer.max_epochs"),
    (["trainer.max_steps=-2"], "trainer.max_steps"),
    (["trainer.limit_train_batches=-1"], "trainer.limit_train_batches"),
    (["trainer.limit_val_batches=1.5"], "trainer.limit_val_batches"),
    (["trainer.val_check_interval=0"], "trainer.val_check_interval"),
    (["trainer.check_val_every_n_epoch=0"], "trainer.check_val_every_n_epoch"),
    (["trainer.log_every_n_steps=0"], "trainer.log_every_n_steps"),
    (["trainer.accumulate_grad_batches=0"], "trainer.accumulate_grad_batches"),
    (["trainer.gradient_clip_val=-1"], "trainer.gradient_clip_val"),
    (["trainer.fast_dev_run=-1"], "trainer.fast_dev_run"),
    (["seed=-1"], "seed"),
    (["seed=4294967296"], "seed"),
    (["trainer.precision=16-mixed", "trainer.accelerator=cpu"], "bf16-mixed"),
    # no override at all
    (["~trainer.max_steps"], "trainer.max_steps"),
    (["~nothing"], "nothing"),
    (["seed"], "seed"),
    (["data.root=${nothing}"], "nothing"),
    (["+recipe=demo_transfr"], "recipe"),
    (["resume=nowhere"], "nowhere"),
    # sweeps
    (["-m", "sede=1,2"], "seed"),
    (["-m", "stage.optimizer.lr=1e-3,0"], "stage.optimizer.lr"),
    (["-m", "stage=transfer,colorzer"], "colorizer"),
    (["-m", "stage=transfer,joint", "stage.encoder.weights=random"], "stage=joint has no such setting, only stage=transfer does"),
    (["experiment=ablation_pipeline", "stage.encoder.weights=random"], "the chosen stage has no such setting, only stage=transfer does"),
]


@pytest.mark.parametrize(("arguments", "named"), REFUSED, ids=[" ".join(arguments) for arguments, _ in REFUSED])
def test_refuses_in_one_line_that_names_the_nearest(arguments: list[str], named: str, tmp_path: Path) -> None:
    assert named in refusal(tmp_path, *arguments)
    assert not list(tmp_path.glob("**/config.yaml"))


REFUSE_ALL = """
import json, subprocess, sys
import train

def refuse_processes(*arguments, **settings):
    raise AssertionError("a process was started")

subprocess.Popen = refuse_processes
answers = []
for arguments in json.loads(sys.argv[1]):
    sys.argv[1:] = arguments
    try:
        train.main()
        answers.append("accepted")
    except SystemExit as error:
        answers.append(str(error.code))
    heavy = sorted({"torch", "lightning", "kornia", "wandb", "numpy"} & sys.modules.keys())
    if heavy:
        answers.append(f"imported {heavy}")
        break
print(json.dumps(answers))
"""


def test_refusals_import_nothing_heavy_and_start_nothing(tmp_path: Path) -> None:
    """Which is what keeps them within two seconds."""
    cases = [arguments for arguments, _ in REFUSED[::4]]
    answers = in_child(tmp_path, REFUSE_ALL, json.dumps(cases))
    assert [answer for answer in answers if not answer.startswith("error: ")] == []
    assert len(answers) == len(cases)


@pytest.mark.parametrize(
    "arguments", [["+data.imagesize=64"], ["stage=transfr"], ["-m", "stage.optimizer.lr=1e-3,0"]], ids=["key", "choice", "sweep"]
)
def test_the_command_refuses_with_exit_status_1_and_no_traceback(arguments: list[str], tmp_path: Path) -> None:
    assert_one_line(run_command(tmp_path, *arguments))


def test_help_is_a_screenful_that_explains_every_stable_name(tmp_path: Path) -> None:
    """The names of issue 2."""
    completed = run_command(tmp_path, "--help")
    assert completed.returncode == 0
    assert len(completed.stdout.splitlines()) <= 50
    names = """stage stage.width stage.encoder.weights stage.weights stage.sites stage.alpha stage.optimizer.lr stage.mask_probability
        stage.lambda_ stage.transfer_checkpoint stage.colorizer_checkpoint data data.root data.categories data.image_size data.resize
        data.batch_size data.num_workers data.references trainer.devices logger experiment seed resume"""
    for name in names.split():
        assert re.search(rf"(^|\s){re.escape(name)}=", completed.stdout), name


def test_run_name_is_the_same_for_all_ranks_of_torchrun(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "7f3")
    names = set()
    for rank in ("0", "1"):
        monkeypatch.setenv("RANK", rank)
        run_name.cache_clear()
        names.add(run_name())
    assert names == {"torchrun-7f3"}


def test_run_name_is_the_same_for_all_ranks_of_slurm(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLURM_JOB_ID", "91")
    monkeypatch.setenv("SLURM_STEP_ID", "2")
    names = set()
    for rank in ("0", "1"):
        monkeypatch.setenv("SLURM_PROCID", rank)
        run_name.cache_clear()
        names.add(run_name())
    assert names == {"slurm-91-2"}


def test_run_name_is_the_time_otherwise(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("TORCHELASTIC_RUN_ID", "SLURM_PROCID"):
        monkeypatch.delenv(name, raising=False)
    run_name.cache_clear()
    assert re.fullmatch(r"\d{4}-\d\d-\d\d_\d\d-\d\d-\d\d", run_name())


def test_two_runs_of_one_second_get_directories_of_their_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["train.py"])
    register()
    from omegaconf import OmegaConf

    def composed() -> str:
        return OmegaConf.create({"directory": "${run_directory:transfer,null}"}).directory

    first = composed()
    Path(first).mkdir(parents=True)
    assert composed() == f"{first}-2"
