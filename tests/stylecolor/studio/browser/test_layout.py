"""Small screens, dark rooms, and people without a mouse."""

from pathlib import Path

import pytest
from playwright.sync_api import ViewportSize, expect

from tests.stylecolor.studio.browser.studio_page import StudioPage
from tests.stylecolor.studio.browser.visits import PHONE, Visit

READABLE = 4.5
"""Contrast of text, by WCAG 2.1's level AA (success criterion 1.4.3)."""
CONTRASTS = """() => {
    const canvas = document.createElement("canvas").getContext("2d", {willReadFrequently: true});
    const rgba = color => {
        canvas.clearRect(0, 0, 1, 1);
        canvas.fillStyle = color;
        canvas.fillRect(0, 0, 1, 1);
        return [...canvas.getImageData(0, 0, 1, 1).data];
    };
    const luminance = color => {
        const [r, g, b] = color.map(value => value / 255).map(v => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
        return 0.2126 * r + 0.7152 * g + 0.0722 * b;
    };
    const background = element => {
        for (let one = element; one; one = one.parentElement) {
            const color = rgba(getComputedStyle(one).backgroundColor);
            if (color[3] === 255) return color;
        }
        return [255, 255, 255, 255];
    };
    const found = [];
    const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
    while (walker.nextNode()) {
        const element = walker.currentNode.parentElement;
        const text = walker.currentNode.textContent.trim();
        if (!/[\\p{L}\\d]/u.test(text) || element.closest(":disabled, script, style")) continue;
        if (!element.checkVisibility({opacityProperty: true, visibilityProperty: true})) continue;
        const [light, dark] = [rgba(getComputedStyle(element).color), background(element)].map(luminance).sort((a, b) => b - a);
        found.push([text, (light + 0.05) / (dark + 0.05)]);
    }
    return found;
}"""
"""Each visible text with its contrast to what it stands on; what cannot be used may be fainter."""


def assert_fits(page: StudioPage) -> None:
    """Nothing has to be scrolled sideways."""
    widths = page.tab.evaluate("[document.documentElement.scrollWidth, document.documentElement.clientWidth]")
    assert widths[0] <= widths[1]


def test_a_phone_shows_everything_in_its_width(visit: Visit, photographs: Path) -> None:
    page = visit(**PHONE)
    assert_fits(page)
    page.upload_target(photographs / "grey.png")
    page.upload_references(photographs / "coffee.jpg")
    expect(page.colorize_button).to_be_in_viewport()
    page.colorize()
    expect(page.status).to_be_in_viewport()
    assert_fits(page)
    page.command()
    assert_fits(page)
    # the bar with the button covers nothing at the page's end
    end, bar = page.tab.evaluate("""() => {
        window.scrollTo({top: document.body.scrollHeight, behavior: "instant"});
        return [document.querySelector("#folder-panel").getBoundingClientRect().bottom,
            document.querySelector("#colorize").closest(".action").getBoundingClientRect().top];
    }""")
    assert end <= bar
    for name in ("Colour hints", "Regions", "Stylize", "Clip", "Colorize"):
        page.choose_tab(name)
        assert_fits(page)
    page.choose_tab("Result")


@pytest.mark.parametrize(("width", "height"), [(844, 390), (900, 1200)])
def test_screens_of_a_middling_width_have_one_column(visit: Visit, photographs: Path, width: int, height: int) -> None:
    page = visit(viewport=ViewportSize(width=width, height=height))
    page.upload_target(photographs / "grey.png")
    shown = page.element("target-large").bounding_box()
    assert shown is not None
    assert shown["width"] > 0.9 * width
    page.choose_tab("Regions")
    assert_fits(page)


@pytest.mark.parametrize("scheme", ["dark", "light"])
def test_texts_are_readable_in_the_colours_that_the_visitor_likes(visit: Visit, photographs: Path, scheme: str) -> None:
    # colours that change slowly are between two
    page = visit(color_scheme=scheme, reduced_motion="reduce")
    page.upload_target(photographs / "grey.png")
    page.upload_references(photographs / "coffee.jpg")
    page.colorize()
    is_dark = page.tab.evaluate("getComputedStyle(document.body).backgroundColor.match(/\\d+/g).slice(0, 3).every(value => value < 64)")
    assert is_dark == (scheme == "dark")
    contrasts = page.tab.evaluate(CONTRASTS)
    assert contrasts
    assert not [(text, round(contrast, 1)) for text, contrast in contrasts if contrast < READABLE]


def focus_by_tab(page: StudioPage, name: str, kind: str = "*") -> None:
    """Press Tab until something inside an element has the focus."""
    for _ in range(60):
        page.tab.keyboard.press("Tab")
        if page.tab.evaluate("([name, kind]) => document.activeElement.matches(`#${name} ${kind}, ${kind}#${name}`)", [name, kind]):
            return
    pytest.fail(f"Tab does not lead to #{name} {kind}")


def test_the_keyboard_is_enough(page: StudioPage, photographs: Path) -> None:
    for name, file in (("target", "grey.png"), ("references", "coffee.jpg")):
        focus_by_tab(page, name)
        with page.tab.expect_file_chooser() as chooser:
            page.tab.keyboard.press("Enter")
        chooser.value.set_files(photographs / file)
        expect(page.preview(name, photographs / file)).to_be_visible()
    focus_by_tab(page, "references", "button")
    with page.tab.expect_file_chooser():
        page.tab.keyboard.press("Enter")
    focus_by_tab(page, "references", ".delete-button")
    expect(page.element("references").locator(".delete-button")).to_have_css("opacity", "1")
    focus_by_tab(page, "colorize")
    page.tab.keyboard.press("Enter")
    page.wait_for_result()
    before = page.result_source()
    focus_by_tab(page, "strength", "input[type=range]")
    page.tab.keyboard.press("ArrowLeft")
    page.wait_for_result(unlike=before)
    assert "--strength 0.95" in page.command()


def test_every_picture_and_field_has_a_name(page: StudioPage, photographs: Path) -> None:
    page.upload_target(photographs / "grey.png")
    page.upload_references(photographs / "coffee.jpg")
    page.colorize()
    for index, text in enumerate(("The photograph before", "The photograph colorized")):
        expect(page.element("result").locator("img").nth(index)).to_have_attribute("alt", text)
    nameless = page.tab.evaluate("""() => [...document.querySelectorAll("img, button, input, textarea, select")]
        .filter(element => element.checkVisibility() && !element.closest("[aria-hidden=true]"))
        .filter(element => !(element.alt || element.ariaLabel || element.labels?.length || element.innerText?.trim() || element.title
            || element.getAttribute("aria-labelledby")))
        .map(element => element.outerHTML.slice(0, 200))""")
    assert not nameless
    assert page.tab.locator("button button[tabindex='0']").count() == 0
    expect(page.element("references").locator("button.thumbnail-item")).to_have_accessible_name("coffee.jpg")
