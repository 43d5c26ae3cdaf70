"""Files over HTTP: one large file that goes on where it stopped, or thousands of pictures at a time."""

import contextlib
import json
import random
import re
import sys
import threading
import time
from collections.abc import Callable, Generator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from queue import Empty, SimpleQueue

import requests
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn, track

CONNECTIONS = 16
FAILURES_IN_A_ROW = 64
"""So many pictures that fail one after another mean that the network or the server is gone."""
# what a cut connection can lose of what came before it
_CHUNK = 1 << 16
_TIMEOUT = (10, 30)
# a compressed answer has another length than the file
_PLAIN = {"Accept-Encoding": "identity"}
_PASSING = {408, 425, 429, 500, 502, 503, 504}
_PICTURE_ENDS = {b"\xff\xd8\xff": b"\xff\xd9", b"\x89PNG": b"IEND"}


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


@dataclass
class Outcome:
    """What became of the files of one folder; `failed` says of each which it is and why."""

    fetched: int = 0
    present: int = 0
    failed: list[str] = field(default_factory=list)


def console() -> Console:
    """Progress goes to stderr, so that the summary can be piped."""
    return Console(stderr=True)


def hide_progress() -> bool:
    """Progress bars are for terminals."""
    return not sys.stderr.isatty()


def _explain(error: requests.RequestException) -> str:
    if error.response is not None:
        return f"{error.response.status_code} {error.response.reason}"
    if isinstance(error, requests.Timeout):
        return "no answer in time"
    if isinstance(error, requests.exceptions.ChunkedEncodingError):
        return "the connection was cut"
    # urllib3 wraps the cause, and puts a description of its own objects before it
    cause = getattr(error.args[0], "reason", error) if error.args else error
    return str(cause).rpartition(": ")[2] or type(error).__name__


def _may_pass(error: requests.RequestException) -> bool:
    if error.response is not None:
        return error.response.status_code in _PASSING
    # requests raises ValueErrors for addresses that are none
    return not isinstance(error, ValueError)


@dataclass
class _Version:
    """Which version of a file on the server the part here belongs to; kept beside the part."""

    validator: str | None
    size: int | None

    @classmethod
    def of(cls, response: requests.Response) -> "_Version":
        tag = response.headers.get("ETag", "")
        # a weak tag does not promise equal bytes, and If-Range refuses it
        validator = tag if tag and not tag.startswith("W/") else response.headers.get("Last-Modified")
        length = response.headers.get("Content-Length", "")
        return cls(validator, int(length) if length.isdecimal() else None)

    @classmethod
    def read(cls, notes: Path) -> "_Version":
        try:
            return cls(**json.loads(notes.read_text()))
        except (FileNotFoundError, ValueError, TypeError):
            return cls(None, None)

    def continues(self, response: requests.Response, offset: int) -> bool:
        """Whether a partial answer goes on with this version at `offset`."""
        match = re.fullmatch(r"bytes (\d+)-\d+/(\d+|\*)", response.headers.get("Content-Range", ""))
        if response.status_code != 206 or match is None or int(match[1]) != offset:
            return False
        same_size = self.size is None or match[2] in ("*", str(self.size))
        validator = _Version.of(response).validator
        return same_size and (validator is None or self.validator is None or validator == self.validator)


def _aside(path: Path) -> Path:
    return path.with_name(f"{path.name}.part")


def _notes(path: Path) -> Path:
    return path.with_name(f"{path.name}.part.json")


def _size(path: Path) -> int:
    return path.stat().st_size if path.is_file() else 0


def discard_part(path: Path) -> None:
    """Remove what was fetched of a file so far."""
    _aside(path).unlink(missing_ok=True)
    _notes(path).unlink(missing_ok=True)


def _fetch_rest(url: str, path: Path, report: Callable[[int, int | None], None]) -> None:
    part, notes = _aside(path), _notes(path)
    version = _Version.read(notes)
    offset = _size(part)
    if offset and version.size == offset:
        return
    if version == _Version(None, None):
        # nothing tells whether the server still has the same file
        offset = 0
    range_ = {"Range": f"bytes={offset}-"} if offset else {}
    if_range = {"If-Range": version.validator} if offset and version.validator else {}
    with requests.get(url, headers=_PLAIN | range_ | if_range, stream=True, timeout=_TIMEOUT) as response:
        if not offset or not version.continues(response, offset):
            if offset and response.status_code in (206, 416):
                discard_part(path)
                _fetch_rest(url, path, report)
                return
            response.raise_for_status()
            discard_part(path)
            offset, version = 0, _Version.of(response)
            notes.write_text(json.dumps(asdict(version)))
        with part.open("ab") as file:
            for chunk in response.iter_content(_CHUNK):
                file.write(chunk)
                offset += len(chunk)
                report(offset, version.size)
    if version.size is not None and offset != version.size:
        raise requests.exceptions.ChunkedEncodingError(f"{offset} bytes instead of {version.size}")
    notes.write_text(json.dumps(asdict(_Version(version.validator, offset))))


def fetch_file(url: str, path: Path, setting: str, check: Callable[[Path], None], retries: Retries | None = None) -> None:
    """Fetch a large file into `path`, which appears once it is whole and `check` accepts it.

    Until then it is `NAME.part`; what an interrupted call left there is continued if the server still has the same version (by
    If-Range, or by the size), and begun anew if not, or if the server cannot send ranges.

    Args:
        url: where it is.
        path: the file to write.
        setting: the setting that the address comes from, for the error.
        check: raises ValueError for a file that is not the expected one; the file is then removed.
        retries: of cut connections, timeouts and servers that are busy; an attempt that got further starts the count anew.

    Raises:
        ValueError: when the file cannot be fetched, or is not the expected one.
        OSError: when it cannot be written.
    """
    retries = retries or RETRIES
    part = _aside(path)
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
                if failures >= retries.attempts or not _may_pass(error):
                    kept = f"; {reached} bytes are kept in {part}, and the same command goes on there" if reached else ""
                    raise ValueError(
                        f"{setting}: {url} cannot be fetched ({_explain(error)}); check the network or name a mirror{kept}"
                    ) from error
                progress.update(task, description=f"{path.name}: {_explain(error)}, trying again")
                retries.pause(failures)
    try:
        check(part)
    except ValueError as error:
        discard_part(path)
        raise ValueError(f"{setting}: {url}: {error}; it was deleted, so fetch it again or name another mirror") from error
    part.replace(path)
    _notes(path).unlink(missing_ok=True)


def is_whole_picture(start: bytes, end: bytes) -> bool:
    """Whether the first and the last bytes of a file are those of a whole JPEG, or of a PNG (as 000000320612.jpg of COCO is).

    Some encoders pad, so the end marker need not be the very end.
    """
    return any(start.startswith(first) and last in end for first, last in _PICTURE_ENDS.items())


def holds_whole_picture(path: Path) -> bool:
    """`is_whole_picture` of a file; False where there is none."""
    try:
        with path.open("rb") as file:
            start = file.read(4)
            file.seek(max(0, path.stat().st_size - 64))
            return is_whole_picture(start, file.read())
    except FileNotFoundError:
        return False


def _fetch_picture(session: requests.Session, url: str, path: Path, retries: Retries) -> str | None:
    """Why the picture could not be fetched; None for success."""
    failures = 0
    while True:
        try:
            response = session.get(url, headers=_PLAIN, timeout=_TIMEOUT)
            response.raise_for_status()
            content, size = response.content, _Version.of(response).size
            if size in (None, len(content)) and is_whole_picture(content[:4], content[-64:]):
                part = _aside(path)
                part.write_bytes(content)
                part.replace(path)
                return None
            reason, final = "what came is no whole picture", False
        except requests.RequestException as error:
            reason, final = _explain(error), not _may_pass(error)
        failures += 1
        if final or failures >= retries.attempts:
            return reason
        retries.pause(failures)


def _fetch_in_threads(urls: Mapping[Path, str], retries: Retries) -> Generator[tuple[Path, str | Exception | None], None, None]:
    """Each picture, in the order they end, with None, why it failed, or an error that ends everything."""
    todo: SimpleQueue[tuple[Path, str]] = SimpleQueue()
    done: SimpleQueue[tuple[Path, str | Exception | None]] = SimpleQueue()
    stop = threading.Event()
    for item in urls.items():
        todo.put(item)

    def work() -> None:
        with requests.Session() as session:
            while not stop.is_set():
                try:
                    path, url = todo.get_nowait()
                except Empty:
                    return
                outcome: str | Exception | None = RuntimeError(f"the thread that fetched {url} ended")
                try:
                    outcome = _fetch_picture(session, url, path, retries)
                except OSError as error:
                    outcome = error
                finally:
                    done.put((path, outcome))

    # daemons: Ctrl-C must not wait for a server that is silent
    for _ in range(min(CONNECTIONS, len(urls))):
        threading.Thread(target=work, daemon=True).start()
    try:
        for _ in urls:
            yield done.get()
    finally:
        stop.set()


def fetch_pictures(urls: Mapping[Path, str], description: str, setting: str, retries: Retries | None = None) -> Outcome:
    """Fetch the pictures that are not there yet, 16 at a time; each appears whole or not at all.

    Args:
        urls: address of each file to write.
        description: shown before the progress bar.
        setting: the setting that the addresses come from, for the error.
        retries: of cut connections, timeouts, servers that are busy and pictures that are not whole. A 404 is final.

    Raises:
        ValueError: when so many pictures fail in a row that the network or the server must be gone.
        OSError: when a picture cannot be written.
    """
    missing = {path: url for path, url in urls.items() if not holds_whole_picture(path)}
    outcome = Outcome(present=len(urls) - len(missing))
    in_a_row = 0
    with contextlib.closing(_fetch_in_threads(missing, retries or RETRIES)) as results:
        for path, reason in track(results, description, total=len(missing), console=console(), disable=hide_progress()):
            if isinstance(reason, Exception):
                raise reason
            if reason is None:
                outcome.fetched += 1
                in_a_row = 0
                continue
            outcome.failed.append(f"{path.parent.name}/{path.name}: {missing[path]}: {reason}")
            in_a_row += 1
            if in_a_row == FAILURES_IN_A_ROW:
                raise ValueError(
                    f"{setting}: {in_a_row} pictures in a row cannot be fetched, the last being {outcome.failed[-1]}; "
                    f"check the network or name a mirror; {outcome.fetched} were fetched and are kept, and the same command goes on"
                )
    outcome.failed.sort()
    return outcome
