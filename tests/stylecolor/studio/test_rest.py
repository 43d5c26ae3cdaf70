import errno
import re
import shlex
import shutil
import socket
import struct
import threading
import zlib
from base64 import b64encode
from collections.abc import Iterator
from contextlib import closing
from io import BytesIO
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import numpy as np
import pytest
import requests
from gradio_client import Client, handle_file
from PIL import Image

from stylecolor.errors import NoRoomError
from stylecolor.studio import sessions, uploads
from stylecolor.studio.config import StudioSettings
from stylecolor.studio.line import WAITING, Ticket
from stylecolor.studio.model import StudioModel
from stylecolor.studio.requests import FILE_BYTES
from stylecolor.user_hints import HintPoint, write_hints
from tests.stylecolor.commands.running import assert_done, run, save_photograph
from tests.stylecolor.studio.served import LONGEST, Served, serving, wait_until

SIZE = "32"


@pytest.fixture(scope="module")
def served(joint_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with serving(StudioSettings(joint_checkpoint, max_megapixels=0.01), tmp_path_factory.mktemp("studio")) as served:
        yield served


@pytest.fixture(autouse=True)
def nobody_else_uploads(monkeypatch: pytest.MonkeyPatch) -> None:
    """What has just been uploaded may go."""
    monkeypatch.setattr(uploads, "SHARED_SECONDS", 0)


@pytest.fixture
def work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    Image.open(save_photograph(tmp_path / "grey.jpg", 3)).convert("L").save(tmp_path / "grey.jpg")
    save_photograph(tmp_path / "colour.png", 1)
    save_photograph(tmp_path / "other.png", 2)
    return tmp_path


def colorize(served: Served, *files: tuple[str, str], **settings: str) -> requests.Response:
    """Files of the working directory, and settings."""
    parts = [(field, (name, Path(name).read_bytes())) for field, name in files]
    return served.post("/api/colorize", files=parts, data={"size": SIZE, **settings})


def assert_refused(answer: requests.Response, status: int, *parts: str) -> None:
    assert answer.status_code == status, answer.text
    assert list(answer.json()) == ["detail"]
    reason = answer.json()["detail"]
    assert "\n" not in reason
    for part in parts:
        assert part in reason


def assert_nothing_left(served: Served) -> None:
    # an answer may be here before its session has ended there
    wait_until(lambda: not [path for path in served.root.iterdir() if path.name.startswith("session-")])


def uploaded_and_made(served: Served) -> list[Path]:
    """By visitors; what the page itself shows stays."""
    kept = served.studio.sessions.uploads.kept
    return [path for entry in set(served.root.iterdir()) - kept for path in entry.rglob("*") if path.is_file()]


def test_the_answer_is_the_file_that_the_command_in_it_makes(served: Served, work: Path) -> None:
    write_hints("points.json", [HintPoint(0.5, 0.5, 40, 10)])
    answer = colorize(
        served,
        ("target", "grey.jpg"),
        ("reference", "colour.png"),
        ("reference", "other.png"),
        ("points", "points.json"),
        weights="0.7,0.3",
        strength="0.8",
        saturation="1.3",
        matching="wct",
        sites="bottleneck",
        quality="80",
    )
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "image/jpeg"
    assert 'filename="grey_colorized.jpg"' in answer.headers["content-disposition"]
    assert_done(run(*shlex.split(unquote(answer.headers["stylecolor-command"]))[1:]))
    assert (work / "grey_colorized.jpg").read_bytes() == answer.content
    assert_nothing_left(served)


def test_label_maps_are_taken(served: Served, work: Path) -> None:
    labels = np.zeros((40, 48), np.uint8)
    labels[:, 20:] = 1
    Image.fromarray(labels).save("labels.png")
    files = (("target", "grey.jpg"), ("reference", "colour.png"), ("target_labels", "labels.png"), ("reference_labels", "labels.png"))
    answer = colorize(served, *files)
    assert answer.status_code == 200, answer.text
    assert answer.content != colorize(served, *files[:2]).content


def test_the_official_client_gives_the_password_as_a_header(joint_checkpoint: Path, work: Path) -> None:
    with serving(StudioSettings(joint_checkpoint, auth="ann:secret"), work / "locked") as locked:
        with pytest.raises(Exception, match="credentials were not provided"):
            Client(locked.url, verbose=False)
        headers = {"Authorization": f"Basic {b64encode(b'ann:secret').decode()}"}
        with closing(Client(locked.url, verbose=False, headers=headers, download_files=str(work / "downloads"))) as client:
            path = client.predict(handle_file("grey.jpg"), [handle_file("colour.png")], size=int(SIZE), api_name="/colorize")
        assert Image.open(path).size == Image.open("grey.jpg").size


def test_the_official_client_gets_the_same_file(served: Served, work: Path) -> None:
    with closing(Client(served.url, verbose=False, download_files=str(work / "downloads"))) as client:
        path = client.predict(
            target=handle_file("grey.jpg"),
            references=[handle_file("colour.png"), handle_file("other.png")],
            weights=[1, 2],
            strength=0.5,
            size=int(SIZE),
            api_name="/colorize",
        )
        with pytest.raises(Exception, match=r"weights: 2 for 1 references"):
            client.predict(target=handle_file("grey.jpg"), references=[handle_file("colour.png")], weights=[1, 2], api_name="/colorize")
        # of what it has sent nothing stays, and the answer is there as long as it may be fetched
        assert [path.name for path in uploaded_and_made(served)] == ["grey_colorized.jpg"]
        names = ["target", "references", "weights", "target_labels", "reference_labels", "points", "strength", "saturation", "matching"]
        described = client.view_api(return_format="dict", print_info=False)
        assert isinstance(described, dict)
        assert list(described["named_endpoints"]) == ["/colorize"]
        parameters = described["named_endpoints"]["/colorize"]["parameters"]
        assert [parameter["parameter_name"] for parameter in parameters] == [*names, "sites", "size", "quality"]
    wait_until(lambda: served.studio.sessions.sweep(left=0) or not len(served.studio.sessions))
    assert_nothing_left(served)
    assert Path(path).name == "grey_colorized.jpg"
    settings = ("--weights", "1,2", "--strength", "0.5", "--size", SIZE, "--checkpoint", served.studio.model.source)
    assert_done(run("colorize", "grey.jpg", "-r", "colour.png", "-r", "other.png", *settings))
    assert (work / "grey_colorized.jpg").read_bytes() == Path(path).read_bytes()


def test_who_calls_the_endpoint_without_any_client_leaves_nothing_for_long(served: Served, work: Path) -> None:
    file = {"path": str(served.upload(work / "grey.jpg")), "meta": {"_type": "gradio.FileData"}}
    call = served.post("/gradio_api/call/colorize", json={"data": [file, None, None, None, None, None, 1, 1, None, None, int(SIZE), 95]})
    answer = served.get(f"/gradio_api/call/colorize/{call.json()['event_id']}")
    assert "event: complete" in answer.text
    assert [path.name for path in uploaded_and_made(served)] == ["grey_colorized.jpg"]
    served.studio.sessions.sweep(left=0)
    assert_nothing_left(served)


def test_programs_are_told_what_is_wrong_by_its_name_and_without_markup(served: Served, work: Path) -> None:
    Path("bad.json").write_text('[{"x": 2}')
    grey = handle_file("grey.jpg")
    refused = {
        "target: Input should be a valid dictionary or instance of FileData": {"target": "grey.jpg"},
        "references: Input should be a valid list": {"references": grey},
        "references.0: Input should be a valid dictionary or instance of FileData": {"references": ["colour.png"]},
        "strength: Input should be a valid number": {"strength": "x"},
        "saturation: Input should be a valid number": {"saturation": "0.5"},
        "weights.1: Input should be a valid number": {"weights": [1, "b"]},
        "sites: Input should be a valid list": {"sites": "bottleneck"},
        "size: Input should be a valid integer": {"size": 64.5},
        "matching: Input should be a valid string": {"matching": 3},
        "matching=<b> is not one of adain, wct, none": {"matching": "<b>"},
        "Expecting ',' delimiter": {"points": handle_file("bad.json")},
        'write a list such as [{"x": 0.41': {"points": handle_file("bad.json")},
    }
    with closing(Client(served.url, verbose=False)) as client:
        for reason, arguments in refused.items():
            with pytest.raises(Exception, match=re.escape(reason)):
                client.predict(**{"target": grey, **arguments}, api_name="/colorize")
    served.studio.sessions.end_all()


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (
            OSError(errno.ENOSPC, "No space left on device", "session-x/0/grey.jpg"),
            "the studio cannot go on: No space left on device",
        ),
        (MemoryError(), "the studio's memory is full; use a smaller picture"),
        (NoRoomError("the device's memory is full"), "the device's memory is full"),
    ],
)
def test_a_disk_or_a_memory_that_is_full_is_not_the_clients_fault(
    served: Served, work: Path, monkeypatch: pytest.MonkeyPatch, error: Exception, reason: str
) -> None:
    def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr(served.studio.model, "colorizer", fail)
    answer = colorize(served, ("target", "grey.jpg"))
    assert_refused(answer, 507, reason)
    assert "session-" not in answer.text


def test_a_disk_that_is_full_before_there_is_a_session_is_not_the_clients_fault(
    served: Served, work: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device", "session-x")

    monkeypatch.setattr(sessions.Session, "__init__", fail)
    assert_refused(colorize(served, ("target", "grey.jpg")), 507, "the studio cannot go on: No space left on device")


def test_the_schema_names_every_setting_and_every_answer(served: Served) -> None:
    schema = served.get("/api/openapi.json").json()
    operation = schema["paths"]["/api/colorize"]["post"]
    assert set(operation["responses"]) >= {"200", "400", "401", "403", "408", "413", "421", "503", "507"}
    assert "image/tiff" in operation["responses"]["200"]["content"]
    body = operation["requestBody"]["content"]["multipart/form-data"]["schema"]["$ref"].rpartition("/")[2]
    settings = schema["components"]["schemas"][body]["properties"]
    assert set(settings) == {
        *("target", "reference", "weights", "target_labels", "reference_labels", "points", "strength", "saturation", "matching", "sites"),
        *("size", "quality"),
    }
    assert all(setting["description"] for setting in settings.values())
    # nothing else is offered, and no page that loads scripts from elsewhere
    assert list(schema["paths"]) == ["/api/colorize"]
    assert served.get("/docs").status_code == served.get("/redoc").status_code == 404


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"strength": "2"}, "strength=2.0 is outside 0..1"),
        ({"strength": "strong"}, "strength: Input should be a valid number"),
        ({"matching": "best"}, "matching=best is not one of adain, wct, none"),
        ({"sites": "bottleneck,cellar"}, "sites=cellar is not one of"),
        ({"size": "1000000"}, "size=1000000 is outside"),
        ({"weights": "a,b"}, "weights=a,b: is no list of numbers"),
        ({"weights": "1,2"}, "weights: 2 for 1 references"),
        ({"strenght": "0.2"}, "strenght: is no field; they are target, reference, "),
        ({"strenght": "0.2"}, "; did you mean strength"),
        ({"target": "grey.jpg"}, "target: is given 2 times; only reference may be repeated"),
    ],
)
def test_settings_that_cannot_be_are_refused_in_one_line(served: Served, work: Path, settings: dict[str, str], reason: str) -> None:
    assert_refused(colorize(served, ("target", "grey.jpg"), ("reference", "colour.png"), **settings), 400, reason)
    assert_nothing_left(served)


def test_files_that_are_no_pictures_are_refused_by_name(served: Served, work: Path) -> None:
    Path("notes.png").write_text("no picture")
    assert_refused(colorize(served, ("target", "notes.png")), 400, "picture notes.png: is no picture of a format that is read")
    assert_refused(colorize(served, ("target", "grey.jpg"), ("points", "notes.png")), 400, "notes.png: is no JSON")
    assert_refused(colorize(served, ("reference", "grey.jpg")), 400, "target: Field required")
    assert_nothing_left(served)


def test_a_name_in_place_of_a_file_is_refused_with_the_remedy(served: Served, work: Path) -> None:
    for field in ("target", "reference", "points"):
        parts: dict[str, Any] = {"target": ("grey.jpg", Path("grey.jpg").read_bytes()), field: (None, "grey.jpg")}
        reason = f"{field}=grey.jpg: is a text, not a file; send the file, as curl does for -F {field}=@grey.jpg"
        assert_refused(served.post("/api/colorize", files=parts), 400, reason)


@pytest.mark.parametrize("method", ["GET", "PUT", "PATCH", "DELETE"])
def test_pictures_are_sent_by_post(served: Served, method: str) -> None:
    answer = served._send(method, "/api/colorize")
    assert_refused(answer, 405, f"{method} is not POST, by which pictures are sent")
    assert answer.headers["allow"] == "POST"


@pytest.mark.parametrize(
    "name", [" lead.jpg", "new\nline.jpg", 'it\'s "quoted".jpg', "写" * 80 + ".jpg", "x" * 251 + ".jpg"], ids=lambda name: name[:5]
)
def test_the_command_names_the_clients_own_file(served: Served, work: Path, name: str) -> None:
    shutil.move("grey.jpg", name)
    answer = colorize(served, ("target", name))
    assert answer.status_code == 200, answer.text
    before = set(work.iterdir())
    assert_done(run(*shlex.split(unquote(answer.headers["stylecolor-command"]))[1:]))
    (made,) = set(work.iterdir()) - before
    assert made.name.endswith("_colorized.jpg")
    assert made.read_bytes() == answer.content
    assert_nothing_left(served)


def test_a_list_of_points_that_is_too_long_is_not_read(served: Served, work: Path) -> None:
    Path("points.json").write_bytes(b" " * (FILE_BYTES + 1))
    reason = f"points points.json: is larger than {FILE_BYTES} bytes, which no list of points is"
    assert_refused(colorize(served, ("target", "grey.jpg"), ("points", "points.json")), 400, reason)


def bomb(side: int) -> bytes:
    """A small PNG whose header claims that it is large."""
    buffer = BytesIO()
    Image.new("L", (8, 8)).save(buffer, "PNG")
    contents = bytearray(buffer.getvalue())
    contents[16:24] = struct.pack(">II", side, side)
    contents[29:33] = struct.pack(">I", zlib.crc32(contents[12:29]))
    return bytes(contents)


@pytest.mark.parametrize("side", [101, 60_000, 2**31 - 1])
def test_a_picture_that_claims_too_many_pixels_is_too_large(served: Served, work: Path, side: int) -> None:
    Path("bomb.png").write_bytes(bomb(side))
    assert_refused(colorize(served, ("target", "bomb.png")), 413, f"its {side} x {side} px are more than the 0.01 megapixels")
    assert_refused(colorize(served, ("target", "grey.jpg"), ("reference", "bomb.png")), 413, "picture bomb.png")


def test_names_of_files_lead_nowhere(served: Served, work: Path) -> None:
    grey = (work / "grey.jpg").read_bytes()
    answer = served.post("/api/colorize", files={"target": ("../../../../tmp/evil.jpg", grey)}, data={"size": SIZE})
    assert answer.status_code == 200
    assert 'filename="evil_colorized.jpg"' in answer.headers["content-disposition"]
    assert_nothing_left(served)


def test_who_comes_when_32_wait_is_told_so_at_once(served: Served, work: Path) -> None:
    answers: list[requests.Response] = []

    def ask() -> None:
        answers.append(colorize(served, ("target", "grey.jpg")))

    threads = [threading.Thread(target=ask) for _ in range(WAITING)]
    with served.studio.line.turn(Ticket(), lambda ahead: None):
        for thread in threads:
            thread.start()
        wait_until(lambda: served.studio.line.waiting == WAITING)
        refused = colorize(served, ("target", "grey.jpg"))
        assert_refused(refused, 503, "32 requests are waiting already")
        assert int(refused.headers["retry-after"]) > 0
        # the page is served meanwhile
        assert served.get("/").status_code == 200
    for thread in threads:
        thread.join(LONGEST)
    assert [answer.status_code for answer in answers] == [200] * WAITING
    assert len({answer.content for answer in answers}) == 1


def test_a_client_that_goes_leaves_the_line_and_nothing_behind(served: Served, work: Path) -> None:
    body = requests.Request("POST", served.url, files={"target": ("grey.jpg", (work / "grey.jpg").read_bytes())}).prepare()
    assert isinstance(body.body, bytes)
    head = f"POST /api/colorize HTTP/1.1\r\nHost: localhost\r\nContent-Type: {body.headers['Content-Type']}\r\n"
    with served.studio.line.turn(Ticket(), lambda ahead: None):
        with socket.create_connection(("127.0.0.1", int(served.url.rpartition(":")[2]))) as connection:
            connection.sendall(f"{head}Content-Length: {len(body.body)}\r\n\r\n".encode() + body.body)
            wait_until(lambda: served.studio.line.waiting == 1)
        wait_until(lambda: served.studio.line.waiting == 0)
        assert_nothing_left(served)
    assert colorize(served, ("target", "grey.jpg")).status_code == 200


@pytest.fixture
def loading(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Served, threading.Event]]:
    """A studio whose networks are being loaded until the event, after which there are none."""
    go_on = threading.Event()

    def load(model: StudioModel) -> None:
        assert go_on.wait(LONGEST)
        raise ValueError("there are none")

    monkeypatch.setattr(StudioModel, "_read", load)
    root = tmp_path / "root"
    root.mkdir()
    try:
        with serving(StudioSettings(), root, ready=False) as served:
            yield served, go_on
            go_on.set()
    finally:
        go_on.set()


def test_while_the_networks_are_being_loaded_the_line_has_its_bound_with_points_or_without(
    loading: tuple[Served, threading.Event], work: Path
) -> None:
    served, go_on = loading
    write_hints("points.json", [HintPoint(0.5, 0.5, 40, 10)])
    files = ("target", "grey.jpg"), ("points", "points.json")
    answers: list[int] = []
    threads = [threading.Thread(target=lambda: answers.append(colorize(served, *files).status_code)) for _ in range(1 + WAITING)]
    for thread in threads:
        thread.start()
    wait_until(lambda: served.studio.line.waiting == WAITING)
    for asked in (files, files[:1]):
        assert_refused(colorize(served, *asked), 503, "32 requests are waiting already")
    go_on.set()
    for thread in threads:
        thread.join(LONGEST)
    assert answers == [503] * (1 + WAITING)
    assert_nothing_left(served)


def test_a_studio_that_ends_while_the_networks_are_being_loaded_keeps_nobody_with_points_waiting(
    loading: tuple[Served, threading.Event], work: Path
) -> None:
    served, _ = loading
    write_hints("points.json", [HintPoint(0.5, 0.5, 40, 10)])
    statuses: list[int] = []
    thread = threading.Thread(
        target=lambda: statuses.append(colorize(served, ("target", "grey.jpg"), ("points", "points.json")).status_code)
    )
    thread.start()
    wait_until(lambda: len(served.studio.line._tickets))
    served.studio.sessions.end_all()
    thread.join(LONGEST)
    assert statuses == [499]
    assert_nothing_left(served)
