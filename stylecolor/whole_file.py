"""Files that are there whole or not at all."""

import os
import re
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_ASIDE = re.compile(r"\.(\d+)-[0-9a-f]{16}\.part(\.[^.]*)?")


@contextmanager
def written_whole(path: Path) -> Iterator[Path]:
    """The place beside `path` where its new contents are to be written; they stand under `path` once the block has ended well.

    Until then, and for good if the block fails, `path` stays what it was. Only a process that is killed leaves its part, under a hidden
    name, see `remove_stale_parts`.

    Raises:
        OSError: when it cannot be written.
    """
    # the suffix stays, since writers go by it; the rest does not, since names may be as long as the file system lets them
    aside = path.with_name(f".{os.getpid()}-{secrets.token_hex(8)}.part{path.suffix}")
    try:
        yield aside
        aside.replace(path)
    except OSError as error:
        if error.filename not in (None, str(aside)):
            raise
        raise OSError(error.errno, error.strerror, str(path)) from error
    finally:
        aside.unlink(missing_ok=True)


def remove_stale_parts(directory: Path) -> None:
    """Remove what processes that are no more left behind when they were killed while they wrote into a directory."""
    if not directory.is_dir():
        return
    for entry in directory.iterdir():
        found = _ASIDE.fullmatch(entry.name)
        if found is not None and not is_running(int(found[1])):
            entry.unlink(missing_ok=True)


def is_running(process: int) -> bool:
    """Whether there is a process of that number."""
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except (PermissionError, OverflowError):
        pass
    return True
