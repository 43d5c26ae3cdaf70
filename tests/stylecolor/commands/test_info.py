import json
from pathlib import Path
from typing import Any

import torch
from typer.testing import CliRunner, Result

from stylecolor.cli import app
from stylecolor.pipeline import ExemplarNetworks
from stylecolor.pretrained import save_networks
from tests.stages import make_colorizer_stage, make_transfer_stage, save_checkpoint
from tests.stylecolor.colorizers_for_tests import save_joint


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, ["info", *map(str, arguments)])


def read(path: Path) -> dict[str, Any]:
    result = run(path, "--json")
    assert result.exit_code == 0, result.output
    assert result.stdout.count("\n") == 1
    return json.loads(result.stdout)


def test_a_joint_checkpoint_is_described(tmp_path: Path) -> None:
    path = save_joint(tmp_path / "joint.ckpt", mask_probability=0.8)
    said = read(path)
    assert {name: said[name] for name in ("path", "kind", "format", "stage", "global_step")} == {
        "path": str(path),
        "kind": "checkpoint",
        "format": 2,
        "stage": "joint",
        "global_step": 7,
    }
    statistics = ("running_mean", "running_var", "num_batches_tracked")
    state = torch.load(path, weights_only=True)["state_dict"]
    for name in ("transfer", "colorizer"):
        counted = sum(value.numel() for key, value in state.items() if key.startswith(f"{name}.") and not key.endswith(statistics))
        assert said["networks"][name]["parameters"] == counted
        assert said["networks"][name]["settings"]["width"] == 0.125
    assert said["pipeline"]["mask_probability"] == 0.8
    assert "stylecolor colorize --reference" in said["uses"]


def test_text_has_a_line_for_each_network(tmp_path: Path) -> None:
    lines = run(save_joint(tmp_path / "joint.ckpt")).stdout.splitlines()
    assert lines[0] == f"{tmp_path / 'joint.ckpt'}: checkpoint of stage joint after step 7, format 2"
    assert [line.partition(":")[0] for line in lines[1:]] == ["transfer", "colorizer", "pipeline", "for"]
    assert "parameters; width=0.125, " in lines[1]
    assert "sites=bottleneck" in lines[1]


def test_a_saved_directory_is_described(tmp_path: Path) -> None:
    path = save_joint(tmp_path / "joint.ckpt")
    save_networks(ExemplarNetworks.from_checkpoint(path), tmp_path / "saved")
    said, of_checkpoint = read(tmp_path / "saved"), read(path)
    assert (said["kind"], said["stage"], said["global_step"]) == ("directory", None, None)
    assert {name: said[name] for name in ("networks", "pipeline", "uses")} == {
        name: of_checkpoint[name] for name in ("networks", "pipeline", "uses")
    }
    assert run(tmp_path / "saved").stdout.startswith(f"{tmp_path / 'saved'}: saved networks, format 1\n")


def test_each_stage_says_what_it_is_for(tmp_path: Path) -> None:
    path = tmp_path / "stage.ckpt"
    with_reference = ["stylecolor colorize --reference", "stylecolor video --reference"]
    assert read(save_checkpoint(make_transfer_stage(), path))["uses"] == [*with_reference, "stylecolor stylize", "stylecolor export"]
    hinted = ["stylecolor colorize --auto", "stylecolor hints", "stylecolor export"]
    assert read(save_checkpoint(make_colorizer_stage(), path))["uses"] == hinted
    # which takes no hints
    assert read(save_checkpoint(make_colorizer_stage(network="eccv16"), path))["uses"] == [hinted[0], hinted[2]]


def test_what_is_no_checkpoint_is_refused_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("no checkpoint")
    (tmp_path / "empty").mkdir()
    torch.save({"state_dict": {}}, tmp_path / "foreign.pth")
    whole = save_checkpoint(make_colorizer_stage(), tmp_path / "whole.ckpt").read_bytes()
    (tmp_path / "cut.ckpt").write_bytes(whole[: len(whole) // 2])
    for name, part in (
        ("notes.txt", "is no weight file"),
        ("absent.ckpt", "no such file"),
        ("cut.ckpt", "is damaged or truncated"),
        ("foreign.pth", "is no stylecolor checkpoint"),
        ("empty", "holds no saved networks"),
    ):
        result = run(tmp_path / name)
        assert result.exit_code == 1
        assert result.stderr.startswith("error: ")
        assert result.stderr.count("\n") == 1
        assert f"{tmp_path / name}: " in result.stderr
        assert part in result.stderr
