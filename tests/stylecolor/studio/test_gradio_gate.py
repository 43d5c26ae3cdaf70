import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
import requests

from stylecolor.studio import security, uploads
from stylecolor.studio.config import StudioSettings
from stylecolor.studio.sessions import ENDED
from tests.server import Served as ServedFile
from tests.server import Server
from tests.stylecolor.commands.running import save_photograph
from tests.stylecolor.studio.page_client import PageClient
from tests.stylecolor.studio.served import LONGEST, Served, serving, wait_until

SECRET = b"nobody but the owner of this machine may read this"
FILE = "/gradio_api/file="


@pytest.fixture(scope="module")
def served(joint_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with pytest.MonkeyPatch.context() as patch:
        # what is endless is broken off sooner
        patch.setattr(security, "CLIP_BYTES", 1)
        with serving(StudioSettings(joint_checkpoint, max_megapixels=0.5), tmp_path_factory.mktemp("studio")) as served:
            yield served


@pytest.fixture(autouse=True)
def nobody_else_uploads(monkeypatch: pytest.MonkeyPatch) -> None:
    """What has just been uploaded may go."""
    monkeypatch.setattr(uploads, "SHARED_SECONDS", 0)


@pytest.fixture
def secret(tmp_path: Path) -> Path:
    path = tmp_path / "secret.png"
    path.write_bytes(SECRET)
    return path


def call(served: Served, data: list[Any], route: str = "call/colorize", **fields: Any) -> int:
    return served.post(f"/gradio_api/{route}", json={"data": data, **fields}).status_code


def file(path: str | Path, **fields: Any) -> dict[str, Any]:
    return {"path": str(path), "meta": {"_type": "gradio.FileData"}, **fields}


def assert_not_copied(served: Served) -> None:
    assert not [path for path in served.root.rglob("*") if path.is_file() and path.read_bytes() == SECRET]


def test_the_page_is_served_and_says_when_it_is_closed(served: Served) -> None:
    assert served.get("/").status_code == 200
    config = served.get("/config").json()
    assert config["connect_heartbeat"]
    assert not config["analytics_enabled"]


def test_an_upload_is_served_as_long_as_it_is_there(served: Served, tmp_path: Path) -> None:
    photograph = save_photograph(tmp_path / "colour.png", 1)
    uploaded = served.upload(photograph)
    assert uploaded.is_relative_to(served.root)
    assert served.get(f"{FILE}{uploaded}").content == photograph.read_bytes()
    assert call(served, [file(uploaded)]) == 200


@pytest.mark.parametrize(
    "path",
    [
        "{secret}",
        "{root}/../{above}",
        "{root}/%2e%2e/{above}",
        "{root}/..%2f{above}",
        "/proc/self/root{secret}",
        "file://{secret}",
        "{link}",
        "/etc/passwd",
        "etc/passwd",
        "../../../etc/passwd",
        "{root}",
        "",
        "%00",
        "{root}/x%00.png",
        "http://127.0.0.1:1/secret.png",
        "HTTPS://example.com/secret.png",
    ],
)
def test_no_other_file_is_served(served: Served, secret: Path, path: str) -> None:
    link = served.root / "link.png"
    link.symlink_to(secret)
    above = Path("../" * 20) / secret.relative_to("/")
    name = path.format(secret=secret, root=served.root, above=above, link=link)
    for route in (FILE, "/gradio_api/file/", "/gradio_api//file=", "/file=", "/file/", "/static/", "/assets/", "/svelte/"):
        for written in (name, quote(name, safe=""), name.lstrip("/")):
            answer = served.get(f"{route}{written}")
            assert answer.status_code in (400, 403, 404), (route, written, answer.status_code)
            assert SECRET not in answer.content
            assert b"root:" not in answer.content
    link.unlink()


@pytest.mark.parametrize("route", ["call/colorize", "call/v2/colorize", "queue/join", "cancel", "reset"])
def test_a_call_that_names_a_file_which_was_not_uploaded_opens_nothing(served: Served, secret: Path, route: str) -> None:
    named = {
        "plain": [file(secret)],
        "as uploaded": [file(secret, orig_name="grey.png", url=f"{served.url}{FILE}{secret}")],
        "nested": [[{"image": [file(secret)]}]],
        "unmarked": [{"path": str(secret)}],
        "through the folder": [file(served.root / ".." / secret.relative_to(secret.parents[2]))],
        "relative": [file("../secret.png")],
        "with a zero": [file(f"{secret}\0.png")],
    }
    for what, data in named.items():
        assert call(served, data, route, session_hash="mallory", fn_index=0) == 400, what
        assert served.post(f"/gradio_api/{route}", json={"target": data[0]}).status_code == 400, what
    assert_not_copied(served)


def test_nothing_is_fetched_for_anybody(served: Served, server: Server, tmp_path: Path) -> None:
    server.files["/picture.png"] = ServedFile(save_photograph(tmp_path / "colour.png").read_bytes())
    url = f"{server.url}/picture.png"
    for route in ("call/colorize", "queue/join"):
        assert call(served, [file(url)], route, session_hash="mallory", fn_index=0) == 400
        assert call(served, [{"path": url, "url": url}], route, session_hash="mallory", fn_index=0) == 400
    uploaded = served.upload(tmp_path / "colour.png")
    # what a call says of where the file can be seen is not looked at
    assert call(served, [file(uploaded, url=url)]) == 200
    for path in (f"{FILE}{url}", f"/gradio_api/proxy={url}", f"/proxy={url}", f"/gradio_api/file/{url}", f"{FILE}{quote(url, safe='')}"):
        assert served.get(path).status_code == 404
    assert server.requests == []


@pytest.mark.parametrize(
    ("method", "route"),
    [
        *(("GET", f"/gradio_api/{name}") for name in ("dev/reload", "vibe-code", "runs", "run-history/buckets", "deep_link", "token")),
        *(("GET", f"/gradio_api/stream/{name}") for name in ("a/b/1/playlist.m3u8", "a/b/1/playlist-file")),
        *(("GET", name) for name in ("/monitoring", "/monitoring/summary", "/login", "/logout", "/pwa_icon", "/docs", "/openapi.json")),
        *(
            ("POST", f"/gradio_api/{name}")
            for name in ("run/colorize", "api/colorize", "vibe-edit/", "vibe-code/", "process_recording", "component_server")
        ),
        *(("POST", name) for name in ("/login", "/", "/config", "/gradio_api/stream/1", "/gradio_api/file=x")),
        *(("PUT", name) for name in ("/", "/gradio_api/upload")),
    ],
)
def test_what_else_gradio_has_is_not_there(served: Served, method: str, route: str) -> None:
    answer = served._send(method, route, json={} if method == "POST" else None)
    assert answer.status_code == 404
    assert answer.json() == {"detail": "there is nothing here"}


def test_calls_that_are_no_json_or_endless_are_refused(served: Served) -> None:
    for body in (b"{", b"\xff", b"[" * 100_000, b'{"path": NaN', b""):
        assert served.post("/gradio_api/queue/join", data=body, headers={"Content-Type": "application/json"}).status_code == 400
    refused = served.post("/gradio_api/queue/join", data=b" " * (2**22 + 2**17))
    assert refused.status_code == 413
    assert refused.json()["detail"] == "the call has more than 4 MB; files are uploaded, not called with"
    assert served.post("/gradio_api/queue/join", data=json.dumps({"data": ["x" * 1000]})).status_code in (400, 422)
    assert served.get("/").status_code == 200


def test_names_of_uploads_lead_nowhere(served: Served, tmp_path: Path) -> None:
    absolute = tmp_path / "evil.png"
    for name in ("../../evil.png", str(absolute), "..", "a/../../evil.png", "session-x/evil.png"):
        answer = served.post("/gradio_api/upload", files={"files": (name, b"evil")})
        for path in answer.json() if answer.status_code == 200 else []:
            assert Path(path).resolve().parent.parent == served.root
    assert not absolute.exists()


@pytest.mark.parametrize("route", ["/gradio_api/upload", "/api/colorize"])
def test_an_upload_that_does_not_end_is_broken_off_and_leaves_nothing(served: Served, route: str) -> None:
    served.studio.sessions.sweep(unkept=0, untaken=0)
    before = set(served.root.rglob("*"))

    def endless() -> Iterator[bytes]:
        yield b'--limit\r\nContent-Disposition: form-data; name="files"; filename="a.png"\r\nContent-Type: image/png\r\n\r\n'
        for _ in range(1000):
            yield b"x" * 2**14

    answer = served.post(route, data=endless(), headers={"Content-Type": "multipart/form-data; boundary=limit"})
    assert answer.status_code == 413
    assert "more than 9 MB" in answer.json()["detail"]
    served.studio.sessions.sweep(unkept=0, untaken=0)
    assert set(served.root.rglob("*")) == before


def test_a_page_that_is_closed_leaves_and_its_files_go_with_it(served: Served, tmp_path: Path) -> None:
    uploaded = served.upload(save_photograph(tmp_path / "colour.png", 3))
    sessions = served.studio.sessions
    with requests.get(f"{served.url}/gradio_api/heartbeat/ann", stream=True, timeout=LONGEST) as page:
        assert page.status_code == 200
        session = sessions.begin("ann")
        path = session.adopt(uploaded)
        sessions.sweep(left=0)
        assert served.get(f"{FILE}{path}").content == path.read_bytes()
    wait_until(lambda: session.left is not None)
    sessions.sweep(left=0)
    assert not path.exists()
    assert not uploaded.exists()
    assert served.get(f"{FILE}{path}").status_code == 403


def test_uploads_that_a_page_names_and_nobody_takes_go_with_it(served: Served, tmp_path: Path) -> None:
    """As those of a painting's background, and of what is refused."""
    page, other = PageClient(served), PageClient(served)
    for one in (page, other):
        one.open()
    background, layer, others = (page.file(save_photograph(tmp_path / f"{seed}.png", seed)) for seed in (10, 11, 12))
    (tmp_path / "notes.png").write_text("no picture")
    refused = page.file(tmp_path / "notes.png")
    page.upload("target", save_photograph(tmp_path / "grey.png", 13))
    page["regions-target"]["value"] = {"background": background, "layers": [layer], "composite": background}
    page.use("regions-use", "click")
    page.use("stylize-photo", "upload", refused)
    left = [Path(file["path"]) for file in (background, layer, refused, others)]
    assert all(path.exists() for path in left)
    served.studio.sessions.end(page.session_hash)
    assert [path.exists() for path in left] == [False, False, False, True]
    served.studio.sessions.end(other.session_hash)


def test_what_tells_sessions_apart_is_short(served: Served) -> None:
    assert call(served, [], "queue/join", session_hash="x" * 65, fn_index=0) == 400
    assert call(served, [], "queue/join", session_hash="x" * 64, fn_index=0) == 200


def test_asking_for_a_heartbeat_begins_no_session(served: Served) -> None:
    served.studio.sessions.end_all()
    for name in ("mallory", "a/b", "x" * 1000):
        with requests.get(f"{served.url}/gradio_api/heartbeat/{name}", stream=True, timeout=LONGEST):
            assert len(served.studio.sessions) == 0


def test_a_page_whose_session_has_ended_says_so_in_one_line_wherever_it_is_used(served: Served, tmp_path: Path) -> None:
    page, sessions = PageClient(served), served.studio.sessions
    page.open()
    page.upload("target", save_photograph(tmp_path / "grey.png", 5))
    upload = page.file(tmp_path / "grey.png")
    sessions.end_all()
    uses = (("colorize", "click"), ("strength", "input"), ("stylize", "click"), ("clip-colorize", "click"), ("hints-add", "click"))
    for elem_id, event in (*uses, ("regions-use", "click"), ("target", "clear")):
        page.errors.clear()
        page.use(elem_id, event)
        assert page.errors == [ENDED], elem_id
    for elem_id in ("target", "stylize-photo"):
        page.errors.clear()
        page.use(elem_id, "upload", upload)
        assert page.errors == [ENDED], elem_id
    assert len(sessions) == 0


def test_an_open_page_is_told_that_its_session_has_ended(served: Served) -> None:
    events = served.get("/config").json()["dependencies"]
    (load,) = (event["id"] for event in events if any(name == "load" for _, name in event["targets"]))
    assert call(served, [], "queue/join", session_hash="ann", fn_index=load) == 200
    url = f"{served.url}/gradio_api/queue/data?session_hash=ann"
    with requests.get(url, stream=True, timeout=LONGEST) as stream:
        lines = stream.iter_lines()
        assert any(b"process_generating" in line for line in lines)
        served.studio.sessions.end("ann")
        assert ENDED[1:] in " ".join(line.decode() for line in lines)
