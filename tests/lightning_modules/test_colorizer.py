from pathlib import Path

import numpy as np
import pytest
import torch

from stylecolor.hints import bernoulli_hints
from tests.stages import make_batch, make_colorizer_stage, save_checkpoint


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


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"hints": "patch"}, r"stage\.hints=patch .*did you mean patches"),
        ({"mask_probability": 1.5}, r"stage\.mask_probability=1\.5"),
        ({"empty_probability": -1.0}, r"stage\.empty_probability=-1"),
        ({"lambda_": -1.0}, r"stage\.lambda_=-1"),
        ({"delta": 0.0}, r"stage\.delta=0"),
        ({"weights": "nowhere.pth"}, r"stage\.weights=nowhere\.pth: no such file"),
    ],
)
def test_wrong_settings_are_refused(settings: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make_colorizer_stage(**settings)
