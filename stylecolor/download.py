"""Files over HTTP: one large file that goes on where it stopped.

Who only looks for a file that is there needs no requests, whose import is noisy where another thread changes the filters of warnings.
"""

import json
import random
import re
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

from stylecolor.progress import console, hide_progress

if TYPE_CHECKING:
    import requests

TIMEOUT = (10, 30)
"""Seconds to connect, and between two pieces of an answer."""
# a compressed answer has another length than the file
PLAIN = {"Accept-Encoding": "identity"}
# what a cut connection can lose of what came before it
_CHUNK = 1 << 16
_PASSING = {408, 425, 429, 500, 502, 503, 504}


@dataclass(frozen=True)
class Retries:
    """How often a request that may succeed later is made, and how long it waits before each further one: exponentially longer."""

    attempts: int = 5
    first_delay: float = 1.0
    wait: Callable[[float], object] = time.sleep

    def pause(self, failures: int) -> None:
        """Wait after so many failures in a row; at random up to half as long again, so that parallel requests spread."""
        self.wait(min(60.0, self.first_delay * 2 ** (failures - 1)) * random.uniform(1, 1.5))


RETRIES = Retries()


def is_address(text: str) -> bool:
    """Whether a text is the address of something on a web server."""
    return re.match(r"https?://[^/\s?#\[\]]+", text) is not None


def explain(error: "requests.RequestException") -> str:
    """Why a request failed, in a few words."""
    import requests

    if error.response is not None:
        return f"{error.response.status_code} {error.response.reason}"
    if isinstance(error, requests.Timeout):
        return "no answer in time"
    if isinstance(error, requests.exceptions.ChunkedEncodingError):
        return "the connection was cut"
    # urllib3 wraps the cause, and puts a description of its own objects before it
    cause = getattr(error.args[0], "reason", error) if error.args else error
    return str(cause).rpartition(": ")[2] or type(error).__name__


def may_pass(error: "requests.RequestException") -> bool:
    """Whether the same request may succeed later."""
    if error.response is not None:
        return error.response.status_code in _PASSING
    # requests raises ValueErrors for addresses that are none
    return not isinstance(error, ValueError)


@dataclass
class Version:
    """Which version of a file on the server the part here belongs to; kept beside the part."""

    validator: str | None
    size: int | None

    @classmethod
    def of(cls, response: "requests.Response") -> "Version":
        """The version that a whole answer sends."""
        tag = response.headers.get("ETag", "")
        # a weak tag does not promise equal bytes, and If-Range refuses it
        validator = tag if tag and not tag.startswith("W/") else response.headers.get("Last-Modified")
        length = response.headers.get("Content-Length", "")
        return cls(validator, int(length) if length.isdecimal() else None)

    @classmethod
    def read(cls, notes: Path) -> "Version":
        """The version that was written down; an unknown one where none was."""
        try:
            return cls(**json.loads(notes.read_text()))
        except (FileNotFoundError, ValueError, TypeError):
            return cls(None, None)

    def continues(self, response: "requests.Response", offset: int) -> bool:
        """Whether a partial answer goes on with this version at `offset`."""
        match = re.fullmatch(r"bytes (\d+)-\d+/(\d+|\*)", response.headers.get("Content-Range", ""))
        if response.status_code != 206 or match is None or int(match[1]) != offset:
            return False
        same_size = self.size is None or match[2] in ("*", str(self.size))
        validator = Version.of(response).validator
        return same_size and (validator is None or self.validator is None or validator == self.validator)


def aside(path: Path) -> Path:
    """Where a file stays until it is whole."""
    return path.with_name(f"{path.name}.part")


def _notes(path: Path) -> Path:
    return path.with_name(f"{path.name}.part.json")


def _size(path: Path) -> int:
    return path.stat().st_size if path.is_file() else 0


def discard_part(path: Path) -> None:
    """Remove what was fetched of a file so far."""
    aside(path).unlink(missing_ok=True)
    _notes(path).unlink(missing_ok=True)


def _fetch_rest(url: str, path: Path, report: Callable[[int, int | None], None]) -> None:
    import requests

    part, notes = aside(path), _notes(path)
    version = Version.read(notes)
    offset = _size(part)
    if offset and version.size == offset:
        return
    if version == Version(None, None):
        # nothing tells whether the server still has the same file
        offset = 0
    range_ = {"Range": f"bytes={offset}-"} if offset else {}
    if_range = {"If-Range": version.validator} if offset and version.validator else {}
    with requests.get(url, headers=PLAIN | range_ | if_range, stream=True, timeout=TIMEOUT) as response:
        if not offset or not version.continues(response, offset):
            if offset and response.status_code in (206, 416):
                discard_part(path)
                _fetch_rest(url, path, report)
                return
            response.raise_for_status()
            discard_part(path)
            offset, version = 0, Version.of(response)
            notes.write_text(json.dumps(asdict(version)))
        with part.open("ab") as file:
            for chunk in response.iter_content(_CHUNK):
                file.write(chunk)
                offset += len(chunk)
                report(offset, version.size)
    if version.size is not None and offset != version.size:
        raise requests.exceptions.ChunkedEncodingError(f"{offset} bytes instead of {version.size}")
    notes.write_text(json.dumps(asdict(Version(version.validator, offset))))


def fetch_file(
    url: str,
    path: Path,
    setting: str,
    check: Callable[[Path], None],
    retries: Retries | None = None,
    remedy: str = "check the network or name a mirror",
) -> None:
    """Fetch a large file into `path`, which appears once it is whole and `check` accepts it.

    Until then it is `NAME.part`; what an interrupted call left there is continued if the server still has the same version (by
    If-Range, or by the size), and begun anew if not, or if the server cannot send ranges.

    Args:
        url: where it is.
        path: the file to write.
        setting: the setting that asks for the file, for the error.
        check: raises ValueError for a file that is not the expected one; the file is then removed.
        retries: of cut connections, timeouts and servers that are busy; an attempt that got further starts the count anew.
        remedy: what to do when the file cannot be fetched, for the error.

    Raises:
        ValueError: when the file cannot be fetched, or is not the expected one.
        OSError: when it cannot be written.
    """
    import requests

    retries = retries or RETRIES
    part = aside(path)
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console(), disable=hide_progress()) as progress:
        task = progress.add_task(path.name, total=None)

        def report(done: int, size: int | None) -> None:
            progress.update(task, description=path.name, completed=done, total=size)

        failures, furthest = 0, -1
        while True:
            try:
                _fetch_rest(url, path, report)
                break
            except requests.RequestException as error:
                reached = _size(part)
                failures = 1 if reached > furthest else failures + 1
                furthest = max(furthest, reached)
                if failures >= retries.attempts or not may_pass(error):
                    kept = f"; {reached} bytes are kept in {part}, and the same command goes on there" if reached else ""
                    raise ValueError(f"{setting}: {url} cannot be fetched ({explain(error)}); {remedy}{kept}") from error
                progress.update(task, description=f"{path.name}: {explain(error)}, trying again")
                retries.pause(failures)
    try:
        check(part)
    except ValueError as error:
        discard_part(path)
        raise ValueError(f"{setting}: {url}: {error}; it was deleted, so fetch it again or name another mirror") from error
    part.replace(path)
    _notes(path).unlink(missing_ok=True)
