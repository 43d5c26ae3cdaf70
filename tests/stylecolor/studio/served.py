"""The studio's application on a free port of this process, so that tests reach inside."""

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import requests

from stylecolor.studio.config import StudioSettings
from stylecolor.studio.server import environment, make_app, make_server
from stylecolor.studio.work import Studio

LONGEST = 60
"""Seconds that nothing here takes, on the busiest machine."""


def wait_until(reached: Callable[[], object]) -> None:
    """For what the studio does by itself, of which nothing tells."""
    deadline = time.monotonic() + LONGEST
    while not reached():
        assert time.monotonic() < deadline
        time.sleep(0.01)


class Served:
    """A studio, and where it listens."""

    def __init__(self, studio: Studio, url: str) -> None:
        self.studio = studio
        self.url = url
        self.root = studio.sessions.root

    def get(self, path: str, **options: Any) -> requests.Response:
        """Without any of the changes that clients make to paths."""
        return self._send("GET", path, **options)

    def post(self, path: str, **options: Any) -> requests.Response:
        return self._send("POST", path, **options)

    def upload(self, path: Path) -> Path:
        """As the page does it; where Gradio has put the file."""
        with path.open("rb") as file:
            answer = self.post("/gradio_api/upload", files={"files": (path.name, file)})
        assert answer.status_code == 200, answer.text
        return Path(answer.json()[0])

    def _send(self, method: str, path: str, **options: Any) -> requests.Response:
        request = requests.Request(method, self.url, **options).prepare()
        request.url = f"{self.url}{path}"
        with requests.Session() as session:
            return session.send(request, timeout=LONGEST, allow_redirects=False)


@contextmanager
def serving(settings: StudioSettings, root: Path, ready: bool = True) -> Iterator[Served]:
    """A studio that has its networks, or has found that there are none, or is not that far unless `ready`."""
    with pytest.MonkeyPatch.context() as patch, socket.socket() as listener:
        for name, value in environment(root).items():
            patch.setenv(name, value)
        studio = Studio(settings, root)
        server = make_server(make_app(studio))
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        try:
            served = Served(studio, f"http://127.0.0.1:{listener.getsockname()[1]}")
            served.get("/robots.txt")
            assert not ready or studio.model.wait(LONGEST)
            yield served
        finally:
            server.should_exit = True
            thread.join(LONGEST)
