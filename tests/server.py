"""A web server on this machine that misbehaves as a test tells it to."""

import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

# a silent server must not outlive a test that failed
_LONGEST_SILENCE = 30


@dataclass
class Served:
    """One file. The lists are used up answer by answer; once they are empty, the file is served as it should be."""

    content: bytes
    etag: str | None = '"1"'
    ignores_range: bool = False
    statuses: list[int] = field(default_factory=list)
    """Errors answered first."""
    cuts: list[int] = field(default_factory=list)
    """Bytes after which the next answers are cut."""
    silences: list[int] = field(default_factory=list)
    """Bytes after which the next answers fall silent, until the server is closed."""
    before: Callable[[], object] | None = None
    """Called before each answer."""


class _QuietServer(ThreadingHTTPServer):
    request_queue_size = 64

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that leaves in the middle is what some tests want."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)


class Server:
    """Serves `files` by path. `requests` lists each request's path and headers, `silent` is set once an answer has fallen silent."""

    def __init__(self) -> None:
        self.files: dict[str, Served] = {}
        self.requests: list[tuple[str, dict[str, str]]] = []
        self.silent = threading.Event()
        self.closing = threading.Event()
        self._server = _QuietServer(("127.0.0.1", 0), _handler(self))
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.closing.set()
        self._server.shutdown()
        self._server.server_close()

    def paths(self) -> list[str]:
        """Of all requests, in order."""
        return [path for path, _ in self.requests]

    def ranges(self, path: str) -> list[str | None]:
        """The Range header of each request for a file."""
        return [headers.get("Range") for requested, headers in self.requests if requested == path]


def _handler(server: Server) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            server.requests.append((self.path, dict(self.headers)))
            served = server.files.get(self.path)
            if served is None:
                return self._refuse(404)
            if served.before is not None:
                served.before()
            if served.statuses:
                return self._refuse(served.statuses.pop(0))
            start = self._start(served)
            if start >= len(served.content) > 0:
                return self._refuse(416)
            body = served.content[start:]
            self.send_response(206 if start else 200)
            if start:
                self.send_header("Content-Range", f"bytes {start}-{len(served.content) - 1}/{len(served.content)}")
            if served.etag is not None:
                self.send_header("ETag", served.etag)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            cut = served.cuts.pop(0) if served.cuts else None
            silence = served.silences.pop(0) if served.silences else None
            self.wfile.write(body[:cut][:silence])
            if silence is not None:
                server.silent.set()
                server.closing.wait(_LONGEST_SILENCE)
            self.close_connection = cut is not None or silence is not None
            return None

        def _start(self, served: Served) -> int:
            wanted = self.headers.get("Range")
            same = self.headers.get("If-Range") in (None, served.etag)
            return int(wanted.removeprefix("bytes=").rstrip("-")) if wanted and same and not served.ignores_range else 0

        def _refuse(self, status: int) -> None:
            self.send_response(status)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: Any) -> None:
            """Say nothing."""

    return Handler
