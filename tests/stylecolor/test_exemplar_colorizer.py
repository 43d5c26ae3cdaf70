import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from skimage import data
from skimage.color import rgb2gray, rgb2lab

from stylecolor import ExemplarColorizer
from stylecolor.hints import Hints
from stylecolor.pictures.files import Picture
from stylecolor.pipeline import ExemplarNetworks
from stylecolor.reference_style import mix_styles
from stylecolor.user_hints import HintPoint, rasterize
from tests.stages import make_batch, make_colorizer_stage, make_transfer_stage, save_checkpoint
from tests.stylecolor.colorizers_for_tests import save_joint

COFFEE = data.coffee()[::2, ::2].copy()
GRAY = (rgb2gray(data.astronaut()[::3, ::3]) * 255).round().astype(np.uint8)
SIZE = 64


@pytest.fixture(scope="module")
def colorizer(joint_checkpoint: Path) -> ExemplarColorizer:
    return ExemplarColorizer.from_checkpoint(joint_checkpoint, size=SIZE, device="cpu", precision="float32")


@pytest.fixture(scope="module")
def result(colorizer: ExemplarColorizer) -> np.ndarray:
    return colorizer.colorize(GRAY, COFFEE)


def l_of(picture: np.ndarray) -> np.ndarray:
    return rgb2lab(picture if picture.ndim == 3 else picture[:, :, None].repeat(3, axis=2))[:, :, 0]


def test_a_grey_photograph_gets_colours_and_keeps_its_l_and_its_size(result: np.ndarray) -> None:
    assert result.shape == (*GRAY.shape, 3)
    assert result.dtype == np.uint8
    assert np.abs(l_of(result) - l_of(GRAY)).max() < 0.7
    assert np.abs(rgb2lab(result)[:, :, 1:]).mean() > 3


@pytest.mark.parametrize("shape", [(1, 1), (1, 5000), (3000, 2), (7, 9), (64, 64), (65, 200)])
def test_pictures_of_any_size_are_colorized(colorizer: ExemplarColorizer, shape: tuple[int, int]) -> None:
    target = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    found = colorizer.colorize(target, COFFEE)
    assert found.shape == (*shape, 3)
    assert np.abs(l_of(found) - l_of(target)).max() < 0.7


def test_references_of_any_size_lend_their_colours(colorizer: ExemplarColorizer) -> None:
    for shape in ((1, 1, 3), (1, 700, 3), (900, 40, 3)):
        reference = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
        assert colorizer.colorize(GRAY, reference).shape == (*GRAY.shape, 3)


def test_results_are_of_the_targets_kind(colorizer: ExemplarColorizer, result: np.ndarray, tmp_path: Path) -> None:
    path, reference = tmp_path / "gray.png", tmp_path / "coffee.png"
    Image.fromarray(GRAY).save(path)
    Image.fromarray(COFFEE).save(reference)
    from_file = colorizer.colorize(path, reference)
    assert isinstance(from_file, Picture)
    assert (from_file.pixels == result).all()
    assert (colorizer.colorize(str(path), Image.fromarray(COFFEE)).pixels == result).all()
    assert (np.asarray(colorizer.colorize(Image.open(path), COFFEE)) == result).all()
    # of the size at work, as the hints of one that is shrunk hang on the last bit of 8
    square = GRAY[:SIZE, :SIZE].copy()
    tensor = torch.from_numpy(square).unsqueeze(0) / 255
    found = colorizer.colorize(tensor, COFFEE)
    assert found.shape == (3, SIZE, SIZE)
    assert np.abs(found.permute(1, 2, 0).numpy() * 255 - colorizer.colorize(square, COFFEE)).max() < 0.51
    batch = colorizer.colorize(torch.stack([tensor, tensor.flip(2)]), COFFEE)
    torch.testing.assert_close(batch[0], found, atol=2e-3, rtol=0)


def test_16_bits_and_alpha_come_back(colorizer: ExemplarColorizer, result: np.ndarray) -> None:
    deep = colorizer.colorize(GRAY.astype(np.uint16) * 257, COFFEE)
    assert deep.dtype == np.uint16
    # the result's own rounding, and that of the shrunk target
    assert np.abs(deep / 257 - result).max() < 1
    alpha = np.linspace(0, 255, GRAY.size).reshape(GRAY.shape).astype(np.uint8)
    found = colorizer.colorize(np.dstack((GRAY, GRAY, GRAY, alpha)), COFFEE)
    assert (found[:, :, 3] == alpha).all()
    assert (found[:, :, :3] == result).all()


def test_a_targets_own_colours_are_not_looked_at(tmp_path: Path) -> None:
    # all hints: which ones `bernoulli` shows hangs on the last bit of the grey picture
    colorizer = ExemplarColorizer.from_checkpoint(save_joint(tmp_path / "joint.ckpt", hints="all"), size=SIZE, precision="float32")
    picture = Picture(data.chelsea()[::2, ::2].copy())
    own = colorizer.paint(picture, colorizer.working_l(picture), torch.zeros(1, 2, 64, 96)).pixels
    found, expected = colorizer.colorize(picture, COFFEE).pixels, colorizer.colorize(own, COFFEE)
    assert np.abs(found.astype(int) - expected).mean() < 0.5


def test_the_same_input_gives_the_same_bytes(joint_checkpoint: Path, result: np.ndarray) -> None:
    torch.manual_seed(99)
    again = ExemplarColorizer.from_checkpoint(joint_checkpoint, size=SIZE, device="cpu", precision="float32")
    assert again.colorize(GRAY, COFFEE).tobytes() == result.tobytes()


def test_pictures_come_out_the_same_alone_and_in_a_batch(colorizer: ExemplarColorizer) -> None:
    targets = [GRAY, COFFEE, GRAY[:, ::-1].copy(), GRAY[::-1].copy(), *[GRAY[index:] for index in range(10)]]
    references = [COFFEE, data.chelsea(), COFFEE, COFFEE[::-1].copy(), *[COFFEE] * 10]
    together = colorizer.colorize_batch(targets, references)
    for target, reference, found in zip(targets, references, together, strict=True):
        assert np.abs(found.astype(int) - colorizer.colorize(target, reference)).max() <= 1
    shared = colorizer.colorize_batch(targets[:1] * 2, COFFEE)
    assert (shared[0] == shared[1]).all()
    with pytest.raises(ValueError, match="2 targets need one reference or 2, got 1"):
        colorizer.colorize_batch(targets[:2], [COFFEE])


def test_threads_do_not_disturb_each_other(colorizer: ExemplarColorizer) -> None:
    targets = [np.roll(GRAY, 7 * index, axis=0) for index in range(8)]
    expected = [colorizer.colorize(target, COFFEE) for target in targets]
    with ThreadPoolExecutor(4) as executor:
        found = list(executor.map(lambda target: colorizer.colorize(target, COFFEE), targets))
    assert all((one == other).all() for one, other in zip(found, expected, strict=True))


def test_several_references_are_mixed(colorizer: ExemplarColorizer) -> None:
    references = [COFFEE, data.chelsea()]
    styles = [colorizer.encode_reference(reference) for reference in references]
    expected = colorizer.colorize(GRAY, mix_styles(styles, [3, 1]))
    assert (colorizer.colorize(GRAY, references, weights=[3, 1]) == expected).all()
    assert (colorizer.colorize(GRAY, [styles[0], references[1]], weights=[0.75, 0.25]) == expected).all()
    with pytest.raises(ValueError, match=r"weights=\[1\] belong to several references"):
        colorizer.colorize(GRAY, COFFEE, weights=[1])


def test_without_a_reference_the_colorization_sub_net_works_alone(colorizer: ExemplarColorizer) -> None:
    found = colorizer.colorize(GRAY)
    picture = Picture(GRAY[:, :, None])
    l = colorizer.working_l(picture)
    with torch.inference_mode():
        assert colorizer.networks.colorizer is not None
        ab = colorizer.networks.colorizer(l, torch.zeros(1, 2, *l.shape[2:]), torch.zeros_like(l))
    assert (found == colorizer.paint(picture, l, ab).pixels).all()


def test_strength_goes_from_the_colours_without_a_reference_to_those_with_it(colorizer: ExemplarColorizer, result: np.ndarray) -> None:
    none, half = (colorizer.colorize(GRAY, COFFEE, strength=strength) for strength in (0, 0.5))
    assert np.abs(none.astype(int) - colorizer.colorize(GRAY)).max() <= 1
    between = (rgb2lab(none) + rgb2lab(result)) / 2
    assert np.abs(rgb2lab(half) - between).mean() < 1


def test_colorizers_of_another_size_or_matching_share_the_weights(
    colorizer: ExemplarColorizer, result: np.ndarray, joint_checkpoint: Path, tmp_path: Path
) -> None:
    tensors = sorted(tensor.data_ptr() for tensor in colorizer.networks.state_dict().values())
    resized, rematched = colorizer.resized(48), colorizer.rematched("wct", ["encoder", "decoder"])
    for other in (resized, rematched):
        assert sorted(tensor.data_ptr() for tensor in other.networks.state_dict().values()) == tensors
    expected = ExemplarColorizer.from_checkpoint(joint_checkpoint, size=48, device="cpu", precision="float32")
    assert (resized.colorize(GRAY, COFFEE) == expected.colorize(GRAY, COFFEE)).all()
    found = rematched.colorize(GRAY, COFFEE)
    assert not (found == result).all()
    rematched.save_pretrained(tmp_path)
    again = ExemplarColorizer.from_pretrained(tmp_path, size=SIZE, device="cpu", precision="float32")
    assert (again.colorize(GRAY, COFFEE) == found).all()
    assert (colorizer.colorize(GRAY, COFFEE) == result).all()
    with pytest.raises(ValueError, match="size=8 must be at least 16"):
        colorizer.resized(8)


def test_weights_without_a_transfer_sub_net_match_nothing(tmp_path: Path) -> None:
    stage = make_colorizer_stage()
    colorizer = ExemplarColorizer.from_checkpoint(save_checkpoint(stage, tmp_path / "colorizer.ckpt"), size=SIZE)
    with pytest.raises(ValueError, match="hold no transfer sub-net"):
        colorizer.rematched("wct")


def test_saturation_multiplies_the_chroma(colorizer: ExemplarColorizer, result: np.ndarray) -> None:
    gray, half = (colorizer.colorize(GRAY, COFFEE, saturation=saturation) for saturation in (0, 0.5))
    assert (np.ptp(gray.astype(int), axis=2) <= 1).all()
    inside = (result > 5).all(axis=2) & (result < 250).all(axis=2)
    np.testing.assert_allclose(rgb2lab(half)[inside][:, 1:], rgb2lab(result)[inside][:, 1:] / 2, atol=1.5)


@pytest.mark.parametrize("settings", [{"strength": 1.1}, {"strength": -1}, {"saturation": -0.1}, {"saturation": float("nan")}])
def test_settings_out_of_range_are_refused_by_name(colorizer: ExemplarColorizer, settings: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(settings))):
        colorizer.colorize(GRAY, COFFEE, **settings)


def test_a_users_hints_colour_their_places(tmp_path: Path) -> None:
    networks = ExemplarNetworks.from_checkpoint(save_checkpoint(make_colorizer_stage(), tmp_path / "colorizer.ckpt"))
    colorizer = ExemplarColorizer(networks, size=SIZE, precision="float32")
    points = [HintPoint(0.2, 0.3, 60, 40, 20)]
    picture = Picture(GRAY[:, :, None])
    l = colorizer.working_l(picture)
    shown = rasterize(points, picture.size, (SIZE, SIZE))
    assert isinstance(shown, Hints)
    expected = colorizer.paint(picture, l, networks.predict(l, None, user_hints=shown).ab).pixels
    found = colorizer.colorize(GRAY, hints=points)
    assert np.abs(found.astype(int) - expected).max() <= 1
    assert not (found == colorizer.colorize(GRAY)).all()


def test_a_users_hints_stand_whatever_the_strength(colorizer: ExemplarColorizer) -> None:
    points = [HintPoint(0.2, 0.3, 60, 40, 20)]
    none = colorizer.colorize(GRAY, COFFEE, strength=0, hints=points)
    assert np.abs(none.astype(int) - colorizer.colorize(GRAY, hints=points)).max() <= 1


def test_hints_that_no_network_takes_are_refused(tmp_path: Path) -> None:
    transfer = ExemplarColorizer.from_checkpoint(save_checkpoint(make_transfer_stage(), tmp_path / "transfer.ckpt"), size=SIZE)
    stage = make_colorizer_stage(network="eccv16")
    eccv16 = ExemplarColorizer.from_checkpoint(save_checkpoint(stage, tmp_path / "eccv16.ckpt"), size=SIZE)
    for colorizer, reference in ((transfer, COFFEE), (eccv16, None)):
        with pytest.raises(ValueError, match="hints: no sub-net"):
            colorizer.colorize(GRAY, reference, hints=[HintPoint(0.5, 0.5, 1, 1)])


def test_references_that_no_network_follows_are_refused(colorizer: ExemplarColorizer, tmp_path: Path) -> None:
    style = colorizer.encode_reference(COFFEE)
    alone = ExemplarColorizer.from_checkpoint(save_joint(tmp_path / "joint.ckpt", pipeline="precolor"), size=SIZE)
    with pytest.raises(ValueError, match="follow no reference"):
        alone.colorize(GRAY, COFFEE)
    without = ExemplarColorizer.from_checkpoint(save_checkpoint(make_colorizer_stage(), tmp_path / "colorizer.ckpt"), size=SIZE)
    for function in (without.colorize, without.stylize):
        with pytest.raises(ValueError, match="no transfer sub-net"):
            function(COFFEE, style)


def test_settings_without_a_reference_warn(colorizer: ExemplarColorizer, caplog: pytest.LogCaptureFixture) -> None:
    colorizer.colorize(GRAY, strength=0.5)
    assert "strength=0.5 is ignored" in caplog.text
    colorizer.colorize(GRAY, target_labels=np.zeros(GRAY.shape, np.uint8))
    assert "one side alone has labels" in caplog.text


def test_label_maps_match_regions(colorizer: ExemplarColorizer, tmp_path: Path) -> None:
    own, other = (np.zeros(shape, np.uint8) for shape in (GRAY.shape, COFFEE.shape[:2]))
    own[:, 80:] = 1
    other[other.shape[0] // 2 :] = 1
    found = colorizer.colorize(GRAY, COFFEE, target_labels=own, reference_labels=other)
    assert np.abs(found.astype(int) - colorizer.colorize(GRAY, COFFEE)).max() > 2
    for name, labels in (("own", own), ("other", other)):
        Image.fromarray(labels).save(tmp_path / f"{name}.png")
    from_files = colorizer.colorize(GRAY, COFFEE, target_labels=tmp_path / "own.png", reference_labels=tmp_path / "other.png")
    assert (from_files == found).all()
    style = colorizer.encode_reference(COFFEE, other)
    assert (colorizer.colorize(GRAY, style, target_labels=own) == found).all()


def test_label_maps_of_another_size_are_refused(colorizer: ExemplarColorizer) -> None:
    labels = np.zeros((8, 8), np.uint8)
    with pytest.raises(ValueError, match=r"target labels are uint8 of shape \(8, 8\)"):
        colorizer.colorize(GRAY, COFFEE, target_labels=labels, reference_labels=np.zeros(COFFEE.shape[:2], np.uint8))
    with pytest.raises(ValueError, match=r"reference labels are uint8 of shape \(8, 8\)"):
        colorizer.encode_reference(COFFEE, labels)


def test_labels_on_one_side_alone_warn(colorizer: ExemplarColorizer, caplog: pytest.LogCaptureFixture) -> None:
    colorizer.colorize(GRAY, COFFEE, target_labels=np.zeros(GRAY.shape, np.uint8))
    assert "one side alone has labels" in caplog.text


def test_stylizing_changes_a_photograph_and_keeps_its_details(colorizer: ExemplarColorizer) -> None:
    photograph = data.chelsea()
    assert np.abs(colorizer.stylize(photograph, COFFEE, strength=0).astype(int) - photograph).max() <= 1
    found, half = (colorizer.stylize(photograph, COFFEE, strength=strength) for strength in (1.0, 0.5))
    assert found.shape == photograph.shape
    change = rgb2lab(found) - rgb2lab(photograph)
    assert np.abs(change[:, :, 0]).mean() > 1
    assert np.abs(change[:, :, 1:]).mean() > 1
    np.testing.assert_allclose((rgb2lab(half) - rgb2lab(photograph)).mean(axis=(0, 1)), change.mean(axis=(0, 1)) / 2, atol=4)

    def detail(picture: np.ndarray) -> np.ndarray:
        return np.diff(l_of(picture), axis=0)[50:-50, 50:-50].ravel()

    assert np.corrcoef(detail(found), detail(photograph))[0, 1] > 0.8


def test_stylizing_needs_a_transfer_sub_net_for_colours(tmp_path: Path) -> None:
    from lightning_modules.config import EncoderConfig

    stage = make_transfer_stage(precolor="gray_encoder", encoder=EncoderConfig("random"))
    gray = ExemplarColorizer.from_checkpoint(save_checkpoint(stage, tmp_path / "gray.ckpt"), size=SIZE)
    with pytest.raises(ValueError, match="takes grey pictures alone"):
        gray.stylize(data.chelsea(), COFFEE)
    alone = ExemplarColorizer.from_checkpoint(save_checkpoint(make_colorizer_stage(), tmp_path / "colorizer.ckpt"), size=SIZE)
    for function in (lambda: alone.stylize(data.chelsea(), COFFEE), lambda: alone.colorize(GRAY, COFFEE)):
        with pytest.raises(ValueError, match="no transfer sub-net"):
            function()


def test_saved_networks_give_the_same_pictures(colorizer: ExemplarColorizer, joint_checkpoint: Path, tmp_path: Path) -> None:
    ExemplarColorizer.from_checkpoint(joint_checkpoint, precision="bf16").save_pretrained(tmp_path / "networks")
    restored = ExemplarColorizer.from_pretrained(tmp_path / "networks", size=SIZE, device="cpu", precision="float32")
    assert (restored.colorize(GRAY, COFFEE) == colorizer.colorize(GRAY, COFFEE)).all()


def test_bf16_is_close_to_float32(joint_checkpoint: Path, result: np.ndarray) -> None:
    fast = ExemplarColorizer.from_checkpoint(joint_checkpoint, size=SIZE, device="cpu", precision="bf16")
    difference = np.abs(fast.colorize(GRAY, COFFEE).astype(int) - result)
    assert 0 < difference.mean() < 2


def test_content_features_compare_content_and_not_colours(colorizer: ExemplarColorizer) -> None:
    def features(pixels: np.ndarray) -> torch.Tensor:
        return colorizer.content_features(colorizer.working_l(Picture(np.ascontiguousarray(pixels))))[0]

    cat, cup = features(data.chelsea()), features(COFFEE)
    torch.testing.assert_close(cat.norm(), torch.tensor(1.0))
    gray_cat = (rgb2gray(data.chelsea()) * 255).astype(np.uint8)[:, :, None]
    assert features(gray_cat) @ cat > 0.999
    assert features(data.chelsea()[:280, 20:]) @ cat > cup @ cat


def test_wrong_things_are_refused_in_one_line(joint_checkpoint: Path, colorizer: ExemplarColorizer) -> None:
    with pytest.raises(ValueError, match="size=8"):
        ExemplarColorizer.from_checkpoint(joint_checkpoint, size=8)
    with pytest.raises(ValueError, match="no such file"):
        colorizer.colorize("nowhere.png", COFFEE)
    with pytest.raises(ValueError, match="belong to one picture"):
        colorizer.colorize(make_batch(2, 64).target_rgb, COFFEE, hints=[HintPoint(0.5, 0.5, 1, 1)])
    with pytest.raises(ValueError, match="reference_labels belong to one reference"):
        colorizer.colorize(GRAY, [COFFEE, COFFEE], reference_labels=np.zeros(COFFEE.shape[:2], np.uint8))


def test_importing_the_package_imports_no_torch() -> None:
    program = "import sys, stylecolor; print('torch' in sys.modules); stylecolor.ExemplarColorizer; print('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout.split() == ["False", "True"]


def test_networks_are_there_without_what_fetches_files() -> None:
    program = "import sys; from stylecolor.exemplar_colorizer import ExemplarColorizer; print('requests' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout.split() == ["False"]
