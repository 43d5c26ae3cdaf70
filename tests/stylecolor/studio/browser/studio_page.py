"""What a person does on the page, and sees there."""

import re
from pathlib import Path
from urllib.parse import urlsplit

from playwright.sync_api import Locator, Page, expect

OWN_SCHEMES = ("data", "blob")
DONE = re.compile(r"^\s*Done in ")


class StudioPage:
    """The studio in a tab of the browser.

    Args:
        tab: of the browser.
        url: of the studio.
    """

    def __init__(self, tab: Page, url: str) -> None:
        self.tab = tab
        self.url = url
        self.requests: list[str] = []
        """All that the tab asked for."""
        self.complaints: list[str] = []
        """What its console called errors."""
        tab.on("request", lambda request: self.requests.append(request.url))
        tab.on("websocket", lambda socket: self.requests.append(socket.url))
        tab.on("console", lambda message: self.complaints.append(f"{message.text} {message.location}") if message.type == "error" else None)
        # the browser hands over windows in which files are chosen from now on, and not some time after the first is waited for
        tab.on("filechooser", lambda chooser: None)
        tab.on("pageerror", lambda error: self.complaints.append(str(error)))

    def element(self, name: str) -> Locator:
        """By its id."""
        return self.tab.locator(f"#{name}")

    def open(self) -> None:
        """Wait until the page is there, be it before the networks."""
        self.tab.goto(self.url)
        expect(self.colorize_button).to_be_visible()

    def upload(self, name: str, *paths: Path) -> None:
        """Choose files for a place."""
        self.element(name).locator("input[type=file]").set_input_files(list(paths))

    def upload_by_button(self, name: str, path: Path) -> None:
        """Click, and choose a file in the window that opens."""
        with self.tab.expect_file_chooser() as chooser:
            self.element(name).click()
        chooser.value.set_files(path)

    def upload_target(self, path: Path) -> None:
        """Until the page shows it."""
        self.upload("target", path)
        expect(self.preview("target", path)).to_be_visible()

    def upload_references(self, *paths: Path) -> None:
        """Until the page shows them all."""
        self.upload("references", *paths)
        for path in paths:
            expect(self.preview("references", path)).to_be_visible()

    def preview(self, name: str, path: Path) -> Locator:
        """What the studio, which has taken a picture, shows of it."""
        return self.element(name).locator(f"img[src*='/session-'][src$='/{path.stem}.jpg']")

    @property
    def colorize_button(self) -> Locator:
        return self.element("colorize")

    @property
    def status(self) -> Locator:
        return self.element("status")

    @property
    def result(self) -> Locator:
        """The picture that was made."""
        return self.element("result").locator("img").last

    @property
    def message(self) -> Locator:
        """What the page says for a moment."""
        return self.tab.locator(".toast-body")

    def colorize(self) -> None:
        """Click, and wait for the first result."""
        self.colorize_button.click()
        self.wait_for_result()

    def result_source(self) -> str:
        """The address of the result that is shown."""
        source = self.result.get_attribute("src")
        assert source is not None
        return source

    def wait_for_result(self, unlike: str | None = None) -> None:
        """Until a result is shown whole, another one than that of this address."""
        if unlike is not None:
            expect(self.result).not_to_have_attribute("src", unlike)
        expect(self.result).to_be_visible()
        expect(self.status).to_have_text(DONE)
        expect(self.colorize_button).to_have_text("Colorize")
        self.wait_for_picture(self.result)

    def wait_for_picture(self, picture: Locator) -> None:
        """Until the browser has all of it."""
        self.tab.wait_for_function("image => image.complete && image.naturalWidth > 0", arg=picture.element_handle())

    def set_number(self, name: str, value: float) -> None:
        """Type into the field of a slider."""
        field = self.element(name).locator("input[type=number]")
        field.fill(str(value))
        field.press("Enter")

    def open_panel(self, name: str) -> None:
        """Unfold it."""
        self.element(name).get_by_role("button").first.click()

    def choose_tab(self, name: str) -> None:
        self.tab.get_by_role("tab", name=name, exact=True).click()

    def command(self, name: str = "command") -> str:
        """The command line of the result."""
        field = self.element(name).locator("textarea")
        if not field.is_visible():
            self.open_panel(f"{name}-panel")
        return field.input_value()

    def download(self, folder: Path, name: str = "download") -> Path:
        """Click on a button that saves a file.

        Returns:
            Its path in the folder, under the name that the browser is given.
        """
        with self.tab.expect_download() as download:
            self.element(name).click()
        path = folder / download.value.suggested_filename
        download.value.save_as(path)
        return path

    def screenshot(self, path: Path) -> None:
        """All of the page on a large screen; on a small one what is in sight, as a bar stays at its edge."""
        path.parent.mkdir(parents=True, exist_ok=True)
        size = self.tab.viewport_size
        self.tab.screenshot(path=path, full_page=size is not None and size["width"] > size["height"])

    def assert_well_behaved(self) -> None:
        """It asked nobody but the studio, and nothing in it broke."""
        own = urlsplit(self.url).netloc
        others = [url for url in self.requests if urlsplit(url).scheme not in OWN_SCHEMES and urlsplit(url).netloc != own]
        assert self.requests
        assert not others, others
        assert not self.complaints, self.complaints
        # Gradio loses answers that come while it closes its stream and opens another one
        assert sum(urlsplit(url).path.endswith("/queue/data") for url in self.requests) <= 1
