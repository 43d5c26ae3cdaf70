"""One studio and one browser for all tests here; without a browser they are skipped.

The variable STUDIO_CHECKPOINT names other networks than tiny random ones, for screenshots that are worth looking at.
"""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image
from playwright.sync_api import Browser, Playwright, expect, sync_playwright
from skimage import data as samples

from tests.stylecolor.studio.browser.studio_page import StudioPage
from tests.stylecolor.studio.browser.studio_process import StudioProcess
from tests.stylecolor.studio.browser.visits import LONGEST, Visit, visits

CHROMIUM = ("chromium", "chromium-browser", "google-chrome")
MAX_MEGAPIXELS = 4
"""What the studio takes, so that a small file can be too large."""
ALBUM = {"astronaut.jpg": samples.astronaut, "cat.jpg": samples.chelsea, "coffee.jpg": samples.coffee, "rocket.jpg": samples.rocket}
"""The pictures that the studio offers as references."""


@pytest.fixture(scope="package")
def chromium_path() -> str:
    """The browser of this machine."""
    found = next(filter(None, map(shutil.which, CHROMIUM)), None)
    if found is None:
        pytest.skip(f"none of {', '.join(CHROMIUM)} is on PATH; install a browser, such as by `apt-get install chromium`")
    return found


@pytest.fixture(scope="package")
def playwright() -> Iterator[Playwright]:
    """Ends with these tests, as its event loop would be in the way of others that have their own."""
    expect.set_options(timeout=LONGEST)
    with sync_playwright() as playwright:
        yield playwright


@pytest.fixture(scope="package")
def browser(chromium_path: str, playwright: Playwright) -> Iterator[Browser]:
    browser = playwright.chromium.launch(executable_path=chromium_path)
    yield browser
    browser.close()


@pytest.fixture(scope="package")
def studio_directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The studio's working directory."""
    return tmp_path_factory.mktemp("studio")


@pytest.fixture(scope="package")
def album(studio_directory: Path) -> Path:
    """The folder that the studio offers references from: the pictures of `ALBUM`."""
    folder = studio_directory / "album"
    folder.mkdir()
    for name, photograph in ALBUM.items():
        Image.fromarray(photograph()).save(folder / name, quality=92)
    return folder


@pytest.fixture(scope="package")
def photographs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What visitors bring: grey.png, cat.png, the latter the cat of `ALBUM` without its colours, and coffee.jpg and sky.webp in colour."""
    folder = tmp_path_factory.mktemp("photographs")
    Image.fromarray(samples.camera()[40:340, 60:460]).save(folder / "grey.png")
    Image.fromarray(samples.chelsea()).convert("L").save(folder / "cat.png")
    Image.fromarray(samples.coffee()).save(folder / "coffee.jpg", quality=92)
    Image.fromarray(samples.rocket()).save(folder / "sky.webp")
    return folder


@pytest.fixture(scope="package")
def checkpoint(joint_checkpoint: Path) -> Path:
    """What the studio works with."""
    return Path(os.environ.get("STUDIO_CHECKPOINT", joint_checkpoint)).resolve()


@pytest.fixture(scope="package")
def studio(chromium_path: str, studio_directory: Path, album: Path, checkpoint: Path) -> Iterator[StudioProcess]:
    """Started once a browser is known to be there."""
    settings = ("--checkpoint", checkpoint, "--references", album.name, "--max-megapixels", MAX_MEGAPIXELS)
    with StudioProcess(studio_directory, *settings) as studio:
        yield studio
        # of whatever visitors did, nothing broke it
        assert studio.output == f"studio: {studio.url}"


@pytest.fixture
def visit(request: pytest.FixtureRequest, browser: Browser, studio: StudioProcess) -> Iterator[Visit]:
    """Opens the page for somebody who has never been here; see `visits`."""
    with visits(browser, studio.url, request.node.name) as visit:
        yield visit


@pytest.fixture
def page(visit: Visit) -> StudioPage:
    """The page of a visitor with a large screen."""
    return visit()
