"""Thousands of pictures over HTTP, many at a time."""

import contextlib
import threading
from collections.abc import Generator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from queue import Empty, SimpleQueue

import requests
from rich.progress import track

from stylecolor.download import PLAIN, RETRIES, TIMEOUT, Retries, Version, aside, explain, may_pass
from stylecolor.progress import console, hide_progress

CONNECTIONS = 16
FAILURES_IN_A_ROW = 64
"""So many pictures that fail one after another mean that the network or the server is gone."""
_PICTURE_ENDS = {b"\xff\xd8\xff": b"\xff\xd9", b"\x89PNG": b"IEND"}


@dataclass
class Outcome:
    """What became of the files of one folder; `failed` says of each which it is and why."""

    fetched: int = 0
    present: int = 0
    failed: list[str] = field(default_factory=list)


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
            response = session.get(url, headers=PLAIN, timeout=TIMEOUT)
            response.raise_for_status()
            content, size = response.content, Version.of(response).size
            if size in (None, len(content)) and is_whole_picture(content[:4], content[-64:]):
                part = aside(path)
                part.write_bytes(content)
                part.replace(path)
                return None
            reason, final = "what came is no whole picture", False
        except requests.RequestException as error:
            reason, final = explain(error), not may_pass(error)
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
