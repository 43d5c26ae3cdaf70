from collections.abc import Iterator
from pathlib import Path
from random import Random

import pytest
import requests

from stylecolor.download import Retries, explain, fetch_file, is_address
from tests.server import Served, Server

CONTENT = Random(0).randbytes(400_000)
PATH = "/weights.bin"
PIECE = 65_536


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as server:
        server.files = {PATH: Served(CONTENT)}
        yield server


@pytest.fixture
def target(tmp_path: Path) -> Path:
    return tmp_path / "weights.bin"


def accept_anything(part: Path) -> None:
    pass


def fetch(server: Server, target: Path, attempts: int = 1, waits: list[float] | None = None) -> None:
    waits = [] if waits is None else waits
    fetch_file(f"{server.url}{PATH}", target, "--setting", accept_anything, Retries(attempts, wait=waits.append), "do something else")


def refusal(server: Server, target: Path, attempts: int = 1) -> str:
    with pytest.raises(ValueError, match=r"^--setting: ") as caught:
        fetch(server, target, attempts)
    assert "\n" not in str(caught.value)
    assert not target.exists()
    return str(caught.value)


def files_beside(target: Path) -> list[str]:
    return sorted(path.name for path in target.parent.iterdir())


def test_a_file_appears_whole_and_alone(server: Server, target: Path) -> None:
    fetch(server, target)
    assert target.read_bytes() == CONTENT
    assert files_beside(target) == ["weights.bin"]


def test_an_interrupted_file_is_continued(server: Server, target: Path) -> None:
    server.files[PATH].cuts = [2 * PIECE]
    message = refusal(server, target)
    assert f"{server.url}{PATH} cannot be fetched (the connection was cut); do something else; 131072 bytes are kept" in message
    assert files_beside(target) == ["weights.bin.part", "weights.bin.part.json"]
    fetch(server, target)
    assert server.ranges(PATH) == [None, "bytes=131072-"]
    assert server.requests[1][1]["If-Range"] == '"1"'
    assert target.read_bytes() == CONTENT
    assert files_beside(target) == ["weights.bin"]


def test_a_file_that_is_cut_again_and_again_arrives_in_one_call(server: Server, target: Path) -> None:
    server.files[PATH].cuts = [PIECE] * 4
    server.files[PATH].statuses = [503]
    waits: list[float] = []
    fetch(server, target, attempts=2, waits=waits)
    assert server.ranges(PATH) == [None, None, *(f"bytes={PIECE * n}-" for n in range(1, 5))]
    assert len(waits) == 5
    assert target.read_bytes() == CONTENT


def test_a_server_that_is_busy_is_asked_again_after_exponentially_longer_waits(server: Server, target: Path) -> None:
    server.files[PATH].statuses = [503] * 3
    waits: list[float] = []
    fetch(server, target, attempts=4, waits=waits)
    assert all(delay <= waited <= 1.5 * delay for delay, waited in zip((1, 2, 4), waits, strict=True))


def test_a_server_that_knows_no_ranges_is_asked_for_everything(server: Server, target: Path) -> None:
    server.files[PATH].ignores_range = True
    server.files[PATH].cuts = [2 * PIECE]
    fetch(server, target, attempts=2)
    assert server.ranges(PATH) == [None, "bytes=131072-"]
    assert target.read_bytes() == CONTENT


def test_a_server_without_ranges_that_never_finishes_is_given_up(server: Server, target: Path) -> None:
    server.files[PATH].ignores_range = True
    server.files[PATH].cuts = [2 * PIECE] * 9
    assert "the connection was cut" in refusal(server, target, attempts=4)
    assert len(server.requests) == 4


@pytest.mark.parametrize("etag", ['"{}"', None], ids=["ETag", "size alone"])
@pytest.mark.parametrize("cut", [2 * PIECE, None], ids=["shorter part", "longer part"])
def test_a_file_that_changed_meanwhile_is_begun_anew(server: Server, target: Path, etag: str | None, cut: int | None) -> None:
    other = Random(1).randbytes(len(CONTENT) + 150_000)
    server.files[PATH] = Served(other, etag=etag and etag.format(1), cuts=[cut or len(CONTENT) + 100_000])
    refusal(server, target)
    server.files[PATH] = Served(CONTENT, etag=etag and etag.format(2))
    fetch(server, target)
    assert target.read_bytes() == CONTENT


@pytest.mark.parametrize("etag", [None, 'W/"1"'], ids=["none", "weak"])
def test_a_server_without_a_strong_etag_continues_by_size(server: Server, target: Path, etag: str | None) -> None:
    server.files[PATH].etag = etag
    server.files[PATH].cuts = [2 * PIECE]
    fetch(server, target, attempts=2)
    assert server.ranges(PATH) == [None, "bytes=131072-"]
    assert "If-Range" not in server.requests[1][1]
    assert target.read_bytes() == CONTENT


def test_a_part_of_unknown_origin_is_not_continued(server: Server, target: Path) -> None:
    target.with_name("weights.bin.part").write_bytes(bytes(100_000))
    fetch(server, target)
    assert server.ranges(PATH) == [None]
    assert target.read_bytes() == CONTENT


def test_a_missing_file_is_not_asked_for_again(server: Server, target: Path) -> None:
    server.files.clear()
    assert "(404 Not Found); do something else" in refusal(server, target, attempts=4)
    assert len(server.requests) == 1
    assert files_beside(target) == []


def test_a_server_that_is_not_there_is_named(target: Path) -> None:
    with Server() as closed:
        pass
    assert f"{closed.url}{PATH} cannot be fetched (Connection refused)" in refusal(closed, target).replace("[Errno 111] ", "")


def test_a_file_that_the_check_refuses_never_appears_and_is_removed(server: Server, target: Path) -> None:
    seen: list[tuple[bytes, bool]] = []

    def refuse(part: Path) -> None:
        seen.append((part.read_bytes(), target.exists()))
        raise ValueError("it is another file")

    with pytest.raises(ValueError, match=f"^--setting: {server.url}{PATH}: it is another file; it was deleted"):
        fetch_file(f"{server.url}{PATH}", target, "--setting", refuse)
    assert seen == [(CONTENT, False)]
    assert files_beside(target) == []


def test_a_check_that_is_interrupted_does_not_fetch_again(server: Server, target: Path) -> None:
    def interrupt(part: Path) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fetch_file(f"{server.url}{PATH}", target, "--setting", interrupt)
    fetch(server, target)
    assert len(server.requests) == 1
    assert target.read_bytes() == CONTENT


def test_a_timeout_is_explained() -> None:
    assert explain(requests.ReadTimeout("HTTPConnectionPool(...): Read timed out.")) == "no answer in time"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("http://example.org", True),
        ("https://example.org/a/b", True),
        ("example.org", False),
        ("ftp://example.org", False),
        ("http://", False),
    ],
)
def test_addresses_are_told_from_directories(text: str, expected: bool) -> None:
    assert is_address(text) is expected
