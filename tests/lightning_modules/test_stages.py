from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from lightning.pytorch import Trainer
from skimage.metrics import peak_signal_noise_ratio
from torch import Tensor, nn
from torch.utils.data import DataLoader

from datamodules.batch import Batch
from lightning_modules import STAGES, make_stage
from lightning_modules.base import Stage
from lightning_modules.config import OptimizerConfig
from stylecolor.checkpoint import read_checkpoint
from stylecolor.color import join_lab
from stylecolor.colorizers import restore_colorizer
from stylecolor.transfer import TransferNet
from tests.stages import WIDTH, make_batch, make_colorizer_stage, make_joint_stage, make_transfer_stage, save_checkpoint

Make = Callable[..., Stage]


@pytest.fixture(params=STAGES)
def make(request: pytest.FixtureRequest, tmp_path: Path) -> Make:
    """Makes each stage in turn; called with settings."""
    makers: dict[str, Make] = {
        "transfer": make_transfer_stage,
        "colorizer": make_colorizer_stage,
        "joint": lambda **settings: make_joint_stage(tmp_path, **settings),
    }
    return makers[request.param]


def all_tensors(module: nn.Module) -> dict[str, Tensor]:
    """Parameters and buffers, those that no checkpoint holds included."""
    return {name: tensor.clone() for name, tensor in (*module.named_parameters(), *module.named_buffers())}


def take_step(stage: Stage, batch: Batch) -> None:
    optimizer = stage.configure_optimizers()
    assert isinstance(optimizer, torch.optim.Optimizer)
    stage.training_step(batch, 0).backward()
    optimizer.step()


def test_a_step_changes_what_trains_and_nothing_else(make: Make) -> None:
    # all hints, so that every weight has a part in the loss
    stage = make(**({} if make is make_transfer_stage else {"hints": "all", "empty_probability": 0.0})).train()
    before = all_tensors(stage)
    take_step(stage, make_batch())
    changed = {name for name, tensor in all_tensors(stage).items() if not torch.equal(tensor, before[name])}
    trained = {"transfer": ("transfer.decoder.",), "colorizer": ("colorizer.",), "joint": ("transfer.decoder.", "colorizer.")}
    parts = trained[stage.config.name]
    assert changed
    assert all(name.startswith(parts) for name in changed)
    weights = {name for name, parameter in stage.named_parameters() if name.startswith(parts) and parameter.ndim == 4}
    assert weights <= changed
    statistics = {name for name in changed if "running_" in name or "num_batches" in name}
    assert bool(statistics) == (stage.config.name != "joint")


def test_the_optimiser_holds_what_trains_alone(make: Make) -> None:
    stage = make(optimizer=OptimizerConfig(lr=3e-3, weight_decay=0.01))
    optimizer = stage.configure_optimizers()
    assert isinstance(optimizer, torch.optim.Adam)
    (group,) = optimizer.param_groups
    assert (group["lr"], group["weight_decay"]) == (3e-3, 0.01)
    held = {id(parameter) for parameter in group["params"]}
    assert held == {id(parameter) for name, parameter in stage.named_parameters() if "encoder." not in name and "perceptual." not in name}


def test_the_step_schedule_counts_epochs(make: Make) -> None:
    stage = make(optimizer=OptimizerConfig(lr=1.0, schedule="step", gamma=0.1, step_epochs=2))
    configured: Any = stage.configure_optimizers()
    settings = configured["lr_scheduler"]
    assert settings["interval"] == "epoch"
    rates = []
    for _ in range(5):
        rates.append(configured["optimizer"].param_groups[0]["lr"])
        configured["optimizer"].step()
        settings["scheduler"].step()
    assert rates == pytest.approx([1, 1, 0.1, 0.1, 0.01])


def test_the_milestones_schedule_steps_at_its_epochs_once_each(make: Make) -> None:
    stage = make(optimizer=OptimizerConfig(lr=1.0, schedule="milestones", gamma=0.1, milestones=[1, 3]))
    configured: Any = stage.configure_optimizers()
    settings = configured["lr_scheduler"]
    assert settings["interval"] == "epoch"
    rates = []
    for _ in range(6):
        rates.append(configured["optimizer"].param_groups[0]["lr"])
        configured["optimizer"].step()
        settings["scheduler"].step()
    assert rates == pytest.approx([1, 0.1, 0.1, 0.01, 0.01, 0.01])


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"schedule": "milestones"}, r"stage\.optimizer\.schedule=milestones needs stage\.optimizer\.milestones"),
        ({"milestones": [0]}, r"stage\.optimizer\.milestones=0"),
        ({"milestones": [3, 2]}, r"stage\.optimizer\.milestones=\[3, 2\] .*rising"),
        ({"milestones": [2, 2]}, r"stage\.optimizer\.milestones=\[2, 2\] must be different"),
    ],
)
def test_wrong_milestones_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        OptimizerConfig(**settings)


def test_settings_of_another_schedule_are_warned_of(caplog: pytest.LogCaptureFixture) -> None:
    make_colorizer_stage(optimizer=OptimizerConfig(schedule="step", milestones=[3], gamma=0.1))
    assert [record.getMessage() for record in caplog.records] == ["stage.optimizer.milestones is ignored by stage.optimizer.schedule=step"]


def test_losses_have_the_names_that_are_announced(make: Make) -> None:
    stage = make()
    output = stage.step(make_batch(2))
    assert tuple(output.losses) == stage.loss_names
    assert output.ab.shape == output.coarse_ab.shape == (2, 2, 64, 64)
    assert not output.ab.requires_grad


def test_a_checkpoint_says_what_networks_it_holds(make: Make, tmp_path: Path) -> None:
    stage = make()
    path = save_checkpoint(stage, tmp_path / "own.ckpt", global_step=17)
    checkpoint = read_checkpoint(path, "checkpoint", (stage.config.name,))
    assert checkpoint.stage == stage.config.name
    assert checkpoint.global_step == 17
    assert checkpoint.networks == stage.networks()
    assert all(name.startswith(("transfer.", "colorizer.")) for name in checkpoint.state)
    for name, restore in (("transfer", TransferNet.from_settings), ("colorizer", restore_colorizer)):
        if name in checkpoint.networks:
            network = restore(checkpoint.networks[name])
            network.load_state_dict(checkpoint.network_state(name), strict=True)
            own = stage.get_submodule(name).state_dict()
            assert all(torch.equal(tensor, own[key]) for key, tensor in network.state_dict().items())


def test_a_resumed_stage_has_the_networks_of_its_checkpoint(make: Make, tmp_path: Path) -> None:
    stage = make()
    path = save_checkpoint(stage, tmp_path / "own.ckpt")
    (tmp_path / "transfer.ckpt").unlink(missing_ok=True)
    (tmp_path / "colorizer.ckpt").unlink(missing_ok=True)
    resumed = make_stage(stage.config, read_checkpoint(path, "resume", (stage.config.name,)))
    resumed.load_state_dict(stage.state_dict(), strict=True)
    stage.eval()
    resumed.eval()
    batch = make_batch(2)
    with torch.no_grad():
        assert torch.equal(resumed.step(batch).ab, stage.step(batch).ab)
    assert resumed.networks() == stage.networks()


@pytest.mark.parametrize("make_own", [make_transfer_stage, make_colorizer_stage])
def test_resuming_with_another_width_is_refused(make_own: Make, tmp_path: Path) -> None:
    stage = make_own()
    resumed = read_checkpoint(save_checkpoint(stage, tmp_path / "own.ckpt"), "resume", (stage.config.name,))
    stage.config.width = 0.25
    with pytest.raises(ValueError, match=r"resume=.*own\.ckpt: was trained with stage\.width=0\.125, this run has stage\.width=0\.25"):
        make_stage(stage.config, resumed)


def test_memory_order_changes_no_result(make: Make) -> None:
    batch = make_batch(2)
    losses = []
    for channels_last in (True, False):
        stage = make(channels_last=channels_last).eval()
        orders = {
            parameter.is_contiguous(memory_format=torch.channels_last)
            for parameter in stage.parameters()
            if parameter.ndim == 4 and min(parameter.shape[1:]) > 1
        }
        assert orders == {channels_last}
        with torch.no_grad():
            losses.append(stage.step(batch).losses["loss"].item())
    assert losses[0] == pytest.approx(losses[1], rel=1e-4)


def test_validation_means_are_exact_over_unequal_batches(make: Make) -> None:
    stage = make().eval()
    whole = make_batch(5, 32)
    batches = [pick(whole, slice(0, 4)), pick(whole, slice(4, 5))]
    trainer = Trainer(accelerator="cpu", logger=False, enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False)
    loader = DataLoader(batches, batch_size=None)  # pyright: ignore[reportArgumentType]
    (found,) = trainer.validate(stage, loader, verbose=False)
    with torch.no_grad():
        outputs = [stage.step(pick(whole, slice(index, index + 1))) for index in range(5)]
    for name in stage.loss_names:
        assert found[f"val/{name}"] == pytest.approx(np.mean([output.losses[name].item() for output in outputs]), rel=1e-3)
    psnr = [
        peak_signal_noise_ratio(
            whole.target_rgb[index].numpy(), join_lab(whole.target_l[index : index + 1], output.ab)[0].numpy(), data_range=1
        )
        for index, output in enumerate(outputs)
    ]
    assert found["val/psnr"] == pytest.approx(np.mean(psnr), abs=0.01)
    assert set(found) == {f"val/{name}" for name in (*stage.loss_names, "psnr")}


def pick(batch: Batch, chosen: slice) -> Batch:
    rgb, l, ab = batch.target_rgb[chosen], batch.target_l[chosen], batch.target_ab[chosen]
    return Batch(rgb, l, ab, batch.reference_rgb[chosen], batch.keys[chosen], batch.ids[chosen])


def test_results_are_finite_in_bf16(make: Make) -> None:
    stage = make().train()
    with torch.autocast("cpu", torch.bfloat16):
        output = stage.step(make_batch(2))
    output.losses["loss"].backward()
    for value in output.losses.values():
        assert value.dtype == torch.float32
        assert value.isfinite()
    assert all(parameter.grad.isfinite().all() for parameter in stage.parameters() if parameter.grad is not None)


def test_every_stage_starts_from_its_own_config() -> None:
    assert {name: config().name for name, (config, _) in STAGES.items()} == {name: name for name in STAGES}
    assert make_transfer_stage().config.width == WIDTH
