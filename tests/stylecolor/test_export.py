import json
import logging
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from torch import Tensor

from lightning_modules.config import EncoderConfig
from stylecolor import export as export_module
from stylecolor.choices import HINT_SAMPLERS
from stylecolor.export import DRAWINGS, PipelineGraph, draw_mask, export_onnx, export_torch
from stylecolor.pipeline import ExemplarNetworks
from tests.stages import make_batch, make_colorizer_stage, make_transfer_stage, save_checkpoint
from tests.stylecolor.colorizers_for_tests import save_joint

SIZES = [(2, (64, 80), (72, 56)), (1, (16, 24), (16, 16)), (3, (72, 32), (45, 91))]
"""Batch, the targets' size and that of their references."""


def draw_inputs(batch: int, size: tuple[int, int], reference_size: tuple[int, int]) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(batch)
    return {
        "target_l": 100 * torch.rand(batch, 1, *size, generator=generator),
        "reference": torch.rand(batch, 3, *reference_size, generator=generator),
        "hint_ab": 30 * torch.randn(batch, 2, *size, generator=generator),
        "mask": (torch.rand(batch, 1, *size, generator=generator) > 0.8).float(),
    }


def colorize(networks: ExemplarNetworks, given: dict[str, Tensor]) -> Tensor:
    """By the library, with the hints that the mask shows."""
    with torch.inference_mode():
        style = None if networks.transfer is None else networks.encode_reference(given["reference"])
        if networks.pipeline == "precolor":
            assert networks.colorizer is not None
            return networks.colorizer(given["target_l"], given["hint_ab"], given["mask"])
        coarse = networks.predict(given["target_l"], style).transfer_ab
        if networks.pipeline == "transfer":
            return coarse
        assert networks.colorizer is not None
        return networks.colorizer(given["target_l"], coarse * given["mask"], given["mask"])


def run_onnx(session: onnxruntime.InferenceSession, given: dict[str, Tensor]) -> Tensor:
    (ab,) = session.run(None, {one.name: given[one.name].numpy() for one in session.get_inputs()})
    return torch.from_numpy(np.asarray(ab))


def open_onnx(path: Path) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])


@pytest.fixture(scope="module")
def networks(tmp_path_factory: pytest.TempPathFactory) -> ExemplarNetworks:
    return ExemplarNetworks.from_checkpoint(save_joint(tmp_path_factory.mktemp("joint") / "joint.ckpt"))


@pytest.fixture(scope="module")
def exported(networks: ExemplarNetworks, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("exported") / "joint.onnx"
    export_onnx(networks, path)
    return path


def test_an_onnx_file_gives_the_librarys_colours_at_any_batch_and_size(networks: ExemplarNetworks, exported: Path) -> None:
    session = open_onnx(exported)
    for size in SIZES:
        given = draw_inputs(*size)
        torch.testing.assert_close(run_onnx(session, given), colorize(networks, given), atol=1e-3, rtol=0)


def test_an_onnx_file_follows_the_reference_and_the_mask(exported: Path) -> None:
    session = open_onnx(exported)
    given = draw_inputs(*SIZES[0])
    ab = run_onnx(session, given)
    assert (run_onnx(session, {**given, "reference": given["reference"] ** 4}) - ab).abs().max() > 0.05
    assert (run_onnx(session, {**given, "mask": 1 - given["mask"]}) - ab).abs().max() > 0.05


def test_with_the_drawn_mask_a_graph_colorizes_as_the_library_does(networks: ExemplarNetworks, exported: Path) -> None:
    batch = make_batch(2, 64)
    given = {"target_l": batch.target_l, "reference": batch.reference_rgb, "mask": draw_mask(networks, batch.target_l)}
    assert 0 < given["mask"].mean() < 0.1
    expected = networks.predict(batch.target_l, networks.encode_reference(batch.reference_rgb)).ab
    torch.testing.assert_close(run_onnx(open_onnx(exported), given), expected, atol=1e-3, rtol=0)


def test_an_onnx_file_is_a_single_one_and_says_what_it_takes(networks: ExemplarNetworks, exported: Path) -> None:
    assert [path.name for path in exported.parent.iterdir()] == ["joint.onnx"]
    session = open_onnx(exported)
    assert {one.name: one.shape for one in (*session.get_inputs(), *session.get_outputs())} == {
        "target_l": ["batch", 1, "height", "width"],
        "reference": ["batch", 3, "reference_height", "reference_width"],
        "mask": ["batch", 1, "height", "width"],
        "ab": ["batch", 2, "height", "width"],
    }
    said = json.loads(session.get_modelmeta().custom_metadata_map["stylecolor"])
    assert "[0, 100]" in said["inputs"]["target_l"]["meaning"]
    assert said["networks"] == networks.description
    assert said["drawing"] == "mask: hide each pixel with probability 0.99, independently"


def test_all_sites_of_the_authors_network_can_be_exported(tmp_path: Path) -> None:
    stage = make_transfer_stage(
        sites=["encoder", "skips", "decoder"],
        skips="pre_pool",
        padding="reflect",
        encoder=EncoderConfig("random", padding="reflect"),
        alpha=0.5,
    )
    networks = ExemplarNetworks.from_checkpoint(save_checkpoint(stage, tmp_path / "transfer.ckpt"))
    export_onnx(networks, tmp_path / "transfer.onnx")
    session = open_onnx(tmp_path / "transfer.onnx")
    assert [one.name for one in session.get_inputs()] == ["target_l", "reference"]
    given = draw_inputs(*SIZES[2])
    torch.testing.assert_close(run_onnx(session, given), colorize(networks, given), atol=1e-3, rtol=0)


@pytest.mark.parametrize(
    ("network", "inputs"),
    [("siggraph17", ("target_l", "hint_ab", "mask")), ("siggraph17_global", ("target_l", "hint_ab", "mask")), ("eccv16", ("target_l",))],
)
def test_a_colorizer_takes_its_hints_from_outside(tmp_path: Path, network: str, inputs: tuple[str, ...]) -> None:
    networks = ExemplarNetworks.from_checkpoint(save_checkpoint(make_colorizer_stage(network=network), tmp_path / "colorizer.ckpt"))
    export_onnx(networks, tmp_path / "colorizer.onnx")
    session = open_onnx(tmp_path / "colorizer.onnx")
    assert tuple(one.name for one in session.get_inputs()) == PipelineGraph(networks).inputs == inputs
    for size in SIZES:
        given = draw_inputs(*size)
        torch.testing.assert_close(run_onnx(session, given), colorize(networks, given), atol=1e-3, rtol=0)


LOAD = """
import sys
import torch

program = torch.export.load(sys.argv[1], extra_files=(files := {"stylecolor": ""}))
given = torch.load(sys.argv[2])
with torch.no_grad():
    torch.save([program.module()(*one) for one in given], sys.argv[3])
assert "stylecolor" not in sys.modules
print(files["stylecolor"])
"""


@pytest.mark.parametrize("matching", ["adain", "wct"])
def test_a_torch_program_runs_where_the_library_is_not(tmp_path: Path, matching: str) -> None:
    path = save_checkpoint(make_transfer_stage(matching=matching), tmp_path / "transfer.ckpt")
    networks = ExemplarNetworks.from_checkpoint(path)
    export_torch(networks, tmp_path / "transfer.pt2")
    inputs = [draw_inputs(*size) for size in SIZES]
    torch.save([(given["target_l"], given["reference"]) for given in inputs], tmp_path / "given.pt")
    paths = [str(tmp_path / name) for name in ("transfer.pt2", "given.pt", "found.pt")]
    # isolated from this directory and, by the assertion above, from the installed library
    said = subprocess.run([sys.executable, "-I", "-c", LOAD, *paths], check=True, capture_output=True, text=True, cwd=tmp_path).stdout
    for found, given in zip(torch.load(tmp_path / "found.pt"), inputs, strict=True):
        torch.testing.assert_close(found, colorize(networks, given), atol=1e-3, rtol=0)
    assert json.loads(said)["networks"]["transfer"]["matching"] == matching


def test_a_file_keeps_no_trace_of_where_and_when_it_was_made(tmp_path: Path) -> None:
    path = save_checkpoint(make_colorizer_stage(network="eccv16"), tmp_path / "colorizer.ckpt")
    sources = str(Path(export_module.__file__).parent).encode()
    for name, write in (("first.onnx", export_onnx), ("first.pt2", export_torch)):
        write(ExemplarNetworks.from_checkpoint(path), tmp_path / name)
        assert sources not in (tmp_path / name).read_bytes()
    export_torch(ExemplarNetworks.from_checkpoint(path), tmp_path / "second.pt2")
    assert (tmp_path / "first.pt2").read_bytes() == (tmp_path / "second.pt2").read_bytes()


def test_every_way_to_draw_hints_is_described() -> None:
    assert set(DRAWINGS) == set(HINT_SAMPLERS)


def test_wct_is_refused_for_onnx(tmp_path: Path) -> None:
    networks = ExemplarNetworks.from_checkpoint(save_checkpoint(make_transfer_stage(matching="wct"), tmp_path / "transfer.ckpt"))
    with pytest.raises(ValueError, match=r"onnx: stage\.matching=wct needs eigenvectors.*; export to torch-export"):
        export_onnx(networks, tmp_path / "transfer.onnx")


def test_weights_beyond_a_files_limit_are_refused(networks: ExemplarNetworks, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(export_module, "_ONNX_LIMIT", 10**6)
    with pytest.raises(ValueError, match=r"onnx: the weights take .* GB, .*; export to torch-export"):
        export_onnx(networks, tmp_path / "joint.onnx")


def test_missing_packages_are_named(networks: ExemplarNetworks, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ValueError, match=r"onnx: needs onnx and onnxscript; install .*stylecolor\[export\]"):
        export_onnx(networks, tmp_path / "joint.onnx")


def test_a_file_that_cannot_be_written_leaves_none(tmp_path: Path) -> None:
    networks = ExemplarNetworks.from_checkpoint(save_checkpoint(make_colorizer_stage(network="eccv16"), tmp_path / "colorizer.ckpt"))
    (tmp_path / "taken.pt2").mkdir()
    with pytest.raises(OSError, match="taken"):
        export_torch(networks, tmp_path / "taken.pt2")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["colorizer.ckpt", "taken.pt2"]


def test_patches_shown_in_their_mean_colour_are_warned_of(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    networks = ExemplarNetworks.from_checkpoint(save_joint(tmp_path / "joint.ckpt", precolor="gray", hints="patches"))
    with caplog.at_level(logging.WARNING):
        export_torch(networks, tmp_path / "joint.pt2")
    assert "hints=patches shows patches in their mean colour" in caplog.text
