"""The networks of the studio: read once, in a thread of their own, and shared by all visitors."""

import logging
import os
import threading
from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from stylecolor.errors import one_line
from stylecolor.studio.config import StudioSettings
from stylecolor.studio.reference_index import ReferenceIndex

if TYPE_CHECKING:
    from stylecolor.exemplar_colorizer import ExemplarColorizer

log = logging.getLogger(__name__)

State = Literal["loading", "ready", "missing"]
KEPT = 8
"""Colorizers of other sizes, matchings and sites; they share the weights, and take no memory to speak of."""
SIZES = (16, 1024)
"""px, between which visitors may choose the shorter side of what the networks see: the memory that they take grows with its square."""


class NoNetworksError(ValueError):
    """There are no networks, or not yet; the message says what to do."""


class StudioModel:
    """What the networks can do, once they are there; until then, and where there are none, what there is to say about it.

    Args:
        settings: name the checkpoint.
    """

    def __init__(self, settings: StudioSettings) -> None:
        self.settings = settings
        self.state: State = "loading"
        self.message = "The networks are being loaded."
        """One line for the page: what is going on, and what to do where there are none."""
        self.source = ""
        """What `--checkpoint` takes to get the same networks."""
        self._remedy = ""
        """Where the message has none."""
        self._done = threading.Event()
        self._abandoned = False
        self._lock = threading.Lock()
        self._base: ExemplarColorizer | None = None
        self._variants: OrderedDict[tuple[int, str | None, tuple[str, ...] | None], ExemplarColorizer] = OrderedDict()
        self.index = ReferenceIndex(self)
        """Of the pictures of `--references`."""

    def start(self) -> None:
        """Begin to load, and return at once."""
        threading.Thread(target=self._load, name="load networks", daemon=True).start()

    def abandon(self) -> None:
        """Nobody waits any more: what fails from now on, as the program ends, is not worth a word."""
        self._abandoned = True
        self.index.abandon()

    def wait(self, seconds: float | None = None) -> bool:
        """Wait until they are loaded, or found missing; whether that is so by then."""
        return self._done.wait(seconds)

    def _load(self) -> None:
        try:
            self._base = self._read()
            self.state, self.message = "ready", f"The networks of {self.source} are ready."
        except (ValueError, OSError, RuntimeError, ImportError) as error:
            # torch's own errors are RuntimeErrors
            self.state, self.message = "missing", one_line(error)
            if self.source:
                self._remedy = "; take another one with --checkpoint"
            if not self._abandoned:
                log.warning("the studio has no networks: %s%s", self.message, self._remedy)
        finally:
            # whatever it is, the page stays up and says so
            if self.state == "loading":
                self.state, self.message = "missing", "the networks cannot be loaded; the studio's terminal says why"
            self._done.set()

    def _read(self) -> "ExemplarColorizer":
        from stylecolor.commands.networks import NetworkSettings
        from stylecolor.default_checkpoint import find_default_checkpoint

        settings = self.settings
        self.source = find_default_checkpoint(needs_reference=False) if settings.checkpoint is None else str(settings.checkpoint)
        return NetworkSettings(Path(self.source), None, settings.device, settings.precision).load(needs_reference=False)

    @property
    def _colorizer(self) -> "ExemplarColorizer":
        if self._base is None:
            raise NoNetworksError(self.message + self._remedy)
        return self._base

    def colorizer(self, size: int = 256, matching: str | None = None, sites: Sequence[str] | None = None) -> "ExemplarColorizer":
        """The networks at a size, with the matching and the sites that they were trained with unless told otherwise.

        Raises:
            NoNetworksError: while there are none.
            ValueError: for settings that do not fit them.
        """
        base = self._colorizer
        key = (size, matching, None if sites is None else tuple(sites))
        with self._lock:
            if key not in self._variants:
                colorizer = base if size == base.size else base.resized(size)
                self._variants[key] = colorizer if matching is None and sites is None else colorizer.rematched(matching, sites)
                if len(self._variants) > KEPT:
                    self._variants.popitem(last=False)
            self._variants.move_to_end(key)
            return self._variants[key]

    @property
    def has_transfer(self) -> bool:
        """Whether they follow references."""
        networks = self._colorizer.networks
        return networks.transfer is not None and networks.pipeline != "precolor"

    @property
    def colors_alone(self) -> bool:
        """Whether they choose colours where there is no reference."""
        return self._colorizer.networks.colorizer is not None

    @property
    def takes_hints(self) -> bool:
        """Whether they heed colours that a person puts at points."""
        from stylecolor.classification import ClassificationNet

        networks = self._colorizer.networks
        return networks.colorizer is not None and not isinstance(networks.colorizer, ClassificationNet) and networks.pipeline != "transfer"

    @property
    def sites(self) -> tuple[str, ...]:
        """Where the transfer sub-net can match features; empty where there is none."""
        from stylecolor.choices import SITES

        transfer = self._colorizer.networks.transfer
        return () if transfer is None else tuple(site for site in SITES if site != "skips" or transfer.skips == "pre_pool")

    @property
    def matching(self) -> str | None:
        """How features are matched unless a visitor wants it otherwise; None where there is no transfer sub-net."""
        transfer = self._colorizer.networks.transfer
        return None if transfer is None else transfer.matching

    @property
    def trained_sites(self) -> tuple[str, ...]:
        """Where features are matched unless a visitor wants it otherwise."""
        transfer = self._colorizer.networks.transfer
        return () if transfer is None else tuple(site for site in self.sites if site in transfer.sites)

    @property
    def references(self) -> list[tuple[str, Path]]:
        """Name, below the folder, and path of each picture of `--references`, sorted by name."""
        folder = self.settings.references
        if folder is None:
            return []
        from stylecolor.pictures.files import PICTURE_SUFFIXES

        found = []
        for directory, folders, files in os.walk(folder):
            folders[:] = [name for name in folders if not name.startswith(".")]
            paths = (Path(directory, name) for name in files if not name.startswith("."))
            found += [(path.relative_to(folder).as_posix(), path) for path in paths if path.suffix.lower() in PICTURE_SUFFIXES]
        return sorted(found)
