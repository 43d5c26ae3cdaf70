"""Examples, regions, and the tabs beside the colorize tab."""

import shlex
import shutil
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import APIResponse, Locator, Route, expect

from stylecolor.studio.label_maps import BRUSHES, label_name
from tests.data import regions
from tests.stylecolor.commands.running import assert_done, run
from tests.stylecolor.films import make_film, pan
from tests.stylecolor.studio.browser.studio_page import StudioPage
from tests.stylecolor.studio.served import wait_until


def run_copied(command: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In this process, where the visitor's files are."""
    monkeypatch.chdir(folder)
    program, *words = shlex.split(command)
    assert program == "stylecolor"
    assert_done(run(*words))


def test_an_example_is_colorized_in_two_clicks(page: StudioPage) -> None:
    page.element("examples").locator("button.thumbnail-item").first.click()
    expect(page.element("target").locator("img")).to_be_visible()
    expect(page.element("references").locator("img")).to_be_visible()
    page.colorize()


def test_regions_are_matched_by_label_maps(page: StudioPage, photographs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own = Path(shutil.copytree(photographs, tmp_path / "own"))
    for name, photograph in (("target", "grey.png"), ("reference", "coffee.jpg")):
        with Image.open(photographs / photograph) as picture:
            Image.fromarray(regions(7, picture.width, picture.height, (1, 2, 255))).save(own / f"{name}.png")
    page.upload_target(photographs / "grey.png")
    page.upload_references(photographs / "coffee.jpg")
    page.choose_tab("Regions")
    for name in ("target", "reference"):
        page.upload_by_button(f"regions-{name}-upload", own / f"{name}.png")
        expect(page.element(f"regions-{name}-shown").locator("img")).to_be_visible()
    expect(page.element("regions-message")).to_contain_text("2 of 2 labels matched.")
    page.choose_tab("Result")
    page.colorize()
    command = page.command()
    assert "--labels target.png reference.png" in command
    saved = page.download(tmp_path)
    run_copied(command, own, monkeypatch)
    assert (own / saved.name).read_bytes() == saved.read_bytes()


def look(canvas: Locator) -> np.ndarray:
    """What is seen of it."""
    return np.asarray(Image.open(BytesIO(canvas.screenshot())).convert("RGB")).astype(int)


def paint(page: StudioPage, name: str) -> None:
    """A stroke across a picture."""
    canvas = page.element(name).locator("canvas").first
    canvas.scroll_into_view_if_needed()
    # as a person does, who sees the picture before painting on it, and then the stroke
    wait_until(lambda: look(canvas).std() > 20)
    before = look(canvas)
    box = canvas.bounding_box()
    assert box is not None
    mouse = page.tab.mouse
    mouse.move(box["x"] + 0.3 * box["width"], box["y"] + 0.5 * box["height"])
    mouse.down()
    mouse.move(box["x"] + 0.6 * box["width"], box["y"] + 0.55 * box["height"], steps=8)
    mouse.up()
    wait_until(lambda: np.abs(look(canvas) - before).max() > 50)


def test_regions_are_painted(page: StudioPage, photographs: Path, tmp_path: Path) -> None:
    page.upload_target(photographs / "grey.png")
    page.upload_references(photographs / "coffee.jpg")
    page.choose_tab("Regions")
    for name in ("regions-target", "regions-reference"):
        paint(page, name)
    editor = page.element("regions-reference")
    editor.get_by_role("button", name="Color", exact=True).click()
    for label in range(1, len(BRUSHES) + 1):
        expect(editor.get_by_role("button", name=label_name(label), exact=True)).to_be_visible()
    editor.get_by_role("button", name="Color", exact=True).click()
    page.element("regions-use").click()
    expect(page.element("regions-message")).to_contain_text("1 of 1 label matched.")
    labels = np.asarray(Image.open(page.download(tmp_path, "regions-target-save")))
    assert labels.shape == (300, 400)
    assert len(np.unique(labels)) == 2


def test_a_photograph_is_stylized(page: StudioPage, photographs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page.choose_tab("Stylize")
    for name, photograph in (("stylize-photo", "sky.webp"), ("stylize-reference", "coffee.jpg")):
        page.upload(name, photographs / photograph)
        expect(page.preview(name, photographs / photograph)).to_be_visible()
    expect(page.element("stylize-status")).to_contain_text("Press Stylize.")
    page.element("stylize").click()
    expect(page.element("stylize-result").locator("img")).to_have_count(2)
    saved = page.download(tmp_path, "stylize-download")
    command = page.command("stylize-command")
    shutil.copytree(photographs, tmp_path / "own")
    run_copied(command, tmp_path / "own", monkeypatch)
    assert (tmp_path / "own" / saved.name).read_bytes() == saved.read_bytes()


def test_a_clip_is_colorized(page: StudioPage, photographs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own = Path(shutil.copytree(photographs, tmp_path / "own"))
    make_film(own / "film.mp4", pan(frames=4))
    page.choose_tab("Clip")
    page.upload("clip", own / "film.mp4")
    page.upload("clip-reference", photographs / "coffee.jpg")
    expect(page.preview("clip-reference", photographs / "coffee.jpg")).to_be_visible()
    expect(page.element("clip-status")).to_contain_text("Press Colorize.")
    page.element("clip-colorize").click()
    expect(page.element("clip-result").locator("video")).to_be_visible()
    saved = page.download(tmp_path, "clip-download")
    assert saved.name == "film_colorized.mp4"
    run_copied(page.command("clip-command"), own, monkeypatch)
    assert (own / saved.name).read_bytes() == saved.read_bytes()


@pytest.mark.parametrize(
    ("tab", "name", "source", "advice"),
    [("Clip", "clip", "clip", "Press Colorize."), ("Stylize", "stylize", "stylize-photo", "Press Stylize.")],
)
def test_the_answers_to_two_drops_come_in_any_order(
    page: StudioPage, photographs: Path, tmp_path: Path, tab: str, name: str, source: str, advice: str
) -> None:
    make_film(tmp_path / "film.mp4", pan(frames=4))
    dropped = tmp_path / "film.mp4" if tab == "Clip" else photographs / "sky.webp"
    late: list[tuple[Route, APIResponse]] = []

    def hold_the_first(route: Route) -> None:
        if late or dropped.name not in (route.request.post_data or ""):
            route.continue_()
        else:
            late.append((route, route.fetch()))
            page.tab.evaluate("window.held = true")

    # by it the page learns what the answer that comes belongs to
    page.tab.route("**/queue/join*", hold_the_first)
    page.choose_tab(tab)
    page.upload(source, dropped)
    page.tab.wait_for_function("window.held")
    page.upload(f"{name}-reference", photographs / "coffee.jpg")
    expect(page.preview(f"{name}-reference", photographs / "coffee.jpg")).to_be_visible()
    ((route, answer),) = late
    route.fulfill(response=answer)
    expect(page.element(source).locator("[src*='/session-'], [href*='/session-']")).to_be_visible()
    expect(page.element(f"{name}-status")).to_contain_text(advice)
