"""What a visitor sees before there are networks."""

import os
from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect

from stylecolor.fast_inference import PROBE_FILE
from tests.stages import make_colorizer_stage, save_checkpoint
from tests.stylecolor.studio.browser.studio_process import StudioProcess
from tests.stylecolor.studio.browser.visits import visits


def test_the_page_is_there_while_the_networks_are_loaded(
    request: pytest.FixtureRequest, browser: Browser, checkpoint: Path, photographs: Path, tmp_path: Path
) -> None:
    # loading looks here for what is known of the processor, and is held up
    probe = tmp_path / PROBE_FILE
    os.mkfifo(probe)
    studio = StudioProcess(tmp_path, "--checkpoint", checkpoint, environment={"STYLECOLOR_CACHE": str(tmp_path)})
    with studio, visits(browser, studio.url, request.node.name) as visit:
        page = visit()
        expect(page.element("heading")).to_contain_text("The networks are being loaded.")
        page.upload_target(photographs / "grey.png")
        page.colorize_button.click()
        expect(page.status).to_contain_text("Waiting for the networks")
        page.colorize_button.click()
        expect(page.status).to_contain_text("Cancelled.")
        page.colorize_button.click()
        expect(page.status).to_contain_text("Waiting for the networks")
        with probe.open("w") as pipe:
            pipe.write("{}")
        page.wait_for_result()
        expect(page.element("heading")).not_to_contain_text("The networks are being loaded.")


def test_without_networks_the_page_says_how_to_get_some(request: pytest.FixtureRequest, browser: Browser, tmp_path: Path) -> None:
    with StudioProcess(tmp_path) as studio, visits(browser, studio.url, request.node.name) as visit:
        page = visit()
        expect(page.element("networks")).to_contain_text("The studio has no networks yet.")
        for remedy in ("make demo", "stylecolor weights fetch siggraph17", "stylecolor studio --checkpoint FILE"):
            expect(page.element("networks").locator("code", has_text=remedy)).to_be_visible()
        for name, button in (("Colorize", "colorize"), ("Stylize", "stylize"), ("Clip", "clip-colorize")):
            page.choose_tab(name)
            expect(page.element(button)).to_be_disabled()


def test_what_networks_of_one_stage_cannot_do_is_switched_off(request: pytest.FixtureRequest, browser: Browser, tmp_path: Path) -> None:
    checkpoint = save_checkpoint(make_colorizer_stage(), tmp_path / "colorizer.ckpt")
    with StudioProcess(tmp_path, "--checkpoint", checkpoint) as studio, visits(browser, studio.url, request.node.name) as visit:
        page = visit()
        expect(page.element("networks")).to_contain_text("follow no reference")
        for name in ("Stylize", "Regions"):
            expect(page.tab.get_by_role("tab", name=name)).to_be_disabled()
        expect(page.element("references")).to_be_hidden()
        page.element("examples").locator("button.thumbnail-item").first.click()
        expect(page.status).to_contain_text("Press Colorize for the colours that the networks expect.")
        page.colorize()
