import asyncio
import errno
import os
import re
import signal
import socket
import subprocess
import sys
import threading
from base64 import b64encode
from pathlib import Path

import pytest
import requests

from stylecolor.studio import server
from stylecolor.studio.config import StudioSettings
from stylecolor.studio.server import temporary_directory
from stylecolor.studio.work import Studio
from tests.stylecolor.commands.running import installed, save_photograph
from tests.stylecolor.studio.browser.studio_process import StudioProcess

LONGEST = 60


def refused(*arguments: str, **variables: str) -> str:
    """What the command says on stderr, in one line, when it refuses to start."""
    environment = {**os.environ, **variables}
    done = subprocess.run(installed("studio", *arguments), env=environment, text=True, capture_output=True, timeout=LONGEST)
    assert done.returncode == 1, done.stdout + done.stderr
    assert done.stdout == ""
    assert done.stderr.startswith("error: ")
    assert done.stderr.count("\n") == 1
    return done.stderr


def test_a_studio_without_networks_stays_up_asks_for_its_password_and_ends_quietly(tmp_path: Path) -> None:
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    (tmp_path / "broken.ckpt").write_bytes(b"no checkpoint")
    picture = save_photograph(tmp_path / "grey.png", 1)
    variables = {"TMPDIR": str(temporary), "STYLECOLOR_STUDIO_AUTH": "ann:secret"}
    with StudioProcess(tmp_path, "--checkpoint", "broken.ckpt", environment=variables) as studio:
        for path in ("/", "/config", "/theme.css", "/gradio_api/info", "/gradio_api/heartbeat/x", "/api/openapi.json", "/assets/none"):
            assert requests.get(f"{studio.url}{path}", timeout=LONGEST).status_code == 401
        for path in ("/api/colorize", "/gradio_api/upload", "/gradio_api/cancel", "/gradio_api/queue/join"):
            assert requests.post(f"{studio.url}{path}", json={}, timeout=LONGEST).status_code == 401

        known = requests.Session()
        known.auth = ("ann", "secret")
        assert known.get(studio.url, timeout=LONGEST).status_code == 200
        answer = known.post(f"{studio.url}/api/colorize", files={"target": picture.read_bytes()}, timeout=LONGEST)
        assert answer.status_code == 503
        assert "broken.ckpt" in answer.json()["detail"]

        (root,) = temporary.glob("stylecolor-studio-*")
        assert root.stat().st_mode & 0o077 == 0
        assert known.post(f"{studio.url}/gradio_api/upload", files={"files": picture.open("rb")}, timeout=LONGEST).status_code == 200
        assert list(root.rglob("grey.png"))
        # a page that is open and listens, and an upload that does not end
        page = known.get(f"{studio.url}/gradio_api/heartbeat/ann", stream=True, timeout=LONGEST)
        assert page.status_code == 200
        events = known.get(f"{studio.url}/config", timeout=LONGEST).json()["dependencies"]
        (load,) = (event["id"] for event in events if any(name == "load" for _, name in event["targets"]))
        call = {"data": [], "fn_index": load, "session_hash": "ann"}
        assert known.post(f"{studio.url}/gradio_api/queue/join", json=call, timeout=LONGEST).status_code == 200
        listening = known.get(f"{studio.url}/gradio_api/queue/data?session_hash=ann", stream=True, timeout=LONGEST)
        assert next(listening.iter_lines()).startswith(b"data:")
        with socket.create_connection(("127.0.0.1", int(studio.url.rpartition(":")[2]))) as unfinished:
            login = b64encode(b"ann:secret").decode()
            head = f"POST /gradio_api/upload HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\nAuthorization: Basic {login}\r\n"
            part = '--x\r\nContent-Disposition: form-data; name="files"; filename="grey.png"\r\n\r\nbegin'
            unfinished.sendall(f"{head}Content-Type: multipart/form-data; boundary=x\r\n\r\n{part}".encode())
            assert studio.stop() == 0
    first, second = sorted(studio.lines)
    assert first == f"studio: {studio.url}"
    assert second.startswith("warning: the studio has no networks: ")
    assert "broken.ckpt" in second
    assert list(temporary.iterdir()) == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGHUP])
def test_ctrl_c_while_the_networks_are_being_loaded_ends_it_quietly(tmp_path: Path, joint_checkpoint: Path, number: signal.Signals) -> None:
    with StudioProcess(tmp_path, "--checkpoint", joint_checkpoint, environment={"TMPDIR": str(tmp_path)}) as studio:
        assert requests.get(studio.url, timeout=LONGEST).status_code == 200
        assert studio.stop(number) == 0
    assert studio.lines == [f"studio: {studio.url}"]
    assert list(tmp_path.iterdir()) == []


SIGNALED_WHILE_STARTING = """
import signal, sys
from pathlib import Path
from stylecolor.studio import server
from stylecolor.studio.config import StudioSettings

make_app = server.make_app
# as in a terminal, even where the tests run in the background
signal.signal(int(sys.argv[1]), signal.SIG_DFL)

def make_app_signaled(studio):
    signal.raise_signal(int(sys.argv[1]))
    return make_app(studio)

server.make_app = make_app_signaled
host = sys.argv[3]
server.serve(StudioSettings(Path(sys.argv[2]), host=host, port=0, no_auth=host != "127.0.0.1"))
"""


@pytest.mark.parametrize(
    ("number", "host", "address"),
    [
        (signal.SIGINT, "127.0.0.1", r"http://127\.0\.0\.1:\d+"),
        (signal.SIGTERM, "0.0.0.0", r"http://localhost:\d+, and at every other name of this machine"),
        (signal.SIGHUP, "127.0.0.1", r"http://127\.0\.0\.1:\d+"),
    ],
)
def test_a_signal_while_it_starts_is_not_lost(
    tmp_path: Path, joint_checkpoint: Path, number: signal.Signals, host: str, address: str
) -> None:
    program = [sys.executable, "-c", SIGNALED_WHILE_STARTING, str(int(number)), str(joint_checkpoint), host]
    variables = {**os.environ, "TMPDIR": str(tmp_path)}
    done = subprocess.run(program, cwd=tmp_path, env=variables, text=True, capture_output=True, timeout=LONGEST)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert re.fullmatch(f"studio: {address}\n", done.stdout)
    assert list(tmp_path.iterdir()) == []


def test_what_studios_that_were_killed_have_left_is_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with subprocess.Popen([sys.executable, "-c", ""]) as dead:
        pass
    stale = tmp_path / f"stylecolor-studio-{dead.pid}-abcdefgh"
    (stale / "session-x").mkdir(parents=True)
    (stale / "session-x" / "grey.png").write_bytes(b"bytes")
    other = tmp_path / "stylecolor-studio-notes"
    other.mkdir()
    with temporary_directory() as running, temporary_directory() as root:
        assert root.is_dir()
        assert running.is_dir(), "its studio lives"
        assert not stale.exists()
    assert list(tmp_path.iterdir()) == [other]


def test_what_cannot_be_removed_now_is_looked_at_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    studio = Studio(StudioSettings(), tmp_path)
    looks: list[None] = []
    enough = threading.Event()

    def sweep() -> None:
        looks.append(None)
        if len(looks) < 3:
            raise OSError(errno.EMFILE, "Too many open files", "uploads")
        enough.set()

    monkeypatch.setattr(server, "SWEEP_SECONDS", 0)
    monkeypatch.setattr(studio.sessions, "sweep", sweep)

    async def look() -> None:
        sweeping = asyncio.create_task(server.sweep_again_and_again(studio))
        assert await asyncio.to_thread(enough.wait, LONGEST)
        sweeping.cancel()

    asyncio.run(look())
    assert "uploads: Too many open files" in caplog.text


def test_a_port_that_is_taken_is_refused_in_one_line() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        assert f"--port {port}: cannot be listened on" in refused("--port", port)


def test_a_public_address_without_a_password_is_refused_in_one_line() -> None:
    assert "others could reach it without a password" in refused("--host", "0.0.0.0", "--port", "0")
    assert "must be of the form user:password" in refused("--port", "0", STYLECOLOR_STUDIO_AUTH="secret")


def test_without_gradio_the_command_says_how_to_install_it(tmp_path: Path) -> None:
    # Python runs this as it starts
    (tmp_path / "sitecustomize.py").write_text("import sys; sys.modules['gradio'] = None")
    assert "pip install stylecolor[studio]" in refused("--port", "0", PYTHONPATH=str(tmp_path))


def test_the_page_is_there_before_torch_is(tmp_path: Path) -> None:
    modules = ", ".join(f"stylecolor.studio.{name}" for name in ("page", "server", "rest", "client_endpoint"))
    code = f"import sys, stylecolor.cli, {modules}; print('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], text=True, capture_output=True, cwd=tmp_path, timeout=LONGEST).stdout == "False\n"
