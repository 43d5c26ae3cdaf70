"""From a photograph and a reference to a result, and from a result to another one."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
from playwright.sync_api import expect
from skimage.io import imread

from tests.stylecolor.studio.browser.studio_page import StudioPage


def run_copied(command: str, folder: Path) -> None:
    """In a shell, where the visitor's files are."""
    path = os.pathsep.join((str(Path(sys.executable).parent), os.environ["PATH"]))
    finished = subprocess.run(
        command, shell=True, cwd=folder, env={**os.environ, "PATH": path, "OMP_NUM_THREADS": "1"}, capture_output=True, text=True
    )
    assert finished.returncode == 0, finished.stderr


def test_a_picture_takes_the_colours_of_another_one(page: StudioPage, photographs: Path, tmp_path: Path) -> None:
    page.upload_target(photographs / "grey.png")
    page.upload_references(photographs / "coffee.jpg")
    page.colorize()
    expect(page.element("result").locator("img")).to_have_count(2)
    saved = page.download(tmp_path)
    assert saved.name == "grey_colorized.png"
    result, target = imread(saved), imread(photographs / "grey.png")
    assert result.shape == (*target.shape, 3)
    assert np.ptp(result.astype(int), axis=2).mean() > 3, "no colours"
    page.open_panel("steps-panel")
    for step in ("precolored", "coarse", "mask"):
        expect(page.element(f"step-{step}").locator("img")).to_be_visible()


def test_the_result_is_that_of_the_copied_command(page: StudioPage, photographs: Path, album: Path, tmp_path: Path) -> None:
    page.upload_target(photographs / "grey.png")
    page.upload_references(photographs / "coffee.jpg", photographs / "sky.webp")
    page.set_number("weight-1", 3)
    page.set_number("strength", 0.7)
    page.set_number("saturation", 1.5)
    page.colorize()
    saved = page.download(tmp_path)
    shutil.copytree(photographs, tmp_path / "own")
    run_copied(page.command(), tmp_path / "own")
    assert (tmp_path / "own" / saved.name).read_bytes() == saved.read_bytes()


def test_an_empty_field_is_told_beside_the_button(page: StudioPage, photographs: Path) -> None:
    page.upload_target(photographs / "grey.png")
    page.colorize()
    field = page.element("saturation").locator("input[type=number]")
    field.fill("")
    expect(page.status).to_have_text("saturation is empty; write a number in 0..10")
    expect(page.message).to_have_count(0)
    before = page.result_source()
    field.fill("0.5")
    page.wait_for_result(unlike=before)


def test_files_may_come_in_any_order_and_at_once(page: StudioPage, photographs: Path) -> None:
    page.upload("references", photographs / "coffee.jpg")
    page.upload("target", photographs / "grey.png")
    for name, file in (("references", "coffee.jpg"), ("target", "grey.png")):
        expect(page.preview(name, photographs / file)).to_be_visible()
    page.colorize()
