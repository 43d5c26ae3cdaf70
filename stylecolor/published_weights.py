"""The weights that others have published: where they are, and a verified copy of each in the cache.

Imports no torch, so that `stylecolor weights` answers at once.
"""

import contextlib
import hashlib
import json
import logging
import os
import shutil
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock

from stylecolor.cache_directory import weights_directory
from stylecolor.download import Retries, aside, discard_part, fetch_file, is_address
from stylecolor.errors import did_you_mean
from stylecolor.progress import hide_progress

MIRROR_VARIABLE = "STYLECOLOR_WEIGHTS_MIRROR"
"""Environment variable that names a mirror where no setting does."""
# each process of a run that starts without a network waits for itself, in turn
RETRIES = Retries(attempts=3)

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class PublishedWeights:
    """A published file, whose name ends in the first eight hex digits of its SHA-256."""

    name: str
    url: str
    megabytes: int
    license: str
    use: str
    """What it is and the setting that takes it."""
    alternative: str
    """What to do without it, for errors."""

    @property
    def file_name(self) -> str:
        """As published."""
        return self.url.rpartition("/")[2]

    @property
    def digest_start(self) -> str:
        """The first eight hex digits of the SHA-256."""
        return Path(self.file_name).stem.rpartition("-")[2]

    @property
    def path(self) -> Path:
        """Where the cache keeps it."""
        return weights_directory() / self.file_name

    @property
    def pin(self) -> Path:
        """The JSON file that holds the whole SHA-256 of the first file that was verified."""
        return weights_directory() / f"{self.file_name}.json"

    def find(self) -> Path | None:
        """The file in the cache, or else in torch's own, which torchvision and the `colorizers` package fill; it may be a wrong one."""
        return next((path for path in (self.path, torch_hub_directory() / self.file_name) if path.is_file()), None)

    def check(self, path: Path) -> str:
        """The SHA-256 of a file that is to be this one.

        Raises:
            ValueError: when it is another file: the digits of the name or the pin differ.
        """
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        if not digest.startswith(self.digest_start):
            raise ValueError(f"its SHA-256 begins with {digest[:8]} instead of {self.digest_start}")
        pinned = self._pinned()
        if pinned is not None and digest != pinned:
            raise ValueError(f"its SHA-256 is {digest}, but the file that was verified first had {pinned}, says {self.pin}")
        return digest

    def verify(self, path: Path) -> None:
        """`check` a file, and pin its whole SHA-256 if none is pinned yet."""
        digest = self.check(path)
        if not self.pin.is_file():
            self.pin.parent.mkdir(parents=True, exist_ok=True)
            part = self.pin.with_name(f"{self.pin.name}.{os.getpid()}")
            part.write_text(json.dumps({"sha256": digest}))
            part.replace(self.pin)

    def _pinned(self) -> str | None:
        if not self.pin.is_file():
            return None
        try:
            return str(json.loads(self.pin.read_text())["sha256"])
        except (ValueError, LookupError, TypeError) as error:
            raise ValueError(f"{self.pin}, which pins its SHA-256, is damaged and has to be removed") from error


_COLORIZERS = "https://colorizers.s3.us-east-2.amazonaws.com"

PUBLISHED = {
    weights.name: weights
    for weights in (
        PublishedWeights(
            "imagenet",
            "https://download.pytorch.org/models/vgg19-dcbb9e9d.pth",
            548,
            "BSD 3-clause",
            "VGG19 trained on ImageNet, from torchvision: stage.encoder.weights=imagenet",
            "train with stage.encoder.weights=random",
        ),
        PublishedWeights(
            "siggraph17",
            f"{_COLORIZERS}/siggraph17-df00044c.pth",
            130,
            "BSD 2-clause",
            "the user-guided colorizer of SIGGRAPH'17, from its authors: stage.weights=siggraph17",
            "train a colorizer with stage=colorizer",
        ),
        PublishedWeights(
            "eccv16",
            f"{_COLORIZERS}/colorization_release_v2-9b330a0b.pth",
            125,
            "BSD 2-clause",
            "the automatic colorizer of ECCV'16, from its authors: stage.weights=eccv16",
            "train a colorizer with stage=colorizer",
        ),
        PublishedWeights(
            "alexnet",
            "https://download.pytorch.org/models/alexnet-owt-7be5be79.pth",
            233,
            "BSD 3-clause",
            "AlexNet trained on ImageNet, from torchvision: the features that LPIPS compares in evaluate.py",
            "name a copy of it with lpips_weights",
        ),
        PublishedWeights(
            "inception",
            "https://github.com/toshas/torch-fidelity/releases/download/v0.2.0/weights-inception-2015-12-05-6726825d.pth",
            91,
            "Apache 2.0",
            "InceptionV3 trained on ImageNet, from torch-fidelity: the features that FID compares in evaluate.py",
            "name a copy of it with fid_weights",
        ),
    )
}


def find_published(names: Collection[str]) -> list[PublishedWeights]:
    """The published weights of these names; all where none is named.

    Raises:
        ValueError: for a name that is none.
    """
    for name in names:
        if name not in PUBLISHED:
            raise ValueError(f"{name} is not one of {', '.join(PUBLISHED)}{did_you_mean(name, PUBLISHED)}")
    return [PUBLISHED[name] for name in dict.fromkeys(names or PUBLISHED)]


def torch_hub_directory() -> Path:
    """Where `torch.hub` keeps downloaded weights, by the rule that `torch.hub.get_dir` documents."""
    cache = os.environ.get("XDG_CACHE_HOME", "~/.cache")
    return Path(os.environ.get("TORCH_HOME", f"{cache}/torch")).expanduser() / "hub" / "checkpoints"


def obtain(name: str, asked: str, mirror: str | None = None, mirror_setting: str = "stage.weights_mirror") -> Path:
    """A verified file of published weights: from the cache, or else from torch's own cache, or fetched into the cache.

    Processes that ask at once wait for the first one's download; an interrupted download goes on where it stopped.

    Args:
        name: one of `PUBLISHED`.
        asked: what the user asked for, such as `stage.weights=siggraph17`; errors begin with it.
        mirror: address or directory that has the file under its own name; None takes `STYLECOLOR_WEIGHTS_MIRROR`, or where it is published.
        mirror_setting: the setting that holds `mirror`, for errors.

    Raises:
        ValueError: when the file cannot be fetched (naming the address, where to put the file, the mirror's setting and an alternative), is
            not the published one or has changed, or when the cache cannot be written.
    """
    weights = PUBLISHED[name]
    with _explain_cache_errors(asked):
        # nothing is written where all is there: the cache may be read-only
        if weights.path.is_file() and weights.pin.is_file():
            return _verified(weights, asked)
        weights_directory().mkdir(parents=True, exist_ok=True)
        with FileLock(weights_directory() / f"{weights.file_name}.lock"):
            found = weights.find()
            if found == weights.path:
                return _verified(weights, asked)
            if found is not None:
                try:
                    weights.verify(found)
                    return found
                except ValueError as error:
                    log.warning("%s is not used: %s", found, error)
            _fetch(weights, asked, mirror, mirror_setting)
            return weights.path


def _verified(weights: PublishedWeights, asked: str) -> Path:
    try:
        weights.verify(weights.path)
    except ValueError as error:
        raise ValueError(f"{asked}: {weights.path}: {error}; remove {weights.path.name}, so that it is fetched anew") from error
    return weights.path


@contextlib.contextmanager
def _explain_cache_errors(asked: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        where = error.filename or weights_directory()
        raise ValueError(
            f"{asked}: the cache cannot be used ({where}: {error.strerror or error}); make room, or name another directory with "
            "STYLECOLOR_CACHE"
        ) from error


def _fetch(weights: PublishedWeights, asked: str, mirror: str | None, mirror_setting: str) -> None:
    if not mirror and (mirror := os.environ.get(MIRROR_VARIABLE)):
        mirror_setting = MIRROR_VARIABLE
    elsewhere = f"put it at {weights.path}, name a mirror with {mirror_setting}, or {weights.alternative}"
    if not mirror:
        _download(weights, weights.url, asked, f"download it elsewhere and {elsewhere}")
    elif is_address(mirror):
        url = f"{mirror.rstrip('/')}/{weights.file_name}"
        _download(weights, url, asked, f"download {weights.url} elsewhere and {elsewhere}")
    elif not Path(mirror).is_dir():
        raise ValueError(f"{asked}: {mirror_setting}={mirror} is neither an address (http:// or https://) nor a directory")
    elif not (source := Path(mirror) / weights.file_name).is_file():
        raise ValueError(f"{asked}: {mirror_setting}={mirror}: there is no {source.name}; download {weights.url} elsewhere and {elsewhere}")
    else:
        _copy(weights, source, asked)


def _download(weights: PublishedWeights, url: str, asked: str, remedy: str) -> None:
    if hide_progress():
        log.info("fetching %s from %s", weights.name, url)
    fetch_file(url, weights.path, asked, weights.verify, RETRIES, remedy)


def _copy(weights: PublishedWeights, source: Path, asked: str) -> None:
    part = aside(weights.path)
    try:
        shutil.copyfile(source, part)
        weights.verify(part)
        part.replace(weights.path)
    except ValueError as error:
        raise ValueError(f"{asked}: {source}: {error}; put the published file there or name another mirror") from error
    finally:
        discard_part(weights.path)
