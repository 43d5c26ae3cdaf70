from itertools import combinations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from stylecolor.choices import MATCHINGS, SITES, SKIPS
from stylecolor.encoder import IMAGENET_MEAN, IMAGENET_STD, VGG19Encoder
from stylecolor.matching import match_features
from stylecolor.reference_style import assign_regions, mix_styles
from stylecolor.regions import VOID, LabelMap
from stylecolor.transfer import Decoder, TransferNet

WIDTH = 0.0625


def pictures(seed: int, batch: int = 2, height: int = 32, width: int = 32) -> Tensor:
    return torch.rand(batch, 3, height, width, generator=torch.Generator().manual_seed(seed))


def make_transfer(sites: tuple[str, ...] = ("bottleneck",), skips: str = "slices", width: float = WIDTH, **settings: object) -> TransferNet:
    """With random weights, random BatchNorm statistics and an output in the middle of [0, 1], so that little is clamped."""
    torch.manual_seed(0)
    gray_encoder = VGG19Encoder("random", width, channels_in=1) if settings.pop("gray", False) else None
    encoder = VGG19Encoder("random", width)
    transfer = TransferNet(encoder, sites=sites, skips=skips, gray_encoder=gray_encoder, **settings)  # pyright: ignore[reportArgumentType]
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


def label_map(batch: int, height: int = 32, width: int = 32, seed: int = 0) -> LabelMap:
    """Four quarters whose crossing moves from picture to picture: labels 1, 2, 3 and void."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.empty(batch, height, width, dtype=torch.uint8)
    for one in labels:
        row, column = (int(torch.randint(side // 4, 3 * side // 4, (), generator=generator)) for side in (height, width))
        one[:row, :column], one[:row, column:], one[row:, :column], one[row:, column:] = 1, 2, 3, VOID
    return LabelMap.read(labels)


matchings = pytest.mark.parametrize("matching", ["adain", "wct"])
SUBSETS = [
    (skips, sites)
    for skips in SKIPS
    for count in range(len(SITES) + 1)
    for sites in combinations(SITES, count)
    if skips == "pre_pool" or "skips" not in sites
]
subsets = pytest.mark.parametrize(("skips", "sites"), SUBSETS, ids=["+".join((skips, *sites)) for skips, sites in SUBSETS])


@subsets
@matchings
def test_every_subset_of_sites_stylizes_pictures_of_any_size(matching: str, skips: str, sites: tuple[str, ...]) -> None:
    transfer, plain = make_transfer(sites, skips, matching=matching), make_transfer(sites, skips, matching="none")
    for size, reference_size in (((32, 48), (24, 64)), ((37, 50), (16, 17))):
        content, reference = pictures(0, 2, *size), pictures(1, 2, *reference_size) ** 3
        output = transfer(content, reference)
        assert output.shape == (2, 3, *size)
        assert output.isfinite().all()
        changed = (output - plain(content, reference)).abs().max()
        assert changed > 1e-3 if sites else changed == 0


@subsets
@matchings
def test_statistics_computed_once_give_exactly_the_direct_result(matching: str, skips: str, sites: tuple[str, ...]) -> None:
    transfer = make_transfer(sites, skips, matching=matching)
    content, reference = pictures(0, 3), pictures(1, 1, 40, 24)
    style = transfer.encode_reference(reference)
    assert torch.equal(transfer(content, style), transfer(content, reference))
    assert bool(style.statistics) == bool(sites)
    own, other = label_map(3), label_map(1, 40, 24, seed=1)
    style = transfer.encode_reference(reference, other, feather=2)
    assert torch.equal(transfer(content, style, own, feather=2), transfer(content, reference, own, other, feather=2))
    assert torch.equal(transfer(content, style), transfer(content, reference))


@subsets
@matchings
def test_a_picture_that_is_its_own_reference_is_only_decoded(matching: str, skips: str, sites: tuple[str, ...]) -> None:
    transfer, plain = make_transfer(sites, skips, matching=matching), make_transfer((), skips)
    content, labels = pictures(0), label_map(2)
    expected = plain(content, pictures(1))
    torch.testing.assert_close(transfer(content, content), expected, atol=1e-3, rtol=0)
    for feather in (0, 3):
        torch.testing.assert_close(transfer(content, content, labels, labels, feather), expected, atol=2e-3, rtol=0)


@matchings
def test_each_site_changes_the_result_in_its_own_way(matching: str) -> None:
    content, reference = pictures(0), pictures(1) ** 3
    chosen = [(), *((site,) for site in SITES), ("encoder", "skips", "decoder"), ("encoder", "decoder"), ("bottleneck", "skips")]
    outputs = [make_transfer(sites, "pre_pool", matching=matching)(content, reference) for sites in chosen]
    for (first, one), (second, other) in combinations(zip(chosen, outputs, strict=True), 2):
        assert (one - other).abs().max() > 1e-3, f"{first} and {second} give the same picture"


@pytest.mark.parametrize(("skips", "sites"), [case for case in SUBSETS if case[1]])
def test_the_matchings_give_different_pictures(skips: str, sites: tuple[str, ...]) -> None:
    content, reference = pictures(0), pictures(1) ** 3
    outputs = [make_transfer(sites, skips, matching=matching)(content, reference) for matching in MATCHINGS]
    for one, other in combinations(outputs, 2):
        assert (one - other).abs().max() > 1e-3


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


@subsets
@matchings
def test_one_network_matches_in_any_way_its_weights_allow(matching: str, skips: str, sites: tuple[str, ...]) -> None:
    content, reference = pictures(0), pictures(1)
    transfer = make_transfer(("encoder",), skips)
    before = transfer(content, reference)
    rematched = transfer.rematched(matching, sites)
    expected = make_transfer(sites, skips, matching=matching)
    assert torch.equal(rematched(content, reference), expected(content, reference))
    assert rematched.settings == expected.settings
    assert [id(one) for one in rematched.parameters()] == [id(one) for one in transfer.parameters()]
    assert torch.equal(transfer(content, reference), before)


def test_what_is_left_out_of_a_rematching_stays(caplog: pytest.LogCaptureFixture) -> None:
    transfer = make_transfer(("encoder", "skips"), "pre_pool", matching="wct")
    assert transfer.rematched(sites=["decoder"]).settings == {**transfer.settings, "sites": ["decoder"]}
    none = transfer.rematched("none")
    assert not none.sites
    assert none.rematched("wct").sites == transfer.sites
    with pytest.raises(ValueError, match=r"holds wct statistics.*encode the reference with this network"):
        transfer.rematched("adain")(pictures(0), transfer.encode_reference(pictures(1)))
    assert not caplog.messages
    transfer.rematched("none", ["decoder"])
    assert caplog.messages == ["sites=decoder is ignored: with matching=none nothing is matched"]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"matching": "wtc"}, "matching=wtc .*did you mean wct"),
        ({"sites": ["botleneck"]}, "sites=botleneck .*did you mean bottleneck"),
        ({"sites": ["encoder", "encoder"]}, "sites=encoder,encoder names a site twice"),
        ({"sites": ["skips"]}, "sites=skips: these weights have no site 'skips'.*stage.skips=slices; leave it out"),
    ],
)
def test_a_rematching_that_the_weights_do_not_allow_is_refused(settings: dict[str, list[str]], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make_transfer().rematched(**settings)  # pyright: ignore[reportArgumentType]


@pytest.mark.parametrize("sites", [("skips",), ("bottleneck", "skips"), ("encoder", "skips", "decoder")])
def test_the_skips_site_is_refused_without_pooled_skips(sites: tuple[str, ...]) -> None:
    with pytest.raises(ValueError, match=r"stage\.sites.*'skips'.*use stage\.skips=pre_pool"):
        make_transfer(sites, "slices")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"sites": ("botleneck",)}, r"stage\.sites=botleneck .*did you mean bottleneck"),
        ({"sites": ("encoder", "encoder")}, r"stage\.sites=encoder,encoder names a site twice"),
        ({"matching": "wtc"}, r"stage\.matching=wtc .*did you mean wct"),
        ({"skips": "pool"}, r"stage\.skips=pool"),
        ({"norm": "instance"}, r"stage\.norm=instance"),
        ({"padding": "zero"}, r"stage\.padding=zero .*did you mean zeros"),
        ({"alpha": 1.5}, r"stage\.alpha=1\.5"),
    ],
)
def test_wrong_settings_are_refused(settings: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        TransferNet(VGG19Encoder("random", WIDTH), **settings)  # pyright: ignore[reportArgumentType]


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
        decoder = Decoder()
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


def test_convolutions_of_pre_pool_have_the_authors_widths() -> None:
    with torch.device("meta"):
        decoder = Decoder(skips="pre_pool", norm="none", padding="reflect")
    convolutions = [module for module in decoder.modules() if isinstance(module, nn.Conv2d)]
    # conv4_1; conv3_4_2, conv3_3, conv3_2, conv3_1; conv2_2_2, conv2_1; conv1_2_2, conv1_1
    expected = [(512, 256), (768, 256), (256, 256), (256, 256), (256, 128), (384, 128), (128, 64), (192, 64), (64, 3)]
    assert [(module.in_channels, module.out_channels) for module in convolutions] == expected
    assert {module.padding_mode for module in convolutions} == {"reflect"}


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


def decode_level_by_hand(state: dict[str, Tensor], level: int, count: int, x: Tensor, reflect: bool = False, first: int = 0) -> Tensor:
    """Units `first` to `count` of convolution, BatchNorm if there is one, and ReLU; the last of level 1 is bare."""
    for index in range(first, count):
        name = f"decoder.levels.{level}.{index}"
        padded = F.pad(x, (1, 1, 1, 1), mode="reflect") if reflect else F.pad(x, (1, 1, 1, 1))
        x = F.conv2d(padded, state[f"{name}.0.weight"], state[f"{name}.0.bias"])
        if f"{name}.1.weight" in state:
            mean, var = state[f"{name}.1.running_mean"], state[f"{name}.1.running_var"]
            x = F.batch_norm(x, mean, var, state[f"{name}.1.weight"], state[f"{name}.1.bias"], training=False, eps=1e-5)
        if level != 1 or f"decoder.levels.1.{index + 1}.0.weight" in state:
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
        x, seen = decode_level_by_hand(state, 4, 1, outputs[3], reflect=True), []
        for level, count in ((3, 4), (2, 2), (1, 2)):
            pool = pooled[level - 1] if pools is None else adain_by_hand(pooled[level - 1], pools[level - 1])
            x = torch.cat((double(torch.cat((x, pool), dim=1)), before[level - 1]), dim=1)
            x = decode_level_by_hand(state, level, count - 1, x, reflect=True)
            # the authors' level begins with the last convolution of ours
            seen.append(x)
            x = x if style is None else adain_by_hand(x, style[3 - level])
            x = decode_level_by_hand(state, level, count, x, reflect=True, first=count - 1)
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


@matchings
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_results_are_finite_under_autocast(matching: str, dtype: torch.dtype) -> None:
    transfer = make_transfer(("encoder", "skips", "decoder"), "pre_pool", matching=matching)
    content = torch.cat((pictures(0, 1), torch.zeros(1, 3, 32, 32), torch.ones(1, 3, 32, 32)))
    with torch.autocast("cpu", dtype):
        output = transfer(content, content.flip(0), label_map(3), label_map(3, seed=1), 2)
    assert output.isfinite().all()


@matchings
@pytest.mark.parametrize("sites", [("bottleneck",), ("encoder", "skips", "decoder")])
@pytest.mark.parametrize("value", [0.0, 0.5, 1.0])
def test_targets_and_references_without_texture_give_finite_pictures_and_gradients(
    matching: str, sites: tuple[str, ...], value: float
) -> None:
    transfer = make_transfer(sites, "pre_pool", matching=matching).train()
    flat = torch.full((2, 3, 32, 32), value)
    for content, reference in ((flat, pictures(1)), (pictures(0), flat), (flat, flat)):
        for labels in (None, label_map(2)):
            output = transfer(content, reference, labels, labels, 2)
            assert output.isfinite().all()
            transfer.zero_grad()
            output.square().mean().backward()
            assert all(parameter.grad is None or parameter.grad.isfinite().all() for parameter in transfer.parameters())


@matchings
def test_regions_take_the_statistics_of_the_same_label(matching: str) -> None:
    transfer = make_transfer(("bottleneck",), matching=matching)
    content, reference = pictures(0, 1, 64, 64), pictures(1, 1, 64, 64) ** 3
    # aligned with the bottleneck's cells of 8 px, so that each belongs to one region
    own, other = torch.ones(1, 64, 64, dtype=torch.uint8), torch.ones(1, 64, 64, dtype=torch.uint8)
    own[:, :, 24:], other[:, 40:] = 2, 2
    seen: list[Tensor] = []
    handle = transfer.decoder.levels["4"].register_forward_pre_hook(lambda module, arguments: seen.append(arguments[0]))
    transfer(content, reference, LabelMap.read(own), LabelMap.read(other))
    handle.remove()
    x, y = transfer.encoder(content)[3], transfer.encoder(reference)[3]
    expected = torch.empty_like(x)
    for left, top in ((slice(0, 3), slice(0, 5)), (slice(3, 8), slice(5, 8))):
        expected[..., left] = match_features(x[..., left], y[..., top, :], matching)
    torch.testing.assert_close(seen[0], expected, atol=1e-3, rtol=1e-3)


@subsets
@matchings
def test_label_maps_change_the_result_unless_one_side_has_no_label(matching: str, skips: str, sites: tuple[str, ...]) -> None:
    transfer = make_transfer(sites, skips, matching=matching)
    content, reference = pictures(0), pictures(1, 2, 48, 40) ** 3
    reference[:, :, :20] *= 0.3
    own, other = label_map(2), label_map(2, 48, 40, seed=1)
    expected = transfer(content, reference)
    changed = (transfer(content, reference, own, other) - expected).abs().max()
    assert changed > 1e-3 if sites else changed == 0
    empty = LabelMap.read(torch.full((2, 32, 32), VOID, dtype=torch.uint8))
    foreign = LabelMap.read(torch.full((2, 48, 40), 9, dtype=torch.uint8))
    for pair in ((empty, other), (own, foreign), (None, other), (own, None)):
        torch.testing.assert_close(transfer(content, reference, *pair), expected, atol=1e-5, rtol=0)


@matchings
def test_feathering_changes_what_is_near_a_border(matching: str) -> None:
    transfer = make_transfer(("encoder",), matching=matching)
    content, reference = pictures(0), pictures(1) ** 3
    hard, soft, softer = (transfer(content, reference, label_map(2), label_map(2, seed=1), feather) for feather in (0, 2, 8))
    for one, other in combinations((hard, soft, softer), 2):
        assert (one - other).abs().max() > 1e-3


@matchings
def test_pictures_with_regions_come_out_the_same_alone_and_in_a_batch(matching: str) -> None:
    transfer = make_transfer(("encoder", "skips", "decoder"), "pre_pool", matching=matching)
    content, reference, own, other = pictures(0, 3), pictures(1, 3), label_map(3), label_map(3, seed=1)
    together = transfer(content, reference, own, other, 2)
    for index in range(3):
        one = slice(index, index + 1)
        maps = (LabelMap.read(own.labels[one]), LabelMap.read(other.labels[one]))
        torch.testing.assert_close(transfer(content[one], reference[one], *maps, 2), together[one], atol=1e-4, rtol=0)


def test_regions_are_measured_and_applied_with_the_same_feather() -> None:
    transfer = make_transfer()
    style = transfer.encode_reference(pictures(1), label_map(2), feather=3)
    mixed = mix_styles([style, transfer.encode_reference(pictures(2))])
    assert torch.equal(
        transfer(pictures(0), style, label_map(2), feather=3), transfer(pictures(0), pictures(1), label_map(2), label_map(2), 3)
    )
    for refused in (style, mixed, assign_regions(mixed, {1: style})):
        with pytest.raises(ValueError, match="measured with feather=3, the targets have 0"):
            transfer(pictures(0), refused, label_map(2))
    with pytest.raises(ValueError, match=r"measured with feather \[0, 3\]"):
        mix_styles([style, transfer.encode_reference(pictures(2), label_map(2))])
    # without regions it means nothing
    transfer(pictures(0), transfer.encode_reference(pictures(1)), label_map(2), feather=2)


def test_a_target_with_other_channels_than_its_encoders_is_refused() -> None:
    with pytest.raises(ValueError, match="the content has 1 channels, its encoder takes 3"):
        make_transfer()(pictures(0)[:, :1], pictures(1))


def test_label_maps_of_another_size_are_refused() -> None:
    transfer = make_transfer()
    with pytest.raises(ValueError, match=r"label maps of the target: have shape \(2, 32, 40\), its pictures need \(2, 32, 32\)"):
        transfer(pictures(0), pictures(1), label_map(2, 32, 40), label_map(2))
    with pytest.raises(ValueError, match=r"label maps of the reference: have shape \(1, 32, 32\), its pictures need \(2, 32, 32\)"):
        transfer(pictures(0), pictures(1), label_map(2), label_map(1))


@pytest.mark.parametrize(
    ("reference", "message"),
    [
        (torch.rand(1, 3, 15, 64), r"reference: needs sides of 16 px at least, got \(15, 64\)"),
        (torch.rand(1, 3, 64, 8), r"reference: needs sides of 16 px at least, got \(64, 8\)"),
        (torch.zeros(1, 3, 32, 32, dtype=torch.uint8), r"reference: .*torch\.uint8; divide uint8 by 255 first"),
        (torch.rand(3, 32, 32), r"reference: expected shape \(batch, 3, height, width\), got \(3, 32, 32\)"),
        (torch.rand(1, 1, 32, 32), r"reference: expected shape .*, got \(1, 1, 32, 32\)"),
    ],
)
def test_what_is_no_reference_is_refused(reference: Tensor, message: str) -> None:
    transfer = make_transfer()
    with pytest.raises(ValueError, match=message):
        transfer(pictures(0), reference)
    with pytest.raises(ValueError, match=message):
        transfer.encode_reference(reference)


def make_pair_for_gray(padding: str) -> tuple[TransferNet, TransferNet]:
    """With a grey encoder, and with the colour encoder for targets too; both with the same weights."""
    networks = []
    for gray in (True, False):
        torch.manual_seed(0)
        gray_encoder = VGG19Encoder("random", WIDTH, padding=padding, channels_in=1) if gray else None
        encoder = VGG19Encoder("random", WIDTH, padding=padding)
        networks.append(
            TransferNet(encoder, "adain", ("encoder", "skips"), skips="pre_pool", norm="none", gray_encoder=gray_encoder).eval()
        )
        nn.init.constant_(networks[-1].decoder.levels["1"][-1][0].bias, 0.5)
    return networks[0], networks[1]


def test_a_gray_encoder_sees_what_the_colour_encoder_sees_of_gray_pictures() -> None:
    gray, color = make_pair_for_gray("reflect")
    content, reference = pictures(0)[:, :1], pictures(1) ** 3
    output = gray(content, reference)
    assert output.std() > 1e-3
    torch.testing.assert_close(output, color(content.expand(-1, 3, -1, -1), reference), atol=1e-4, rtol=0)
    assert gray.gray_encoder is not None
    with torch.no_grad():
        for parameter in gray.gray_encoder.parameters():
            parameter *= 0.5
            parameter += 0.1
    assert (gray(content, reference) - output).abs().max() > 1e-3, "the colour encoder sees the targets"


def test_a_gray_encoder_with_zero_padding_differs_only_by_the_border() -> None:
    gray, color = (network.encoder if network.gray_encoder is None else network.gray_encoder for network in make_pair_for_gray("zeros"))
    content = pictures(0, 1, 96, 96)[:, :1]
    for level, (own, other) in enumerate(zip(gray(content), color(content.expand(-1, 3, -1, -1)), strict=True)):
        side = own.shape[-1]
        inside = slice(side // 3, side - side // 3)
        torch.testing.assert_close(own[..., inside, inside], other[..., inside, inside], atol=1e-4, rtol=1e-4)
        assert level or (own - other).abs().max() > 1e-3


def test_settings_rebuild_the_network() -> None:
    transfer = make_transfer(("encoder", "skips"), "pre_pool", norm="none", padding="reflect", alpha=0.5)
    rebuilt = TransferNet.from_settings(transfer.settings)
    rebuilt.load_state_dict(transfer.state_dict())
    content, reference = pictures(0), pictures(1)
    assert torch.equal(rebuilt.eval()(content, reference), transfer(content, reference))
    assert rebuilt.settings == transfer.settings


def test_settings_rebuild_a_network_with_a_gray_encoder() -> None:
    transfer = make_transfer(("encoder",), matching="wct", gray=True)
    rebuilt = TransferNet.from_settings(transfer.settings).eval()
    rebuilt.load_state_dict(transfer.state_dict())
    content, reference = pictures(0)[:, :1], pictures(1)
    assert torch.equal(rebuilt(content, reference), transfer(content, reference))
    assert rebuilt.settings == transfer.settings


def test_settings_may_be_overridden() -> None:
    transfer = make_transfer(("encoder",))
    rebuilt = TransferNet.from_settings(transfer.settings, matching="wct", sites=["decoder"], alpha=0.5)
    assert (rebuilt.matching, rebuilt.sites, rebuilt.alpha) == ("wct", {"decoder"}, 0.5)
