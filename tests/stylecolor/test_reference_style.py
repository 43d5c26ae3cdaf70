import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from stylecolor.encoder import VGG19Encoder
from stylecolor.matching import MATCHINGS, match_features
from stylecolor.reference_style import ReferenceStyle, assign_regions, mix_styles
from stylecolor.regions import VOID, LabelMap
from stylecolor.transfer import TransferNet
from tests.stylecolor.restatement import match_by_hand
from tests.stylecolor.test_transfer import label_map, make_transfer, pictures

both = pytest.mark.parametrize("matching", list(MATCHINGS))


def features(seed: int, height: int = 10, width: int = 12) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(1, 4, height, width, generator=generator) * (1 + torch.arange(4).view(1, 4, 1, 1)) + seed


def style_of(matching: str, picture: Tensor, labels: Tensor | None = None) -> ReferenceStyle:
    """The statistics of one feature map, as if it were a network's only site."""
    one = LabelMap.read(torch.full((1, *picture.shape[2:]), VOID, dtype=torch.uint8) if labels is None else labels)
    weights = one.weights(one.values) if one.values else None
    regions = None if weights is None else weights
    shares = one.shares(one.values)
    return ReferenceStyle(matching, {"bottleneck": MATCHINGS[matching].measure(picture, regions)}, one.values, shares)


def columns(*labels: int, height: int = 10, width: int = 12) -> Tensor:
    """Vertical stripes of these labels."""
    stripes = np.array(labels)[np.arange(width) * len(labels) // width]
    return torch.from_numpy(np.broadcast_to(stripes, (1, height, width)).astype(np.uint8).copy())


def assert_equal(found: ReferenceStyle, expected: ReferenceStyle) -> None:
    assert (found.matching, found.labels, [*found.statistics]) == (expected.matching, expected.labels, [*expected.statistics])
    assert torch.equal(found.shares, expected.shares)
    for key, statistics in expected.statistics.items():
        for own, other in zip(found.statistics[key], statistics, strict=True):
            assert own.dtype == other.dtype
            assert torch.equal(own, other)


@both
def test_a_saved_style_comes_back_bit_for_bit(matching: str, tmp_path: Path) -> None:
    transfer = make_transfer(("encoder", "skips", "decoder"), "pre_pool", matching=matching)
    style = transfer.encode_reference(pictures(0, 2), label_map(2))
    assert len(style) == 2
    assert style.labels
    style.save(tmp_path / "style.safetensors")
    loaded = ReferenceStyle.load(tmp_path / "style.safetensors")
    assert [*tmp_path.iterdir()] == [tmp_path / "style.safetensors"]
    for key in loaded.statistics:
        assert key in style.statistics
    sorted_style = ReferenceStyle(
        style.matching, {key: style.statistics[key] for key in sorted(style.statistics)}, style.labels, style.shares
    )
    assert_equal(loaded, sorted_style)
    content, target_map = pictures(1), label_map(2, seed=1)
    assert torch.equal(transfer(content, loaded, target_map), transfer(content, pictures(0, 2), target_map, label_map(2)))


def test_another_process_gets_the_same_result_from_a_saved_style(tmp_path: Path) -> None:
    transfer = make_transfer(("encoder", "decoder"))
    transfer.encode_reference(pictures(0, 1)).save(tmp_path / "style.safetensors")
    torch.save({"settings": transfer.settings, "state": transfer.state_dict()}, tmp_path / "network.pth")
    program = (
        "import sys, torch\n"
        "from stylecolor.reference_style import ReferenceStyle\n"
        "from stylecolor.transfer import TransferNet\n"
        "torch.set_num_threads(1)\n"
        "saved = torch.load('network.pth', weights_only=True)\n"
        "transfer = TransferNet.from_settings(saved['settings']).eval()\n"
        "transfer.load_state_dict(saved['state'])\n"
        "content = torch.rand(1, 3, 32, 32, generator=torch.Generator().manual_seed(7))\n"
        "torch.save(transfer(content, ReferenceStyle.load('style.safetensors')), 'result.pth')\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True, cwd=tmp_path)
    assert torch.equal(torch.load(tmp_path / "result.pth"), transfer(pictures(7, 1), pictures(0, 1)))


@pytest.mark.parametrize(("matching", "limit"), [("adain", 100_000), ("wct", 5_000_000)])
def test_a_style_of_the_papers_full_model_is_small(matching: str, limit: int, tmp_path: Path) -> None:
    transfer = TransferNet(VGG19Encoder("random"), matching, ("encoder", "skips", "decoder"), skips="pre_pool", norm="none").eval()
    with torch.no_grad():
        plain = transfer.encode_reference(pictures(0, 1, 64, 64))
        labelled = transfer.encode_reference(pictures(0, 1, 64, 64), LabelMap.read(columns(1, 2, height=64, width=64)))
    assert set(plain.statistics) == {
        *(f"encoder{level}" for level in range(1, 5)),
        *(f"{site}{level}" for site in ("skips", "decoder") for level in range(1, 4)),
    }
    for style, slots in ((plain, 1), (labelled, 3)):
        assert style.nbytes == slots * plain.nbytes < slots * limit
        style.save(tmp_path / "style.safetensors")
        assert (tmp_path / "style.safetensors").stat().st_size < slots * limit


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"reference style .*none\.safetensors: no such file"):
        ReferenceStyle.load(tmp_path / "none.safetensors")
    with pytest.raises(ValueError, match="no such file"):
        ReferenceStyle.load(tmp_path)


def test_damaged_files_are_refused_by_name(tmp_path: Path) -> None:
    path = tmp_path / "style.safetensors"
    style_of("adain", features(0), columns(1, 2)).save(path)
    whole = path.read_bytes()
    for content in (b"", whole[:-3], whole[:20], b"\x00" * len(whole), b"PK\x03\x04 is no such file"):
        path.write_bytes(content)
        with pytest.raises(ValueError, match=r"reference style .*style\.safetensors: is no safetensors file, or is damaged"):
            ReferenceStyle.load(path)


def test_foreign_files_are_refused_by_name(tmp_path: Path) -> None:
    path = tmp_path / "other.safetensors"
    for metadata in (None, {"format": "pt"}, {"format": "2", "matching": "adain", "labels": "[]"}):
        save_file({"features.0.weight": torch.zeros(2)}, path, metadata)
        with pytest.raises(ValueError, match=r"reference style .*other\.safetensors: holds no reference style of format 1"):
            ReferenceStyle.load(path)


@pytest.mark.parametrize("lost", ["shares", "bottleneck.mean", "bottleneck.spread", "labels", "matching", "feather", "[1,", "5"])
def test_files_without_a_part_are_refused_by_name(lost: str, tmp_path: Path) -> None:
    path = tmp_path / "style.safetensors"
    style_of("adain", features(0), columns(1, 2)).save(path)
    tensors, description = load_file(path), {"format": "1", "matching": "adain", "labels": "[1, 2]", "feather": "0"}
    tensors.pop(lost, None)
    description.pop(lost, None)
    save_file(tensors, path, description | ({"labels": lost} if lost in ("[1,", "5") else {}))
    with pytest.raises(ValueError, match=r"reference style .*style\.safetensors: is damaged; make it anew"):
        ReferenceStyle.load(path)


def test_a_failed_write_leaves_the_file_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "style.safetensors"
    style_of("adain", features(0)).save(path)
    before = path.read_bytes()

    def fail(self: Path, content: bytes) -> int:
        self.touch()
        raise OSError("no space left")

    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_bytes", fail)
        with pytest.raises(OSError, match="no space left"):
            style_of("adain", features(1)).save(path)
    assert path.read_bytes() == before
    assert [*tmp_path.iterdir()] == [path]


@pytest.mark.parametrize(
    ("own", "other"),
    [
        ({"sites": ("bottleneck",)}, {"sites": ("encoder",)}),
        ({"sites": ("encoder",)}, {"sites": ("encoder", "decoder")}),
        ({"matching": "adain"}, {"matching": "wct"}),
        ({"matching": "adain"}, {"matching": "none"}),
        ({"width": 0.0625}, {"width": 0.125}),
    ],
)
def test_a_style_of_another_network_is_refused(own: dict[str, object], other: dict[str, object]) -> None:
    one, two = make_transfer(**own), make_transfer(**other)  # pyright: ignore[reportArgumentType]
    for encoding, using in ((one, two), (two, one)):
        with pytest.raises(
            ValueError, match=r"reference style: holds .* statistics at .*, this network needs .*; encode the reference with"
        ):
            using(pictures(0), encoding.encode_reference(pictures(1, 1)))
    if {**own, **other}.get("matching") != "none":
        with pytest.raises(ValueError, match="references: their statistics come from different networks"):
            mix_styles([one.encode_reference(pictures(1, 1)), two.encode_reference(pictures(1, 1))])
        with pytest.raises(ValueError, match="references: their statistics come from different networks"):
            assign_regions(one.encode_reference(pictures(1, 1)), {1: two.encode_reference(pictures(1, 1))})


def test_a_style_of_another_count_of_references_is_refused() -> None:
    transfer = make_transfer()
    with pytest.raises(ValueError, match=r"reference style: holds 3 references, 2 targets need 1 or 2"):
        transfer(pictures(0), transfer.encode_reference(pictures(1, 3)))
    with pytest.raises(ValueError, match="references: a batch of 2 cannot be combined with one of 3"):
        mix_styles([transfer.encode_reference(pictures(1, 3)), transfer.encode_reference(pictures(1, 2))])


def test_some_of_a_batch_of_styles_can_be_taken() -> None:
    transfer = make_transfer(("encoder",))
    style = transfer.encode_reference(pictures(1, 3), label_map(3))[1:3].to("cpu")
    assert len(style) == 2
    alone = transfer.encode_reference(pictures(1, 3)[1:3], LabelMap(label_map(3).labels[1:3], label_map(3).values))
    for key, statistics in alone.statistics.items():
        torch.testing.assert_close(style.statistics[key], statistics)


def match(style: ReferenceStyle, content: Tensor, regions: Tensor | None = None, labels: tuple[int, ...] = ()) -> np.ndarray:
    own = None if regions is None else regions
    return MATCHINGS[style.matching].match(content, style.select(labels)["bottleneck"], regions=own).numpy()


@both
@pytest.mark.parametrize("weights", [None, [1, 1, 1], [0.5, 2, 1.5], [0, 1, 0], [1e-3, 0, 0]])
def test_mixed_styles_equal_mixed_features(matching: str, weights: list[float] | None) -> None:
    content, styles = features(0), [features(seed, 8 + seed, 9) for seed in (1, 2, 3)]
    mixed = mix_styles([style_of(matching, style) for style in styles], weights)
    shares = np.array(weights or [1, 1, 1]) / np.sum(weights or [1, 1, 1])
    expected = sum(share * match_by_hand(matching, content.numpy(), style.numpy()) for share, style in zip(shares, styles, strict=True))
    np.testing.assert_allclose(match(mixed, content), expected, atol=1e-3, rtol=1e-3)
    scaled = mix_styles([style_of(matching, style) for style in styles], list(7 * shares))
    for found, own in zip(scaled.statistics["bottleneck"], mixed.statistics["bottleneck"], strict=True):
        torch.testing.assert_close(found, own)


def test_one_style_alone_is_mixed_to_itself() -> None:
    style = style_of("adain", features(1), columns(1, 2))
    assert_equal(mix_styles([style]), style)


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ([1.0], r"weights=\[1\.0\]: 2 references need 2 weights"),
        ([1, 1, 1], r"weights=\[1, 1, 1\]: 2 references need 2 weights"),
        ([], r"weights=\[\]: 2 references need 2 weights"),
        ([1, -0.5], r"weights=-0\.5 must be at least 0"),
        ([0, 0], r"weights=\[0, 0\] must sum to something positive"),
        ([1, float("nan")], r"weights=nan must be a finite number"),
        ([1, float("inf")], r"weights=inf must be a finite number"),
    ],
)
def test_weights_that_do_not_fit_are_refused(weights: list[float], message: str) -> None:
    styles = [style_of("adain", features(seed)) for seed in (1, 2)]
    with pytest.raises(ValueError, match=message):
        mix_styles(styles, weights)


def test_mixing_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="references: none is given"):
        mix_styles([])


@both
def test_a_region_is_mixed_from_the_references_that_have_it(matching: str) -> None:
    content, first, second = features(0), features(1), features(2)
    # 4 is in both, 2 in the first, 9 in the second, where it is too small to count in the first
    first_map, second_map = columns(2, 4, 4), columns(4, 9, VOID)
    first_map[0, 0, 0] = 9
    mixed = mix_styles([style_of(matching, first, first_map), style_of(matching, second, second_map)], [1, 3])
    assert mixed.labels == (2, 4, 9)
    expected_shares = torch.tensor([[39 / 120, 80 / 120, 40 / 120]])
    torch.testing.assert_close(mixed.shares, expected_shares)
    target = columns(2, 4, 9)
    weights = LabelMap.read(target).weights((2, 4, 9))
    found = match(mixed, content, weights, (2, 4, 9))

    def by_hand(style: Tensor, labels: Tensor) -> np.ndarray:
        style_weights = LabelMap.read(labels).weights((2, 4, 9)).numpy()
        # regions that it lacks are not looked at below
        style_weights[style_weights.sum((2, 3)) < 11] = 1
        return match_by_hand(matching, content.numpy(), style.numpy(), weights.numpy(), style_weights)

    of_first, of_second = by_hand(first, first_map), by_hand(second, second_map)
    mask = target[0].numpy()
    expected = np.where(mask == 2, of_first, np.where(mask == 9, of_second, 0.25 * of_first + 0.75 * of_second))
    np.testing.assert_allclose(found, expected, atol=2e-3, rtol=2e-3)


@both
def test_a_reference_of_weight_0_lends_no_region(matching: str) -> None:
    first, second = style_of(matching, features(1), columns(1, 2)), style_of(matching, features(2), columns(2, 5))
    mixed = mix_styles([first, second], [1, 0])
    expected = dict(zip(first.labels, first.shares[0].tolist(), strict=True)) | {5: 0.0}
    assert dict(zip(mixed.labels, mixed.shares[0].tolist(), strict=True)) == expected
    for found, own in zip(mixed.select(first.labels)["bottleneck"], first.statistics["bottleneck"], strict=True):
        torch.testing.assert_close(found, own)


def test_mixing_changes_none_of_the_styles() -> None:
    styles = [style_of("adain", features(seed), columns(1, seed)) for seed in (2, 3)]
    copies = [style_of("adain", features(seed), columns(1, seed)) for seed in (2, 3)]
    mix_styles(styles, [1, 2])
    assign_regions(styles[0], {2: styles[1], 7: styles[1]})
    for style, copy in zip(styles, copies, strict=True):
        assert_equal(style, copy)


@both
def test_each_region_may_have_a_reference_of_its_own(matching: str) -> None:
    content, default, second, third = (features(seed) for seed in range(4))
    styles = {2: style_of(matching, second), 5: style_of(matching, third, columns(5, 6))}
    assigned = assign_regions(style_of(matching, default, columns(1, 2)), styles)
    assert assigned.labels == (1, 2, 5)
    assert assigned.shares.tolist() == [[0.5, float("inf"), 0.5]]
    target = columns(1, 2, 5, VOID)
    weights = LabelMap.read(target).weights((1, 2, 5))
    found = match(assigned, content, weights, (1, 2, 5))
    mask = target[0].numpy()
    expected = match_features(content, default, matching).numpy().copy()
    for label, style, style_mask in (
        (1, default, columns(1, 2)[0] == 1),
        (2, second, torch.ones(10, 12, dtype=torch.bool)),
        (5, third, columns(5, 6)[0] == 5),
    ):
        own = content[:, :, torch.from_numpy(mask == label)][..., None].numpy()
        expected[:, :, mask == label] = match_by_hand(matching, own, style[:, :, style_mask][..., None].numpy())[..., 0]
    np.testing.assert_allclose(found, expected, atol=2e-3, rtol=2e-3)


@both
def test_an_assigned_reference_reaches_the_picture_whatever_the_regions_size(matching: str, tmp_path: Path) -> None:
    transfer = make_transfer(("encoder",), matching=matching)
    labels = torch.full((1, 64, 64), 1, dtype=torch.uint8)
    labels[:, :4, :4] = 2
    default, other = (transfer.encode_reference(pictures(seed, 1, 48, 40) ** (1 + 2 * seed)) for seed in (0, 1))
    assigned = assign_regions(default, {2: other})
    assigned.save(tmp_path / "style.safetensors")
    content = pictures(5, 1, 64, 64)
    results = [
        transfer(content, style, LabelMap.read(labels))
        for style in (default, assigned, ReferenceStyle.load(tmp_path / "style.safetensors"))
    ]
    assert (results[0] - results[1])[:, :, :4, :4].abs().max() > 1e-3
    assert torch.equal(results[1], results[2])


@pytest.mark.parametrize("label", [-1, VOID, 300])
def test_regions_that_are_no_label_are_refused(label: int) -> None:
    style = style_of("adain", features(0))
    with pytest.raises(ValueError, match=f"regions: {label} is no label; labels are 0 to 254"):
        assign_regions(style, {label: style})


def test_assigned_references_serve_a_batch() -> None:
    transfer = make_transfer(("bottleneck",))
    styles = [transfer.encode_reference(pictures(seed, count)) for seed, count in ((0, 1), (1, 2))]
    for default, region in (styles, styles[::-1]):
        assigned = assign_regions(default, {1: region})
        assert len(assigned) == 2
        assert transfer(pictures(5, 2), assigned, label_map(2)).isfinite().all()
