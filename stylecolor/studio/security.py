"""What every request has to pass before it reaches the page or the REST endpoint."""

import asyncio
import base64
import hmac
from collections.abc import Callable, Iterable
from typing import Literal
from urllib.parse import urlsplit

import anyio.to_thread
from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import ClientDisconnect
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from stylecolor.errors import NoRoomError
from stylecolor.studio.clips import CLIP_BYTES
from stylecolor.studio.config import StudioSettings
from stylecolor.studio.room import Room

# Gradio's page has scripts and styles inside, compiles expressions, and makes blobs of what is uploaded
CONTENT_SECURITY_POLICY = "; ".join(
    (
        "default-src 'self'",
        "script-src 'self' 'unsafe-inline' 'unsafe-eval'",
        "style-src 'self' 'unsafe-inline'",
        "img-src 'self' data: blob:",
        "media-src 'self' data: blob:",
        "font-src 'self' data:",
        "connect-src 'self' data: blob:",
        "worker-src 'self' blob:",
        "frame-src 'none'",
        "object-src 'none'",
        "base-uri 'self'",
        "form-action 'self'",
        "frame-ancestors 'none'",
    )
)
"""No script, picture, font or call of the page goes to another machine."""
HEADERS = {
    "Content-Security-Policy": CONTENT_SECURITY_POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
}
LOOPBACK_NAMES = ("localhost", "127.0.0.1", "::1")
SAFE_METHODS = ("GET", "HEAD", "OPTIONS")
SILENT_SECONDS = 60.0
"""An upload of which nothing comes for so long is broken off, as room on the disk is kept for it."""


class RefusedError(Exception):
    """A request is refused while it is read.

    Args:
        status: of the answer.
        reason: in one line.
    """

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status = status


class Guard:
    """Lets through requests that name this server, come from its own page or from no page, know the password, and for whose files there
    is room.

    Names are checked where only this machine reaches the server: a page of another site whose name was made to lead here (DNS rebinding)
    still sends the other site's name.

    Args:
        app: what is guarded.
        settings: the studio's.
        closing: set when the server is to end, which is then told to all as if their clients had gone: pages keep connections open.
        room: what may be uploaded.
    """

    def __init__(self, app: ASGIApp, settings: StudioSettings, closing: asyncio.Event, room: Room) -> None:
        self.app = app
        self.closing = closing
        self.settings = settings
        self.room = room
        self._names = {*LOOPBACK_NAMES, settings.host} if settings.is_loopback else None
        self._credentials = None if settings.auth is None else settings.auth.encode()
        self._limit = body_limit(settings.max_pixels)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or let it through."""
        if scope["type"] != "http":
            # websockets are not used; the lifespan is no request
            if scope["type"] == "lifespan":
                await self.app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        refusal = self._refusal(scope["method"], scope["path"], headers)
        if refusal is not None:
            await refusal(scope, receive, _with_headers(send))
        elif headers.get("content-type", "").strip().lower().startswith("multipart/"):
            await self._pass_on_files(int(headers.get("content-length", self._limit)), scope, receive, _with_headers(send))
        else:
            await self._pass_on(scope, receive, _with_headers(send))

    def _refusal(self, method: str, path: str, headers: Headers) -> Response | None:
        host = headers.get("host", "")
        if self._names is not None and _part_of(f"//{host}", "hostname") not in self._names:
            return refuse(421, f"this studio is not {host or 'a server without a name'}; open it by 127.0.0.1 or localhost")
        if self._credentials is not None and not self._knows_password(headers.get("authorization", "")):
            return refuse(401, "name and password are needed", {"WWW-Authenticate": 'Basic realm="stylecolor studio", charset="UTF-8"'})
        if _is_of_other_site(method, path, headers):
            return refuse(403, "pages of other sites must not use this studio")
        length = headers.get("content-length", "0")
        if not (length.isascii() and length.isdigit()):
            return refuse(400, f"Content-Length: {length} is no number of bytes")
        return refuse(413, self._too_large) if int(length) > self._limit else None

    def _knows_password(self, authorization: str) -> bool:
        assert self._credentials is not None
        kind, _, encoded = authorization.partition(" ")
        try:
            given = base64.b64decode(encoded, validate=True) if kind.lower() == "basic" else b""
        except ValueError:
            given = b""
        return hmac.compare_digest(given, self._credentials)

    @property
    def _too_large(self) -> str:
        return (
            f"the request has more than {self._limit / 1e6:.0f} MB, the most for a studio of --max-megapixels "
            f"{self.settings.max_megapixels:g}; send less at once"
        )

    async def _pass_on_files(self, count: int, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await anyio.to_thread.run_sync(self.room.reserve, count)
        except NoRoomError as error:
            await refuse(507, str(error))(scope, receive, send)
            return
        reserved = True

        def arrived() -> None:
            # what is on the disk is counted there
            nonlocal reserved
            if reserved:
                reserved = False
                self.room.free(count)

        try:
            await self._pass_on(scope, receive, send, SILENT_SECONDS, arrived)
        finally:
            arrived()

    async def _pass_on(
        self, scope: Scope, receive: Receive, send: Send, silent: float | None = None, arrived: Callable[[], None] = lambda: None
    ) -> None:
        """Let a request through.

        Args:
            scope: of the request.
            receive: likewise.
            send: likewise.
            silent: seconds, for which nothing of the body may come before it is broken off; None for any.
            arrived: called when all of it has come.
        """
        length, complete, answer = 0, False, _Answer()
        refusal: RefusedError | None = None

        async def counted() -> Message:
            nonlocal length, complete, refusal
            message = await self._receive(receive, None if complete else silent)
            if message is None:
                refusal = RefusedError(408, f"nothing of the request has come for {silent:g} s; send it again")
                raise refusal
            length += len(message.get("body", b""))
            if length > self._limit:
                # what a client says of the length is not always there
                refusal = RefusedError(413, self._too_large)
                raise refusal
            if not message.get("more_body", False):
                complete = True
                arrived()
            return message

        async def noted(message: Message) -> None:
            # whoever was reading may take it for an error of his own
            if refusal is None or answer.begun:
                answer.note(message)
                await send(message)

        try:
            await self.app(scope, counted, noted)
        except RefusedError as error:
            refusal = error
        except ClientDisconnect:
            # in the middle of an upload; nobody is there to be told anything
            return
        if refusal is not None and not answer.begun:
            await refuse(refusal.status, str(refusal))(scope, receive, send)
        elif answer.is_open and self.closing.is_set():
            # a stream that took the end for its client's
            await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _receive(self, receive: Receive, seconds: float | None) -> Message | None:
        """What comes next; None if nothing does for so long."""
        receiving, closing = asyncio.ensure_future(receive()), asyncio.ensure_future(self.closing.wait())
        try:
            await asyncio.wait((receiving, closing), timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
            if receiving.done():
                return receiving.result()
            return {"type": "http.disconnect"} if closing.done() else None
        finally:
            receiving.cancel()
            closing.cancel()


class _Answer:
    """How far an answer has been sent."""

    def __init__(self) -> None:
        self.begun = False
        self.is_open = False
        """Begun, of a length that was not told, and without its end."""

    def note(self, message: Message) -> None:
        """A part that is sent."""
        if message["type"] == "http.response.start":
            self.begun, self.is_open = True, "content-length" not in Headers(raw=message["headers"])
        elif message["type"] == "http.response.body" and not message.get("more_body", False):
            self.is_open = False


def body_limit(max_pixels: int) -> int:
    """Bytes of the largest request: a target and a reference of so many pixels, each of four channels of 16 bits, uncompressed, or a
    film, and something for the rest."""
    return max(2 * 8 * max_pixels, CLIP_BYTES) + 2**20


def refuse(status: int, reason: str, headers: dict[str, str] | None = None) -> Response:
    """An answer in one line."""
    return JSONResponse({"detail": reason}, status, headers)


def _is_of_other_site(method: str, path: str, headers: Headers) -> bool:
    """Whether a page of another site asks, as browsers say; that it leads somebody to the page is all right."""
    origin = headers.get("origin")
    if method not in SAFE_METHODS and origin is not None and _part_of(origin, "netloc") != headers.get("host", ""):
        return True
    leads = method in SAFE_METHODS and path == "/" and headers.get("sec-fetch-dest") == "document"
    return headers.get("sec-fetch-site") in ("cross-site", "same-site") and not leads


def _part_of(url: str, name: Literal["hostname", "netloc"]) -> str | None:
    try:
        return getattr(urlsplit(url), name)
    except ValueError:
        return None


def _with_headers(send: Send) -> Send:
    async def sending(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            _drop(headers, ("server",))
            for name, value in HEADERS.items():
                headers[name] = value
        await send(message)

    return sending


def _drop(headers: MutableHeaders, names: Iterable[str]) -> None:
    for name in names:
        if name in headers:
            del headers[name]
