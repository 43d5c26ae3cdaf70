"""References from the studio's own folder."""

import re
import shlex
import shutil
from pathlib import Path

import pytest
from playwright.sync_api import expect

from tests.stylecolor.commands.running import assert_done, run
from tests.stylecolor.studio.browser.studio_page import StudioPage


def test_the_most_similar_picture_comes_first_and_is_taken_by_a_click(
    page: StudioPage, photographs: Path, album: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    offered = page.element("folder").locator("button.thumbnail-item")
    expect(offered).to_have_count(len(list(album.iterdir())))
    expect(offered.first).to_contain_text("astronaut.jpg")
    page.upload_target(photographs / "cat.png")
    # the same photograph in colour
    expect(offered.first).to_have_accessible_name(re.compile(r"^cat\.jpg \(\d+%\)$"))
    offered.first.click()
    expect(page.preview("references", Path("cat.jpg"))).to_be_visible()
    page.colorize()
    saved = page.download(tmp_path)
    command = page.command()
    shutil.copytree(album, tmp_path / "own" / "album")
    shutil.copy(photographs / "cat.png", tmp_path / "own")
    monkeypatch.chdir(tmp_path / "own")
    program, *words = shlex.split(command)
    assert (program, *words[:4]) == ("stylecolor", "colorize", "cat.png", "--reference", "album/cat.jpg")
    assert_done(run(*words))
    assert Path(saved.name).read_bytes() == saved.read_bytes()
