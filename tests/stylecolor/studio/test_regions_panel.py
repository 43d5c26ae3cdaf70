import shlex
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from stylecolor.pictures import labels as label_files
from stylecolor.pictures.labels import read_label_map
from stylecolor.studio.label_maps import BRUSHES
from stylecolor.studio.previews import one_at_a_time
from stylecolor.studio.visitor import VisitorState
from tests.stylecolor.commands.running import assert_done, run, save_photograph
from tests.stylecolor.studio.page_client import PageClient

COLORS = [(*bytes.fromhex(color[1:]), 255) for color in BRUSHES.values()]
MESSAGE = "regions-message"


def state(page: PageClient) -> VisitorState:
    return page.served.studio.sessions.get(page.session_hash).visitor


@pytest.fixture
def photographs(tmp_path: Path) -> Path:
    """grey.png and colour.png, of different sizes."""
    save_photograph(tmp_path / "grey.png", 3)
    with Image.open(save_photograph(tmp_path / "colour.png", 4)) as picture:
        picture.resize((90, 70)).save(tmp_path / "colour.png")
    return tmp_path


@pytest.fixture
def page(client: PageClient, photographs: Path) -> PageClient:
    """With a target and a reference."""
    client.upload("target", photographs / "grey.png")
    add_reference(client, photographs / "colour.png")
    assert not client.errors
    assert "Paint both pictures" in client[MESSAGE]["value"]
    return client


def add_reference(page: PageClient, *paths: Path) -> None:
    page.use("references", "change", [{"image": page.file(path), "caption": None} for path in paths])


def size_of(value: dict[str, Any], page: PageClient) -> tuple[int, int]:
    with Image.open(BytesIO(page.read(value["background"]))) as background:
        return background.height, background.width


def paint(page: PageClient, folder: Path, side: str, *brushes: int) -> None:
    """Stripes from left to right, as wide as each other, of these brushes, counted from 0; -1 is nothing."""
    editor = page[f"regions-{side}"]
    height, width = size_of(editor["value"], page)
    pixels = np.zeros((height, width, 4), dtype=np.uint8)
    for index, brush in enumerate(brushes):
        if brush >= 0:
            pixels[:, width * index // len(brushes) : width * (index + 1) // len(brushes)] = COLORS[brush]
    Image.fromarray(pixels).save(folder / "layer_0.png")
    editor["value"] = {**editor["value"], "layers": [page.file(folder / "layer_0.png")]}


def test_regions_are_painted_and_shown_to_correspond(page: PageClient, tmp_path: Path) -> None:
    paint(page, tmp_path, "target", 0, 0, 1, -1)
    paint(page, tmp_path, "reference", 1, 2)
    page.use("regions-use", "click")
    assert not page.errors
    visitor = state(page)
    assert visitor.target_labels is not None
    assert visitor.reference_labels is not None
    assert visitor.target_size is not None
    target = read_label_map(visitor.target_labels, visitor.target_size)
    reference = read_label_map(visitor.reference_labels, (70, 90))
    assert set(np.unique(target)) == {1, 2, 255}
    assert [reference[0, 10], reference[0, 80]] == [2, 3]
    rows = page["regions-table"]["value"]["data"]
    assert rows[0][:3] == ["1 (orange)", "50.0%", "0.0%"]
    assert [row[0] for row in rows if row[3] == "yes"] == ["2 (sky blue)"]
    assert [row[3] for row in rows if row[0] != "2 (sky blue)"] == ["no: only in the target", "no: only in the reference"]
    assert "1 of 3 labels matched." in page[MESSAGE]["value"]


def test_the_overlays_show_the_same_label_in_the_same_colour(page: PageClient, tmp_path: Path) -> None:
    paint(page, tmp_path, "target", 1, -1)
    paint(page, tmp_path, "reference", -1, 1)
    page.use("regions-use", "click")
    overlays = [
        np.asarray(Image.open(BytesIO(page.read(page[f"regions-{side}-shown"]["value"])))).astype(float) for side in ("target", "reference")
    ]
    blue = np.array(COLORS[1][:3])
    for overlay, there, elsewhere in ((overlays[0], 0.1, 0.9), (overlays[1], 0.9, 0.1)):
        distances = [np.abs(overlay[2:-2, int(share * overlay.shape[1])] - blue).mean() for share in (there, elsewhere)]
        assert distances[0] < distances[1]
    assert page["regions-target-shown"]["alt_text"] == "The photograph with the 1 labels of its regions in colours"


def test_one_side_alone_is_not_taken(page: PageClient, tmp_path: Path) -> None:
    paint(page, tmp_path, "target", 0)
    page.use("regions-use", "click")
    assert "the reference has no labels" in page[MESSAGE]["value"]
    assert (state(page).target_labels, state(page).reference_labels) == (None, None)


def test_label_maps_are_uploaded(page: PageClient, tmp_path: Path) -> None:
    height, width = state(page).target_size or (0, 0)
    Image.fromarray(np.full((height, width), 40, dtype=np.uint8)).save(tmp_path / "mine.png")
    Image.fromarray(np.full((70, 90), 40, dtype=np.uint8)).save(tmp_path / "other.png")
    page.upload("regions-target-upload", tmp_path / "mine.png")
    page.upload("regions-reference-upload", tmp_path / "other.png")
    assert not page.errors
    visitor = state(page)
    assert [path.name for path in (visitor.target_labels, visitor.reference_labels) if path is not None] == ["mine.png", "other.png"]
    assert page["regions-table"]["value"]["data"] == [["40", "100.0%", "100.0%", "yes"]]


def test_label_maps_are_read_one_at_a_time(page: PageClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    alone: list[bool] = []

    def read(path: Path, size: tuple[int, int], max_pixels: int) -> np.ndarray:
        alone.append(one_at_a_time.locked())
        return read_label_map(path, size, max_pixels)

    monkeypatch.setattr(label_files, "read_label_map", read)
    Image.fromarray(np.full(state(page).target_size or (0, 0), 40, dtype=np.uint8)).save(tmp_path / "mine.png")
    page.upload("regions-target-upload", tmp_path / "mine.png")
    assert not page.errors
    assert alone == [True, True]


def test_label_maps_keep_their_names(page: PageClient, tmp_path: Path) -> None:
    Image.fromarray(np.full(state(page).target_size or (0, 0), 40, dtype=np.uint8)).save(tmp_path / "my $1 {map}.png")
    page.upload("regions-target-upload", tmp_path / "my $1 {map}.png")
    assert page["regions-target-save"]["value"]["orig_name"] == "my $1 {map}.png"


def test_the_command_names_label_maps_as_the_visitor_does(page: PageClient, tmp_path: Path) -> None:
    # longer than the studio keeps names
    name = f"{'x' * 230}.png"
    for side, size in (("target", state(page).target_size or (0, 0)), ("reference", (70, 90))):
        Image.fromarray(np.full(size, 40, dtype=np.uint8)).save(tmp_path / name)
        page.upload(f"regions-{side}-upload", tmp_path / name)
    page.use("colorize", "click")
    words = shlex.split(page["command"]["value"])
    first = words.index("--labels") + 1
    assert words[first : first + 2] == [name, f"reference_{name}"]


def test_regions_are_compared_at_the_size_that_is_chosen(page: PageClient, tmp_path: Path) -> None:
    for side, size in (("target", state(page).target_size or (0, 0)), ("reference", (70, 90))):
        pixels = np.full(size, 1, dtype=np.uint8)
        pixels[0, 0] = 2
        Image.fromarray(pixels).save(tmp_path / f"{side}.png")
        page.upload(f"regions-{side}-upload", tmp_path / f"{side}.png")
        page["size"]["value"] = 512
    assert page["regions-table"]["value"]["data"][1][3] == "yes"
    assert "2 of 2 labels matched." in page[MESSAGE]["value"]
    page.use("size", "input", 128)
    assert page["regions-table"]["value"]["data"][1][3].startswith("no: too small")
    assert "1 of 2 labels matched." in page[MESSAGE]["value"]
    page["size"]["value"] = 10_000_000
    page.use("regions-use", "click")
    assert page.warnings == ["size=10000000 is outside 16..1024"]
    page.use("size", "input", 10_000_001)
    assert page.warnings[1:] == ["size=10000001 is outside 16..1024"]
    assert not page.errors


def test_what_is_replaced_is_removed(page: PageClient, photographs: Path) -> None:
    directory = page.served.studio.sessions.get(page.session_hash).directory

    def go_round() -> int:
        page.upload("target", photographs / "grey.png")
        add_reference(page, photographs / "colour.png")
        Image.fromarray(np.full((70, 90), 40, dtype=np.uint8)).save(photographs / "other.png")
        page.upload("regions-reference-upload", photographs / "other.png")
        for brush in (0, 1):
            paint(page, photographs, "target", brush, -1)
            for _ in range(2):
                page.use("regions-use", "click")
                assert not page.errors
        for name in ("shown", "save"):
            assert page.read(page[f"regions-target-{name}"]["value"])
        return sum(not (home / "points.jpg").exists() for home in directory.iterdir())

    assert go_round() == go_round()
    page.use("regions-clear", "click")
    assert not any(directory.rglob("*labels.png"))
    assert not any(directory.rglob("other.png"))


def test_paint_lies_above_an_uploaded_map(page: PageClient, tmp_path: Path) -> None:
    height, width = state(page).target_size or (0, 0)
    Image.fromarray(np.full((height, width), 40, dtype=np.uint8)).save(tmp_path / "mine.png")
    page.upload("regions-target-upload", tmp_path / "mine.png")
    paint(page, tmp_path, "target", 0, -1)
    paint(page, tmp_path, "reference", 0)
    page.use("regions-use", "click")
    visitor = state(page)
    assert visitor.target_labels is not None
    labels = read_label_map(visitor.target_labels, (height, width))
    assert [labels[0, 0], labels[0, -1]] == [1, 40]


def test_the_two_maps_never_have_the_same_name(page: PageClient, tmp_path: Path) -> None:
    height, width = state(page).target_size or (0, 0)
    for side, size in (("target", (height, width)), ("reference", (70, 90))):
        Image.fromarray(np.full(size, 40, dtype=np.uint8)).save(tmp_path / "labels.png")
        page.upload(f"regions-{side}-upload", tmp_path / "labels.png")
    names = {path.name for path in (state(page).target_labels, state(page).reference_labels) if path is not None}
    assert len(names) == 2


@pytest.mark.parametrize(
    ("mode", "size", "reason"),
    [("L", (10, 10), "label map mine.png: has 10 x 10 px, its picture"), ("RGB", None, "label map mine.png: has pixels of mode RGB")],
)
def test_a_map_that_does_not_fit_is_refused(page: PageClient, tmp_path: Path, mode: str, size: tuple[int, int] | None, reason: str) -> None:
    height, width = state(page).target_size or (0, 0)
    Image.new(mode, size or (width, height)).save(tmp_path / "mine.png")
    page.upload("regions-target-upload", tmp_path / "mine.png")
    assert page.warnings[0].startswith(reason)
    # for as long as one looks
    assert page[MESSAGE]["value"].startswith(f'<p role="alert" class="refused">{reason}')


def test_a_painting_that_claims_another_size_is_refused_unread(page: PageClient, tmp_path: Path) -> None:
    Image.new("RGBA", (3000, 3000)).save(tmp_path / "layer_0.png")
    # so that decoding it would be told of
    (tmp_path / "layer_0.png").write_bytes((tmp_path / "layer_0.png").read_bytes()[:60])
    page["regions-target"]["value"] = {**page["regions-target"]["value"], "layers": [page.file(tmp_path / "layer_0.png")]}
    page.use("regions-use", "click")
    assert "the painting has 3000 x 3000 px" in page[MESSAGE]["value"]


def test_regions_need_one_reference(client: PageClient, photographs: Path) -> None:
    client.upload("target", photographs / "grey.png")
    assert "Add a reference" in client[MESSAGE]["value"]
    add_reference(client, photographs / "colour.png", photographs / "grey.png")
    assert "Regions are matched with one reference; there are 2." in client[MESSAGE]["value"]


def test_only_what_there_is_can_be_painted(client: PageClient, photographs: Path) -> None:
    def painted(side: str) -> bool:
        """Whether there is something to paint on."""
        return client[f"regions-{side}-side"]["visible"]

    assert (painted("target"), painted("reference")) == (False, False)
    client.upload("target", photographs / "grey.png")
    add_reference(client, photographs / "colour.png")
    assert (painted("target"), painted("reference")) == (True, True)
    add_reference(client, photographs / "colour.png", photographs / "grey.png")
    assert (painted("target"), painted("reference")) == (True, False)


@pytest.mark.parametrize("change", ["target", "references", "clear"])
def test_label_maps_go_with_their_pictures(page: PageClient, photographs: Path, change: str) -> None:
    paint(page, photographs, "target", 0)
    paint(page, photographs, "reference", 0)
    page.use("regions-use", "click")
    assert state(page).target_labels is not None
    if change == "target":
        page.upload("target", photographs / "colour.png")
    elif change == "references":
        add_reference(page, photographs / "grey.png")
    else:
        page.use("regions-clear", "click")
        assert page["regions-target"]["value"]["layers"] == []
    assert (state(page).target_labels, state(page).reference_labels) == (None, None)
    assert page["regions-target-shown"]["value"] is None


def test_the_command_makes_the_same_from_the_saved_maps(
    page: PageClient, photographs: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    paint(page, tmp_path, "target", 0, 1)
    paint(page, tmp_path, "reference", 1, 0)
    page.use("regions-use", "click")
    page.use("colorize", "click")
    result = state(page).result
    assert result is not None
    for side in ("target", "reference"):
        saved = page[f"regions-{side}-save"]["value"]
        (photographs / saved["orig_name"]).write_bytes(page.read(saved))
    monkeypatch.chdir(photographs)
    program, *arguments = shlex.split(result.command)
    assert "--labels" in arguments
    assert program == "stylecolor"
    assert_done(run(*arguments))
    matched = result.path.read_bytes()
    assert Path(result.path.name).read_bytes() == matched
    # and the maps matter
    page.use("regions-clear", "click")
    without = state(page).result
    assert without is not None
    assert without.path.read_bytes() != matched
