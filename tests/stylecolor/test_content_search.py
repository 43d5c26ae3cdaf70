import logging
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from stylecolor import content_search
from stylecolor.content_search import ContentIndex
from tests.data import photograph


class Describer:
    """Grey values of a shrunken picture, and a record of what was read."""

    def __init__(self) -> None:
        self.read: list[str] = []
        self.before: Callable[[], object] = lambda: None

    def __call__(self, path: Path) -> np.ndarray:
        self.before()
        self.read.append(path.name)
        with Image.open(path) as picture:
            grey = np.asarray(picture.convert("L").resize((6, 6)), dtype=np.float32).flatten()
        return grey / np.linalg.norm(grey)


def read_features(path: Path) -> np.ndarray:
    """For pictures that hold nothing but their own features."""
    return np.frombuffer(path.read_bytes(), dtype=np.float32)


@pytest.fixture
def describe() -> Describer:
    return Describer()


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "cache"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, seed in (("b.png", 1), ("a.JPG", 2), ("below/c.png", 3), ("below/further/d.png", 4), ("e.png", 5)):
        path = tmp_path / "pictures" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        photograph(seed, 0).save(path)
    return tmp_path / "pictures"


def write_features(folder: Path, features: np.ndarray, seed: int = 0) -> list[str]:
    """One file a row, whose names do not sort as the rows do."""
    names = [f"{number:06}.png" for number in np.random.default_rng(seed).permutation(len(features))]
    folder.mkdir()
    for name, row in zip(names, features, strict=True):
        (folder / name).write_bytes(row.tobytes())
    return names


def normalize(rows: np.ndarray) -> np.ndarray:
    return (rows / np.linalg.norm(rows, axis=-1, keepdims=True)).astype(np.float32)


def nearest_by_hand(names: list[str], features: np.ndarray, query: np.ndarray, count: int) -> list[tuple[str, float]]:
    similarities = [float((row.astype(np.float64) * query.astype(np.float64)).sum()) for row in features]
    return sorted(zip(names, similarities, strict=True), key=lambda found: (-found[1], found[0]))[:count]


def found_names(index: ContentIndex, found: list[tuple[Path, float]]) -> list[str]:
    return [path.relative_to(index.folder).as_posix() for path, _ in found]


def test_the_picture_with_the_nearest_content_is_found(folder: Path, cache: Path, describe: Describer, tmp_path: Path) -> None:
    index = ContentIndex.build(folder, describe, "test", cache)
    assert index.names == ["a.JPG", "b.png", "below/c.png", "below/further/d.png", "e.png"]
    photograph(4, 0).convert("L").point(lambda value: 30 + value / 2).save(tmp_path / "grey.png")
    ((path, similarity),) = index.nearest(describe(tmp_path / "grey.png"))
    assert path == folder / "below/further/d.png"
    assert 0.95 < similarity < 1


@pytest.mark.parametrize("count", [1, 7, 300, 1000])
def test_equals_brute_force(tmp_path: Path, cache: Path, count: int) -> None:
    random = np.random.default_rng(0)
    features, queries = normalize(random.normal(size=(300, 512))), normalize(random.normal(size=(5, 512)))
    names = write_features(tmp_path / "pictures", features)
    index = ContentIndex.build(tmp_path / "pictures", read_features, "test", cache)
    for query in queries:
        found = index.nearest(query, count)
        expected = nearest_by_hand(names, features, query, count)
        assert found_names(index, found) == [name for name, _ in expected]
        np.testing.assert_allclose([similarity for _, similarity in found], [similarity for _, similarity in expected], rtol=1e-12)


@pytest.mark.parametrize("count", [1, 3, 60, 200])
def test_equally_similar_ones_come_by_name(tmp_path: Path, cache: Path, count: int) -> None:
    random = np.random.default_rng(1)
    features = np.abs(random.normal(size=(400, 515)))
    # more copies than there are spare candidates, and others whose similarity float32 cannot tell from theirs
    features[50:350] = features[7]
    features[100:120] *= 1 + 1e-7 * random.normal(size=(20, 515))
    features = normalize(features)
    names = write_features(tmp_path / "pictures", features)
    index = ContentIndex.build(tmp_path / "pictures", read_features, "test", cache)
    query = normalize(features[7] + 0.01 * random.normal(size=515))
    assert found_names(index, index.nearest(query, count)) == [name for name, _ in nearest_by_hand(names, features, query, count)]


def test_the_target_itself_is_not_found_under_any_name(folder: Path, cache: Path, describe: Describer) -> None:
    (folder / "link.png").symlink_to(folder / "b.png")
    (folder / "hard_link.png").hardlink_to(folder / "b.png")
    shutil.copyfile(folder / "b.png", folder / "copy.png")
    index = ContentIndex.build(folder, describe, "test", cache)
    query = describe(folder / "b.png")
    assert found_names(index, index.nearest(query, 4)) == ["b.png", "copy.png", "hard_link.png", "link.png"]
    others = found_names(index, index.nearest(query, 9, exclude=folder / "below" / ".." / "b.png"))
    assert others[0] == "copy.png"
    assert set(others) == {"a.JPG", "below/c.png", "below/further/d.png", "copy.png", "e.png"}


def test_many_names_of_the_target_hide_no_other_picture(tmp_path: Path, cache: Path) -> None:
    features = normalize(np.random.default_rng(0).normal(size=(100, 16)))
    names = write_features(tmp_path / "pictures", features)
    for number in range(33):
        (tmp_path / "pictures" / f"link{number}.png").hardlink_to(tmp_path / "pictures" / names[0])
    index = ContentIndex.build(tmp_path / "pictures", read_features, "test", cache)
    found = index.nearest(features[0], 3, exclude=tmp_path / "pictures" / names[0])
    assert found_names(index, found) == [name for name, _ in nearest_by_hand(names[1:], features[1:], features[0], 3)]


def test_a_folder_of_the_target_alone_is_refused(tmp_path: Path, cache: Path, describe: Describer) -> None:
    path = tmp_path / "pictures" / "target.png"
    path.parent.mkdir()
    photograph(0, 0).save(path)
    index = ContentIndex.build(path.parent, describe, "test", cache)
    with pytest.raises(ValueError, match=r"--match-from .*pictures: holds no picture but .*target\.png itself; put others beside it"):
        index.nearest(describe(path), exclude=path)


def test_asking_for_none_is_refused(folder: Path, cache: Path, describe: Describer) -> None:
    index = ContentIndex.build(folder, describe, "test", cache)
    with pytest.raises(ValueError, match="count=0 must be at least 1"):
        index.nearest(describe(folder / "b.png"), 0)


def test_only_new_and_changed_pictures_are_described_again(folder: Path, cache: Path, describe: Describer) -> None:
    first = ContentIndex.build(folder, describe, "test", cache)
    assert sorted(describe.read) == ["a.JPG", "b.png", "c.png", "d.png", "e.png"]
    describe.read.clear()
    query = describe(folder / "b.png")
    describe.read.clear()
    again = ContentIndex.build(folder, describe, "test", cache)
    assert describe.read == []
    assert again.nearest(query, 5) == first.nearest(query, 5)
    photograph(9, 1).save(folder / "new.png")
    photograph(8, 2).save(folder / "below" / "c.png")
    os.utime(folder / "e.png", ns=(0, 10**18))
    (folder / "a.JPG").unlink()
    changed = ContentIndex.build(folder, describe, "test", cache)
    assert sorted(describe.read) == ["c.png", "e.png", "new.png"]
    assert changed.names == ["b.png", "below/c.png", "below/further/d.png", "e.png", "new.png"]
    assert changed.nearest(describe(folder / "new.png"))[0][0] == folder / "new.png"
    assert changed.nearest(query, 5) != first.nearest(query, 5)


def test_another_encoder_describes_anew_and_keeps_the_others_index(folder: Path, cache: Path, describe: Describer) -> None:
    for identity, described in (("first", 5), ("second", 5), ("first", 0), ("second", 0)):
        describe.read.clear()
        ContentIndex.build(folder, describe, identity, cache)
        assert len(describe.read) == described


def test_a_folder_is_known_by_any_of_its_paths(
    folder: Path, cache: Path, describe: Describer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ContentIndex.build(folder, describe, "test", cache)
    query = describe(folder / "b.png")
    describe.read.clear()
    (tmp_path / "link").symlink_to(folder)
    monkeypatch.chdir(folder)
    for path in (tmp_path / "link", Path("."), f"{folder}/below/.."):
        index = ContentIndex.build(path, describe, "test", cache)
        assert index.nearest(query)[0][0] == Path(path) / "b.png"
    assert describe.read == []


def test_the_index_is_kept_in_the_cache_directory(
    folder: Path, describe: Describer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STYLECOLOR_CACHE", str(tmp_path / "own"))
    ContentIndex.build(folder, describe, "test")
    assert [path.suffix for path in sorted((tmp_path / "own" / "content").iterdir())] == [".lock", ".safetensors"]


def test_a_cache_that_cannot_be_written_is_read(folder: Path, cache: Path, describe: Describer) -> None:
    ContentIndex.build(folder, describe, "test", cache)
    for path in cache.glob("*.lock"):
        path.unlink()
    # to make the directory read-only would not stop the administrator
    before = sorted(cache.iterdir())
    ContentIndex.build(folder, describe, "test", cache)
    assert sorted(cache.iterdir()) == before


def test_a_cache_that_cannot_be_used_is_named_with_the_remedy(folder: Path, describe: Describer, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ValueError, match=r"--match-from: the cache cannot be used \(.*file.*\); make room, .* with STYLECOLOR_CACHE"):
        ContentIndex.build(folder, describe, "test", tmp_path / "file" / "cache")


def test_an_interrupted_call_keeps_what_it_has_described(folder: Path, cache: Path, describe: Describer) -> None:
    def interrupt() -> None:
        if len(describe.read) == 3:
            raise KeyboardInterrupt

    describe.before = interrupt
    with pytest.raises(KeyboardInterrupt):
        ContentIndex.build(folder, describe, "test", cache)
    describe.before = lambda: None
    describe.read.clear()
    assert len(ContentIndex.build(folder, describe, "test", cache)) == 5
    assert describe.read == ["d.png", "e.png"]


BUILD = """
import logging, os, sys
from pathlib import Path
from stylecolor import content_search
from tests.stylecolor.test_content_search import Describer

logging.basicConfig(level=logging.INFO)
content_search._SAVE_EVERY = 2
describe = Describer()
describe.before = lambda: {before}
content_search.ContentIndex.build(Path(sys.argv[1]), describe, "test", Path(sys.argv[2]))
print(len(describe.read))
"""


@pytest.mark.skipif(sys.platform == "win32", reason="there is no SIGKILL")
def test_a_killed_process_leaves_all_but_the_last_pictures(folder: Path, cache: Path, describe: Describer) -> None:
    kill = "os.kill(os.getpid(), 9) if len(describe.read) == 3 else None"
    command = [sys.executable, "-c", BUILD.format(before=kill), str(folder), str(cache)]
    assert subprocess.run(command, check=False, capture_output=True).returncode == -signal.SIGKILL
    assert len(ContentIndex.build(folder, describe, "test", cache)) == 5
    assert describe.read == ["c.png", "d.png", "e.png"]


def test_a_second_process_waits_for_the_first_one(folder: Path, cache: Path) -> None:
    hold = "(print('holds', flush=True), input()) if not describe.read else None"
    command = [sys.executable, "-c", BUILD.format(before=hold), str(folder), str(cache)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, **pipes) as first:
        assert first.stdout is not None
        assert first.stdout.readline() == "holds\n"
        with subprocess.Popen(command, **pipes) as second:
            assert second.stderr is not None
            # one that does not wait ends, and with it these lines
            assert any("waiting for it" in line for line in second.stderr)
            assert first.communicate("\n", timeout=30)[0] == "5\n"
            assert second.communicate(timeout=30)[0] == "0\n"


@pytest.mark.parametrize("damage", ["truncated", "empty", "garbage", "of another folder", "not a number"])
def test_a_damaged_cache_is_made_anew_with_a_warning(
    folder: Path, cache: Path, describe: Describer, caplog: pytest.LogCaptureFixture, damage: str
) -> None:
    first = ContentIndex.build(folder, describe, "test", cache)
    (path,) = cache.glob("*.safetensors")
    contents = path.read_bytes()
    damaged = {
        "truncated": contents[: len(contents) // 2],
        "empty": b"",
        "garbage": bytes(range(256)) * 20,
        "of another folder": contents.replace(str(folder).encode(), str(folder)[::-1].encode()),
        "not a number": contents.replace(describe(folder / "a.JPG").tobytes(), np.full(36, np.nan, dtype=np.float32).tobytes()),
    }[damage]
    assert damaged != contents
    path.write_bytes(damaged)
    query = describe(folder / "b.png")
    describe.read.clear()
    again = ContentIndex.build(folder, describe, "test", cache)
    assert len(describe.read) == 5
    assert again.nearest(query, 5) == first.nearest(query, 5)
    ((_, level, message),) = caplog.record_tuples
    assert level == logging.WARNING
    assert str(path) in message
    assert "is damaged" in message
    assert path.read_bytes() == contents


def test_a_picture_that_cannot_be_read_is_left_out_with_one_warning(
    folder: Path, cache: Path, describe: Describer, caplog: pytest.LogCaptureFixture
) -> None:
    (folder / "below" / "corrupt.jpg").write_bytes((folder / "a.JPG").read_bytes()[:40])
    (folder / "nowhere.png").symlink_to("not_there.png")
    (folder / ".hidden.png").write_bytes(b"")
    (folder / "notes.txt").write_text("no picture")
    index = ContentIndex.build(folder, describe, "test", cache)
    assert len(index) == 5
    warnings = sorted(record.getMessage() for record in caplog.records if record.levelno == logging.WARNING)
    assert len(warnings) == 2
    assert warnings[0] == f"{folder / 'nowhere.png'} is left out as a reference: No such file or directory"
    assert warnings[1].startswith("below/corrupt.jpg is left out as a reference: ")
    shutil.copyfile(folder / "e.png", folder / "below" / "corrupt.jpg")
    assert len(ContentIndex.build(folder, describe, "test", cache)) == 6


def test_links_to_pictures_count_and_links_to_folders_are_not_followed(
    folder: Path, cache: Path, describe: Describer, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    photograph(11, 1).save(tmp_path / "outside.png")
    (folder / "link.png").symlink_to(tmp_path / "outside.png")
    (folder / "below" / "circle").symlink_to(folder)
    index = ContentIndex.build(folder, describe, "test", cache)
    assert len(index) == 6
    assert index.nearest(describe(tmp_path / "outside.png"))[0][0] == folder / "link.png"
    assert [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING] == [
        f"{folder / 'below' / 'circle'} is a link to a folder, and is not searched for references"
    ]


def test_names_of_any_bytes_are_kept(folder: Path, cache: Path, describe: Describer) -> None:
    name = os.fsdecode('Größe, "x"\n'.encode() + b"\xff.png")
    try:
        shutil.copyfile(folder / "b.png", folder / name)
    except OSError:
        pytest.skip("this file system takes no such name")
    (folder / "b.png").unlink()
    index = ContentIndex.build(folder, describe, "test", cache)
    query = describe(folder / name)
    describe.read.clear()
    assert ContentIndex.build(folder, describe, "test", cache).nearest(query) == index.nearest(query)
    assert index.nearest(query)[0][0] == folder / name
    assert describe.read == []


def test_a_missing_folder_is_named(tmp_path: Path, describe: Describer, cache: Path) -> None:
    with pytest.raises(ValueError, match=r"--match-from .*none: no such folder"):
        ContentIndex.build(tmp_path / "none", describe, "test", cache)


def test_a_folder_without_pictures_is_refused(tmp_path: Path, describe: Describer, cache: Path) -> None:
    (tmp_path / "notes.txt").write_text("")
    with pytest.raises(ValueError, match=r"--match-from .*: holds no picture; pictures are files that end in .*\.jpg"):
        ContentIndex.build(tmp_path, describe, "test", cache)


def test_a_folder_of_unreadable_pictures_is_refused(tmp_path: Path, describe: Describer, cache: Path) -> None:
    for name in ("a.png", "b.jpg"):
        (tmp_path / name).write_bytes(b"")
    with pytest.raises(ValueError, match=r"--match-from .*: none of its 2 pictures can be read"):
        ContentIndex.build(tmp_path, describe, "test", cache)


def test_saves_become_rarer_as_the_index_grows(tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(content_search, "_SAVE_EVERY", 4)
    known: list[int] = []
    write = content_search._Cached._write

    def record(self: content_search._Cached, described: dict[str, content_search._Description]) -> None:
        known.append(len(described))
        write(self, described)

    monkeypatch.setattr(content_search._Cached, "_write", record)
    write_features(tmp_path / "pictures", normalize(np.random.default_rng(0).normal(size=(300, 8))))
    ContentIndex.build(tmp_path / "pictures", read_features, "test", cache)
    steps = np.diff([0, *known])
    assert known[-1] == 300
    assert steps[0] == 4
    assert steps[:-1].max() == 300 // 16
