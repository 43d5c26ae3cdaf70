import logging
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
from lightning_modules import make_stage
from lightning_modules.base import Stage
from lightning_modules.config import ColorizerConfig, OptimizerConfig
from stylecolor.ab_bins import bin_prior, encode_ab, gamut_bins, rebalancing_weights
from stylecolor.checkpoint import read_checkpoint
from stylecolor.choices import COLORIZER_NETWORKS, colorizer_blocks
from stylecolor.color import join_lab
from stylecolor.colorizer import GlobalColorizationNet
from stylecolor.colorizers import block_of, make_colorizer
from stylecolor.global_hints import measure_global_hints, reveal_global_hints
from stylecolor.hints import all_hints, bernoulli_hints, make_sampler
from tests.stages import WIDTH, make_batch, make_colorizer_stage, save_checkpoint


def test_the_loss_is_the_huber_of_the_weighted_ab() -> None:
    stage = make_colorizer_stage(mask_probability=0.8, lambda_=4.0, delta=2.0, empty_probability=0.0).eval()
    batch = make_batch(2)
    found = stage.step(batch)
    hints = bernoulli_hints(batch.target_ab, batch.keys, 0.8)
    assert torch.equal(found.coarse_ab, hints.ab)
    weight = 1 + 4 * hints.mask.double().numpy()
    error = np.abs(weight * (found.ab.double().numpy() - batch.target_ab.double().numpy()))
    expected = np.where(error < 2, error**2 / 2, 2 * (error - 1)).mean()
    assert found.losses["loss"].item() == pytest.approx(expected, rel=1e-4)
    assert found.losses["huber"] == found.losses["loss"]


def test_hints_are_dropped_in_training_only() -> None:
    stage = make_colorizer_stage(hints="all", empty_probability=1.0)
    batch = make_batch(2)
    assert not stage.train().step(batch).coarse_ab.any()
    assert torch.equal(stage.eval().step(batch).coarse_ab, batch.target_ab)


def test_training_may_start_from_a_checkpoint(tmp_path: Path) -> None:
    first = make_colorizer_stage()
    with torch.no_grad():
        for parameter in first.colorizer.parameters():
            parameter += 1
    second = make_colorizer_stage(weights=str(save_checkpoint(first, tmp_path / "first.ckpt")))
    third = make_colorizer_stage(weights=str(save_checkpoint(first, tmp_path / "first.ckpt")))
    expected = first.colorizer.state_dict()
    for stage in (second, third):
        assert all(torch.equal(tensor, expected[name]) for name, tensor in stage.colorizer.state_dict().items())


def test_training_may_start_from_a_file_in_the_published_layout(tmp_path: Path) -> None:
    state = {name: tensor + 1 for name, tensor in make_colorizer_stage().colorizer.state_dict().items()}
    torch.save({**state, "model_class.0.weight": torch.zeros(529, 32, 1, 1)}, tmp_path / "published.pth")
    loaded = make_colorizer_stage(weights=str(tmp_path / "published.pth")).colorizer.state_dict()
    assert all(torch.equal(loaded[name], state[name]) for name in state)


def test_weights_of_another_width_are_refused(tmp_path: Path) -> None:
    path = save_checkpoint(make_colorizer_stage(width=0.25), tmp_path / "wide.ckpt")
    with pytest.raises(ValueError, match=r"stage\.weights=.*wide\.ckpt.*stage\.width=0\.125"):
        make_colorizer_stage(weights=str(path))


def test_the_highest_validation_psnr_is_best() -> None:
    stage = make_colorizer_stage()
    assert (stage.monitor, stage.monitor_mode) == ("val/psnr", "max")


def validate(stage: Stage, batches: list[Batch]) -> dict[str, float]:
    trainer = Trainer(accelerator="cpu", logger=False, enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False)
    (found,) = trainer.validate(stage, DataLoader(batches, batch_size=None), verbose=False)  # pyright: ignore[reportArgumentType]
    return dict(found)


def psnr(batch: Batch, ab: Tensor) -> float:
    pictures = zip(batch.target_rgb, join_lab(batch.target_l[: len(ab)], ab), strict=False)
    return float(np.mean([peak_signal_noise_ratio(truth.numpy(), found.numpy(), data_range=1) for truth, found in pictures]))


def test_the_distribution_adds_the_cross_entropy_of_the_nearest_grid_nodes() -> None:
    stage = make_colorizer_stage(distribution=True, regression_coefficient=0.5, distribution_coefficient=2.0, empty_probability=0.0)
    batch = make_batch(2, 32)
    losses = stage.eval().step(batch).losses
    assert stage.loss_names == ("loss", "huber", "cross_entropy")
    grid = torch.tensor([(a, b) for a in range(-110, 111, 10) for b in range(-110, 111, 10)]).float()
    every_fourth = batch.target_ab[:, :, ::4, ::4].permute(0, 2, 3, 1)
    classes = (every_fourth.unsqueeze(-2) - grid).square().sum(-1).argmin(-1)
    logits = stage.colorizer.predict(batch.target_l, *bernoulli_hints(batch.target_ab, batch.keys)).logits  # pyright: ignore[reportCallIssue]
    assert logits is not None
    expected = -logits.log_softmax(1).gather(1, classes.unsqueeze(1)).mean()
    torch.testing.assert_close(losses["cross_entropy"], expected)
    torch.testing.assert_close(losses["loss"], 0.5 * losses["huber"] + 2 * losses["cross_entropy"])


def test_global_hints_are_revealed_at_random_in_training_only() -> None:
    stage = make_colorizer_stage(network="siggraph17_global", empty_probability=0.0)
    network, batch = stage.colorizer, make_batch(4, 32)
    assert isinstance(network, GlobalColorizationNet)
    hints = bernoulli_hints(batch.target_ab, batch.keys)
    truth = measure_global_hints(batch.target_rgb, batch.target_ab, network.bins)
    with torch.no_grad():
        assert torch.equal(stage.eval().step(batch).ab, network(batch.target_l, *hints))
        # the parts of a training step, in the mode in which it normalises by the batch
        found = stage.train().step(batch).ab
        assert torch.equal(found, network(batch.target_l, *hints, reveal_global_hints(truth, batch.keys, 0.5)))
        assert not torch.equal(found, network(batch.target_l, *hints, truth))


def test_the_classification_loss_weighs_rare_colours_as_the_histogram_says() -> None:
    stage = make_colorizer_stage(network="eccv16", rebalancing=0.3, neighbours=4, sigma=7.0).eval()
    histogram = np.zeros((256, 256), dtype=np.int64)
    histogram[128:140, 120:150] = np.arange(12 * 30).reshape(12, 30)
    batch = make_batch(2, 32)
    bins = gamut_bins()
    truth = encode_ab(batch.target_ab[:, :, ::4, ::4], bins, 4, 7.0)
    with torch.no_grad():
        logits = stage.colorizer.logits(batch.target_l)  # pyright: ignore[reportCallIssue]
    plain = -(truth * logits.log_softmax(1)).sum(1)
    assert stage.step(batch).losses["loss"].item() == pytest.approx(plain.mean().item(), rel=1e-5)
    stage.use_ab_histogram(histogram)
    weights = rebalancing_weights(bin_prior(torch.from_numpy(histogram), bins, 7.0), 0.3)
    losses = stage.step(batch).losses
    assert losses["loss"].item() == pytest.approx((plain * weights[truth.argmax(1)]).mean().item(), rel=1e-4)
    assert losses["accuracy"].item() == pytest.approx((logits.argmax(1) == truth.argmax(1)).float().mean().item())
    assert stage.loss_names == ("loss", "cross_entropy", "accuracy")


def test_the_classes_weights_are_in_the_checkpoint(tmp_path: Path) -> None:
    stage = make_colorizer_stage(network="eccv16")
    histogram = np.zeros((256, 256), dtype=np.int64)
    histogram[128, 128] = 1
    stage.use_ab_histogram(histogram)
    path = save_checkpoint(stage, tmp_path / "own.ckpt")
    resumed = make_stage(stage.config, read_checkpoint(path, "resume", ("colorizer",)))
    resumed.load_state_dict(stage.state_dict(), strict=True)
    batch = make_batch(2, 32)
    assert torch.equal(resumed.eval().step(batch).losses["loss"], stage.eval().step(batch).losses["loss"])


@pytest.fixture
def released(tmp_path: Path) -> Path:
    """ECCV'16 weights in the layout of their authors, with 313 bins of their own."""
    torch.manual_seed(3)
    state = make_colorizer("eccv16", {"width": WIDTH, "bins": 313}).state_dict()
    state["model_out.weight"] = torch.rand(2, 313, 1, 1) - 0.5
    torch.save(state, tmp_path / "released.pth")
    return tmp_path / "released.pth"


@pytest.mark.parametrize(
    ("settings", "bins", "temperature"),
    [
        ({}, 313, 1.0),
        ({"temperature": 0.2}, 313, 0.2),
        ({"pretrained_blocks": [1, 2, 8]}, 313, 1.0),
        ({"pretrained_blocks": [1, 2]}, 261, 0.38),
        ({"weights": "random"}, 261, 0.38),
    ],
)
def test_bins_and_temperature_come_with_the_weights_that_classify(
    settings: dict[str, Any], bins: int, temperature: float, released: Path, tmp_path: Path
) -> None:
    stage = make_colorizer_stage(**{"network": "eccv16", "weights": str(released), **settings})
    assert stage.networks()["colorizer"] == {"network": "eccv16", "width": WIDTH, "bins": bins, "temperature": temperature}
    assert len(stage.objective.cross_entropy.bins) == bins  # pyright: ignore[reportAttributeAccessIssue, reportArgumentType]
    expected = torch.load(released)["model_out.weight"].flatten(1).T * 110 if bins == 313 else gamut_bins()
    resumed = make_stage(stage.config, read_checkpoint(save_checkpoint(stage, tmp_path / "own.ckpt"), "resume", ("colorizer",)))
    for own in (stage, resumed):
        torch.testing.assert_close(own.objective.cross_entropy.bins, expected)  # pyright: ignore[reportAttributeAccessIssue]
    # a run that starts from this one's checkpoint has its bins and its temperature
    again = make_colorizer_stage(network="eccv16", weights=str(tmp_path / "own.ckpt"))
    assert again.networks() == stage.networks()


def test_in_empty_epochs_no_picture_gets_hints(monkeypatch: pytest.MonkeyPatch) -> None:
    stage = make_colorizer_stage(hints="all", empty_probability=0.0, empty_epochs=2).train()
    batch = make_batch(2, 32)
    shown = []
    for epoch in range(4):
        monkeypatch.setattr(type(stage), "current_epoch", epoch)
        shown.append(bool(stage.step(batch).coarse_ab.any()))
    assert shown == [False, False, True, True]
    monkeypatch.setattr(type(stage), "current_epoch", 0)
    assert torch.equal(stage.eval().step(batch).coarse_ab, batch.target_ab)


@pytest.mark.parametrize("network", COLORIZER_NETWORKS)
def test_frozen_blocks_keep_weights_and_statistics_and_the_others_train(network: str) -> None:
    frozen = {"1", "4", "8"}
    settings = {} if network == "eccv16" else {"hints": "all", "empty_probability": 0.0}
    stage = make_colorizer_stage(network=network, freeze=[1, 4, "8"], optimizer=OptimizerConfig(lr=1e-2), **settings)
    before = {name: tensor.clone() for name, tensor in stage.colorizer.state_dict().items()}
    optimizer: Any = stage.configure_optimizers()
    for _ in range(2):
        stage.training_step(make_batch(4, 32), 0).backward()
        optimizer.step()
    changed = {name for name, tensor in stage.colorizer.state_dict().items() if not torch.equal(tensor, before[name])}
    assert {block_of(name, network) for name in changed} == {*colorizer_blocks(network)} - frozen
    # Lightning puts the whole stage into these modes
    stage.eval()
    stage.train()
    modes = {name: module.training for name, module in stage.colorizer.named_modules() if isinstance(module, nn.BatchNorm2d)}
    assert {name for name, training in modes.items() if not training} == {name for name in modes if block_of(f"{name}.", network) in frozen}


def test_blocks_learn_at_their_own_rates_and_follow_the_schedule() -> None:
    optimizer = OptimizerConfig(lr=0.5, schedule="step", step_epochs=1, gamma=0.1)
    stage = make_colorizer_stage(lr_factors={1: 0.1, "out": 2}, freeze=[2], optimizer=optimizer)
    configured: Any = stage.configure_optimizers()
    names = {id(parameter): name for name, parameter in stage.colorizer.named_parameters()}

    def rates() -> dict[str, float]:
        return {
            str(block_of(names[id(parameter)], "siggraph17")): group["lr"]
            for group in configured["optimizer"].param_groups
            for parameter in group["params"]
        }

    expected = {**dict.fromkeys(colorizer_blocks("siggraph17"), 0.5), "1": 0.05, "out": 1.0}
    del expected["2"]
    assert rates() == pytest.approx(expected)
    # which is the one that is logged
    assert configured["optimizer"].param_groups[0]["lr"] == 0.5
    configured["optimizer"].step()
    configured["lr_scheduler"]["scheduler"].step()
    assert rates() == pytest.approx({block: rate / 10 for block, rate in expected.items()})


def test_factors_of_1_change_nothing() -> None:
    ends = []
    for factors in (None, {1: 1.0, 8: 1}):
        stage = make_colorizer_stage(lr_factors=factors)
        optimizer: Any = stage.configure_optimizers()
        stage.training_step(make_batch(2, 32), 0).backward()
        optimizer.step()
        ends.append(stage.state_dict())
    assert all(torch.equal(tensor, ends[1][name]) for name, tensor in ends[0].items())


def test_pretrained_blocks_alone_are_taken(tmp_path: Path) -> None:
    first = make_colorizer_stage()
    with torch.no_grad():
        for parameter in first.colorizer.parameters():
            parameter += 1
    path = save_checkpoint(first, tmp_path / "first.ckpt")
    stored, random = first.colorizer.state_dict(), make_colorizer_stage().colorizer.state_dict()
    started = make_colorizer_stage(weights=str(path), pretrained_blocks=[1, "10"]).colorizer.state_dict()
    for name, tensor in started.items():
        assert torch.equal(tensor, (stored if block_of(name, "siggraph17") in ("1", "10") else random)[name]), name


def test_the_second_of_the_authors_steps_starts_from_the_first(tmp_path: Path) -> None:
    """Automatic with the class loss, then interactive with regression, the first eight blocks kept."""
    first = make_colorizer_stage(hints="none", distribution=True, regression_coefficient=0.0)
    first.training_step(make_batch(2, 32), 0).backward()
    learned = {block_of(name, "siggraph17") for name, p in first.colorizer.named_parameters() if p.grad is not None and p.grad.any()}
    assert learned == {*map(str, range(1, 9)), "class"}
    path = save_checkpoint(first, tmp_path / "first.ckpt")
    second = make_colorizer_stage(weights=str(path), pretrained_blocks=[*range(1, 9)])
    stored = first.colorizer.state_dict()
    assert all(torch.equal(tensor, stored[name]) for name, tensor in second.colorizer.model8.state_dict(prefix="model8.").items())


def test_psnr_is_measured_at_numbers_of_shown_points() -> None:
    stage = make_colorizer_stage(revealed_points=[0, 5, 300, "all"], revealed_pictures=3)
    whole = make_batch(5, 32)
    batches = [pick(whole, slice(0, 2)), pick(whole, slice(2, 4)), pick(whole, slice(4, 5))]
    found = validate(stage, batches)
    assert {name for name in found if "points" in name} == {f"val/psnr_points/{points}" for points in (0, 5, 300, "all")}
    first = pick(whole, slice(0, 3))
    stage.eval()
    for points in (0, 5, 300, "all"):
        hints = (
            all_hints(first.target_ab) if points == "all" else make_sampler("points", hint_points=int(points))(first.target_ab, first.keys)
        )
        with torch.no_grad():
            expected = psnr(first, stage.colorizer(first.target_l, *hints))
        assert found[f"val/psnr_points/{points}"] == pytest.approx(expected, abs=0.01)
    # and again, as in the next validation
    assert validate(stage, batches) == found


def test_two_processes_measure_the_pictures_that_one_does() -> None:
    stage = make_colorizer_stage(revealed_points=[0], revealed_pictures=5)
    whole = make_batch(8, 32)
    trainer = Trainer(accelerator="cpu", logger=False, enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False)
    stage.trainer = trainer

    def measured(rank: int, processes: int) -> list[int]:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(type(trainer), "global_rank", rank)
            patch.setattr(type(trainer), "world_size", processes)
            stage.on_validation_epoch_start()
            indices = list(range(rank, 8, processes))
            seen = []
            for start in range(0, len(indices), 2):
                chosen = indices[start : start + 2]
                ab = stage.further_ab(pick(whole, chosen))
                seen += chosen[: len(ab["psnr_points/0"])] if ab else []
            return seen

    assert measured(0, 1) == [0, 1, 2, 3, 4]
    assert sorted(measured(0, 2) + measured(1, 2)) == [0, 1, 2, 3, 4]
    # none may be left without, as metrics are gathered from all
    assert all(len(measured(rank, 8)) == 1 for rank in range(8))


def pick(batch: Batch, chosen: slice | list[int]) -> Batch:
    ids = batch.ids[chosen] if isinstance(chosen, slice) else [batch.ids[index] for index in chosen]
    rgb, l, ab = batch.target_rgb[chosen], batch.target_l[chosen], batch.target_ab[chosen]
    return Batch(rgb, l, ab, batch.reference_rgb[chosen], batch.keys[chosen], ids)


def test_validation_measures_what_true_global_hints_give() -> None:
    stage = make_colorizer_stage(network="siggraph17_global")
    network, batch = stage.colorizer, make_batch(3, 32)
    assert isinstance(network, GlobalColorizationNet)
    found = validate(stage, [batch])
    stage.eval()
    hints = bernoulli_hints(batch.target_ab, batch.keys)
    with torch.no_grad():
        told = network(batch.target_l, *hints, measure_global_hints(batch.target_rgb, batch.target_ab, network.bins))
        assert found["val/psnr_global"] == pytest.approx(psnr(batch, told), abs=0.01)
        assert found["val/psnr"] == pytest.approx(psnr(batch, network(batch.target_l, *hints)), abs=0.01)


def test_a_network_without_hints_measures_no_points() -> None:
    found = validate(make_colorizer_stage(network="eccv16", revealed_points=[0, "all"]), [make_batch(2, 32)])
    assert set(found) == {"val/loss", "val/cross_entropy", "val/accuracy", "val/psnr"}


@pytest.mark.parametrize("network", COLORIZER_NETWORKS)
def test_results_of_every_network_are_finite_in_bf16(network: str) -> None:
    stage = make_colorizer_stage(network=network, distribution=network != "eccv16").train()
    with torch.autocast("cpu", torch.bfloat16):
        output = stage.step(make_batch(2, 32))
    output.losses["loss"].backward()
    assert all(value.dtype == torch.float32 and value.isfinite() for value in output.losses.values())
    assert all(parameter.grad.isfinite().all() for parameter in stage.parameters() if parameter.grad is not None)


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"network": "eccv16", "mask_probability": 0.5}, "stage.mask_probability is ignored by stage.network=eccv16"),
        ({"network": "eccv16", "empty_epochs": 2}, "stage.empty_epochs is ignored by stage.network=eccv16"),
        ({"network": "eccv16", "distribution": True}, "stage.distribution is ignored by stage.network=eccv16"),
        ({"temperature": 0.5}, "stage.temperature is ignored by stage.network=siggraph17"),
        ({"network": "siggraph17_global", "rebalancing": 0.1}, "stage.rebalancing is ignored by stage.network=siggraph17_global"),
        ({"global_probability": 0.1}, "stage.global_probability is ignored by stage.network=siggraph17"),
        ({"hint_points": 3}, "stage.hint_points is ignored by stage.hints=bernoulli"),
        ({"hints": "all", "mask_probability": 0.5}, "stage.mask_probability is ignored by stage.hints=all"),
        ({"distribution_coefficient": 3.0}, "stage.distribution_coefficient is ignored by stage.distribution=false"),
        ({"revealed_pictures": 3}, "stage.revealed_pictures is ignored by stage.revealed_points=[]"),
        ({"pretrained_blocks": [1]}, "stage.pretrained_blocks is ignored by stage.weights=random"),
    ],
)
def test_a_setting_without_effect_is_warned_of_by_name(settings: dict[str, Any], expected: str, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        make_colorizer_stage(**settings)
    assert expected in [record.getMessage() for record in caplog.records]


@pytest.mark.parametrize("network", COLORIZER_NETWORKS)
def test_defaults_warn_of_nothing(network: str, caplog: pytest.LogCaptureFixture) -> None:
    make_stage(ColorizerConfig(network=network, width=WIDTH))
    assert not caplog.records


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"hints": "patch"}, r"stage\.hints=patch .*did you mean patches"),
        ({"mask_probability": 1.5}, r"stage\.mask_probability=1\.5"),
        ({"empty_probability": -1.0}, r"stage\.empty_probability=-1"),
        ({"lambda_": -1.0}, r"stage\.lambda_=-1"),
        ({"delta": 0.0}, r"stage\.delta=0"),
        ({"hint_points": -1}, r"stage\.hint_points=-1"),
        ({"weights": "nowhere.pth"}, r"stage\.weights=nowhere\.pth: no such file"),
        ({"network": "siggraph"}, r"stage\.network=siggraph .*did you mean siggraph17"),
        ({"weights": "eccv16"}, r"stage\.weights=eccv16: stage\.network=siggraph17 cannot start from"),
        ({"weights": "siggraph17", "network": "eccv16"}, r"stage\.weights=siggraph17: stage\.network=eccv16 cannot start from"),
        ({"freeze": [11]}, r"stage\.freeze: 11 is no block of stage\.network=siggraph17, which has 1, 2, .*10, out$"),
        ({"freeze": ["class"]}, r"stage\.freeze: class is no block"),
        ({"freeze": ["out"], "network": "eccv16"}, r"stage\.freeze: out is no block of stage\.network=eccv16"),
        ({"freeze": 3}, r"stage\.freeze=3 must look like \[1,2,3,4\]"),
        ({"freeze": [*range(1, 11), "out"]}, r"stage\.freeze: names every block"),
        ({"pretrained_blocks": ["global"]}, r"stage\.pretrained_blocks: global is no block"),
        ({"pretrained_blocks": {1: 2}}, r"stage\.pretrained_blocks=.* must look like"),
        ({"lr_factors": [1]}, r"stage\.lr_factors=\[1\] must look like \{1: 0\.1"),
        ({"lr_factors": {0: 1.0}}, r"stage\.lr_factors: 0 is no block"),
        ({"lr_factors": {3: 0}}, r"stage\.lr_factors: a factor of 0 is stage\.freeze=\[3\]"),
        ({"lr_factors": {3: -1}}, r"stage\.lr_factors of block 3=-1"),
        ({"lr_factors": {3: float("nan")}}, r"stage\.lr_factors of block 3=nan"),
        ({"lr_factors": {3: "fast"}}, r"stage\.lr_factors: the factor of block 3 must be a number, got fast"),
        ({"lr_factors": {3: 2.0}, "freeze": [3]}, r"stage\.lr_factors: block 3 is frozen"),
        ({"empty_epochs": -1}, r"stage\.empty_epochs=-1"),
        ({"regression_coefficient": -1.0}, r"stage\.regression_coefficient=-1"),
        ({"regression_coefficient": 0.0}, r"stage\.regression_coefficient=0 leaves nothing to learn"),
        ({"distribution_coefficient": -1.0}, r"stage\.distribution_coefficient=-1"),
        ({"global_probability": 1.5}, r"stage\.global_probability=1\.5"),
        ({"temperature": 0.0}, r"stage\.temperature=0"),
        ({"rebalancing": 0.0}, r"stage\.rebalancing=0"),
        ({"rebalancing": 1.5}, r"stage\.rebalancing=1\.5"),
        ({"neighbours": 0}, r"stage\.neighbours=0"),
        ({"sigma": 0.0}, r"stage\.sigma=0"),
        ({"revealed_points": 3}, r"stage\.revealed_points=3 must be a list"),
        ({"revealed_points": [-1]}, r"stage\.revealed_points=\[-1\] must be a list"),
        ({"revealed_points": [1, 1]}, r"stage\.revealed_points=\[1, 1\] names a number twice"),
        ({"revealed_pictures": 0}, r"stage\.revealed_pictures=0"),
    ],
)
def test_wrong_settings_are_refused(settings: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make_colorizer_stage(**settings)
