import pytest
import torch

from lightning_modules.config import EncoderConfig, TransferConfig, TransferLossConfig
from stylecolor.color import rgb_to_lab
from tests.stages import make_batch, make_transfer_stage


def test_the_loss_is_the_weighted_sum_of_its_parts() -> None:
    loss = TransferLossConfig(
        perceptual_coefficient=0.3, reconstruction_coefficient=0.6, content_coefficient=2.0, style_coefficient=5.0, normalize=False
    )
    stage = make_transfer_stage(loss=loss)
    batch = make_batch(2)
    output = stage.transfer(batch.target_rgb, batch.reference_rgb)
    content, style = stage.perceptual(output, batch.target_rgb, batch.reference_rgb)
    reconstruction = (output - batch.target_rgb).square().mean()
    found = stage.step(batch)
    assert found.losses["content"].item() == pytest.approx(content.item(), rel=1e-5)
    assert found.losses["style"].item() == pytest.approx(style.item(), rel=1e-5)
    assert found.losses["reconstruction"].item() == pytest.approx(reconstruction.item(), rel=1e-5)
    expected = 0.3 * (2 * content + 5 * style) + 0.6 * reconstruction
    assert found.losses["loss"].item() == pytest.approx(expected.item(), rel=1e-5)


def test_evaluation_looks_at_the_colours_of_the_clamped_output() -> None:
    stage = make_transfer_stage().eval()
    batch = make_batch(2)
    output = stage.transfer(batch.target_rgb, batch.reference_rgb)
    assert 0 <= output.min() <= output.max() <= 1
    torch.testing.assert_close(stage.step(batch).ab, rgb_to_lab(output)[:, 1:])


def test_the_reports_coefficients_are_the_defaults_but_the_styles() -> None:
    loss = TransferLossConfig()
    assert (loss.perceptual_coefficient, loss.reconstruction_coefficient, loss.content_coefficient) == (0.2, 0.8, 1.0)
    assert (loss.content_layer, loss.style_weights) == (4, [1.0, 0.75, 0.2, 0.2, 0.2])
    assert loss.normalize


def test_network_settings_reach_the_network() -> None:
    form = {"skips": "pre_pool", "norm": "none", "padding": "reflect"}
    encoder = EncoderConfig("random", padding="reflect")
    stage = make_transfer_stage(matching="wct", sites=["encoder", "skips"], alpha=0.5, encoder=encoder, **form)
    expected = {
        "width": 0.125,
        "encoder_padding": "reflect",
        "gray_encoder": False,
        "matching": "wct",
        "sites": ["encoder", "skips"],
        "skips": "pre_pool",
        "norm": "none",
        "padding": "reflect",
        "alpha": 0.5,
    }
    assert stage.networks() == {"transfer": expected}


def test_no_weights_of_the_loss_network_are_stored() -> None:
    assert not [name for name in make_transfer_stage().state_dict() if "perceptual" in name]


def test_the_lowest_validation_loss_is_best() -> None:
    stage = make_transfer_stage()
    assert (stage.monitor, stage.monitor_mode) == ("val/loss", "min")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"sites": "encodr"}, r"stage\.sites=encodr .*did you mean encoder"),
        ({"sites": ["skips"]}, r"stage\.skips=pre_pool"),
        ({"sites": 3}, r"stage\.sites=3 must be a list of names"),
        ({"width": 0}, r"stage\.width=0 must be greater than 0"),
        ({"alpha": -0.1}, r"stage\.alpha=-0\.1"),
        ({"norm": "layer"}, r"stage\.norm=layer"),
    ],
)
def test_wrong_settings_are_refused(settings: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        TransferConfig(encoder=EncoderConfig("random"), **settings)  # pyright: ignore[reportArgumentType]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"style_coefficient": -1.0}, r"stage\.loss\.style_coefficient=-1"),
        ({"content_layer": 0}, r"stage\.loss\.content_layer=0"),
        ({"style_weights": [1.0]}, r"stage\.loss\.style_weights=\[1\.0\] must be five numbers"),
    ],
)
def test_wrong_loss_settings_are_refused(settings: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        TransferLossConfig(**settings)  # pyright: ignore[reportArgumentType]
