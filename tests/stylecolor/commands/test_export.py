from pathlib import Path

import onnxruntime
import pytest
import torch
from typer.testing import CliRunner, Result

from stylecolor.cli import app
from stylecolor.pretrained import load_networks
from tests.stages import make_colorizer_stage, save_checkpoint


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, ["export", *map(str, arguments)])


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    return save_checkpoint(make_colorizer_stage(network="eccv16"), tmp_path / "trained.ckpt")


def assert_refused(result: Result, *parts: str) -> None:
    assert result.exit_code == 1, result.output
    assert result.stderr.startswith("error: ")
    assert result.stderr.count("\n") == 1, result.stderr
    for part in parts:
        assert part in result.stderr


def test_an_export_lies_beside_its_checkpoint_and_is_named(checkpoint: Path, tmp_path: Path) -> None:
    result = run(checkpoint, "--format", "safetensors")
    assert result.exit_code == 0, result.output
    assert result.stdout == f"{tmp_path / 'trained'}\n"
    assert [name for name, _ in load_networks(tmp_path / "trained").named_children()] == ["colorizer"]


def test_a_saved_directory_is_exported_to_every_format(checkpoint: Path, tmp_path: Path) -> None:
    assert run(checkpoint, "--format", "safetensors", "-o", tmp_path / "v1.0").exit_code == 0
    assert run(tmp_path / "v1.0", "--format", "onnx").exit_code == 0
    result = run(tmp_path / "v1.0", "--format", "torch-export", "-o", tmp_path / "deeper" / "program.pt2")
    assert result.exit_code == 0, result.output
    session = onnxruntime.InferenceSession(tmp_path / "v1.0.onnx", providers=["CPUExecutionProvider"])
    l = torch.rand(1, 1, 16, 24) * 100
    program = torch.export.load(tmp_path / "deeper" / "program.pt2")
    with torch.no_grad():
        expected = program.module()(l)
    torch.testing.assert_close(torch.from_numpy(session.run(None, {"target_l": l.numpy()})[0]), expected, atol=1e-3, rtol=0)


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        (["trained.ckpt", "--format", "onxx"], ["--format=onxx is not one of onnx, torch-export, safetensors", "did you mean onnx?"]),
        (["trained.ckpt", "--format", "onnx", "-o", "trained.pt2"], ["--output=trained.pt2", "ends in .onnx"]),
        (["trained.ckpt", "--format", "safetensors", "-o", "trained.ckpt"], ["--output=trained.ckpt: is what is to be exported"]),
        (["trained.ckpt", "--format", "safetensors", "-o", "notes.txt"], ["--output=notes.txt: is a file already"]),
        (["trained.ckpt", "--format", "onnx", "-o", "taken.onnx"], ["--output=taken.onnx: is a directory already"]),
        (["notes.txt", "--format", "onnx"], ["notes.txt: is no weight file"]),
        (["absent.ckpt", "--format", "onnx"], ["absent.ckpt: no such file"]),
        (["taken.onnx", "--format", "torch-export"], ["taken.onnx: holds no saved networks"]),
    ],
)
def test_what_cannot_be_exported_is_refused_in_one_line(
    checkpoint: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], parts: list[str]
) -> None:
    monkeypatch.chdir(checkpoint.parent)
    Path("notes.txt").write_text("no checkpoint")
    Path("taken.onnx").mkdir()
    assert_refused(run(*arguments), *parts)
    assert sorted(path.name for path in Path().iterdir()) == ["notes.txt", "taken.onnx", "trained.ckpt"]
