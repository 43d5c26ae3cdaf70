import errno
import multiprocessing
import os
import shutil
from collections import namedtuple
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from safetensors.numpy import load_file

from datamodules import cache
from datamodules.cache import Form, Prepared, prepare
from datamodules.config import DataConfig
from datamodules.facts import measure
from datamodules.labels import LabelFiles
from datamodules.pictures import Pictures, read_picture
from tests.data import photograph, regions
from tests.datamodules.modules import SIZE, files_below, list_pictures

FORM = Form(SIZE, "crop", "none", keep_pixels=True)


@pytest.fixture
def config(tmp_path: Path) -> DataConfig:
    return DataConfig(cache_dir=str(tmp_path / "cache"))


def write_pictures(directory: Path, count: int) -> Pictures:
    directory.mkdir(parents=True, exist_ok=True)
    for number in range(count):
        photograph(number, number, 40 + 4 * (number % 4), 36 + 4 * (number % 3)).save(directory / f"{number}.png")
    return list_pictures(directory, [f"{number}.png" for number in range(count)])


@pytest.fixture
def pictures(tmp_path: Path) -> Pictures:
    return write_pictures(tmp_path / "pictures", 6)


def with_labels(pictures: Pictures) -> Pictures:
    for number, path in enumerate(pictures.paths):
        (pictures.root / "labels").mkdir(exist_ok=True)
        width, height = Image.open(pictures.root / path).size
        Image.fromarray(regions(number, width, height, range(5))).save(pictures.root / "labels" / path)
    names = np.array([f"labels/{path}" for path in pictures.paths])
    return list_pictures(pictures.root, pictures.paths.tolist(), LabelFiles(pictures.root, names, void=()))


def assert_prepared(prepared: Prepared, pictures: Pictures, size: int = SIZE) -> None:
    """Every picture has the bytes and the facts of decoding it now."""
    assert prepared.readable.all()
    assert not prepared.problems
    descriptors = prepared.descriptors()
    for index in range(len(pictures)):
        labels = pictures.labels.read(index) if pictures.labels else None
        expected, expected_labels = read_picture(pictures.path(index), size, "crop", labels)
        found, found_labels = prepared.read(index)
        assert np.array_equal(found, expected)
        assert (found_labels is None) == (expected_labels is None)
        assert expected_labels is None or np.array_equal(found_labels, expected_labels)  # pyright: ignore[reportArgumentType]
        facts = measure(expected)
        assert np.array_equal(descriptors[index], facts.descriptor)
        assert np.array_equal(prepared.thumbnails[index], facts.thumbnail)
        assert prepared.color_ranges[index] == pytest.approx(facts.color_range)


def tables(config: DataConfig) -> list[Path]:
    return sorted(Path(str(config.cache_dir)).rglob("*.safetensors"))


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the pictures that are decoded in this process."""
    seen: list[str] = []
    whole = cache.read_picture

    def spy(path: Path, *arguments: Any) -> Any:
        seen.append(path.name)
        return whole(path, *arguments)

    monkeypatch.setattr(cache, "read_picture", spy)
    return seen


# --- what it holds ---


@pytest.mark.parametrize("keep_pixels", [True, False])
@pytest.mark.parametrize("labelled", [True, False])
def test_what_is_read_is_what_decoding_gives(pictures: Pictures, config: DataConfig, keep_pixels: bool, labelled: bool) -> None:
    pictures = with_labels(pictures) if labelled else pictures
    form = Form(SIZE, "crop", "classes" if labelled else "none", keep_pixels)
    for _ in range(2):
        assert_prepared(prepare(pictures, form, config, "train"), pictures)
    assert bool(list(Path(str(config.cache_dir)).rglob("*.pixels"))) == keep_pixels


def test_many_pictures_are_prepared_by_several_processes(tmp_path: Path, config: DataConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    pictures = write_pictures(tmp_path / "pictures", 14)
    monkeypatch.setattr(cache, "_IN_THIS_PROCESS", 4)
    monkeypatch.setattr(cache, "_SHARD_PICTURES", 5)
    monkeypatch.setattr(cache.os, "cpu_count", lambda: 2)
    assert_prepared(prepare(pictures, FORM, config, "train"), pictures)
    assert len(tables(config)) == 7, "four parts for each process, whose ends show the progress"


def test_a_part_of_what_is_prepared_keeps_its_rows(pictures: Pictures, config: DataConfig) -> None:
    chosen = np.array([4, 1])
    assert_prepared(prepare(pictures, FORM, config, "train")[chosen], pictures[chosen])


def test_workers_that_are_not_forked_can_read(pictures: Pictures, config: DataConfig) -> None:
    import pickle

    prepared = prepare(pictures, FORM, config, "train")
    prepared.read(0)
    again = pickle.loads(pickle.dumps(prepared))
    assert np.array_equal(again.read(3)[0], prepared.read(3)[0])
    assert len(pickle.dumps(prepared)) < 10_000, "the memory map is copied"


def test_unreadable_pictures_are_named_with_the_reason(pictures: Pictures, config: DataConfig) -> None:
    pictures.path(1).unlink()
    pictures.path(3).write_bytes(b"")
    pictures.path(4).write_text("no picture")
    for _ in range(2):
        prepared = prepare(pictures, FORM, config, "train")
        assert prepared.readable.tolist() == [True, False, True, False, False, True]
        assert list(prepared.problems) == ["1.png", "3.png", "4.png"]
        assert prepared.problems["1.png"] == "no such file"
        assert all(prepared.problems.values())


def test_a_picture_that_cannot_be_read_now_is_tried_again(pictures: Pictures, config: DataConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = cache.read_picture

    def fail(path: Path, *arguments: Any) -> Any:
        if path.name == "2.png":
            raise OSError(errno.EIO, "Input/output error")
        return whole(path, *arguments)

    monkeypatch.setattr(cache, "read_picture", fail)
    assert list(prepare(pictures, FORM, config, "train").problems) == ["2.png"]
    monkeypatch.setattr(cache, "read_picture", whole)
    assert_prepared(prepare(pictures, FORM, config, "train"), pictures)


# --- what is prepared again ---


def test_pictures_are_decoded_once(pictures: Pictures, config: DataConfig, reads: list[str]) -> None:
    prepare(pictures, FORM, config, "train")
    assert sorted(reads) == sorted(pictures.paths)
    prepare(pictures, FORM, config, "train")
    assert len(reads) == len(pictures)


def test_a_changed_picture_alone_is_prepared_again(pictures: Pictures, config: DataConfig, reads: list[str]) -> None:
    prepare(pictures, FORM, config, "train")
    reads.clear()
    photograph(77, 2, 52, 40).save(pictures.path(2))
    assert_prepared(prepare(pictures, FORM, config, "train"), pictures)
    assert reads == ["2.png"]


def test_a_picture_of_equal_size_and_another_time_is_prepared_again(pictures: Pictures, config: DataConfig, reads: list[str]) -> None:
    prepare(pictures, FORM, config, "train")
    reads.clear()
    status = pictures.path(5).stat()
    os.utime(pictures.path(5), ns=(status.st_atime_ns, status.st_mtime_ns + 1))
    assert_prepared(prepare(pictures, FORM, config, "train"), pictures)
    assert reads == ["5.png"]


def test_a_changed_label_map_alone_is_prepared_again(pictures: Pictures, config: DataConfig, reads: list[str]) -> None:
    pictures = with_labels(pictures)
    form = Form(SIZE, "crop", "classes", keep_pixels=True)
    prepare(pictures, form, config, "train")
    reads.clear()
    path = pictures.root / "labels" / "3.png"
    Image.fromarray(9 - np.asarray(Image.open(path))).save(path)
    os.utime(path, ns=(1, 1))
    assert_prepared(prepare(pictures, form, config, "train"), pictures)
    assert reads == ["3.png"]


def test_a_missing_label_map_is_a_problem_until_it_is_there(pictures: Pictures, config: DataConfig) -> None:
    pictures = with_labels(pictures)
    form = Form(SIZE, "crop", "classes", keep_pixels=True)
    path = pictures.root / "labels" / "3.png"
    contents = path.read_bytes()
    path.unlink()
    assert list(prepare(pictures, form, config, "train").problems) == ["3.png"]
    path.write_bytes(contents)
    assert_prepared(prepare(pictures, form, config, "train"), pictures)


def test_a_mended_picture_is_read_again(pictures: Pictures, config: DataConfig) -> None:
    contents = pictures.path(0).read_bytes()
    pictures.path(0).write_bytes(contents[:100])
    assert list(prepare(pictures, FORM, config, "train").problems) == ["0.png"]
    pictures.path(0).write_bytes(contents)
    assert_prepared(prepare(pictures, FORM, config, "train"), pictures)


def test_more_pictures_use_what_is_prepared(pictures: Pictures, config: DataConfig, reads: list[str]) -> None:
    prepare(pictures[np.array([3, 1])], FORM, config, "train")
    reads.clear()
    assert_prepared(prepare(pictures, FORM, config, "train"), pictures)
    assert sorted(reads) == ["0.png", "2.png", "4.png", "5.png"]
    reads.clear()
    assert_prepared(prepare(pictures[np.array([5, 2, 0])], FORM, config, "val"), pictures[np.array([5, 2, 0])])
    assert not reads


@pytest.mark.parametrize("form", [Form(24, "crop", "none", True), Form(SIZE, "squash", "none", True), Form(SIZE, "crop", "none", False)])
def test_other_settings_have_a_cache_of_their_own(pictures: Pictures, config: DataConfig, form: Form) -> None:
    prepare(pictures, FORM, config, "train")
    other = prepare(pictures, form, config, "train")
    expected = read_picture(pictures.path(0), form.size, form.resize)[0]
    assert np.array_equal(other.read(0)[0], expected)
    assert_prepared(prepare(pictures, FORM, config, "train"), pictures)


# --- interruptions ---


@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError])
def test_an_interrupted_build_is_never_taken_for_a_whole_one(
    pictures: Pictures, config: DataConfig, monkeypatch: pytest.MonkeyPatch, error: type[BaseException]
) -> None:
    whole, count = cache.read_picture, 0

    def interrupt(*arguments: Any) -> Any:
        nonlocal count
        count += 1
        if count == 4:
            raise error
        return whole(*arguments)

    monkeypatch.setattr(cache, "read_picture", interrupt)
    with pytest.raises(error):
        prepare(pictures, FORM, config, "train")
    monkeypatch.setattr(cache, "read_picture", whole)
    assert_prepared(prepare(pictures, FORM, config, "train"), pictures)
    assert not list(Path(str(config.cache_dir)).rglob("*.aside"))


def test_whole_shards_of_an_interrupted_build_are_kept(
    tmp_path: Path, config: DataConfig, monkeypatch: pytest.MonkeyPatch, reads: list[str]
) -> None:
    pictures = write_pictures(tmp_path / "pictures", 9)
    whole = cache._build_shard

    def fail(directory: Path, pictures: Pictures, *arguments: Any) -> int:
        if "4.png" in pictures.paths:
            raise RuntimeError("interrupted")
        return whole(directory, pictures, *arguments)

    with monkeypatch.context() as patch:
        # a pickled function is looked up by its name, which the patch must answer to
        fail.__qualname__, fail.__module__ = "_build_shard", "datamodules.cache"
        patch.setattr(cache, "_build_shard", fail)
        patch.setattr(cache, "_IN_THIS_PROCESS", 0)
        patch.setattr(cache, "_SHARD_PICTURES", 3)
        # nine pictures for two processes: parts of two, and one of one
        patch.setattr(cache.os, "cpu_count", lambda: 2)
        with pytest.raises(RuntimeError, match="interrupted"):
            prepare(pictures, FORM, config, "train")
    prepared = prepare(pictures, FORM, config, "train")
    assert_prepared(prepared, pictures)
    assert {"4.png", "5.png"} <= set(reads)
    assert len(reads) < 9


@pytest.mark.parametrize("left", ["aside", "pixels alone", "table alone", "empty aside"])
def test_what_a_killed_build_leaves_is_not_used(pictures: Pictures, config: DataConfig, left: str) -> None:
    prepare(pictures, FORM, config, "train")
    (table,) = tables(config)
    if left == "pixels alone":
        table.unlink()
    elif left == "table alone":
        table.with_suffix(".pixels").unlink()
    else:
        contents = b"" if left == "empty aside" else table.read_bytes()
        shutil.rmtree(table.parent)
        table.parent.mkdir()
        table.with_suffix(".aside").write_bytes(contents)
    assert_prepared(prepare(pictures, FORM, config, "train"), pictures)


def test_runs_may_build_the_same_cache_at_once(tmp_path: Path, config: DataConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    pictures = write_pictures(tmp_path / "pictures", 20)
    # the runs are forked, so they have this too
    monkeypatch.setattr(cache, "_IN_THIS_PROCESS", 0)
    monkeypatch.setattr(cache, "_SHARD_PICTURES", 4)
    context = multiprocessing.get_context("fork")
    together = context.Barrier(3)

    def build() -> None:
        together.wait(60)
        assert_prepared(prepare(pictures, FORM, config, "train"), pictures)

    runs = [context.Process(target=build) for _ in range(3)]
    for run in runs:
        run.start()
    for run in runs:
        run.join()
        assert run.exitcode == 0
    assert_prepared(prepare(pictures, FORM, config, "train"), pictures)
    keys = np.concatenate([load_file(path)["key"] for path in tables(config)])
    assert len(keys) == len(set(keys.tolist())) == 20, "a picture was prepared twice"


def test_a_run_that_waited_for_another_uses_what_that_one_prepared(
    pictures: Pictures, config: DataConfig, monkeypatch: pytest.MonkeyPatch, reads: list[str]
) -> None:
    acquire = cache._only_one_builds

    def build_meanwhile(directory: Path) -> Any:
        monkeypatch.setattr(cache, "_only_one_builds", acquire)
        prepare(pictures, FORM, config, "train")
        reads.clear()
        return acquire(directory)

    monkeypatch.setattr(cache, "_only_one_builds", build_meanwhile)
    assert_prepared(prepare(pictures, FORM, config, "train"), pictures)
    assert not reads


# --- disks ---


def test_a_cache_that_would_not_fit_is_refused_before_it_is_begun(
    pictures: Pictures, config: DataConfig, monkeypatch: pytest.MonkeyPatch, reads: list[str]
) -> None:
    monkeypatch.setattr(cache.shutil, "disk_usage", lambda path: namedtuple("Usage", "total used free")(10**9, 10**9, 1000))
    with pytest.raises(ValueError, match=r"data\.cache_dir=.*cache: 6 pictures take about .* GiB are free.*data\.cache=false"):
        prepare(pictures, FORM, config, "train")
    assert not reads
    # the table alone takes nearly nothing
    prepare(pictures, Form(SIZE, "crop", "none", keep_pixels=False), config, "train")


class FullDisk:
    """A file on a disk that is full after so many writes, of all files together."""

    left = 0

    def __init__(self, file: Any) -> None:
        self.file = file

    def write(self, contents: bytes) -> int:
        FullDisk.left -= 1
        if FullDisk.left < 0:
            raise OSError(errno.ENOSPC, "No space left on device")
        return self.file.write(contents)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.file, name)

    def __enter__(self) -> "FullDisk":
        return self

    def __exit__(self, *arguments: object) -> None:
        self.file.close()


# the seventh is the table
@pytest.mark.parametrize("writes", [0, 3, 6])
def test_a_disk_that_fills_up_is_one_clear_error_and_nothing_half_is_left(
    pictures: Pictures, config: DataConfig, monkeypatch: pytest.MonkeyPatch, writes: int
) -> None:
    whole = Path.open

    def open_full(path: Path, *arguments: Any, **options: Any) -> Any:
        file = whole(path, *arguments, **options)
        return FullDisk(file) if path.suffix == ".aside" else file

    monkeypatch.setattr(FullDisk, "left", writes)
    with monkeypatch.context() as patch:
        patch.setattr(Path, "open", open_full)
        with pytest.raises(ValueError, match=r"data\.cache_dir=.*cache: No space left on device; what was prepared is kept"):
            prepare(pictures, FORM, config, "train")
    left = {path.name for path in Path(str(config.cache_dir)).rglob("*") if path.is_file()}
    assert left <= {"lock", "settings.json"}
    assert_prepared(prepare(pictures, FORM, config, "train"), pictures)


@pytest.mark.parametrize("error", [PermissionError(errno.EACCES, "Permission denied"), OSError(errno.EROFS, "Read-only file system")])
def test_a_read_only_cache_directory_is_one_clear_error(
    pictures: Pictures, config: DataConfig, monkeypatch: pytest.MonkeyPatch, error: OSError
) -> None:
    def refuse(*arguments: object, **options: object) -> None:
        raise error

    with monkeypatch.context() as patch:
        patch.setattr(Path, "mkdir", refuse)
        with pytest.raises(ValueError, match=r"data\.cache_dir=.*cache: .*name another directory|Read-only.*another directory"):
            prepare(pictures, FORM, config, "train")


def test_a_file_in_the_place_of_the_cache_directory_is_one_clear_error(pictures: Pictures, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ValueError, match=r"data\.cache_dir=.*file"):
        prepare(pictures, FORM, DataConfig(cache_dir=str(tmp_path / "file")), "train")


def test_a_whole_cache_may_be_read_only(pictures: Pictures, config: DataConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    prepare(pictures, FORM, config, "train")
    before = files_below(Path(str(config.cache_dir)))
    monkeypatch.setattr(Path, "mkdir", None)
    monkeypatch.setattr(cache, "FileLock", None)
    assert_prepared(prepare(pictures, FORM, config, "train"), pictures)
    assert files_below(Path(str(config.cache_dir))) == before


def test_nothing_is_written_beside_the_pictures(pictures: Pictures, config: DataConfig) -> None:
    before = files_below(pictures.root)
    prepare(pictures, FORM, config, "train")
    assert files_below(pictures.root) == before


def test_a_picture_that_the_disk_refuses_is_tried_again_and_breaks_nothing(pictures: Pictures, config: DataConfig) -> None:
    prepare(pictures[np.arange(len(pictures) - 1)], FORM, config, "train")
    last = pictures.path(len(pictures) - 1)
    contents = last.read_bytes()
    last.unlink()
    # cannot be read, whoever runs the test
    last.mkdir()
    for _ in range(2):
        prepared = prepare(pictures, FORM, config, "train")
        assert prepared.problems == {last.name: "cannot be opened"}
    assert len(tables(config)) == 1
    last.rmdir()
    last.write_bytes(contents)
    assert prepare(pictures, FORM, config, "train").readable.all()


def test_a_shard_whose_pixels_are_cut_off_is_prepared_anew(pictures: Pictures, config: DataConfig) -> None:
    prepare(pictures, FORM, config, "train")
    (table,) = tables(config)
    pixels = table.with_suffix(".pixels")
    pixels.write_bytes(pixels.read_bytes()[:-1])
    assert_prepared(prepare(pictures, FORM, config, "train"), pictures)
