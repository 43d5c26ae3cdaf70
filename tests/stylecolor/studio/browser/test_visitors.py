"""Several visitors, those who change their mind, and those who leave."""

import os
import re
import signal
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from playwright.sync_api import Browser, Playwright, expect
from skimage.color import rgb2lab
from skimage.io import imread

from stylecolor.steps import PAINTING, PRECOLORING, READING_REFERENCE, READING_TARGET, REFINING, TRANSFERRING
from stylecolor.studio.config import StudioSettings
from stylecolor.studio.line import Ticket
from stylecolor.studio.requests import ColorizeRequest
from stylecolor.studio.sessions import Session
from stylecolor.studio.work import Report, Result
from tests.stylecolor.studio.browser.studio_page import StudioPage
from tests.stylecolor.studio.browser.test_layout import CONTRASTS, READABLE
from tests.stylecolor.studio.browser.visits import Visit, visits
from tests.stylecolor.studio.served import LONGEST, Served, serving, wait_until

COMPUTED = {READING_REFERENCE, READING_TARGET, PRECOLORING, TRANSFERRING, REFINING}


@pytest.fixture(scope="module")
def served(chromium_path: str, joint_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A studio that tests reach into, to hold its line up and to look after what it keeps."""
    with serving(StudioSettings(checkpoint=joint_checkpoint), tmp_path_factory.mktemp("served")) as served:
        yield served


@pytest.fixture
def visit_served(request: pytest.FixtureRequest, browser: Browser, served: Served) -> Iterator[Visit]:
    with visits(browser, served.url, request.node.name) as visit:
        yield visit


def lightness(path: Path) -> np.ndarray:
    pixels = imread(path)
    return rgb2lab(pixels if pixels.ndim == 3 else np.repeat(pixels[..., None], 3, axis=2))[..., 0]


def holds(root: Path, name: str) -> bool:
    """Whether a file of this name is anywhere in a directory."""
    return any(root.rglob(name))


def test_two_visitors_at_once_get_their_own_results(visit: Visit, photographs: Path, tmp_path: Path) -> None:
    names = ("grey.png", "cat.png")
    pages = [visit(), visit()]
    for page, name in zip(pages, names, strict=True):
        page.upload_target(photographs / name)
        page.upload_references(photographs / "coffee.jpg")
    for page in pages:
        page.colorize_button.click()
    for page, name in zip(pages, names, strict=True):
        page.wait_for_result()
        saved = page.download(tmp_path)
        assert saved.stem == f"{Path(name).stem}_colorized"
        assert np.abs(lightness(saved) - lightness(photographs / name)).max() < 0.5


def test_a_second_click_cancels(visit_served: Visit, served: Served, photographs: Path) -> None:
    page = visit_served(reduced_motion="reduce")
    page.upload_target(photographs / "grey.png")
    with served.studio.line.turn(Ticket(), lambda ahead: None):
        page.colorize_button.click()
        expect(page.status).to_contain_text("Waiting, 1 ahead")
        expect(page.colorize_button).to_have_text("Cancel")
        assert dict(page.tab.evaluate(CONTRASTS))["Cancel"] >= READABLE
        page.colorize_button.click()
        expect(page.status).to_contain_text("Cancelled.")
        expect(page.colorize_button).to_have_text("Colorize")
        wait_until(lambda: not served.studio.line.waiting)
    expect(page.result).to_be_hidden()
    page.colorize()


def test_a_slider_computes_only_what_depends_on_it(
    visit_served: Visit, served: Served, photographs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    colorize, said, seen = served.studio.colorize, set[str](), threading.Event()

    def listen(request: ColorizeRequest, session: Session, report: Report, *others: Any) -> Result:
        def note(fraction: float, step: str) -> None:
            said.add(step)
            report(fraction, step)
            # of the steps that come at once a page shows the last one
            assert step != TRANSFERRING or seen.wait(LONGEST)

        return colorize(request, session, note, *others)

    monkeypatch.setattr(served.studio, "colorize", listen)
    page = visit_served()
    page.upload_target(photographs / "grey.png")
    page.upload_references(photographs / "coffee.jpg")
    page.colorize_button.click()
    expect(page.status).to_contain_text(TRANSFERRING.capitalize())
    seen.set()
    page.wait_for_result()
    assert said >= COMPUTED
    for name in ("strength", "saturation"):
        said.clear()
        before = page.result_source()
        page.set_number(name, 0.5)
        page.wait_for_result(unlike=before)
        assert PAINTING in said
        assert not said & COMPUTED
    assert "--strength 0.5 --saturation 0.5" in page.command()


def test_what_a_visitor_brought_goes_with_them(visit_served: Visit, served: Served, photographs: Path, tmp_path: Path) -> None:
    page, other = visit_served(), visit_served()
    for one, name in ((page, "cat.png"), (other, "grey.png")):
        one.upload_target(photographs / name)
        # of the same bytes and name, which Gradio keeps once
        one.upload_references(photographs / "coffee.jpg")
        one.colorize()
    served.studio.sessions.sweep(left=0)
    assert holds(served.root, "cat.png")
    assert holds(served.root, "cat_colorized.png")
    page.tab.close()

    def is_gone() -> bool:
        served.studio.sessions.sweep(left=0, untaken=0)
        return not holds(served.root, "cat*")

    wait_until(is_gone)
    assert holds(served.root, "coffee.jpg")
    before = other.result_source()
    other.set_number("strength", 0.5)
    other.wait_for_result(unlike=before)
    other.download(tmp_path)


@pytest.fixture
def own_browser(chromium_path: str, tmp_path: Path) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """A browser that may be killed, and the address by which it is driven."""
    command = [chromium_path, "--headless", "--no-sandbox", "--remote-debugging-port=0", f"--user-data-dir={tmp_path / 'profile'}"]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True, start_new_session=True)
    try:
        assert process.stderr is not None
        address = next(found[1] for line in process.stderr if (found := re.search(r"DevTools listening on (\S+)", line)))
        yield process, address
    finally:
        # with all that it has started
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def test_the_studio_goes_on_when_a_browser_is_killed_at_work(
    visit_served: Visit, served: Served, playwright: Playwright, own_browser: tuple[subprocess.Popen[str], str], photographs: Path
) -> None:
    process, address = own_browser
    browser = playwright.chromium.connect_over_cdp(address)
    page = StudioPage(browser.new_page(), served.url)
    page.open()
    page.upload_target(photographs / "cat.png")
    with served.studio.line.turn(Ticket(), lambda ahead: None):
        page.colorize_button.click()
        expect(page.status).to_contain_text("Waiting, 1 ahead")
        os.killpg(process.pid, signal.SIGKILL)
        # its place is given up
        wait_until(lambda: not served.studio.line.waiting)

    def is_gone() -> bool:
        served.studio.sessions.sweep(left=0, untaken=0)
        return not holds(served.root, "cat.png")

    wait_until(is_gone)
    other = visit_served()
    other.upload_target(photographs / "grey.png")
    other.colorize()
