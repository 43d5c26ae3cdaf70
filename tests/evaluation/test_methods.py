from pathlib import Path

import pytest
import torch

from evaluation.checkpoints import NamedCheckpoint
from evaluation.choices import METHODS, TRAINING_FREE
from evaluation.methods import Method, Pictures, make_methods, round_to_8_bits
from evaluation.networks import LoadedCheckpoint, load_checkpoints
from stylecolor.baselines import BASELINES
from stylecolor.color import gray_rgb, join_lab, rgb_to_lab
from stylecolor.pipeline import ExemplarNetworks
from tests.stages import make_batch

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def pictures() -> Pictures:
    batch = make_batch(3, 32)
    return Pictures(batch.target_rgb, batch.target_l, batch.reference_rgb)


def load(path: Path, name: str = "one") -> LoadedCheckpoint:
    return load_checkpoints([NamedCheckpoint(name, str(path))], CPU, "32-true")[0]


def by_kind(path: Path) -> dict[str, Method]:
    return {method.kind: method for method in make_methods([load(path)], None)}


def assert_same_picture(result: torch.Tensor, expected: torch.Tensor) -> None:
    """But for values that lie between two of the 8-bit steps."""
    difference = (result - expected.clamp(0, 1)).abs() * 255
    assert difference.max() <= 1.01
    assert (difference > 0.51).float().mean() < 0.01


def test_the_training_free_methods_are_the_librarys(pictures: Pictures) -> None:
    methods = make_methods([], TRAINING_FREE)
    assert [method.name for method in methods] == list(TRAINING_FREE)
    for method in methods:
        baseline = BASELINES["histogram" if method.name == "histogram_matching" else method.name]
        expected = join_lab(pictures.l, baseline(pictures.l, pictures.reference_rgb))
        assert torch.equal(method(pictures), round_to_8_bits(expected)), method.name


def test_both_sub_nets_together_are_what_the_pipeline_gives(pictures: Pictures, checkpoint: Path) -> None:
    networks = ExemplarNetworks.from_checkpoint(checkpoint)
    assert pictures.reference_rgb is not None
    expected = networks.colorize(gray_rgb(pictures.l), pictures.reference_rgb)
    assert_same_picture(by_kind(checkpoint)["both"](pictures), expected)


@torch.no_grad()
def test_the_sub_nets_alone_are_the_networks_parts(pictures: Pictures, checkpoint: Path) -> None:
    networks = ExemplarNetworks.from_checkpoint(checkpoint)
    transfer, colorizer, l = networks.transfer, networks.colorizer, pictures.l
    assert transfer is not None
    assert colorizer is not None
    assert pictures.reference_rgb is not None
    nothing = torch.zeros_like(l)
    guess = colorizer(l, nothing.expand(-1, 2, -1, -1), nothing)
    methods = by_kind(checkpoint)
    assert_same_picture(methods["colorizer"](pictures), join_lab(l, guess))
    styled = transfer(join_lab(l, guess), pictures.reference_rgb)
    assert_same_picture(methods["transfer"](pictures), join_lab(l, rgb_to_lab(styled)[:, 1:]))
    rebuilt = transfer(pictures.truth_rgb, pictures.truth_rgb)
    assert_same_picture(methods["reconstruction"](pictures), join_lab(l, rgb_to_lab(rebuilt)[:, 1:]))


def test_only_the_oracle_looks_at_the_true_colours(pictures: Pictures, checkpoint: Path) -> None:
    others = Pictures(pictures.truth_rgb.flip(0), pictures.l, pictures.reference_rgb)
    for kind, method in by_kind(checkpoint).items():
        assert torch.equal(method(pictures), method(others)) == (kind != "reconstruction"), kind
        assert method.is_oracle == (kind == "reconstruction")


def test_results_are_of_8_bits(pictures: Pictures, checkpoint: Path) -> None:
    for method in by_kind(checkpoint).values():
        steps = method(pictures) * 255
        assert torch.equal(steps.round() / 255, method(pictures)), method.name
        assert steps.min() >= 0
        assert steps.max() <= 255


def test_what_follows_no_reference_does_without(pictures: Pictures, checkpoint: Path) -> None:
    none = Pictures(pictures.truth_rgb, pictures.l, None)
    taking_part = [method for method in by_kind(checkpoint).values() if method.takes_part("auto")]
    assert [method.kind for method in taking_part] == ["gray", "colorizer"]
    for method in taking_part:
        assert not method.needs_reference
        assert torch.equal(method(none), method(pictures))


def test_each_stage_gives_the_methods_that_it_can(checkpoint: Path) -> None:
    assert set(by_kind(checkpoint)) == set(METHODS)
    assert set(by_kind(checkpoint.with_name("transfer.ckpt"))) == {*TRAINING_FREE, "transfer", "reconstruction"}
    assert set(by_kind(checkpoint.with_name("colorizer.ckpt"))) == {*TRAINING_FREE, "colorizer"}


def test_a_method_that_no_checkpoint_can_is_refused(checkpoint: Path) -> None:
    transfer = load(checkpoint.with_name("transfer.ckpt"), "styled")
    with pytest.raises(ValueError, match=r"methods: .*both, colorizer.*styled: transfer.*stage=joint"):
        make_methods([transfer], ["gray", "both", "colorizer"])
    # another one may have it
    names = [method.name for method in make_methods([transfer, load(checkpoint)], ["both"])]
    assert names == ["one/both"]
