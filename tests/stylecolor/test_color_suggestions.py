from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from skimage import data

from stylecolor import ExemplarColorizer
from stylecolor.classification import ClassificationNet
from stylecolor.color import lab_to_rgb
from stylecolor.color_suggestions import DISTANCE, suggest_colors
from stylecolor.colorizer import ColorizationNet, ab_classes, class_colors
from stylecolor.draft import Draft, ReferenceInput
from stylecolor.pictures.files import Picture
from stylecolor.user_hints import HintPoint
from tests.stages import make_colorizer_stage, save_checkpoint

SIZE = 32
GRAY = Picture(data.camera()[::5, ::4, None].copy())
POINTS = [(0.0, 0.0), (0.3, 0.6), (0.5, 0.5), (1.0, 1.0)]


@pytest.fixture(scope="module")
def colorizer(joint_checkpoint: Path) -> ExemplarColorizer:
    return ExemplarColorizer.from_checkpoint(joint_checkpoint, size=SIZE, device="cpu", precision="float32")


def reference(*colors: tuple[int, int, int]) -> ReferenceInput:
    """Ramps from black to these colours, side by side."""
    ramps = np.linspace(0, 1, 60)[:, None, None, None] * np.array(colors)[None, :, None]
    return ReferenceInput(colors, Picture(ramps.repeat(20, axis=2).reshape(60, -1, 3).round().astype(np.uint8)))


def l_at(draft: Draft, x: float, y: float) -> float:
    height, width = draft.working_l.shape[-2:]
    return float(draft.working_l[0, 0, min(int(y * height), height - 1), min(int(x * width), width - 1)])


def assert_displayable_and_different(colors: list[tuple[float, float]], l: float) -> None:
    lab = torch.tensor([[l, *color] for color in colors]).T[None, :, :, None]
    rgb = lab_to_rgb(lab, clip=False)
    assert rgb.min() > -2e-3
    assert rgb.max() < 1 + 2e-3
    for index, color in enumerate(colors):
        assert all(np.hypot(*np.subtract(color, other)) >= DISTANCE - 1e-3 for other in colors[:index])


@pytest.mark.parametrize(("x", "y"), POINTS)
def test_the_colours_at_the_point_come_first_and_those_of_similar_lightness_next(colorizer: ExemplarColorizer, x: float, y: float) -> None:
    draft = Draft(GRAY)
    draft.colorize(colorizer, [reference((250, 60, 40), (40, 90, 250))])
    colors = suggest_colors(draft, colorizer, x, y)
    assert 1 <= len(colors) <= 8
    assert_displayable_and_different(colors, l_at(draft, x, y))
    assert draft.steps is not None
    height, width = draft.steps.ab.shape[-2:]
    own = draft.steps.ab[0, :, min(int(y * height), height - 1), min(int(x * width), width - 1)].numpy()
    # its hue, and no more of its chroma than can be shown
    share = np.hypot(*colors[0]) / np.hypot(*own)
    assert 0.1 < share < 1.0001
    np.testing.assert_allclose(colors[0], own * share, atol=0.01)
    assert suggest_colors(draft, colorizer, x, y, count=1) == colors[:1]


def test_the_references_lend_what_they_have_at_such_a_lightness(colorizer: ExemplarColorizer) -> None:
    draft = Draft(GRAY)
    draft.colorize(colorizer, [reference((250, 60, 40), (40, 90, 250)), reference((30, 160, 30))])
    # some place where many colours can be shown
    height, width = draft.working_l.shape[-2:]
    row, column = divmod(int((draft.working_l - 50).abs().argmin()), width)
    x, y = (column + 0.5) / width, (row + 0.5) / height
    l = l_at(draft, x, y)
    found = suggest_colors(draft, colorizer, x, y)
    for lab in draft.reference_lab:
        near = lab[np.abs(lab[:, 0] - l) < 3]
        assert len(near) > 20
        for ab in near[:, 1:]:
            assert min(np.hypot(*np.subtract(ab, color)) for color in found) < DISTANCE + 8
    without = Draft(GRAY)
    without.colorize(colorizer)
    assert set(suggest_colors(without, colorizer, x, y)) != set(found)
    assert without.reference_lab == []


def test_black_and_white_are_grey_alone(colorizer: ExemplarColorizer) -> None:
    for value in (0, 255):
        draft = Draft(Picture(np.full((40, 40, 1), value, np.uint8)))
        draft.colorize(colorizer, [reference((250, 60, 40))])
        assert np.abs(suggest_colors(draft, colorizer, 0.5, 0.5)).max() < 2


@pytest.mark.parametrize("settings", [{"distribution": True}, {"network": "eccv16"}], ids=str)
def test_a_network_that_knows_a_distribution_is_asked_once(
    tmp_path: Path, settings: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    checkpoint = save_checkpoint(make_colorizer_stage(**settings), tmp_path / "colorizer.ckpt")
    colorizer = ExemplarColorizer.from_checkpoint(checkpoint, size=SIZE, device="cpu", precision="float32")
    network = colorizer.networks.colorizer
    assert isinstance(network, ColorizationNet | ClassificationNet)
    layer = network.model8[-1] if isinstance(network, ClassificationNet) else network.model_class[0]  # pyright: ignore[reportOptionalSubscript]
    colors = network.bins if isinstance(network, ClassificationNet) else class_colors()
    wanted = [int(torch.cdist(torch.tensor([color]), colors).argmin()) for color in ((30.0, 20.0), (-30.0, 30.0), (10.0, -40.0))]
    with torch.no_grad():
        layer.bias.fill_(-20)  # pyright: ignore[reportOptionalMemberAccess, reportCallIssue, reportAttributeAccessIssue]
        layer.weight.zero_()  # pyright: ignore[reportOptionalMemberAccess, reportCallIssue, reportAttributeAccessIssue]
        for rank, index in enumerate(wanted):
            layer.bias[index] = 5 - rank  # pyright: ignore[reportOptionalSubscript, reportIndexIssue]
    draft = Draft(Picture(np.full((40, 40, 1), 120, np.uint8)))
    draft.colorize(colorizer)
    before = draft.nbytes
    asked = []
    ask = type(colorizer.networks).color_distribution
    monkeypatch.setattr(type(colorizer.networks), "color_distribution", lambda *arguments: asked.append(1) or ask(*arguments))
    found = suggest_colors(draft, colorizer, 0.5, 0.5, count=4)
    likely = [colors[index].tolist() for index in wanted]
    # the network's own result comes first, and may stand for one of them
    distances = np.linalg.norm(np.array(likely)[:, None] - np.array(found), axis=2)
    assert (distances.min(axis=1) < DISTANCE).all()
    assert (np.diff(distances.argmin(axis=1)) > 0).all()
    assert distances[-1].min() < 1e-3
    assert suggest_colors(draft, colorizer, 0.4, 0.6, count=4)
    assert len(asked) == 1
    assert draft.nbytes >= before + 4 * len(colors) * (SIZE // 4) ** 2
    if "network" not in settings:
        draft.colorize(colorizer, hints=[HintPoint(0.5, 0.5, 40.0, 40.0)])
        assert suggest_colors(draft, colorizer, 0.5, 0.5)
        assert len(asked) == 2


def test_places_outside_the_picture_are_refused(colorizer: ExemplarColorizer) -> None:
    draft = Draft(GRAY)
    draft.colorize(colorizer)
    for x, y, count, message in ((1.1, 0.5, 8, "x=1.1 is outside"), (0.5, -1, 8, "y=-1 is outside"), (0.5, 0.5, 0, "count=0 must be")):
        with pytest.raises(ValueError, match=message):
            suggest_colors(draft, colorizer, x, y, count)


def test_the_classes_have_the_colours_that_they_are_counted_by() -> None:
    colors = class_colors()
    assert torch.equal(ab_classes(colors.T[None, :, :, None].expand(-1, -1, -1, 4))[0, :, 0], torch.arange(529)[::4])
