"""What the studio costs beside its networks: `python -m benchmarks.studio [CHECKPOINT]`.

A real `stylecolor studio`, driven by a browser (Debian's Chromium) as a person drives it, and by clients of its REST endpoint.

1. Start: from the process to the page, to the networks being there, and from opening the page to its button, once they are.
2. Clicks: from the click to the picture being shown, for the first picture of a new page and for later ones, beside the networks' own time:
   `ExemplarColorizer.colorize` of the same picture and reference in a process of its own, which nothing else uses then. Then a change
   of the strength, against a whole colorization of another target.
3. Load: 200 requests by 8 clients at once. The memory is the process's peak so far.

Without a checkpoint the networks have full width and random weights.
"""

import argparse
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from shutil import which

import numpy as np
import requests
from playwright.sync_api import Browser, Page, expect, sync_playwright
from rich.console import Console
from rich.table import Table
from skimage import data as samples

from benchmarks.colorize import load_pictures, make_networks, save
from stylecolor.pictures.files import Picture

ROUNDS = 5
REQUESTS, CLIENTS, FIRST_REQUESTS = 200, 8, 10
STRENGTHS = (0.8, 0.6, 0.4, 0.2, 0.5)
TARGETS = ("chelsea", "rocket", "coffee", "camera", "cat", "moon")
PATIENCE = 120_000
"""ms. What nothing here takes."""
MIB = 2**20
OWN_TIME = """
import statistics, sys, time
from stylecolor import ExemplarColorizer
from pathlib import Path
read = ExemplarColorizer.from_pretrained if Path(sys.argv[1]).is_dir() else ExemplarColorizer.from_checkpoint
colorizer = read(sys.argv[1])
times = []
for _ in range(6):
    start = time.perf_counter()
    colorizer.colorize(sys.argv[2], sys.argv[3])
    times.append(time.perf_counter() - start)
print(times[0], statistics.median(times[1:]))
"""
"""Seconds of the first colorization of a process and of later ones."""


WATCH_RESULT = """() => {
    const address = () => document.querySelector("#result img:last-of-type")?.src;
    const before = address();
    let begin;
    for (const event of ["pointerdown", "keydown"])
        document.addEventListener(event, () => begin ??= performance.now(), {capture: true, once: true});
    window.shown = new Promise(resolve => {
        const look = () => {
            const image = document.querySelector("#result img:last-of-type");
            if (image && image.src !== before && image.complete && image.naturalWidth) resolve(performance.now() - begin);
            else requestAnimationFrame(look);
        };
        look();
    });
}"""
"""Notes when another result is shown, and how long ago the first act of a person was then."""


@dataclass
class Studio:
    """A running one."""

    process: subprocess.Popen[str]
    url: str
    started: float
    """When the process was, by `time.perf_counter`."""

    @property
    def peak_memory(self) -> float:
        """MiB so far."""
        found = re.search(r"VmHWM:\s+(\d+)", Path(f"/proc/{self.process.pid}/status").read_text())
        assert found is not None
        return int(found[1]) / 1024


@contextmanager
def running_studio(checkpoint: Path, directory: Path) -> Iterator[Studio]:
    """As a person starts it, on any free port."""
    command = [sys.executable, "-m", "stylecolor.cli", "studio", "--port", "0", "--checkpoint", str(checkpoint)]
    started = time.perf_counter()
    process = subprocess.Popen(command, cwd=directory, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        lines = iter(process.stdout.readline, "")
        url = next(found[1] for line in lines if (found := re.match(r"studio: (\S+)", line)))
        yield Studio(process, url.rstrip("/"), started)
    finally:
        process.terminate()
        process.wait()


def save_random(folder: Path) -> Path:
    """Networks of full width that nobody trained."""
    networks = make_networks(load_pictures(None, 8))
    save(networks, folder)
    return folder / "networks"


def as_rgb(pixels: np.ndarray) -> np.ndarray:
    """Grey photographs, too, as three equal channels."""
    return pixels if pixels.ndim == 3 else np.repeat(pixels[..., None], 3, axis=2)


def own_times(checkpoint: Path, folder: Path) -> tuple[float, float]:
    """Seconds that the networks and painting take, the first time in a process and later."""
    command = [sys.executable, "-c", OWN_TIME, checkpoint, folder / f"{TARGETS[0]}.jpg", folder / "reference.jpg"]
    first, later = map(float, subprocess.run(command, capture_output=True, check=True, text=True).stdout.split())
    return first, later


def measure_start(studio: Studio, browser: Browser) -> Table:
    """Part 1."""
    table = Table("from", "to", "s", title="start")
    page = browser.new_page()
    page.goto(studio.url)
    expect(page.locator("#colorize")).to_be_visible(timeout=PATIENCE)
    table.add_row("the process", "the page", f"{time.perf_counter() - studio.started:.2f}")
    # filled in once the networks are there
    page.locator("#more-settings button").first.click()
    expect(page.locator("#matching input")).not_to_have_value("", timeout=PATIENCE)
    table.add_row("the process", "the networks", f"{time.perf_counter() - studio.started:.2f}")
    page.close()
    times = []
    for _ in range(ROUNDS):
        page = browser.new_page()
        start = time.perf_counter()
        page.goto(studio.url)
        page.locator("#colorize").click()
        # its answer: the page works
        expect(page.locator("#status .refused")).to_be_visible(timeout=PATIENCE)
        times.append(time.perf_counter() - start)
        page.close()
    table.add_row("opening the page", "the answer to a click", f"{statistics.median(times):.2f}")
    return table


def measure_clicks(studio: Studio, browser: Browser, folder: Path, own: tuple[float, float]) -> Table:
    """Part 2."""
    table = Table("from the click to the picture", "s", "of which the networks alone, s", title="clicks")
    first, later, changes = [], [], []
    for index in range(ROUNDS):
        page = browser.new_page()
        page.goto(studio.url)
        for target, times in ((TARGETS[0], first), (TARGETS[1 + index % (len(TARGETS) - 1)], later)):
            upload(page, "target", folder / f"{target}.jpg")
            if times is first:
                upload(page, "references", folder / "reference.jpg")
            times.append(seconds_until_shown(page, page.locator("#colorize").click))
        strength = page.locator("#strength input[type=number]")
        for value in STRENGTHS:
            strength.fill(str(value))
            changes.append(seconds_until_shown(page, partial(strength.press, "Enter")))
        page.close()
    table.add_row("first of the studio", f"{first[0]:.2f}", f"{own[0]:.2f}")
    table.add_row("first of a page", f"{statistics.median(first[1:]):.2f}", f"{own[1]:.2f}")
    table.add_row("another target", f"{statistics.median(later):.2f}", f"{own[1]:.2f}")
    ratio = statistics.median(changes) / statistics.median(later)
    table.add_row("another strength", f"{statistics.median(changes):.2f}", f"{ratio:.2f} of another target's whole time")
    return table


def upload(page: Page, place: str, path: Path) -> None:
    """Until the studio has taken it."""
    page.locator(f"#{place} input[type=file]").set_input_files(path)
    expect(page.locator(f"#{place} img[src*='/session-'][src$='/{path.stem}.jpg']")).to_be_visible(timeout=PATIENCE)


def seconds_until_shown(page: Page, act: Callable[[], object]) -> float:
    """From an act to the browser having painted the result that it leads to, by the browser's own clock."""
    page.evaluate(WATCH_RESULT)
    act()
    return page.evaluate("window.shown") / 1000


def measure_load(studio: Studio, folder: Path) -> Table:
    """Part 3."""
    table = Table("requests", "clients", "pictures/s", "peak memory, MiB", title="POST /api/colorize")
    reference = (folder / "reference.jpg").read_bytes()
    targets = [(folder / f"{name}.jpg").read_bytes() for name in TARGETS]

    def request(number: int) -> None:
        files = {"target": (f"{number}.jpg", targets[number % len(targets)]), "reference": ("reference.jpg", reference)}
        requests.post(f"{studio.url}/api/colorize", files=files, timeout=600).raise_for_status()

    # the networks are there once one is answered
    request(0)
    with ThreadPoolExecutor(CLIENTS) as clients:
        for first, last in ((0, FIRST_REQUESTS), (FIRST_REQUESTS, REQUESTS)):
            start = time.perf_counter()
            list(clients.map(request, range(first, last)))
            rate = (last - first) / (time.perf_counter() - start)
            table.add_row(str(last), str(CLIENTS), f"{rate:.2f}", f"{studio.peak_memory:.0f}")
    return table


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint", nargs="?", type=Path)
    arguments = parser.parse_args()
    chromium = which("chromium") or which("google-chrome")
    if chromium is None:
        sys.exit("error: there is no chromium on PATH; install it, such as by `apt-get install chromium`")
    console = Console(width=150)
    with tempfile.TemporaryDirectory() as name, sync_playwright() as playwright:
        folder = Path(name)
        for target in TARGETS:
            Picture(as_rgb(getattr(samples, target)())).save(folder / f"{target}.jpg")
        Picture(samples.astronaut()).save(folder / "reference.jpg")
        checkpoint = arguments.checkpoint.absolute() if arguments.checkpoint else save_random(folder)
        own = own_times(checkpoint, folder)
        browser = playwright.chromium.launch(executable_path=chromium)
        with running_studio(checkpoint, folder) as studio:
            console.print(measure_start(studio, browser))
            console.print(measure_clicks(studio, browser, folder, own))
        with running_studio(checkpoint, folder) as studio:
            console.print(measure_load(studio, folder))
        browser.close()


if __name__ == "__main__":
    main()
