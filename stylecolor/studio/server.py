"""The studio's web server."""

import asyncio
import logging
import os
import re
import shutil
import signal
import socket
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any, NoReturn, Self

import typer

from stylecolor.errors import one_line
from stylecolor.studio.config import StudioSettings
from stylecolor.whole_file import is_running

if TYPE_CHECKING:
    import uvicorn
    from fastapi import FastAPI

    from stylecolor.studio.work import Studio

log = logging.getLogger(__name__)

PREFIX = "stylecolor-studio-"
GRACE = 20
"""Seconds, of which a step of a colorization, which cannot be broken off, takes a few."""
SWEEP_SECONDS = 5.0
"""Between two looks for what visitors have left behind."""
CONNECTIONS = 768
"""At once, of which a page needs two or three; the other files that a process may open, often 1024, are for what is done there."""


def serve(settings: StudioSettings) -> NoReturn:
    """Serve the studio until Ctrl-C, and end the process then.

    Raises:
        ValueError: when the address cannot be listened on.
    """
    with EndSignals() as signals, _listening(settings) as listener, temporary_directory() as root:
        # before Gradio is imported, which takes its settings from there
        os.environ.update(environment(root))
        from stylecolor.studio.work import Studio

        app = make_app(Studio(settings, root))
        typer.echo(f"studio: {_address(listener, settings.host)}")
        server = make_server(app)
        signals.end(server)
        server.run(sockets=[listener])
    sys.stdout.flush()
    # Python's own end would stop threads in the middle of torch's calls, which abort the process then
    os._exit(0)


def make_server(app: "FastAPI") -> "uvicorn.Server":
    """What serves `make_app`'s application: told to end, it lets go of those who are connected."""
    import uvicorn

    class Server(uvicorn.Server):
        async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
            app.state.closing.set()
            await super().shutdown(sockets)

    config = uvicorn.Config(
        app, log_level="warning", ws="none", server_header=False, timeout_graceful_shutdown=GRACE, limit_concurrency=CONNECTIONS
    )
    return Server(config)


def make_app(studio: "Studio") -> "FastAPI":
    """The whole application: the page at /, and the REST endpoint. The networks are loaded once it runs.

    Its `state.closing` is an event that is set when it is to end.
    """
    import gradio as gr
    from fastapi import FastAPI

    from stylecolor.studio.client_endpoint import add_client_endpoint
    from stylecolor.studio.gradio_gate import GradioGate
    from stylecolor.studio.page import CSS, THEME, build_page
    from stylecolor.studio.rest import add_rest
    from stylecolor.studio.room import Room
    from stylecolor.studio.security import Guard

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        studio.model.start()
        sweeping = asyncio.create_task(sweep_again_and_again(studio))
        try:
            yield
        finally:
            sweeping.cancel()
            studio.model.abandon()
            studio.sessions.end_all()

    app = FastAPI(title="stylecolor studio", docs_url=None, redoc_url=None, openapi_url="/api/openapi.json", lifespan=lifespan)
    add_rest(app, studio)
    page = build_page(studio)
    with page:
        add_client_endpoint(studio)
    # the studio has a line of its own
    page.queue(max_size=None, default_concurrency_limit=None)
    gr.mount_gradio_app(app, page, path="/", footer_links=[], run_history=False, ssr_mode=False, mcp_server=False, theme=THEME, css=CSS)
    # only then does Gradio check where the files lie that calls name; mounting leaves that out
    page.has_launched = True
    studio.sessions.uploads.keep_present()
    app.add_middleware(GradioGate, sessions=studio.sessions)
    app.state.closing = asyncio.Event()
    app.add_middleware(Guard, settings=studio.settings, closing=app.state.closing, room=Room(studio.sessions.root))
    return app


async def sweep_again_and_again(studio: "Studio") -> None:
    """Remove what visitors leave behind, for as long as the server runs."""
    while True:
        await asyncio.sleep(SWEEP_SECONDS)
        try:
            await asyncio.to_thread(studio.sessions.sweep)
        except OSError as error:
            # as when too many files are open; the next time may be better
            log.warning("what visitors have left behind cannot be removed: %s", one_line(error))


class EndSignals:
    """While the block runs, Ctrl-C, SIGTERM and the end of the terminal end the server in good order.

    As exceptions they could be raised anywhere, as among the imports of the start, where some are swallowed.
    """

    def __init__(self) -> None:
        self._asked = False
        self._server: uvicorn.Server | None = None
        self._before: dict[int, Any] = {}

    def end(self, server: "uvicorn.Server") -> None:
        """Let the signals end this server; it ends as soon as it runs if one has come already."""
        self._server = server
        server.should_exit = self._asked

    def __enter__(self) -> Self:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            # nohup: the studio is to outlive the terminal
            if signal.getsignal(number) is not signal.SIG_IGN:
                self._before[number] = signal.signal(number, self._take)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _take(self, number: int, frame: FrameType | None) -> None:
        self._asked = True
        if self._server is not None:
            self._server.should_exit = True


@contextmanager
def temporary_directory() -> Iterator[Path]:
    """A directory that only this user may look into, removed at the end, as is what studios that were killed have left."""
    for stale in Path(tempfile.gettempdir()).glob(f"{PREFIX}*"):
        found = re.fullmatch(rf"{PREFIX}(\d+)-.*", stale.name)
        if found is not None and not is_running(int(found[1])):
            # what belongs to others stays
            shutil.rmtree(stale, ignore_errors=True)
    root = Path(os.path.realpath(tempfile.mkdtemp(prefix=f"{PREFIX}{os.getpid()}-")))
    try:
        yield root
    finally:
        shutil.rmtree(root, ignore_errors=True)


def environment(root: Path) -> dict[str, str]:
    """What tells Gradio, which reads some of it as it is imported, to keep its files below `root` and to call nobody."""
    return {
        "GRADIO_TEMP_DIR": str(root),
        "GRADIO_EXAMPLES_CACHE": str(root / "examples"),
        "GRADIO_ANALYTICS_ENABLED": "False",
        "HF_HUB_OFFLINE": "1",
        "HF_HUB_DISABLE_TELEMETRY": "1",
    }


@contextmanager
def _listening(settings: StudioSettings) -> Iterator[socket.socket]:
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((settings.host, settings.port))
            listener.listen(128)
        except OSError as error:
            raise ValueError(
                f"--host {settings.host} --port {settings.port}: cannot be listened on ({error.strerror}); name another port, or 0 for any"
            ) from error
        yield listener


def _address(listener: socket.socket, host: str) -> str:
    """What a browser of this machine opens, and who else reaches it."""
    every = host in ("0.0.0.0", "::")
    name = "localhost" if every else f"[{host}]" if ":" in host else host
    return f"http://{name}:{listener.getsockname()[1]}{', and at every other name of this machine' if every else ''}"
