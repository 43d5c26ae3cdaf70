"""Files that the studio cannot use."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import expect

from tests.stylecolor.studio.browser.conftest import MAX_MEGAPIXELS
from tests.stylecolor.studio.browser.studio_page import StudioPage

LARGE = (MAX_MEGAPIXELS * 1000, 1001)


def write_text(path: Path) -> None:
    path.write_text("no picture")


def write_truncated(path: Path) -> None:
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (100, 100), np.uint8)).save(path)
    path.write_bytes(path.read_bytes()[:5000])


def write_large(path: Path) -> None:
    """Of few bytes, and more pixels than the studio takes."""
    Image.new("L", LARGE).save(path)


TOO_LARGE = f"its {LARGE[0]} x {LARGE[1]} px are more than the {MAX_MEGAPIXELS} megapixels"


@pytest.mark.parametrize(
    ("place", "write", "reason"),
    [("target", write_text, "is no picture of a format that is read"), ("references", write_truncated, "is damaged or truncated")],
    ids=["target", "references"],
)
def test_a_file_is_refused_in_a_line_and_the_page_goes_on(
    page: StudioPage, photographs: Path, tmp_path: Path, place: str, write: Callable[[Path], None], reason: str
) -> None:
    page.upload_target(photographs / "grey.png")
    for name, write_file, expected in (("scan.png", write, reason), ("large.png", write_large, TOO_LARGE)):
        write_file(tmp_path / name)
        page.upload(place, tmp_path / name)
        message = page.message.filter(has_text=f"{name}: {expected}")
        expect(message).to_be_visible()
        assert str(tmp_path) not in message.inner_text()
        # which comes with what the page shows again
        expect(page.status).to_contain_text(f"{name}: {expected}")
    # what was there before them stays
    expect(page.preview("target", photographs / "grey.png")).to_be_visible()
    page.colorize()
