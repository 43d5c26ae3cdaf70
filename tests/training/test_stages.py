"""Every stage takes real steps through train.py's own main function, and leaves what a run leaves."""

import math
from pathlib import Path

import pytest
import torch
import yaml
from lightning.pytorch import seed_everything
from PIL import Image

from lightning_modules import make_stage
from stylecolor.pipeline import ExemplarNetworks
from tests.data import make_coco
from tests.training.runs import (
    LOSSES,
    REPOSITORY,
    STAGES,
    assert_equal_training,
    from_trained,
    last_checkpoint,
    only,
    refusal,
    rows,
    run_main,
    tiny,
)
from tests.training.test_composition import experiment
from training.run_directory import git_revision

MONITORED = ("learning_rate", "speed/pictures_per_second", "speed/waiting_for_data", "memory/host_gib")


def initial_weights(stage: str, arguments: list[str]) -> dict[str, torch.Tensor]:
    """What a run starts from: the stage built again from its settings and the seed."""
    given = [argument for argument in arguments if argument.startswith("stage.")]
    config = experiment(f"stage={stage}", *given)
    seed_everything(config.seed, verbose=False)
    return make_stage(config.stage).state_dict()


@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed"])
@pytest.mark.parametrize("data", ["coco", "sample"])
@pytest.mark.parametrize("stage", STAGES)
def test_takes_real_steps_and_leaves_a_complete_run(
    stage: str, data: str, precision: str, tmp_path: Path, coco_root: Path, trained: Path
) -> None:
    arguments = tiny(stage, f"data={data}", f"trainer.precision={precision}", "trainer.max_steps=3")
    if data == "coco":
        arguments.append(f"data.root={coco_root}")
    if stage == "joint":
        arguments += from_trained(trained)
    value = run_main(tmp_path, *arguments)

    directory = only(tmp_path, f"outputs/{stage}/*")
    # the tiny COCO tree has a grey picture, which is left out
    left_out = {"skipped.csv"} if data == "coco" else set()
    assert {path.name for path in directory.iterdir()} == {"config.yaml", "train.log", "metrics.csv", "checkpoints", "samples"} | left_out
    steps = rows(directory, "train/loss", *(f"train/{name}" for name in LOSSES[stage]), *MONITORED)
    assert [step for step, *_ in steps] == ["0", "1", "2"]
    validations = rows(directory, "val/loss", *(f"val/{name}" for name in LOSSES[stage]), "val/psnr")
    assert len(validations) == 1
    for row in steps + validations:
        assert all(math.isfinite(float(value)) for value in row)
    monitored = "val/loss" if stage == "transfer" else "val/psnr"
    assert value == pytest.approx(float(rows(directory, monitored)[0][1]))

    assert {path.name for path in (directory / "checkpoints").iterdir()} == {"last.ckpt", "best.ckpt"}
    weights, start = last_checkpoint(directory)["state_dict"], initial_weights(stage, arguments)
    assert last_checkpoint(directory)["global_step"] == 3
    assert any(not torch.equal(weights[name], start[name]) for name in start)
    assert all(torch.isfinite(tensor).all() for tensor in weights.values())
    frozen = [name for name in start if name.startswith("transfer.encoder.")]
    assert bool(frozen) == (stage != "colorizer")
    statistics = [name for name in start if name.endswith(("running_mean", "running_var"))]
    # the joint stage keeps BatchNorm's statistics
    for name in frozen + statistics * (stage == "joint"):
        torch.testing.assert_close(weights[name], start[name], rtol=0, atol=0)
    assert stage == "joint" or not any(torch.equal(weights[name], start[name]) for name in statistics)

    with Image.open(only(directory, "samples/step_*")) as sheet:
        sheet.load()
        # target, reference, coarse ab, result, truth; two pictures
        assert sheet.width > 5 * 32
        assert sheet.height > 2 * 32


@pytest.mark.parametrize("stage", STAGES)
def test_a_development_run_writes_the_log_alone(stage: str, tmp_path: Path, trained: Path) -> None:
    extra = from_trained(trained) if stage == "joint" else []
    run_main(tmp_path, *tiny(stage), *extra, "trainer.fast_dev_run=true")
    files = {path.name for path in tmp_path.glob("**/*") if path.is_file()}
    assert files <= {"config.yaml", "train.log", "metrics.csv"}


def test_the_same_seed_gives_the_same_run_and_another_seed_another(tmp_path: Path) -> None:
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        run_main(tmp_path, *tiny(), f"hydra.run.dir={name}", f"seed={seed}")
    first, same, other = (last_checkpoint(tmp_path / name) for name in "abc")
    assert_equal_training(first, same)
    assert any(not torch.equal(tensor, other["state_dict"][name]) for name, tensor in first["state_dict"].items())


def test_gradient_clipping_reaches_the_optimizer(tmp_path: Path) -> None:
    for name, limit in (("free", "null"), ("clipped", "1e-9")):
        run_main(tmp_path, *tiny("transfer", "trainer.max_steps=1"), f"trainer.gradient_clip_val={limit}", f"hydra.run.dir={name}")
    free, clipped = (last_checkpoint(tmp_path / name)["optimizer_states"][0]["state"] for name in ("free", "clipped"))
    norm = torch.stack([state["exp_avg"].square().sum() for state in clipped.values()]).sum().sqrt()
    # Adam's first moment after one step is a tenth of the gradient
    assert norm <= 1.01e-10
    assert any(state["exp_avg"].abs().max() > 1e-9 for state in free.values())


def test_config_holds_the_composed_settings_and_the_git_revision(trained: Path) -> None:
    text = (trained / "outputs/transfer/first/config.yaml").read_text()
    assert text.splitlines()[0].startswith("# git revision: ")
    saved = yaml.safe_load(text)
    assert (saved["stage"]["name"], saved["stage"]["width"], saved["data"]["image_size"], saved["seed"]) == ("transfer", 0.125, 32, 0)


def test_git_revision_is_the_commit_of_the_source() -> None:
    if not (REPOSITORY / ".git").exists():
        pytest.skip("no clone")
    assert len(git_revision().removesuffix("-dirty")) == 40


def test_a_joint_run_makes_a_checkpoint_that_the_library_runs(trained: Path) -> None:
    colorizer = ExemplarNetworks.from_checkpoint(trained / "outputs/joint/first/checkpoints/best.ckpt")
    result = colorizer.colorize(torch.rand(1, 3, 32, 32), torch.rand(1, 3, 32, 32))
    assert result.shape == (1, 3, 32, 32)
    assert torch.isfinite(result).all()


def test_the_test_split_is_tested_when_there_is_one(tmp_path: Path) -> None:
    root = make_coco(tmp_path / "data", train=6, val=4, test=4)
    run_main(tmp_path, *tiny("colorizer", "data=coco", "trainer.max_steps=1"), f"data.root={root}", "hydra.run.dir=run")
    tested = rows(tmp_path / "run", "test/loss", "test/psnr")
    assert len(tested) == 1
    assert all(math.isfinite(float(value)) for value in tested[0])
    assert "test/psnr: " in (tmp_path / "run/train.log").read_text()


def test_without_a_test_split_the_log_says_so(trained: Path) -> None:
    assert "no test split" in (trained / "outputs/colorizer/first/train.log").read_text()


def test_half_precision_on_the_cpu_is_refused_also_where_lightning_would_choose_the_cpu(tmp_path: Path) -> None:
    if torch.cuda.is_available() or torch.backends.mps.is_available():
        pytest.skip("a device that has float16")
    assert "bf16-mixed" in refusal(tmp_path, *tiny("colorizer", "trainer.accelerator=auto", "trainer.precision=16-mixed"))
