import logging
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from stylecolor.pictures import files
from stylecolor.pictures.files import Picture
from stylecolor.studio.config import StudioSettings
from stylecolor.studio.line import Ticket
from stylecolor.studio.model import StudioModel
from tests.stylecolor.commands.running import save_photograph
from tests.stylecolor.studio.served import LONGEST, wait_until


@pytest.fixture
def album(tmp_path: Path) -> Path:
    for seed in range(3):
        save_photograph(tmp_path / "album" / f"{seed}.png", seed)
    return tmp_path / "album"


@pytest.fixture
def load(joint_checkpoint: Path, album: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[], StudioModel]:
    """Networks that know nothing of the album yet."""
    monkeypatch.setenv("STYLECOLOR_CACHE", str(tmp_path / "cache"))

    def load() -> StudioModel:
        model = StudioModel(StudioSettings(joint_checkpoint, references=album))
        model.start()
        assert model.wait(LONGEST)
        return model

    return load


def test_the_most_similar_picture_comes_first(load: Callable[[], StudioModel], album: Path) -> None:
    model = load()
    model.index.start()
    wait_until(lambda: model.index.done)
    assert model.index.usable
    (path, similarity), *_ = model.index.rank(files.read_picture(album / "1.png"), 3)
    assert (path, similarity) == (album / "1.png", pytest.approx(1))


def test_it_ends_with_the_picture_at_hand_when_nobody_waits_any_more(
    load: Callable[[], StudioModel], monkeypatch: pytest.MonkeyPatch
) -> None:
    model = load()
    read: list[Path] = []
    reading, go_on = threading.Event(), threading.Event()
    read_picture = files.read_picture

    def wait(path: Path, max_pixels: int) -> Picture:
        read.append(path)
        reading.set()
        assert go_on.wait(LONGEST)
        return read_picture(path, max_pixels)

    cancelled = threading.Event()
    cancel = Ticket.cancel

    def tell(ticket: Ticket) -> None:
        cancel(ticket)
        cancelled.set()

    monkeypatch.setattr(files, "read_picture", wait)
    monkeypatch.setattr(Ticket, "cancel", tell)
    model.index.start()
    assert reading.wait(LONGEST)
    abandoning = threading.Thread(target=model.abandon)
    abandoning.start()
    assert cancelled.wait(LONGEST)
    go_on.set()
    abandoning.join(LONGEST)
    assert model.index.done
    assert len(read) == 1


def test_pictures_that_cannot_be_read_are_looked_at_once(
    load: Callable[[], StudioModel], album: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for path in album.iterdir():
        path.write_text("no picture")
    model = load()
    with caplog.at_level(logging.WARNING, "stylecolor.studio"):
        for _ in range(2):
            model.index.start()
            wait_until(lambda: model.index.done)
    assert not model.index.usable
    *left_out, last = [record.getMessage() for record in caplog.records]
    assert len(left_out) == 3
    assert last.startswith(f"--references {album}: none of its 3 pictures can be read")
