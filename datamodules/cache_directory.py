"""How prepared data gets into the cache: whole or not at all."""

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def explain_cache_errors(cache: Path) -> Iterator[None]:
    """Tell of a cache that cannot be written and of a full disk in the words of the setting.

    Raises:
        ValueError: naming `data.cache_dir` and the remedy.
    """
    try:
        yield
    except (PermissionError, NotADirectoryError, FileExistsError) as error:
        raise ValueError(f"data.cache_dir={cache}: cannot be written ({error.strerror}); name another directory") from error
    except OSError as error:
        raise ValueError(
            f"data.cache_dir={cache}: {error.strerror or error}; what was prepared is kept. Make room, name another directory, or decode "
            "in every epoch with data.cache=false"
        ) from error


def build_once(directory: Path, build: Callable[[Path], object]) -> None:
    """Have `build` fill a directory, unless it is there; it is filled aside and then renamed."""
    if directory.is_dir():
        return
    aside = directory.with_name(f"{directory.name}.{os.getpid()}")
    aside.mkdir(parents=True, exist_ok=True)
    try:
        build(aside)
        try:
            aside.rename(directory)
        except OSError:
            # another run was faster: what it built is the same
            if not directory.is_dir():
                raise
    finally:
        shutil.rmtree(aside, ignore_errors=True)
