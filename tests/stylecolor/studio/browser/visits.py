"""Visitors of the studio: each has a browser's memory of their own."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Protocol

from playwright.sync_api import Browser, ViewportSize

import stylecolor
from tests.stylecolor.studio import served
from tests.stylecolor.studio.browser.studio_page import StudioPage

DESKTOP = ViewportSize(width=1280, height=900)
PHONE: dict[str, Any] = {"viewport": ViewportSize(width=390, height=844), "is_mobile": True, "has_touch": True}
LONGEST = 1000 * served.LONGEST
"""ms."""
SCREENSHOTS = Path(stylecolor.__file__).resolve().parents[1] / "build" / "studio"


class Visit(Protocol):
    """Opens the page, ready to work, in a context with these options of Playwright."""

    def __call__(self, **options: Any) -> StudioPage: ...


@contextmanager
def visits(browser: Browser, url: str, test: str) -> Iterator[Visit]:
    """The visitors of one test. At its end, what their pages look like is kept, and they must have asked nobody but the studio.

    Args:
        browser: to visit with.
        url: of the studio.
        test: its name, which the screenshots get; those of the second visitor and later ones have a number.
    """
    pages: list[StudioPage] = []
    with ExitStack() as contexts:

        def visit(**options: Any) -> StudioPage:
            context = browser.new_context(**{"viewport": DESKTOP, "locale": "en-GB", **options})
            contexts.callback(context.close)
            context.set_default_timeout(LONGEST)
            page = StudioPage(context.new_page(), url)
            pages.append(page)
            page.open()
            return page

        try:
            yield visit
        finally:
            for number, page in enumerate(pages, start=1):
                if not page.tab.is_closed():
                    page.screenshot(SCREENSHOTS / f"{test.removeprefix('test_')}{f'_{number}' * (number > 1)}.png")
    for page in pages:
        page.assert_well_behaved()
