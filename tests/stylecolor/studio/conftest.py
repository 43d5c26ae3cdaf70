"""The page, served."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from stylecolor.studio.config import StudioSettings
from tests.stylecolor.studio.page_client import PageClient, visiting
from tests.stylecolor.studio.served import Served, serving


@pytest.fixture(scope="module")
def served_page(joint_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A studio with tiny networks, for the tests of one part of the page."""
    with serving(StudioSettings(joint_checkpoint, max_megapixels=0.1), tmp_path_factory.mktemp("served_page")) as served:
        yield served


@pytest.fixture
def client(served_page: Served) -> Iterator[PageClient]:
    """The page of a visitor who comes for the first time."""
    with visiting(served_page) as client:
        yield client
