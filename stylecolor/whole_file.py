"""Files that are there whole or not at all."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def written_whole(path: Path) -> Iterator[Path]:
    """The place beside `path` where its new contents are to be written; they stand under `path` once the block has ended well.

    Until then, and for good if the block fails, `path` stays what it was.

    Raises:
        OSError: when it cannot be written.
    """
    # the suffix stays, since writers go by it
    aside = path.with_name(f".{path.stem}.{os.getpid()}{path.suffix}")
    try:
        yield aside
        aside.replace(path)
    finally:
        aside.unlink(missing_ok=True)
