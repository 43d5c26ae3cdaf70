from itertools import combinations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from stylecolor.choices import SITES, SKIPS
from stylecolor.encoder import IMAGENET_MEAN, IMAGENET_STD
from stylecolor.transfer import TransferNet

WIDTH = 0.0625


def pictures(seed: int, batch: int = 2, height: int = 32, width: int = 32) -> Tensor:
    return torch.rand(batch, 3, height, width, generator=torch.Generator().manual_seed(seed))


def make_transfer(sites: tuple[str, ...] = ("bottleneck",), skips: str = "slices", width: float = WIDTH, **settings: object) -> TransferNet:
    """With random weights, random BatchNorm statistics and an output in the middle of [0, 1], so that little is clamped."""
    torch.manual_seed(0)
    transfer = TransferNet(width, "random", sites, skips=skips, **settings)  # pyright: ignore[reportArgumentType]
    for module in transfer.decoder.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.running_mean, -0.1, 0.1)  # pyright: ignore[reportArgumentType]
            nn.init.uniform_(module.running_var, 0.05, 0.1)  # pyright: ignore[reportArgumentType]
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.uniform_(module.bias, -0.1, 0.1)
    last = [module for module in transfer.decoder.modules() if isinstance(module, nn.Conv2d)][-1]
    last.weight.data *= 0.2
    nn.init.constant_(last.bias, 0.5)  # pyright: ignore[reportArgumentType]
    return transfer.eval()


SUBSETS = [
    (skips, sites)
    for skips in SKIPS
    for count in range(len(SITES) + 1)
    for sites in combinations(SITES, count)
    if skips == "pre_pool" or "skips" not in sites
]


@pytest.mark.parametrize(("skips", "sites"), SUBSETS, ids=["+".join((skips, *sites)) for skips, sites in SUBSETS])
def test_every_subset_of_sites_stylizes_pictures_of_any_size(skips: str, sites: tuple[str, ...]) -> None:
    transfer = make_transfer(sites, skips)
    for size, reference_size in (((32, 48), (24, 64)), ((37, 50), (8, 8))):
        output = transfer(pictures(0, 2, *size), pictures(1, 2, *reference_size))
        assert output.shape == (2, 3, *size)
        assert output.isfinite().all()


@pytest.mark.parametrize(("skips", "sites"), SUBSETS, ids=["+".join((skips, *sites)) for skips, sites in SUBSETS])
def test_statistics_computed_once_give_exactly_the_direct_result(skips: str, sites: tuple[str, ...]) -> None:
    transfer = make_transfer(sites, skips)
    content, reference = pictures(0, 3), pictures(1, 1, 40, 24)
    style = transfer.encode_reference(reference)
    assert torch.equal(transfer(content, style), transfer(content, reference))
    assert bool(style.statistics) == bool(sites)


@pytest.mark.parametrize(("skips", "sites"), SUBSETS, ids=["+".join((skips, *sites)) for skips, sites in SUBSETS])
def test_a_picture_that_is_its_own_reference_is_only_decoded(skips: str, sites: tuple[str, ...]) -> None:
    transfer, plain = make_transfer(sites, skips), make_transfer((), skips)
    content = pictures(0)
    torch.testing.assert_close(transfer(content, content), plain(content, pictures(1)), atol=1e-3, rtol=0)


def test_each_site_changes_the_result_in_its_own_way() -> None:
    content, reference = pictures(0), pictures(1) ** 3
    chosen = [(), *((site,) for site in SITES), ("encoder", "skips", "decoder"), ("encoder", "decoder"), ("bottleneck", "skips")]
    outputs = [make_transfer(sites, "pre_pool")(content, reference) for sites in chosen]
    for (first, one), (second, other) in combinations(zip(chosen, outputs, strict=True), 2):
        assert (one - other).abs().max() > 1e-3, f"{first} and {second} give the same picture"


@pytest.mark.parametrize("other", ["encoder", "decoder"])
def test_the_bottleneck_is_matched_once(other: str) -> None:
    content, reference = pictures(0), pictures(1)
    both, one = make_transfer(("bottleneck", other)), make_transfer((other,))
    torch.testing.assert_close(both(content, reference), one(content, reference), atol=1e-6, rtol=0)


def test_strength_blends_from_the_content_to_the_matched_features() -> None:
    content, reference = pictures(0), pictures(1) ** 3
    none, half, full = (make_transfer(alpha=alpha)(content, reference) for alpha in (0.0, 0.5, 1.0))
    torch.testing.assert_close(none, make_transfer(())(content, reference))
    assert (half - none).abs().max() > 1e-3
    assert (half - full).abs().max() > 1e-3


@pytest.mark.parametrize("sites", [("skips",), ("bottleneck", "skips"), ("encoder", "skips", "decoder")])
def test_the_skips_site_is_refused_without_pooled_skips(sites: tuple[str, ...]) -> None:
    with pytest.raises(ValueError, match=r"stage\.sites.*'skips'.*use stage\.skips=pre_pool"):
        TransferNet(WIDTH, "random", sites, skips="slices")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"sites": ("botleneck",)}, r"stage\.sites=botleneck .*did you mean bottleneck"),
        ({"sites": ("encoder", "encoder")}, r"stage\.sites=encoder,encoder names a site twice"),
        ({"skips": "pool"}, r"stage\.skips=pool"),
        ({"norm": "instance"}, r"stage\.norm=instance"),
        ({"padding": "zero"}, r"stage\.padding=zero .*did you mean zeros"),
        ({"alpha": 1.5}, r"stage\.alpha=1\.5"),
    ],
)
def test_wrong_settings_are_refused(settings: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        TransferNet(WIDTH, "random", **settings)  # pyright: ignore[reportArgumentType]


def test_only_evaluation_clamps() -> None:
    transfer = make_transfer(norm="none")
    with torch.no_grad():
        for parameter in transfer.decoder.levels["1"].parameters():
            parameter *= 20
    content, reference = pictures(0), pictures(1)
    clamped = transfer(content, reference)
    free = transfer.train()(content, reference)
    assert free.amin() < -0.1
    assert free.amax() > 1.1
    torch.testing.assert_close(free.clamp(0, 1), clamped)


def test_convolutions_have_the_reports_widths() -> None:
    with torch.device("meta"):
        decoder = TransferNet(1.0, "empty").decoder
    widths = {
        level: [(module.in_channels, module.out_channels) for module in units.modules() if isinstance(module, nn.Conv2d)]
        for level, units in decoder.levels.items()
    }
    assert list(decoder.levels) == ["4", "3", "2", "1"]
    assert widths == {
        "4": [(512, 256), (256, 256), (256, 256), (256, 256)],
        "3": [(256 + 256, 256), (256, 128)],
        "2": [(128 + 128, 128), (128, 64)],
        "1": [(64 + 64, 64), (64, 3)],
    }
    for module in decoder.modules():
        if isinstance(module, nn.Conv2d):
            assert (module.kernel_size, module.stride, module.padding, module.padding_mode) == ((3, 3), (1, 1), (1, 1), "zeros")


def test_width_multiplies_every_channel_count_but_the_outputs() -> None:
    convolutions = [module for module in make_transfer(width=0.25).decoder.modules() if isinstance(module, nn.Conv2d)]
    assert [module.out_channels for module in convolutions] == [64, 64, 64, 64, 64, 32, 32, 16, 16, 3]


@pytest.mark.parametrize("norm", ["batch", "none"])
def test_units_are_convolution_norm_relu_and_the_last_is_bare(norm: str) -> None:
    decoder = make_transfer(norm=norm).decoder
    *units, last = [unit for level in ("4", "3", "2", "1") for unit in decoder.levels[level].children()]
    kinds = [nn.Conv2d, nn.BatchNorm2d, nn.ReLU] if norm == "batch" else [nn.Conv2d, nn.ReLU]
    assert all([type(layer) for layer in unit.children()] == kinds for unit in units)
    assert [type(layer) for layer in last.children()] == [nn.Conv2d]


def test_padding_is_a_choice() -> None:
    zeros, reflect = make_transfer(padding="zeros"), make_transfer(padding="reflect")
    reflect.load_state_dict(zeros.state_dict())
    content, reference = pictures(0, 1, 96, 96), pictures(1, 1)
    difference = (zeros(content, reference) - reflect(content, reference)).abs()[0].amax(0)
    assert difference[:2].max() > 1e-3


def encode_by_hand(state: dict[str, Tensor], rgb: Tensor) -> list[Tensor]:
    """relu1_1, relu2_1, relu3_1, relu4_1 of the average-pooled VGG19."""
    x = (rgb - torch.tensor(IMAGENET_MEAN).view(1, 3, 1, 1)) / torch.tensor(IMAGENET_STD).view(1, 3, 1, 1)
    outputs = []
    for position in (0, 2, "pool", 5, 7, "pool", 10, 12, 14, 16, "pool", 19):
        if position == "pool":
            x = F.avg_pool2d(x, 2)
        else:
            x = F.relu(F.conv2d(x, state[f"encoder.features.{position}.weight"], state[f"encoder.features.{position}.bias"], padding=1))
        if position in (0, 5, 10, 19):
            outputs.append(x)
    return outputs


def adain_by_hand(x: Tensor, y: Tensor) -> Tensor:
    sigma_x = (x.flatten(2).var(2, unbiased=True) + 1e-5).sqrt()[:, :, None, None]
    sigma_y = (y.flatten(2).var(2, unbiased=True) + 1e-5).sqrt()[:, :, None, None]
    return sigma_y * (x - x.mean((2, 3), keepdim=True)) / sigma_x + y.mean((2, 3), keepdim=True)


def decode_level_by_hand(state: dict[str, Tensor], level: int, count: int, x: Tensor, reflect: bool = False) -> Tensor:
    """`count` units of convolution, BatchNorm if there is one, and ReLU; the last of level 1 is bare."""
    for index in range(count):
        name = f"decoder.levels.{level}.{index}"
        padded = F.pad(x, (1, 1, 1, 1), mode="reflect") if reflect else F.pad(x, (1, 1, 1, 1))
        x = F.conv2d(padded, state[f"{name}.0.weight"], state[f"{name}.0.bias"])
        if f"{name}.1.weight" in state:
            mean, var = state[f"{name}.1.running_mean"], state[f"{name}.1.running_var"]
            x = F.batch_norm(x, mean, var, state[f"{name}.1.weight"], state[f"{name}.1.bias"], training=False, eps=1e-5)
        if not (level == 1 and index == count - 1):
            x = F.relu(x)
    return x


def double(tensor: Tensor) -> Tensor:
    return tensor.repeat_interleave(2, dim=2).repeat_interleave(2, dim=3)


def test_the_reports_form_equals_a_direct_restatement() -> None:
    transfer = make_transfer(width=0.25)
    state = transfer.state_dict()
    content, reference = pictures(0), pictures(1, 2, 48, 32)
    relu1, relu2, relu3, relu4 = encode_by_hand(state, content)
    x = adain_by_hand(relu4, encode_by_hand(state, reference)[3])
    x = decode_level_by_hand(state, 4, 4, x)
    x = decode_level_by_hand(state, 3, 2, torch.cat((double(x), relu3), dim=1))
    x = decode_level_by_hand(state, 2, 2, torch.cat((double(x), relu2), dim=1))
    x = decode_level_by_hand(state, 1, 2, torch.cat((double(x), relu1), dim=1))
    assert ((x > 0) & (x < 1)).float().mean() > 0.5
    torch.testing.assert_close(transfer(content, reference), x.clamp(0, 1), atol=1e-5, rtol=0)


Encoded = tuple[list[Tensor], list[Tensor], list[Tensor]]
"""relu{i}_1, maps before the pooling, pooled maps."""


def encode_progressively_by_hand(state: dict[str, Tensor], rgb: Tensor, matched: list[Tensor] | None) -> Encoded:
    """Each relu{i}_1 is matched before it goes on, if `matched` is given."""
    x = (rgb - torch.tensor(IMAGENET_MEAN).view(1, 3, 1, 1)) / torch.tensor(IMAGENET_STD).view(1, 3, 1, 1)
    outputs, before, pooled = [], [], []
    for position in (0, 2, "pool", 5, 7, "pool", 10, 12, 14, 16, "pool", 19):
        if position == "pool":
            before.append(x)
            x = F.avg_pool2d(x, 2)
            pooled.append(x)
        else:
            x = F.relu(F.conv2d(x, state[f"encoder.features.{position}.weight"], state[f"encoder.features.{position}.bias"], padding=1))
        if position in (0, 5, 10, 19):
            if matched is not None:
                x = adain_by_hand(x, matched[len(outputs)])
            outputs.append(x)
    return outputs, before, pooled


def test_the_papers_form_equals_a_direct_restatement() -> None:
    transfer = make_transfer(("encoder", "skips", "decoder"), "pre_pool", norm="none", padding="reflect", width=0.125)
    state = transfer.state_dict()
    content, reference = pictures(0), pictures(1)

    def decode(
        encoded: tuple[list[Tensor], list[Tensor], list[Tensor]], style: list[Tensor] | None, pools: list[Tensor] | None
    ) -> list[Tensor]:
        outputs, before, pooled = encoded
        x, seen = decode_level_by_hand(state, 4, 4, outputs[3], reflect=True), []
        for level in (3, 2, 1):
            seen.append(x)
            x = x if style is None else adain_by_hand(x, style[3 - level])
            pool = pooled[level - 1] if pools is None else adain_by_hand(pooled[level - 1], pools[level - 1])
            x = torch.cat((double(torch.cat((x, pool), dim=1)), before[level - 1]), dim=1)
            x = decode_level_by_hand(state, level, 2, x, reflect=True)
        return [*seen, x]

    style = encode_progressively_by_hand(state, reference, matched=None)
    own = encode_progressively_by_hand(state, content, matched=style[0])
    expected = decode(own, decode(style, None, None), style[2])[-1]
    torch.testing.assert_close(transfer(content, reference), expected.clamp(0, 1), atol=1e-4, rtol=0)


def test_only_the_decoder_gets_gradients() -> None:
    transfer = make_transfer(("encoder", "decoder")).train()
    transfer(pictures(0), pictures(1)).square().mean().backward()
    assert all(parameter.grad is not None and parameter.grad.any() for parameter in transfer.decoder.parameters() if parameter.ndim == 4)
    assert all(parameter.grad is None for parameter in transfer.encoder.parameters())


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_results_are_finite_under_autocast(dtype: torch.dtype) -> None:
    transfer = make_transfer(("encoder", "skips", "decoder"), "pre_pool")
    content = torch.cat((pictures(0, 1), torch.zeros(1, 3, 32, 32), torch.ones(1, 3, 32, 32)))
    with torch.autocast("cpu", dtype):
        output = transfer(content, content.flip(0))
    assert output.isfinite().all()


def test_settings_rebuild_the_network() -> None:
    transfer = make_transfer(("encoder", "skips"), "pre_pool", norm="none", padding="reflect", alpha=0.5)
    rebuilt = TransferNet.from_settings(transfer.settings)
    rebuilt.load_state_dict(transfer.state_dict())
    content, reference = pictures(0), pictures(1)
    assert torch.equal(rebuilt.eval()(content, reference), transfer(content, reference))
    assert rebuilt.settings == transfer.settings
