"""Where everything is kept that can be had again: prepared data and downloaded weights."""

import os
from pathlib import Path

import platformdirs


def cache_directory(setting: str | None = None) -> Path:
    """The cache: `setting` (such as `data.cache_dir`), or `STYLECOLOR_CACHE`, or where the platform keeps caches."""
    return Path(setting or os.environ.get("STYLECOLOR_CACHE") or platformdirs.user_cache_dir("stylecolor"))


def weights_directory() -> Path:
    """The folder of the cache that holds published weights."""
    return cache_directory() / "weights"
