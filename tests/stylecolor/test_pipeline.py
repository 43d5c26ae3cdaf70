import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from stylecolor.color import gray_rgb, join_lab, rgb_to_lab
from stylecolor.hints import Hints, empty_hints, make_sampler
from stylecolor.pipeline import ExemplarNetworks, colorize_exemplar
from stylecolor.precolor import precolor_by
from stylecolor.reference_style import ReferenceStyle, assign_regions, mix_styles
from stylecolor.regions import VOID, LabelMap
from stylecolor.transfer import TransferNet
from tests.stages import make_batch, make_colorizer_stage, make_transfer_stage, save_checkpoint
from tests.stylecolor.colorizers_for_tests import save_joint

BATCH = make_batch(4, 64)


def transfer_of(networks: ExemplarNetworks) -> TransferNet:
    assert networks.transfer is not None
    return networks.transfer


def colorizer_of(networks: ExemplarNetworks) -> nn.Module:
    assert networks.colorizer is not None
    return networks.colorizer


@pytest.fixture(scope="module")
def checkpoint(joint_checkpoint: Path) -> Path:
    return joint_checkpoint


@pytest.fixture(scope="module")
def pipeline(checkpoint: Path) -> ExemplarNetworks:
    return ExemplarNetworks.from_checkpoint(checkpoint)


@pytest.mark.parametrize(("height", "width"), [(64, 64), (32, 72), (8, 16)])
def test_results_are_pictures_of_the_targets_size(pipeline: ExemplarNetworks, height: int, width: int) -> None:
    target = torch.rand(2, 3, height, width, generator=torch.Generator().manual_seed(0))
    result = pipeline.colorize(target, BATCH.reference_rgb[:2])
    assert result.shape == (2, 3, height, width)
    assert result.dtype == torch.float32
    assert result.min() >= 0
    assert result.max() <= 1


def test_results_are_coloured_and_keep_their_targets_l(pipeline: ExemplarNetworks) -> None:
    lab = rgb_to_lab(pipeline.colorize(BATCH.target_rgb, BATCH.reference_rgb))
    assert lab[:, 1:].abs().mean() > 3
    torch.testing.assert_close(lab[:, :1], BATCH.target_l, atol=0.3, rtol=0)


def test_a_targets_own_colours_are_ignored(tmp_path: Path) -> None:
    # all hints: which ones `bernoulli` shows hangs on the last bit of the grey picture, which differs by float rounding here
    pipeline = ExemplarNetworks.from_checkpoint(save_joint(tmp_path / "joint.ckpt", hints="all"))
    from_gray = pipeline.colorize(gray_rgb(BATCH.target_l)[:, :1], BATCH.reference_rgb)
    torch.testing.assert_close(rgb_to_lab(from_gray)[:, :1], BATCH.target_l, atol=0.3, rtol=0)
    torch.testing.assert_close(from_gray, pipeline.colorize(BATCH.target_rgb, BATCH.reference_rgb), atol=0.02, rtol=0)


def test_grey_targets_of_one_and_three_channels_give_the_same_picture(pipeline: ExemplarNetworks) -> None:
    gray = (BATCH.target_l / 100 * 255).round() / 255
    expected = pipeline.colorize(gray, BATCH.reference_rgb)
    assert torch.equal(pipeline.colorize(gray.expand(-1, 3, -1, -1), BATCH.reference_rgb), expected)


def test_the_same_input_gives_the_same_output(pipeline: ExemplarNetworks, checkpoint: Path) -> None:
    first = pipeline.colorize(BATCH.target_rgb, BATCH.reference_rgb)
    torch.manual_seed(99)
    again = ExemplarNetworks.from_checkpoint(checkpoint).colorize(BATCH.target_rgb, BATCH.reference_rgb)
    assert torch.equal(first, again)


def test_a_picture_comes_out_the_same_alone_and_in_a_batch(pipeline: ExemplarNetworks) -> None:
    together = pipeline.colorize(BATCH.target_rgb, BATCH.reference_rgb)
    for index in range(4):
        alone = pipeline.colorize(BATCH.target_rgb[index : index + 1], BATCH.reference_rgb[index : index + 1])
        torch.testing.assert_close(alone[0], together[index], atol=1e-5, rtol=0)


def test_one_reference_may_serve_all_targets(pipeline: ExemplarNetworks) -> None:
    reference = BATCH.reference_rgb[:1]
    each = pipeline.colorize(BATCH.target_rgb, reference.expand(4, -1, -1, -1))
    torch.testing.assert_close(pipeline.colorize(BATCH.target_rgb, reference), each, atol=1e-5, rtol=0)
    with torch.inference_mode():
        style = transfer_of(pipeline).encode_reference(reference)
    assert torch.equal(pipeline.colorize(BATCH.target_rgb, style), pipeline.colorize(BATCH.target_rgb, reference))


def test_the_reference_decides_the_colours(pipeline: ExemplarNetworks) -> None:
    target = BATCH.target_rgb[:1]
    first, second = (pipeline.colorize(target, BATCH.reference_rgb[index : index + 1]) for index in (0, 2))
    assert (first - second).abs().max() > 0.01


def test_the_steps_follow_each_other_as_described(pipeline: ExemplarNetworks) -> None:
    l, keys, sampler = BATCH.target_l, BATCH.keys, make_sampler("bernoulli", 0.8)
    with torch.no_grad():
        found = colorize_exemplar(
            transfer_of(pipeline), colorizer_of(pipeline), l, BATCH.reference_rgb, keys, sampler, precolor_by(colorizer_of(pipeline))
        )
        precolor = colorizer_of(pipeline)(l, *empty_hints(torch.zeros(4, 2, 64, 64)))
        coarse = rgb_to_lab(transfer_of(pipeline)(join_lab(l, precolor), BATCH.reference_rgb))[:, 1:]
        hints = sampler(coarse, keys)
        expected = colorizer_of(pipeline)(l, *hints)
    for own, other in ((found.precolor_ab, precolor), (found.transfer_ab, coarse), (found.hints.mask, hints.mask), (found.ab, expected)):
        torch.testing.assert_close(own, other)


def test_the_precolorization_is_made_in_eval_mode_and_without_gradient(checkpoint: Path) -> None:
    pipeline = ExemplarNetworks.from_checkpoint(checkpoint)
    arguments = (BATCH.target_l, BATCH.reference_rgb, BATCH.keys, pipeline.sampler, pipeline.precolor)
    expected = colorize_exemplar(transfer_of(pipeline), colorizer_of(pipeline), *arguments).precolor_ab
    colorizer_of(pipeline).train()
    found = colorize_exemplar(transfer_of(pipeline), colorizer_of(pipeline), *arguments)
    assert torch.equal(found.precolor_ab, expected)
    assert not found.precolor_ab.requires_grad
    assert found.ab.requires_grad
    assert all(module.training for module in colorizer_of(pipeline).modules())


@pytest.mark.parametrize("hints", ["patches", "all"])
def test_the_checkpoint_says_how_hints_are_drawn(tmp_path: Path, hints: str) -> None:
    pipeline = ExemplarNetworks.from_checkpoint(save_joint(tmp_path / "joint.ckpt", hints=hints))
    shown = pipeline.sampler(torch.ones(4, 2, 64, 64), BATCH.keys).mask.mean().item()
    assert {"patches": 0 < shown < 0.5, "all": shown == 1}[hints]


def test_a_pipeline_is_in_eval_mode(pipeline: ExemplarNetworks) -> None:
    assert not any(module.training for module in pipeline.modules())


@pytest.mark.parametrize("target", [torch.rand(1, 3, 60, 64), torch.rand(1, 3, 64, 36)])
def test_sides_that_are_no_multiple_of_8_are_refused(pipeline: ExemplarNetworks, target: Tensor) -> None:
    with pytest.raises(ValueError, match="multiples of 8"):
        pipeline.colorize(target, BATCH.reference_rgb[:1])


@pytest.mark.parametrize("target", [torch.rand(3, 64, 64), torch.rand(1, 2, 64, 64), torch.rand(1, 4, 64, 64)])
def test_targets_of_other_shapes_are_refused(pipeline: ExemplarNetworks, target: Tensor) -> None:
    with pytest.raises(ValueError, match=r"colorize: .*\(batch, 1 or 3, height, width\)"):
        pipeline.colorize(target, BATCH.reference_rgb[:1])


def test_8_bit_targets_are_refused(pipeline: ExemplarNetworks) -> None:
    with pytest.raises(ValueError, match="uint8"):
        pipeline.colorize(torch.zeros(1, 3, 64, 64, dtype=torch.uint8), BATCH.reference_rgb[:1])


def test_8_bit_references_are_refused(pipeline: ExemplarNetworks) -> None:
    with pytest.raises(ValueError, match="uint8"):
        pipeline.colorize(BATCH.target_rgb[:1], (255 * BATCH.reference_rgb[:1]).to(torch.uint8))


@pytest.mark.parametrize("shape", [(3, 64, 64), (1, 1, 64, 64), (3, 3, 64, 64), (1, 3, 8, 64)])
def test_references_of_other_shapes_are_refused(pipeline: ExemplarNetworks, shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"reference.* got"):
        pipeline.colorize(BATCH.target_rgb[:2], torch.rand(shape))


def test_checkpoints_of_single_stages_do_what_they_can(tmp_path: Path) -> None:
    style_of = BATCH.reference_rgb[:1]
    transfer = ExemplarNetworks.from_checkpoint(save_checkpoint(make_transfer_stage(), tmp_path / "transfer.ckpt"))
    with torch.inference_mode():
        gray = gray_rgb(BATCH.target_l)
        expected = rgb_to_lab(transfer_of(transfer)(gray, transfer.encode_reference(style_of)))[:, 1:]
    torch.testing.assert_close(transfer.predict(BATCH.target_l, transfer.encode_reference(style_of)).ab, expected)
    with pytest.raises(ValueError, match="no colorization sub-net"):
        transfer.predict(BATCH.target_l, None)

    colorizer = ExemplarNetworks.from_checkpoint(save_checkpoint(make_colorizer_stage(), tmp_path / "colorizer.ckpt"))
    hints = Hints(torch.full((4, 2, 64, 64), 20.0), torch.ones(4, 1, 64, 64))
    with torch.inference_mode():
        expected = colorizer_of(colorizer)(BATCH.target_l, *hints)
    torch.testing.assert_close(colorizer.predict(BATCH.target_l, None, user_hints=hints).ab, expected)
    with pytest.raises(ValueError, match="no transfer sub-net"):
        colorizer.encode_reference(style_of)


def test_a_checkpoint_that_holds_other_weights_than_it_says_is_refused(tmp_path: Path, checkpoint: Path) -> None:
    contents = torch.load(checkpoint, weights_only=True)
    del contents["state_dict"]["colorizer.model4.0.weight"]
    torch.save(contents, tmp_path / "incomplete.ckpt")
    with pytest.raises(ValueError, match=r"incomplete\.ckpt.*model4\.0\.weight"):
        ExemplarNetworks.from_checkpoint(tmp_path / "incomplete.ckpt")


def test_a_users_hints_stand_above_those_of_the_transfers_map(pipeline: ExemplarNetworks) -> None:
    style = pipeline.encode_reference(BATCH.reference_rgb)
    mask = torch.zeros(4, 1, 64, 64)
    mask[:, :, 20:30, 20:30] = 1
    user = Hints(torch.full((4, 2, 64, 64), 60.0) * mask, mask)
    own, found = pipeline.predict(BATCH.target_l, style), pipeline.predict(BATCH.target_l, style, user_hints=user)
    shown = mask.bool().expand(-1, 2, -1, -1)
    assert (found.hints.ab[shown] == 60).all()
    assert torch.equal(found.hints.ab[~shown], own.hints.ab[~shown])
    assert (found.ab - own.ab).abs().max() > 1


def test_keys_choose_the_random_hints(pipeline: ExemplarNetworks) -> None:
    style = pipeline.encode_reference(BATCH.reference_rgb[:1])
    keys = torch.tensor([5, 5, 5, 6])
    masks = pipeline.predict(BATCH.target_l, style, keys=keys).hints.mask
    assert torch.equal(masks[0], masks[2])
    assert not torch.equal(masks[0], masks[3])


def test_other_files_are_refused(tmp_path: Path, checkpoint: Path) -> None:
    torch.save({"state_dict": {}}, tmp_path / "foreign.ckpt")
    with pytest.raises(ValueError, match="no stylecolor checkpoint"):
        ExemplarNetworks.from_checkpoint(tmp_path / "foreign.ckpt")
    with pytest.raises(ValueError, match="no such file"):
        ExemplarNetworks.from_checkpoint(tmp_path / "none.ckpt")
    (tmp_path / "cut.ckpt").write_bytes(checkpoint.read_bytes()[:-1000])
    with pytest.raises(ValueError, match="damaged or truncated"):
        ExemplarNetworks.from_checkpoint(tmp_path / "cut.ckpt")
    contents = torch.load(checkpoint, weights_only=True)
    contents["stylecolor"]["format"] = 99
    torch.save(contents, tmp_path / "later.ckpt")
    with pytest.raises(ValueError, match="checkpoint format 99"):
        ExemplarNetworks.from_checkpoint(tmp_path / "later.ckpt")


def test_the_library_needs_no_training_framework(checkpoint: Path) -> None:
    program = (
        "import sys, torch, pkgutil, importlib, stylecolor\n"
        "for module in pkgutil.iter_modules(stylecolor.__path__): importlib.import_module(f'stylecolor.{module.name}')\n"
        "from stylecolor.pipeline import ExemplarNetworks\n"
        f"ExemplarNetworks.from_checkpoint({str(checkpoint)!r}).colorize(torch.rand(1, 3, 64, 64), torch.rand(1, 3, 64, 64))\n"
        "names = {name.split('.')[0] for name in sys.modules}\n"
        "print(sorted(names & {'lightning', 'pytorch_lightning', 'hydra', 'omegaconf', 'torchmetrics', 'wandb', 'pycocotools', 'training',"
        " 'datamodules', 'lightning_modules'}))"
    )
    found = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"


def test_importing_the_package_alone_is_cheap() -> None:
    program = "import sys, stylecolor, stylecolor.choices, stylecolor.errors; print('torch' in sys.modules or 'numpy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout.strip() == "False"


def labels(count: int = 4, size: int = 64, seed: int = 0) -> Tensor:
    """Three regions and void, in blocks of 16 px."""
    blocks = torch.randint(0, 4, (count, 4, 4), generator=torch.Generator().manual_seed(seed))
    return torch.tensor([1, 2, 3, VOID], dtype=torch.uint8)[blocks].repeat_interleave(size // 4, 1).repeat_interleave(size // 4, 2)


@pytest.fixture(scope="module")
def regional(tmp_path_factory: pytest.TempPathFactory) -> ExemplarNetworks:
    transfer = make_transfer_stage(sites=["encoder", "skips", "decoder"], skips="pre_pool")
    path = save_joint(tmp_path_factory.mktemp("regional") / "joint.ckpt", transfer=transfer, hints="all", regions=True, feather=2)
    return ExemplarNetworks.from_checkpoint(path)


def test_several_references_are_mixed_in_their_weights(pipeline: ExemplarNetworks) -> None:
    target, references = BATCH.target_rgb[:2], [BATCH.reference_rgb[:1], BATCH.reference_rgb[1:2, :, :48], BATCH.reference_rgb[2:3]]
    styles = [pipeline.encode_reference(reference) for reference in references]
    for weights in (None, [1, 2, 0.5]):
        expected = pipeline.colorize(target, mix_styles(styles, weights))
        assert torch.equal(pipeline.colorize(target, references, weights), expected)
        assert torch.equal(pipeline.colorize(target, [styles[0], *references[1:]], weights), expected)
    equal, own = pipeline.colorize(target, references), pipeline.colorize(target, references, [1, 2, 0.5])
    assert (equal - own).abs().max() > 1e-4
    torch.testing.assert_close(
        pipeline.colorize(target, references, [0, 3, 0]), pipeline.colorize(target, references[1]), atol=1e-5, rtol=0
    )


@pytest.mark.parametrize("weights", [[1], [1, -1], [0, 0], [float("nan"), 1]])
def test_weights_that_do_not_fit_are_refused(pipeline: ExemplarNetworks, weights: list[float]) -> None:
    with pytest.raises(ValueError, match="weights="):
        pipeline.colorize(BATCH.target_rgb, [BATCH.reference_rgb[:1], BATCH.reference_rgb[1:2]], weights)
    with pytest.raises(ValueError, match="references: none is given"):
        pipeline.colorize(BATCH.target_rgb, [])


def test_weights_of_a_single_reference_are_refused(pipeline: ExemplarNetworks) -> None:
    for reference in (BATCH.reference_rgb[:1], pipeline.encode_reference(BATCH.reference_rgb[:1])):
        with pytest.raises(ValueError, match=r"weights=\[0\.5, 0\.5\] belong to several references; pass them as a list"):
            pipeline.colorize(BATCH.target_rgb, reference, [0.5, 0.5])


def test_label_maps_match_regions_with_each_other(regional: ExemplarNetworks) -> None:
    own, other = labels(), labels(seed=1)
    found = regional.colorize(BATCH.target_rgb, BATCH.reference_rgb, target_labels=own, reference_labels=other)
    style = regional.encode_reference(BATCH.reference_rgb, other)
    assert torch.equal(regional.colorize(BATCH.target_rgb, style, target_labels=own), found)
    plain = regional.colorize(BATCH.target_rgb, BATCH.reference_rgb)
    assert (found - plain).abs().max() > 0.01
    void = torch.full_like(own, VOID)
    for maps in ((void, other), (own, void), (None, other), (own, None)):
        same = regional.colorize(BATCH.target_rgb, BATCH.reference_rgb, target_labels=maps[0], reference_labels=maps[1])
        torch.testing.assert_close(same, plain, atol=1e-4, rtol=0)


def test_the_feather_of_the_checkpoint_is_used(regional: ExemplarNetworks) -> None:
    assert regional.feather == 2
    own, other = LabelMap.read(labels()), LabelMap.read(labels(seed=1))
    found = regional.colorize(BATCH.target_rgb, BATCH.reference_rgb, target_labels=own.labels, reference_labels=other.labels)
    with torch.inference_mode():
        arguments = (
            transfer_of(regional),
            colorizer_of(regional),
            BATCH.target_l,
            BATCH.reference_rgb,
            BATCH.keys,
            regional.sampler,
            regional.precolor,
        )
        results = [colorize_exemplar(*arguments, "both", own, other, feather).ab for feather in (0, 2)]
    assert (results[0] - results[1]).abs().max() > 0.1
    torch.testing.assert_close(found, join_lab(BATCH.target_l, results[1]), atol=1e-4, rtol=0)


def test_pictures_with_label_maps_come_out_the_same_alone_and_in_a_batch(regional: ExemplarNetworks) -> None:
    own, other = labels(), labels(seed=1)
    together = regional.colorize(BATCH.target_rgb, BATCH.reference_rgb, target_labels=own, reference_labels=other)
    for index in range(4):
        one = slice(index, index + 1)
        alone = regional.colorize(BATCH.target_rgb[one], BATCH.reference_rgb[one], target_labels=own[one], reference_labels=other[one])
        torch.testing.assert_close(alone[0], together[index], atol=1e-4, rtol=0)


def test_each_region_may_have_a_reference_of_its_own(regional: ExemplarNetworks, tmp_path: Path) -> None:
    default, other = (regional.encode_reference(BATCH.reference_rgb[index : index + 1]) for index in (0, 2))
    assigned = assign_regions(default, {2: other})
    assigned.save(tmp_path / "style.safetensors")
    found = regional.colorize(BATCH.target_rgb, ReferenceStyle.load(tmp_path / "style.safetensors"), target_labels=labels())
    assert torch.equal(found, regional.colorize(BATCH.target_rgb, assigned, target_labels=labels()))
    assert (found - regional.colorize(BATCH.target_rgb, default)).abs().max() > 0.01


def test_label_maps_of_several_references_are_refused(pipeline: ExemplarNetworks) -> None:
    for reference in ([BATCH.reference_rgb], pipeline.encode_reference(BATCH.reference_rgb)):
        with pytest.raises(ValueError, match="reference_labels belong to one reference picture; encode others with encode_reference"):
            pipeline.colorize(BATCH.target_rgb, reference, target_labels=labels(), reference_labels=labels())


@pytest.mark.parametrize("wrong", [labels(3), labels(4, 32), labels().long(), labels()[:, None]])
def test_label_maps_of_other_sizes_and_types_are_refused(pipeline: ExemplarNetworks, wrong: Tensor) -> None:
    for maps in ((wrong, labels()), (labels(), wrong)):
        with pytest.raises(ValueError, match="label maps"):
            pipeline.colorize(BATCH.target_rgb, BATCH.reference_rgb, target_labels=maps[0], reference_labels=maps[1])


@pytest.mark.parametrize("value", [0.0, 0.5, 1.0])
def test_targets_and_references_without_texture_give_finite_pictures(pipeline: ExemplarNetworks, value: float) -> None:
    flat = torch.full((1, 3, 64, 64), value)
    for target, reference in ((flat, BATCH.reference_rgb[:1]), (BATCH.target_rgb[:1], flat), (flat, flat)):
        assert pipeline.colorize(target, reference).isfinite().all()


PRECOLORS = ("network", "eccv16", "siggraph17", "gray", "gray_encoder")


def save_joint_with(directory: Path, precolor: str, **settings: Any) -> Path:
    weights = {}
    if precolor in ("eccv16", "siggraph17"):
        other = make_colorizer_stage(network=precolor)
        torch.manual_seed(9)
        for parameter in other.colorizer.parameters():
            if parameter.ndim == 4:
                nn.init.normal_(parameter, std=(2 / parameter[0].numel()) ** 0.5)
        weights["precolor_weights"] = str(save_checkpoint(other, directory / "precolor.ckpt"))
    return save_joint(directory / "joint.ckpt", hints="all", precolor=precolor, **weights, **settings)


@pytest.mark.parametrize("precolor", PRECOLORS)
def test_a_checkpoint_brings_its_precolorization(tmp_path: Path, precolor: str) -> None:
    path = save_joint_with(tmp_path, precolor)
    (tmp_path / "precolor.ckpt").unlink(missing_ok=True)
    pipeline = ExemplarNetworks.from_checkpoint(path)
    assert not any(module.training for module in pipeline.modules())
    seen: list[Tensor] = []
    transfer_of(pipeline).register_forward_pre_hook(lambda module, arguments: seen.append(arguments[0]))
    found = pipeline.colorize(BATCH.target_rgb, BATCH.reference_rgb)
    alone = pipeline.colorize(BATCH.target_rgb[1:2], BATCH.reference_rgb[1:2])
    torch.testing.assert_close(alone[0], found[1], atol=5e-4, rtol=0)
    l, zeros = rgb_to_lab(BATCH.target_rgb)[:, :1], torch.zeros(4, 2, 64, 64)
    if precolor in ("gray", "gray_encoder"):
        expected = gray_rgb(l)[:, : 1 if precolor == "gray_encoder" else 3]
    else:
        network = colorizer_of(pipeline) if precolor == "network" else pipeline.precolorizer
        assert network is not None
        with torch.no_grad():
            expected = join_lab(l, network(l, *empty_hints(zeros)))
        assert (expected - gray_rgb(l)).abs().max() > 0.02, "the network paints nothing"
    torch.testing.assert_close(seen[0], expected, atol=1e-5, rtol=0)


def test_every_precolorization_gives_another_picture(tmp_path: Path) -> None:
    results = []
    for precolor in PRECOLORS:
        pipeline = ExemplarNetworks.from_checkpoint(save_joint_with(tmp_path / precolor, precolor))
        results.append(pipeline.colorize(BATCH.target_rgb, BATCH.reference_rgb))
    for index, one in enumerate(results):
        for other in results[:index]:
            assert (one - other).abs().max() > 1e-3


@pytest.mark.parametrize("parts", ["transfer", "precolor", "both"])
def test_a_checkpoint_says_which_parts_make_the_result(tmp_path: Path, parts: str) -> None:
    pipeline = ExemplarNetworks.from_checkpoint(save_joint(tmp_path / "joint.ckpt", hints="all", pipeline=parts))
    l, zeros = rgb_to_lab(BATCH.target_rgb)[:, :1], torch.zeros(4, 2, 64, 64)
    found = pipeline.colorize(BATCH.target_rgb, BATCH.reference_rgb)
    with torch.no_grad():
        uncolored = colorizer_of(pipeline)(l, *empty_hints(zeros))
        coarse = rgb_to_lab(transfer_of(pipeline)(join_lab(l, uncolored), BATCH.reference_rgb))[:, 1:]
        refined = colorizer_of(pipeline)(l, coarse, torch.ones_like(l))
    expected = {"precolor": uncolored, "transfer": coarse, "both": refined}
    torch.testing.assert_close(found, join_lab(l, expected.pop(parts)), atol=1e-4, rtol=0)
    for other in expected.values():
        assert (found - join_lab(l, other)).abs().max() > 0.01
    alone = pipeline.colorize(BATCH.target_rgb[2:3], BATCH.reference_rgb[2:3])
    torch.testing.assert_close(alone[0], found[2], atol=1e-4, rtol=0)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"pipeline": "transfr"}, r"stage\.pipeline=transfr .*did you mean transfer"),
        ({"feather": -1}, r"stage\.feather=-1"),
        ({"precolor": "eccv16"}, r"stage\.precolor=eccv16: needs the network"),
    ],
)
def test_wrong_settings_are_refused_at_construction(pipeline: ExemplarNetworks, settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ExemplarNetworks(transfer_of(pipeline), colorizer_of(pipeline), **settings)


def test_labels_on_one_side_alone_are_told_and_change_nothing(pipeline: ExemplarNetworks, caplog: pytest.LogCaptureFixture) -> None:
    target, reference = BATCH.target_l.expand(-1, 3, -1, -1) / 100, BATCH.reference_rgb
    labels = torch.zeros(len(target), *target.shape[2:], dtype=torch.uint8)
    expected = pipeline.colorize(target, reference)
    assert not caplog.records
    assert torch.equal(pipeline.colorize(target, reference, target_labels=labels), expected)
    assert torch.equal(pipeline.colorize(target, reference, reference_labels=labels), expected)
    assert [record.getMessage()[:36] for record in caplog.records] == ["colorize: one side alone has labels,"] * 2


def test_pictures_with_nan_are_refused(pipeline: ExemplarNetworks) -> None:
    target, reference = BATCH.target_l.expand(-1, 3, -1, -1) / 100, BATCH.reference_rgb
    with pytest.raises(ValueError, match="NaN or infinity in the reference"):
        pipeline.colorize(target, torch.full_like(reference, torch.nan))
    with pytest.raises(ValueError, match="NaN or infinity in the targets"):
        pipeline.colorize(target / 0, reference)
