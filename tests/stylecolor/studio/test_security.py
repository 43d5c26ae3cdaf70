import asyncio
import hmac
import json
import shutil
from collections.abc import Awaitable, Iterator
from pathlib import Path

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from starlette.testclient import TestClient
from starlette.types import Message, Receive, Scope, Send

from stylecolor.errors import NoRoomError
from stylecolor.studio import security
from stylecolor.studio.clips import CLIP_BYTES
from stylecolor.studio.config import StudioSettings
from stylecolor.studio.room import Room
from stylecolor.studio.security import Guard, body_limit

LIMIT = 2 * 8 * 10_000 + 2**20
LONGEST = 60


async def _length(request: Request) -> PlainTextResponse:
    return PlainTextResponse(str(len(await request.body())))


def guarded(settings: StudioSettings, root: Path, base_url: str = "http://127.0.0.1:7860", most: int | None = None) -> TestClient:
    """An application that answers with the length of what it is sent, or puts it into a file."""

    async def store(request: Request) -> PlainTextResponse:
        root.joinpath("upload").write_bytes(await request.body())
        return PlainTextResponse("")

    app = Starlette(
        routes=[Route("/", _length, methods=["GET", "POST"]), Route("/picture.png", _length), Route("/store", store, methods=["POST"])]
    )
    app.add_middleware(Guard, settings=settings, closing=asyncio.Event(), room=Room(root, most))
    return TestClient(app, base_url)


@pytest.fixture
def client(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> TestClient:
    monkeypatch.setattr(security, "CLIP_BYTES", 1)
    return guarded(StudioSettings(max_megapixels=0.01), tmp_path)


@pytest.mark.parametrize("host", ["127.0.0.1:7860", "localhost", "localhost:8080", "[::1]:7860", "LOCALHOST"])
def test_on_this_machine_the_studio_answers_to_the_machines_own_names(client: TestClient, host: str) -> None:
    assert client.get("/", headers={"Host": host}).status_code == 200


@pytest.mark.parametrize("host", ["evil.example", "evil.example:7860", "127.0.0.1.evil.example", "localhost@evil.example", "[", ""])
def test_other_names_that_lead_here_are_refused(client: TestClient, host: str) -> None:
    refused = client.get("/", headers={"Host": host})
    assert refused.status_code == 421
    assert "open it by 127.0.0.1 or localhost" in refused.json()["detail"]


def test_on_a_public_address_any_name_will_do(tmp_path: Path) -> None:
    client = guarded(StudioSettings(host="0.0.0.0", no_auth=True), tmp_path)
    assert client.get("/", headers={"Host": "studio.example"}).status_code == 200


@pytest.mark.parametrize(
    ("origin", "status"),
    [
        ("http://127.0.0.1:7860", 200),
        ("http://evil.example", 403),
        ("http://127.0.0.1:9999", 403),
        ("null", 403),
        ("http://127.0.0.1:7860.evil.example", 403),
        ("http://[", 403),
        ("http://[::1", 403),
        ("", 403),
    ],
)
def test_pages_of_other_sites_cannot_ask_for_anything(client: TestClient, origin: str, status: int) -> None:
    assert client.post("/", headers={"Origin": origin}).status_code == status


@pytest.mark.parametrize("site", ["cross-site", "same-site"])
def test_pages_of_other_sites_cannot_load_anything_but_may_lead_to_the_page(client: TestClient, site: str) -> None:
    leading = {"Sec-Fetch-Site": site, "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"}
    assert client.get("/", headers=leading).status_code == 200
    assert client.get("/?__theme=dark", headers=leading).status_code == 200
    for headers in ({**leading, "Sec-Fetch-Dest": "image"}, {**leading, "Sec-Fetch-Dest": "iframe"}, {"Sec-Fetch-Site": site}):
        assert client.get("/", headers=headers).status_code == 403
    assert client.get("/picture.png", headers=leading).status_code == 403
    assert client.post("/", headers=leading).status_code == 403


@pytest.mark.parametrize("site", ["same-origin", "none"])
def test_the_page_itself_and_who_types_an_address_can(client: TestClient, site: str) -> None:
    headers = {"Sec-Fetch-Site": site, "Sec-Fetch-Dest": "image"}
    assert client.get("/picture.png", headers=headers).status_code == client.post("/", headers=headers).status_code == 200


@pytest.fixture
def locked(tmp_path: Path) -> TestClient:
    return guarded(StudioSettings(host="0.0.0.0", auth="ann:see:crét"), tmp_path, "http://studio.example")


def test_who_knows_the_password_is_let_in(locked: TestClient) -> None:
    assert locked.get("/", auth=("ann", "see:crét")).status_code == 200


@pytest.mark.parametrize(
    "header", [None, "", "Basic", "Basic %%%", "Basic YW5u", "Bearer YW5uOnNlZTpjcsOpdA==", "Basic YW5uOnNlZTpjcsOpdA", "basic é"]
)
def test_who_does_not_know_it_gets_nothing(locked: TestClient, header: str | None) -> None:
    refused = locked.get("/", headers=None if header is None else {"Authorization": header.encode()})  # pyright: ignore[reportArgumentType]
    assert refused.status_code == 401
    assert refused.headers["www-authenticate"].startswith("Basic realm=")
    assert refused.text == '{"detail":"name and password are needed"}'
    for wrong in (("ann", "see:cret"), ("bob", "see:crét"), ("", "")):
        assert locked.get("/", auth=wrong).status_code == 401


def test_passwords_are_compared_in_constant_time(locked: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    compared: list[tuple[bytes, bytes]] = []
    compare = hmac.compare_digest

    def note(given: bytes, known: bytes) -> bool:
        compared.append((given, known))
        return compare(given, known)

    monkeypatch.setattr(security.hmac, "compare_digest", note)
    locked.get("/", auth=("ann", "wrong"))
    assert compared == [(b"ann:wrong", "ann:see:crét".encode())]


def test_a_request_that_says_it_is_too_long_is_not_read(client: TestClient) -> None:
    assert client.post("/", content=b"x" * LIMIT).text == str(LIMIT)
    refused = client.post("/", content=b"x", headers={"Content-Length": str(LIMIT + 1)})
    assert refused.status_code == 413
    reason = "the request has more than 1 MB, the most for a studio of --max-megapixels 0.01; send less at once"
    assert refused.json()["detail"] == reason


def test_a_request_that_does_not_say_how_long_it_is_is_read_up_to_the_limit(client: TestClient) -> None:
    read = 0

    def chunks() -> Iterator[bytes]:
        nonlocal read
        while read < 100 * LIMIT:
            read += 2**16
            yield b"x" * 2**16

    assert client.post("/", content=chunks()).status_code == 413


def test_a_film_may_be_uploaded_however_small_pictures_must_be() -> None:
    assert body_limit(10_000) > CLIP_BYTES
    assert body_limit(10**9) > 2 * 8 * 10**9, "a target and a reference"


@pytest.mark.parametrize("kind", ["multipart/form-data", "Multipart/Form-Data", " MULTIPART/mixed"])
def test_files_are_taken_as_long_as_there_is_room_for_them(tmp_path: Path, kind: str) -> None:
    root = tmp_path / "root"
    root.mkdir()
    (root / "taken").write_bytes(bytes(600))
    (root / "again").hardlink_to(root / "taken")
    client = guarded(StudioSettings(), root, most=1000)

    def upload(count: int) -> tuple[int, str]:
        answer = client.post("/store", content=bytes(count), headers={"Content-Type": f"{kind}; boundary=limit"})
        return answer.status_code, answer.text

    assert upload(400) == (200, "")
    status, text = upload(1)
    assert status == 507
    assert json.loads(text) == {"detail": "the studio's disk space is taken up by others; try again in a few minutes"}
    # calls are no files
    assert client.post("/", content=bytes(500)).text == "500"
    (root / "upload").unlink()
    assert upload(400) == (200, "")
    (root / "upload").unlink()
    unsaid = client.post("/store", content=iter([b"x"]), headers={"Content-Type": f"{kind}; boundary=limit"})
    assert unsaid.status_code == 507, "it may be as long as any"


class Upload:
    """A request of files as the server hands it on, part by part."""

    def __init__(self, guard: Guard, length: int) -> None:
        self._parts: asyncio.Queue[Message] = asyncio.Queue()
        self.sent: list[Message] = []
        scope = {"type": "http", "method": "POST", "path": "/", "headers": [(b"host", b"localhost"), (b"content-type", b"multipart/x")]}
        scope["headers"].append((b"content-length", str(length).encode()))
        self.answered = asyncio.create_task(guard(scope, self._parts.get, self._note))

    async def _note(self, message: Message) -> None:
        self.sent.append(message)

    def send(self, body: bytes, more: bool) -> None:
        self._parts.put_nowait({"type": "http.request", "body": body, "more_body": more})

    def leave(self) -> None:
        self._parts.put_nowait({"type": "http.disconnect"})


def test_an_upload_of_which_nothing_comes_for_long_is_broken_off_and_gives_its_room_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(security, "SILENT_SECONDS", 0.01)
    room = Room(tmp_path, 1000)

    async def read(scope: Scope, receive: Receive, send: Send) -> None:
        await PlainTextResponse(str(len(await Request(scope, receive).body())))(scope, receive, send)

    async def upload() -> list[Message]:
        uploading = Upload(Guard(read, StudioSettings(), asyncio.Event(), room), 1000)
        uploading.send(b"begun", True)
        await uploading.answered
        return uploading.sent

    start, body = asyncio.run(asyncio.wait_for(upload(), LONGEST))
    assert start["status"] == 408
    assert body["body"] == b'{"detail":"nothing of the request has come for 0.01 s; send it again"}'
    room.reserve(1000)


def test_what_has_arrived_has_its_room_no_more_though_the_answer_takes_long(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    room = Room(tmp_path, 1000)
    patience: list[float | None] = []
    receive_within = Guard._receive

    def note(guard: Guard, receive: Receive, seconds: float | None) -> Awaitable[Message | None]:
        patience.append(seconds)
        return receive_within(guard, receive, seconds)

    monkeypatch.setattr(Guard, "_receive", note)

    async def upload() -> int:
        begun, go_on = asyncio.Event(), asyncio.Event()

        async def work(scope: Scope, receive: Receive, send: Send) -> None:
            request = Request(scope, receive)
            await request.body()
            begun.set()
            await go_on.wait()
            # whether the client has gone may be asked for as long as it takes
            assert (await receive())["type"] == "http.disconnect"
            await PlainTextResponse("")(scope, receive, send)

        uploading = Upload(Guard(work, StudioSettings(), asyncio.Event(), room), 1000)
        uploading.send(bytes(400), True)
        uploading.send(bytes(600), False)
        await begun.wait()
        room.reserve(1000)
        uploading.leave()
        go_on.set()
        await uploading.answered
        return uploading.sent[0]["status"]

    assert asyncio.run(asyncio.wait_for(upload(), LONGEST)) == 200
    assert patience == [security.SILENT_SECONDS, security.SILENT_SECONDS, None]
    with pytest.raises(NoRoomError):
        room.reserve(1)


def test_what_is_on_its_way_has_its_room(tmp_path: Path) -> None:
    room = Room(tmp_path, 1000)
    room.reserve(600)
    with pytest.raises(NoRoomError):
        room.reserve(401)
    room.reserve(400)
    room.free(600)
    room.reserve(600)
    assert 0 < Room(tmp_path).most <= shutil.disk_usage(tmp_path).total / 2


@pytest.mark.parametrize("length", ["-1", "many", "1e3", "٣"])
def test_a_length_that_is_none_is_refused(client: TestClient, length: str) -> None:
    assert client.post("/", headers={"Content-Length": length.encode()}).status_code == 400  # pyright: ignore[reportArgumentType]


def test_every_answer_says_that_the_page_may_load_nothing_from_elsewhere(client: TestClient) -> None:
    for answer in (client.get("/"), client.get("/none"), client.get("/", headers={"Host": "evil.example"})):
        policy = dict(part.split(" ", 1) for part in answer.headers["content-security-policy"].split("; "))
        assert policy["default-src"] == "'self'"
        sources = {source for sources in policy.values() for source in sources.split()}
        assert sources <= {"'self'", "'none'", "'unsafe-inline'", "'unsafe-eval'", "data:", "blob:"}
        assert policy["frame-ancestors"] == "'none'"
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["referrer-policy"] == "no-referrer"
