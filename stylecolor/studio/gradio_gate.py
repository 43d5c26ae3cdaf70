"""What of Gradio visitors reach: the routes that the page needs, with files that were uploaded here. The rest of it answers 404.

Gradio has routes that fetch addresses for their callers, run code, or open files by name.
"""

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from stylecolor.studio.security import RefusedError, refuse
from stylecolor.studio.sessions import Sessions

API = "/gradio_api/"
PAGES = ("/", "/config", "/theme.css", "/favicon.ico", "/manifest.json", "/robots.txt")
FOLDERS = ("/assets/", "/static/", "/svelte/")
READ = ("info", "app_id", "startup-events", "theme.css", "upload_progress", "queue/data", "queue/status", "login_check", "user")
WRITTEN = ("upload", "queue/join", "cancel", "reset")
CALL = "call/"
FILE = "file="
HEARTBEAT = "heartbeat/"
LONGEST_CALL = 2**22
"""Bytes: of settings, points and the names of files."""
LONGEST_HASH = 64
"""Characters of what tells sessions apart, which is kept for long; Gradio's clients take at most 36."""


class GradioGate:
    """Stands before Gradio's application.

    Args:
        app: Gradio's.
        sessions: end when their page is closed: it keeps a connection open, the heartbeat.
    """

    def __init__(self, app: ASGIApp, sessions: Sessions) -> None:
        self.app = app
        self.sessions = sessions

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or let it through."""
        path = scope.get("path", "")
        if scope["type"] != "http" or path.startswith("/api/"):
            await self.app(scope, receive, send)
            return
        name = path.removeprefix(API).rstrip("/") if path.startswith(API) else None
        if not self._is_open(scope["method"], path, name):
            await refuse(404, "there is nothing here")(scope, receive, send)
        elif name is not None and name.startswith(HEARTBEAT):
            with self.sessions.present(name.removeprefix(HEARTBEAT)):
                await self.app(scope, receive, send)
        elif scope["method"] == "POST" and name != "upload":
            await self._call(scope, receive, send)
        else:
            await self.app(scope, receive, send)

    def _is_open(self, method: str, path: str, name: str | None) -> bool:
        if name is None:
            return method in ("GET", "HEAD") and (path in PAGES or path.startswith(FOLDERS))
        if method == "POST":
            return name in WRITTEN or name.startswith(CALL)
        if name.startswith(FILE):
            return self._is_own(name.removeprefix(FILE))
        return name in READ or name.startswith((CALL, HEARTBEAT))

    def _is_own(self, path: str) -> bool:
        """Whether it is a file in the studio's directory; that of a URL, which Gradio would fetch, is none."""
        if not os.path.isabs(path) or "\0" in path:
            return False
        return Path(os.path.realpath(path)).is_relative_to(self.sessions.root)

    async def _call(self, scope: Scope, receive: Receive, send: Send) -> None:
        body = await _read(receive)
        try:
            call = json.loads(body)
            named = list(_named_files(call))
        except (ValueError, RecursionError):
            await refuse(400, "the call is no JSON")(scope, receive, send)
            return
        if not all(self._is_own(path) for path in named):
            await refuse(400, "a file is named that was not uploaded here")(scope, receive, send)
            return
        session_hash = call.get("session_hash") if isinstance(call, dict) else None
        if isinstance(session_hash, str):
            if len(session_hash) > LONGEST_HASH:
                await refuse(400, f"session_hash: has more than {LONGEST_HASH} characters")(scope, receive, send)
                return
            self.sessions.note(session_hash, named)
        given = False

        async def again() -> Message:
            nonlocal given
            if given:
                return await receive()
            given = True
            return {"type": "http.request", "body": body, "more_body": False}

        await self.app(scope, again, send)


def _named_files(value: Any) -> Iterator[str]:
    """The paths of all files that a call names."""
    if isinstance(value, dict):
        path = value.get("path")
        if isinstance(path, str) and path:
            yield path
        value = list(value.values())
    if isinstance(value, list):
        for part in value:
            yield from _named_files(part)


async def _read(receive: Receive) -> bytes:
    """The body of a request, whose length is bounded."""
    body = bytearray()
    while True:
        message = await receive()
        body += message.get("body", b"")
        if len(body) > LONGEST_CALL:
            raise RefusedError(413, f"the call has more than {LONGEST_CALL / 1e6:.0f} MB; files are uploaded, not called with")
        if not message.get("more_body", False):
            return bytes(body)
