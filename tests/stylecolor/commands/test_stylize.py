from pathlib import Path

import numpy as np
import pytest

from stylecolor.exemplar_colorizer import ExemplarColorizer
from tests.stylecolor.commands.running import assert_done, assert_refused, outcomes, read, run, save_photograph

SIZE = 32


@pytest.fixture
def work(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.chdir(tmp_path)
    for number, name in enumerate(("sunset.png", "other.png", "album/a.png", "album/b.png")):
        save_photograph(tmp_path / name, number)
    return tmp_path


@pytest.fixture
def arguments(joint_checkpoint: Path) -> list[str]:
    return ["--checkpoint", str(joint_checkpoint), "--size", str(SIZE)]


def test_a_folder_of_photographs_gets_the_look_of_references(work: Path, arguments: list[str], joint_checkpoint: Path) -> None:
    references = ("-r", "sunset.png", "-r", "other.png", "--weights", "1,2", "--matching", "wct", "--sites", "encoder")
    result = run("stylize", "album", *references, "--strength", "0.7", "--json", "--sheet", "sheet.png", *arguments)
    assert_done(result)
    assert [outcome["reference"] for outcome in outcomes(result)] == [["sunset.png", "other.png"]] * 2
    colorizer = ExemplarColorizer.from_checkpoint(joint_checkpoint, size=SIZE).rematched("wct", ["encoder"])
    for name in ("a.png", "b.png"):
        expected = colorizer.stylize(f"album/{name}", ["sunset.png", "other.png"], weights=[1, 2], strength=0.7)
        assert np.array_equal(read(work / "album_stylized" / name), expected.pixels)
    left = 4 + (256 - 48) // 2
    assert np.array_equal(read(work / "sheet.png")[18:58, left : left + 48], read(work / "album" / "a.png")), "in its own colours"


@pytest.mark.usefixtures("work")
def test_a_photograph_needs_a_reference(arguments: list[str]) -> None:
    assert_refused(run("stylize", "sunset.png", *arguments), "name a photograph with --reference FILE")
    assert_refused(run("stylize", "sunset.png", "-r", "other.png", "--strength", "2", *arguments), "--strength=2.0 is outside 0..1")
    assert_refused(run("stylize", "sunset.png", "-r", "nowhere.png", *arguments), "nowhere.png: no such file")
    assert_refused(run("stylize", "sunset.png", "-r", "other.png"), "no checkpoint")
