import dataclasses
import errno
import hashlib
import json
import logging
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from random import Random

import pytest
import torch
import torchvision
from torch_fidelity.feature_extractor_inceptionv3 import URL_INCEPTION_V3

from stylecolor import published_weights
from stylecolor.published_weights import PUBLISHED, PublishedWeights, find_published, obtain, torch_hub_directory
from tests.server import Served, Server
from tests.stylecolor.published import isolate, path_of, publish

CONTENT = Random(0).randbytes(300_000)
DIGEST = hashlib.sha256(CONTENT).hexdigest()
OTHER = Random(1).randbytes(300_000)
PIECE = 65_536


@pytest.fixture(autouse=True)
def isolated(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    isolate(monkeypatch, tmp_path)


@pytest.fixture
def weights(monkeypatch: pytest.MonkeyPatch, server: Server) -> PublishedWeights:
    return publish(monkeypatch, server, "siggraph17", CONTENT)


def refusal(mirror: str | None = None, name: str = "siggraph17") -> str:
    with pytest.raises(ValueError, match=f"^stage.weights={name}: ") as caught:
        obtain(name, f"stage.weights={name}", mirror)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def cached(weights: PublishedWeights) -> set[str]:
    return {path.name for path in weights.path.parent.iterdir() if path.suffix != ".lock"}


def put(weights: PublishedWeights, content: bytes) -> None:
    weights.path.parent.mkdir(parents=True)
    weights.path.write_bytes(content)


def put_into_torchs_cache(weights: PublishedWeights, content: bytes) -> Path:
    torch_hub_directory().mkdir(parents=True)
    (path := torch_hub_directory() / weights.file_name).write_bytes(content)
    return path


def test_the_registry_has_the_published_names_and_digits() -> None:
    assert {name: (weights.file_name, weights.digest_start) for name, weights in PUBLISHED.items()} == {
        "imagenet": ("vgg19-dcbb9e9d.pth", "dcbb9e9d"),
        "siggraph17": ("siggraph17-df00044c.pth", "df00044c"),
        "eccv16": ("colorization_release_v2-9b330a0b.pth", "9b330a0b"),
        "alexnet": ("alexnet-owt-7be5be79.pth", "7be5be79"),
        "inception": ("weights-inception-2015-12-05-6726825d.pth", "6726825d"),
    }
    assert PUBLISHED["imagenet"].url == torchvision.models.VGG19_Weights.IMAGENET1K_V1.url
    assert PUBLISHED["alexnet"].url == torchvision.models.AlexNet_Weights.IMAGENET1K_V1.url
    assert PUBLISHED["inception"].url == URL_INCEPTION_V3


def test_a_wrong_name_names_the_nearest() -> None:
    assert [weights.name for weights in find_published(["eccv16", "imagenet", "eccv16"])] == ["eccv16", "imagenet"]
    assert len(find_published([])) == 5
    with pytest.raises(ValueError, match="did you mean siggraph17"):
        find_published(["sigraph17"])


def test_weights_are_fetched_once_and_their_whole_digest_is_pinned(server: Server, weights: PublishedWeights) -> None:
    assert obtain("siggraph17", "asked") == weights.path
    assert weights.path.read_bytes() == CONTENT
    assert json.loads(weights.pin.read_text()) == {"sha256": DIGEST}
    assert obtain("siggraph17", "asked") == weights.path
    assert server.paths() == [path_of(weights)]
    assert cached(weights) == {weights.path.name, weights.pin.name}


def test_without_a_progress_bar_a_line_tells_of_the_download(
    weights: PublishedWeights, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    line = f"fetching siggraph17 from {weights.url}"
    with caplog.at_level(logging.INFO):
        monkeypatch.setattr(published_weights, "hide_progress", lambda: False)
        obtain("siggraph17", "asked")
        assert line not in caplog.messages
        weights.path.unlink()
        monkeypatch.setattr(published_weights, "hide_progress", lambda: True)
        for _ in range(2):
            obtain("siggraph17", "asked")
    assert caplog.messages.count(line) == 1


def test_wrong_bytes_are_refused_before_the_file_appears(
    server: Server, weights: PublishedWeights, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.files[path_of(weights)] = Served(OTHER)
    check = PublishedWeights.check
    present: list[bool] = []

    def spy(self: PublishedWeights, path: Path) -> str:
        present.append(self.path.exists())
        return check(self, path)

    monkeypatch.setattr(PublishedWeights, "check", spy)
    message = refusal()
    assert f"{weights.url}: its SHA-256 begins with {hashlib.sha256(OTHER).hexdigest()[:8]} instead of {DIGEST[:8]}" in message
    assert present == [False]
    assert cached(weights) == set()


def test_a_cut_download_is_resumed(server: Server, weights: PublishedWeights) -> None:
    server.files[path_of(weights)].cuts = [PIECE, PIECE]
    assert obtain("siggraph17", "asked").read_bytes() == CONTENT
    assert server.ranges(path_of(weights)) == [None, f"bytes={PIECE}-", f"bytes={2 * PIECE}-"]


def test_a_download_that_was_given_up_goes_on_with_the_next_call(server: Server, weights: PublishedWeights) -> None:
    server.files[path_of(weights)].cuts = [PIECE, 0]
    assert f"{PIECE} bytes are kept in {weights.path}.part" in refusal()
    assert not weights.path.exists()
    assert obtain("siggraph17", "asked").read_bytes() == CONTENT
    assert server.ranges(path_of(weights))[-1] == f"bytes={PIECE}-"


def test_a_file_that_differs_from_its_pin_is_refused_by_name(
    server: Server, weights: PublishedWeights, monkeypatch: pytest.MonkeyPatch
) -> None:
    obtain("siggraph17", "asked")
    weights.path.write_bytes(OTHER)
    message = refusal()
    assert f"{weights.path}: its SHA-256 begins with" in message
    assert f"remove {weights.file_name}, so that it is fetched anew" in message
    # a file that has the eight digits too: made by changing what is pinned, since no other can be found
    weights.path.write_bytes(CONTENT)
    weights.pin.write_text(json.dumps({"sha256": DIGEST[:8] + "0" * 56}))
    message = refusal()
    assert f"its SHA-256 is {DIGEST}" in message
    assert str(weights.pin) in message
    assert f"remove {weights.file_name}" in message
    weights.path.unlink()
    assert "its SHA-256 is" in refusal()
    assert not weights.path.exists()


@pytest.mark.parametrize("content", ["", "[]", "{}", "{"])
def test_a_damaged_pin_is_named(weights: PublishedWeights, content: str) -> None:
    obtain("siggraph17", "asked")
    weights.pin.write_text(content)
    assert f"{weights.pin}, which pins its SHA-256, is damaged" in refusal()


def test_a_file_put_there_by_hand_is_verified_and_then_pinned(server: Server, weights: PublishedWeights) -> None:
    put(weights, CONTENT)
    assert obtain("siggraph17", "asked") == weights.path
    assert json.loads(weights.pin.read_text()) == {"sha256": DIGEST}
    assert server.requests == []


def test_a_wrong_file_put_there_by_hand_is_refused_and_left_alone(server: Server, weights: PublishedWeights) -> None:
    put(weights, OTHER)
    assert f"{weights.path}: its SHA-256 begins with {hashlib.sha256(OTHER).hexdigest()[:8]} instead of {DIGEST[:8]}" in refusal()
    assert weights.path.read_bytes() == OTHER
    assert not weights.pin.exists()
    assert server.requests == []


def test_a_file_in_torchs_cache_is_verified_and_used(server: Server, weights: PublishedWeights) -> None:
    path = put_into_torchs_cache(weights, CONTENT)
    assert obtain("siggraph17", "asked") == path
    assert json.loads(weights.pin.read_text()) == {"sha256": DIGEST}
    assert obtain("siggraph17", "asked") == path
    assert server.requests == []
    assert not weights.path.exists()
    assert [file.name for file in path.parent.iterdir()] == [path.name]


def test_a_wrong_file_in_torchs_cache_is_told_and_fetched_instead(
    server: Server, weights: PublishedWeights, caplog: pytest.LogCaptureFixture
) -> None:
    path = put_into_torchs_cache(weights, OTHER)
    with caplog.at_level(logging.WARNING):
        assert obtain("siggraph17", "asked") == weights.path
    assert f"{path} is not used: its SHA-256 begins with" in caplog.text
    assert path.read_bytes() == OTHER
    assert weights.path.read_bytes() == CONTENT


@pytest.mark.parametrize(
    "variables", [{}, {"TORCH_HOME": "~/models"}, {"XDG_CACHE_HOME": "/caches"}, {"TORCH_HOME": "/a", "XDG_CACHE_HOME": "/b"}]
)
def test_torchs_cache_is_where_torch_says(monkeypatch: pytest.MonkeyPatch, variables: dict[str, str]) -> None:
    monkeypatch.delenv("TORCH_HOME")
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setattr(torch.hub, "_hub_dir", None)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert torch_hub_directory() == Path(torch.hub.get_dir()) / "checkpoints"


def test_a_mirror_can_be_an_address(server: Server, weights: PublishedWeights) -> None:
    server.files[f"/mirror/{weights.file_name}"] = server.files.pop(path_of(weights))
    obtain("siggraph17", "asked", f"{server.url}/mirror/")
    assert server.paths() == [f"/mirror/{weights.file_name}"]


def test_a_mirror_can_be_a_directory(server: Server, weights: PublishedWeights, tmp_path: Path) -> None:
    (tmp_path / "mirror").mkdir()
    (tmp_path / "mirror" / weights.file_name).write_bytes(CONTENT)
    assert obtain("siggraph17", "asked", str(tmp_path / "mirror")).read_bytes() == CONTENT
    assert cached(weights) == {weights.path.name, weights.pin.name}
    assert server.requests == []


def test_the_environment_names_a_mirror_and_a_setting_goes_before_it(
    server: Server, weights: PublishedWeights, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("STYLECOLOR_WEIGHTS_MIRROR", f"{server.url}/environment")
    assert f"{server.url}/environment/{weights.file_name} cannot be fetched (404" in refusal()
    assert f"{server.url}/setting/{weights.file_name} cannot be fetched (404" in refusal(f"{server.url}/setting")
    server.files[f"/environment/{weights.file_name}"] = Served(CONTENT)
    assert obtain("siggraph17", "asked").read_bytes() == CONTENT
    assert path_of(weights) not in server.paths()


def test_a_wrong_file_on_a_mirror_is_refused(weights: PublishedWeights, server: Server, tmp_path: Path) -> None:
    (tmp_path / weights.file_name).write_bytes(OTHER)
    assert f"{tmp_path / weights.file_name}: its SHA-256 begins with" in refusal(str(tmp_path))
    assert (tmp_path / weights.file_name).read_bytes() == OTHER
    server.files[f"/mirror/{weights.file_name}"] = Served(OTHER)
    assert "its SHA-256 begins with" in refusal(f"{server.url}/mirror")
    assert cached(weights) == set()


def test_a_mirror_that_is_none_is_told(weights: PublishedWeights, tmp_path: Path) -> None:
    assert "stage.weights_mirror=ftp://mirror is neither an address (http:// or https://) nor a directory" in refusal("ftp://mirror")
    message = refusal(str(tmp_path))
    assert f"stage.weights_mirror={tmp_path}: there is no {weights.file_name}; download {weights.url} elsewhere" in message


@pytest.mark.parametrize("mirrored", [False, True])
@pytest.mark.parametrize(
    ("name", "alternative"),
    [("imagenet", "train with stage.encoder.weights=random"), ("siggraph17", "train a colorizer with stage=colorizer")],
)
def test_offline_the_error_says_what_to_put_where(monkeypatch: pytest.MonkeyPatch, mirrored: bool, name: str, alternative: str) -> None:
    with Server() as closed:
        weights = publish(monkeypatch, closed, name, CONTENT)
    mirror = f"{closed.url}/mirror" if mirrored else None
    message = refusal(mirror, name)
    assert f"{mirror}/{weights.file_name} cannot be fetched" in message or f"{weights.url} cannot be fetched" in message
    assert "Connection refused" in message
    assert weights.url in message
    assert f"put it at {weights.path}, name a mirror with stage.weights_mirror, or {alternative}" in message


def in_a_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("STYLECOLOR_CACHE", str(tmp_path / "file"))


def read_only(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def refuse(self: Path, *arguments: object, **options: object) -> None:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS), str(self))

    monkeypatch.setattr(Path, "mkdir", refuse)


def full(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def refuse(*arguments: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(published_weights, "fetch_file", refuse)


@pytest.mark.parametrize(
    ("spoil", "reason"), [(in_a_file, "Not a directory"), (read_only, "Read-only file system"), (full, "No space left on device")]
)
def test_a_cache_that_cannot_be_written_is_named(
    weights: PublishedWeights,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    spoil: Callable[[pytest.MonkeyPatch, Path], None],
    reason: str,
) -> None:
    spoil(monkeypatch, tmp_path)
    message = refusal()
    assert f"the cache cannot be used ({weights.path.parent}: {reason})" in message
    assert "STYLECOLOR_CACHE" in message


def test_a_whole_cache_may_be_read_only(weights: PublishedWeights, monkeypatch: pytest.MonkeyPatch) -> None:
    obtain("siggraph17", "asked")
    monkeypatch.setattr(Path, "mkdir", None)
    monkeypatch.setattr(published_weights, "FileLock", None)
    assert obtain("siggraph17", "asked") == weights.path


FETCH = """
import dataclasses, logging, sys
from stylecolor import published_weights

logging.basicConfig(level=logging.DEBUG)
weights = dataclasses.replace(published_weights.PUBLISHED["siggraph17"], url=sys.argv[1])
published_weights.PUBLISHED["siggraph17"] = weights
print(published_weights.obtain("siggraph17", "asked"))
"""


def test_a_second_process_waits_for_the_first_ones_download(server: Server, weights: PublishedWeights) -> None:
    asked, waiting = threading.Event(), threading.Event()

    def hold_the_first() -> None:
        if not asked.is_set():
            asked.set()
            waiting.wait(30)

    server.files[path_of(weights)].before = hold_the_first
    command = [sys.executable, "-c", FETCH, weights.url]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as first:
        assert asked.wait(30)
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as second:
            assert second.stderr is not None
            # filelock says that it waits; a process that does not wait ends, and with it these lines
            for line in second.stderr:
                if "not acquired" in line:
                    break
            waiting.set()
            assert second.communicate(timeout=30)[0] == f"{weights.path}\n"
        assert first.communicate(timeout=30)[0] == f"{weights.path}\n"
    assert server.paths() == [path_of(weights)]
    assert weights.path.read_bytes() == CONTENT
    assert cached(weights) == {weights.path.name, weights.pin.name}


def test_the_registry_needs_no_torch() -> None:
    code = "import sys; import stylecolor.published_weights; assert not {'torch', 'kornia'} & sys.modules.keys()"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_published_weights_are_described_completely() -> None:
    for weights in PUBLISHED.values():
        assert all(dataclasses.astuple(weights))
        assert len(bytes.fromhex(weights.digest_start)) == 4
