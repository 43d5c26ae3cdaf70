"""Small files in the place of the published weights, on a web server of this machine."""

import dataclasses
import hashlib
from pathlib import Path

import pytest

from stylecolor import published_weights
from stylecolor.download import Retries
from stylecolor.published_weights import PUBLISHED, PublishedWeights
from tests.server import Served, Server


def isolate(monkeypatch: pytest.MonkeyPatch, directory: Path) -> None:
    """Caches in a directory of the test's own, requests to this machine only, and no waiting."""
    monkeypatch.setenv("STYLECOLOR_CACHE", str(directory / "cache"))
    monkeypatch.setenv("TORCH_HOME", str(directory / "torch_home"))
    for name in (published_weights.MIRROR_VARIABLE, "http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(published_weights, "RETRIES", Retries(attempts=2, wait=lambda seconds: None))


def publish(monkeypatch: pytest.MonkeyPatch, server: Server, name: str, content: bytes, digest: str | None = None) -> PublishedWeights:
    """Have `content` served as the published weights of this name, with the first digits of its SHA-256, or `digest`, in its file name."""
    digest = digest or hashlib.sha256(content).hexdigest()[:8]
    weights = dataclasses.replace(PUBLISHED[name], url=f"{server.url}/published/{name}-{digest}.pth")
    monkeypatch.setitem(PUBLISHED, name, weights)
    server.files[path_of(weights)] = Served(content)
    return weights


def path_of(weights: PublishedWeights) -> str:
    """The path on the server."""
    return f"/published/{weights.file_name}"
