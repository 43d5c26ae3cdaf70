from pathlib import Path

import pytest
import torch
from lightning.pytorch import Trainer
from torch import nn
from torch.utils.data import DataLoader

from lightning_modules.joint import JointStage
from stylecolor.checkpoint import read_checkpoint
from stylecolor.color import join_lab, rgb_to_lab
from stylecolor.hints import empty_hints, make_sampler
from stylecolor.pipeline import ExemplarNetworks
from tests.stages import make_batch, make_colorizer_stage, make_joint_stage, make_transfer_stage, save_checkpoint


def decoder_gradients(stage: JointStage) -> list[torch.Tensor | None]:
    stage.zero_grad()
    stage.train().step(make_batch(2)).losses["loss"].backward()
    return [parameter.grad for parameter in stage.transfer.decoder.parameters() if parameter.ndim == 4]


def test_the_gradient_reaches_the_decoder_through_the_hints(tmp_path: Path) -> None:
    shown = decoder_gradients(make_joint_stage(tmp_path, hints="all", empty_probability=0.0))
    assert all(gradient is not None and gradient.any() for gradient in shown)
    stage = make_joint_stage(tmp_path)
    # which settings refuse
    stage.sampler = make_sampler("none")
    hidden = decoder_gradients(stage)
    assert all(gradient is None or not gradient.any() for gradient in hidden)


def test_the_gradient_is_that_of_the_pipeline_with_a_fixed_precolorization(tmp_path: Path) -> None:
    stage = make_joint_stage(tmp_path, hints="all", empty_probability=0.0).train()
    batch = make_batch(2)
    parameters = [parameter for parameter in stage.parameters() if parameter.requires_grad]
    found = torch.autograd.grad(stage.step(batch).losses["loss"], parameters)
    with torch.no_grad():
        precolor = stage.colorizer(batch.target_l, *empty_hints(batch.target_ab))
    coarse = rgb_to_lab(stage.transfer(join_lab(batch.target_l, precolor), batch.reference_rgb))[:, 1:]
    mask = torch.ones_like(batch.target_l)
    loss = stage.huber(stage.colorizer(batch.target_l, coarse, mask), batch.target_ab, mask)
    for own, other in zip(found, torch.autograd.grad(loss, parameters), strict=True):
        torch.testing.assert_close(own, other)


def test_batch_norm_keeps_its_statistics_while_the_output_stays_free(tmp_path: Path) -> None:
    stage = make_joint_stage(tmp_path).train()
    assert stage.transfer.training, "the transfer would be clamped, which takes its gradient"
    norms = [module for module in stage.modules() if isinstance(module, nn.BatchNorm2d)]
    assert norms
    assert not any(norm.training for norm in norms)
    before = {name: buffer.clone() for name, buffer in stage.named_buffers()}
    for _ in range(2):
        stage.step(make_batch(2))
    assert all(torch.equal(buffer, before[name]) for name, buffer in stage.named_buffers())
    assert not any(norm.training for norm in norms), "a step leaves BatchNorm in training mode"
    assert all(parameter.requires_grad for norm in norms for parameter in norm.parameters())


def test_a_trainer_leaves_batch_norms_statistics_alone(tmp_path: Path) -> None:
    # Lightning 2.2 and later do not call train() before the first step: the modes are those that the stage was built with
    stage = make_joint_stage(tmp_path)
    before = {name: buffer.clone() for name, buffer in stage.named_buffers()}
    loader = DataLoader([make_batch(2, 32)], batch_size=None)  # pyright: ignore[reportArgumentType]
    trainer = Trainer(
        accelerator="cpu", max_epochs=2, logger=False, enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False
    )
    trainer.fit(stage, loader, loader)
    assert trainer.global_step == 2
    assert [name for name, buffer in stage.named_buffers() if not torch.equal(buffer, before[name])] == []


def test_hints_are_dropped_in_training_only(tmp_path: Path) -> None:
    stage = make_joint_stage(tmp_path, hints="all").train()
    # which settings refuse
    stage.config.empty_probability = 1.0
    batch = make_batch(2)
    with torch.no_grad():
        expected = stage.colorizer(batch.target_l, *empty_hints(batch.target_ab))
        torch.testing.assert_close(stage.step(batch).ab, expected)
        assert (stage.eval().step(batch).ab - expected).abs().max() > 1e-5


def test_starts_from_the_networks_of_its_checkpoints(tmp_path: Path) -> None:
    transfer = make_transfer_stage(sites=["encoder", "decoder"], norm="none")
    colorizer = make_colorizer_stage()
    stage = make_joint_stage(tmp_path, transfer, colorizer)
    for own, given in ((stage.transfer, transfer.transfer), (stage.colorizer, colorizer.colorizer)):
        expected = given.state_dict()
        assert own.state_dict().keys() == expected.keys()
        assert all(torch.equal(tensor, expected[name]) for name, tensor in own.state_dict().items())
        assert own.settings == given.settings


def test_sites_and_strength_may_be_others_than_the_checkpoints(tmp_path: Path) -> None:
    stage = make_joint_stage(tmp_path, sites=["encoder"], alpha=0.25)
    assert stage.networks()["transfer"] | {"sites": ["encoder"], "alpha": 0.25} == stage.networks()["transfer"]
    assert stage.transfer.sites == {"encoder"}
    assert stage.transfer.alpha == 0.25
    with pytest.raises(ValueError, match=r"stage\.sites.*stage\.skips=slices"):
        make_joint_stage(tmp_path, sites=["skips"])
    with pytest.raises(ValueError, match=r"stage\.sites=encdoer .*did you mean encoder"):
        make_joint_stage(tmp_path, sites=["encdoer"])


def test_a_joint_checkpoint_may_be_both_sources(tmp_path: Path) -> None:
    first = make_joint_stage(tmp_path)
    path = str(save_checkpoint(first, tmp_path / "joint.ckpt"))
    second = make_joint_stage(tmp_path, transfer_checkpoint=path, colorizer_checkpoint=path)
    expected = first.state_dict()
    assert all(torch.equal(tensor, expected[name]) for name, tensor in second.state_dict().items())


def test_the_colorizer_may_come_from_a_file_in_the_published_layout(tmp_path: Path) -> None:
    state = {name: tensor + 1 for name, tensor in make_colorizer_stage().colorizer.state_dict().items()}
    torch.save(state, tmp_path / "published.pth")
    stage = make_joint_stage(tmp_path, colorizer_checkpoint=str(tmp_path / "published.pth"))
    assert all(torch.equal(tensor, state[name]) for name, tensor in stage.colorizer.state_dict().items())


def test_checkpoints_of_the_wrong_stage_are_refused_by_name(tmp_path: Path) -> None:
    make_joint_stage(tmp_path)
    with pytest.raises(ValueError, match=r"stage\.transfer_checkpoint=.*colorizer\.ckpt: is a checkpoint of stage=colorizer, expected"):
        make_joint_stage(tmp_path, transfer_checkpoint=str(tmp_path / "colorizer.ckpt"))
    with pytest.raises(ValueError, match=r"stage\.colorizer_checkpoint=.*transfer\.ckpt: this checkpoint holds no colorizer"):
        make_joint_stage(tmp_path, colorizer_checkpoint=str(tmp_path / "transfer.ckpt"))


def test_networks_of_different_widths_train_together(tmp_path: Path) -> None:
    stage = make_joint_stage(tmp_path, colorizer=make_colorizer_stage(width=0.25))
    assert stage.training_step(make_batch(2), 0).isfinite()


def test_training_without_any_hint_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"stage\.hints=none: .*use stage\.pipeline=precolor"):
        make_joint_stage(tmp_path, hints="none")


@pytest.mark.parametrize("setting", ["transfer_checkpoint", "colorizer_checkpoint"])
def test_a_missing_checkpoint_is_named(tmp_path: Path, setting: str) -> None:
    with pytest.raises(ValueError, match=rf"stage\.{setting}=.*nowhere\.ckpt: no such file"):
        make_joint_stage(tmp_path, None, None, **{setting: str(tmp_path / "nowhere.ckpt")})


def test_what_is_trained_is_what_is_run(tmp_path: Path) -> None:
    stage = make_joint_stage(tmp_path, hints="all").eval()
    path = save_checkpoint(stage, tmp_path / "joint.ckpt")
    batch = make_batch(2)
    with torch.no_grad():
        expected = join_lab(batch.target_l, stage.step(batch).ab)
    found = ExemplarNetworks.from_checkpoint(path).colorize(batch.target_rgb, batch.reference_rgb)
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=0)


def test_the_checkpoint_records_how_hints_are_drawn(tmp_path: Path) -> None:
    stage = make_joint_stage(
        tmp_path, hints="points", mask_probability=0.7, hint_points=5, pipeline="both", precolor="gray", regions=True, feather=3
    )
    checkpoint = read_checkpoint(save_checkpoint(stage, tmp_path / "joint.ckpt"), "checkpoint", ("joint",))
    assert checkpoint.networks["pipeline"] == {
        "hints": "points",
        "mask_probability": 0.7,
        "hint_points": 5,
        "precolor": "gray",
        "pipeline": "both",
        "feather": 3,
    }
