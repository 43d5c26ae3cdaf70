import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from stylecolor.exemplar_colorizer import ExemplarColorizer
from stylecolor.user_hints import HintPoint
from tests.stylecolor.commands.running import assert_done, assert_refused, outcomes, read, run, save_photograph

SIZE = 32
POINT = HintPoint(0.5, 0.5, 60.0, -40.0, 8.0)


@pytest.fixture
def work(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.chdir(tmp_path)
    save_photograph(tmp_path / "grey.png", 3)
    save_photograph(tmp_path / "colour.png", 1)
    (tmp_path / "points.json").write_text(json.dumps([{"x": 0.5, "y": 0.5, "a": 60.0, "b": -40.0, "radius": 8}]))
    return tmp_path


@pytest.fixture
def arguments(joint_checkpoint: Path) -> list[str]:
    return ["--points", "points.json", "--checkpoint", str(joint_checkpoint), "--size", str(SIZE)]


def test_colours_at_points_stand_alone_or_on_top_of_a_reference(work: Path, arguments: list[str], joint_checkpoint: Path) -> None:
    colorizer = ExemplarColorizer.from_checkpoint(joint_checkpoint, size=SIZE)
    result = run("hints", "grey.png", "--json", *arguments)
    assert_done(result)
    assert [(outcome["output"], outcome["reference"]) for outcome in outcomes(result)] == [("grey_colorized.png", None)]
    assert np.array_equal(read(work / "grey_colorized.png"), colorizer.colorize("grey.png", hints=[POINT]).pixels)
    assert_done(run("hints", "grey.png", "-r", "colour.png", "-o", "out.png", *arguments))
    on_top = colorizer.colorize("grey.png", "colour.png", hints=[POINT]).pixels
    assert np.array_equal(read(work / "out.png"), on_top)
    assert not np.array_equal(on_top, colorizer.colorize("grey.png", "colour.png").pixels)


def test_regions_and_the_matching_are_those_of_colorize(work: Path, arguments: list[str], joint_checkpoint: Path) -> None:
    labels = np.full((40, 48), 255, np.uint8)
    labels[:, :20] = 3
    labels[:, 24:] = 7
    Image.fromarray(labels).save(work / "target.png")
    Image.fromarray(labels[:, ::-1]).save(work / "reference.png")
    maps = ("--labels", "target.png", "reference.png")
    assert_done(run("hints", "grey.png", "-r", "colour.png", *maps, "--matching", "wct", "--sites", "encoder", *arguments))
    colorizer = ExemplarColorizer.from_checkpoint(joint_checkpoint, size=SIZE).rematched("wct", ["encoder"])
    style = colorizer.encode_reference("colour.png", labels[:, ::-1].copy())
    expected = colorizer.colorize("grey.png", style, target_labels=labels, hints=[POINT]).pixels
    assert np.array_equal(read(work / "grey_colorized.png"), expected)
    assert not np.array_equal(expected, colorizer.colorize("grey.png", "colour.png", hints=[POINT]).pixels)
    assert_refused(run("hints", "grey.png", *maps, *arguments), "--labels belongs to one --reference")
    assert_refused(run("hints", "grey.png", *["-r", "colour.png"] * 2, *maps, *arguments), "--labels belongs to one --reference")
    assert_refused(run("hints", "grey.png", "-r", "colour.png", *maps, "-o", "target.png", *arguments), "over --labels target.png")
    assert_refused(run("hints", "grey.png", "--matching", "wct", *arguments), "--matching wct", "name one with --reference")


def test_what_cannot_be_used_is_refused_in_one_line(work: Path, arguments: list[str]) -> None:
    assert_refused(run("hints", "grey.png", "--strength", "0.5", *arguments), "--strength 0.5", "--reference")
    assert_refused(run("hints", ".", *arguments), ".: is a folder; hints are for one picture")
    assert_refused(run("hints", "grey.png", "-o", "points.json", *arguments), "over --points points.json")
    (work / "points.json").write_text('[{"x": 41}]')
    assert_refused(run("hints", "grey.png", *arguments), "points.json: entry 1")
    (work / "points.json").unlink()
    assert_refused(run("hints", "grey.png", *arguments), "points.json: no such file")
    assert run("hints", "grey.png").exit_code == 2


def test_a_published_colorizer_is_looked_for_where_there_is_no_run(work: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STYLECOLOR_CACHE", str(work / "cache"))
    monkeypatch.setenv("TORCH_HOME", str(work / "torch"))
    assert_refused(run("hints", "grey.png", "--points", "points.json"), "no checkpoint", "stylecolor weights fetch siggraph17")
