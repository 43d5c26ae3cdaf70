"""Which pictures of the folder that --references names show what a photograph shows."""

import logging
import threading
from pathlib import Path
from typing import TYPE_CHECKING

from stylecolor.errors import one_line
from stylecolor.studio.line import Cancelled, Ticket
from stylecolor.studio.previews import one_at_a_time

if TYPE_CHECKING:
    from stylecolor.pictures.files import Picture
    from stylecolor.reference_search import ReferenceSearch
    from stylecolor.studio.model import StudioModel

log = logging.getLogger(__name__)

ENDING = 10.0
"""Seconds; a picture takes a few at most."""
INDEXING = "index references"
"""The name of the thread."""


class ReferenceIndex:
    """What is known of the folder's pictures, which are all looked at once: in a thread of its own, as that takes minutes, beside the line.

    What has been found out is kept in the cache, see `stylecolor.content_search`.

    Args:
        model: has the networks, and the settings that name the folder.
    """

    def __init__(self, model: "StudioModel") -> None:
        self._model = model
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._ticket = Ticket()
        self._done = threading.Event()
        self._search: ReferenceSearch | None = None

    def start(self) -> None:
        """Begin to look at them, unless that has begun, and return at once. Only once there are networks, with a transfer sub-net."""
        with self._lock:
            if self._thread is None:
                self._thread = threading.Thread(target=self._build, name=INDEXING, daemon=True)
                self._thread.start()

    def abandon(self) -> None:
        """End it with the picture that is being looked at, and wait for that."""
        self._ticket.cancel()
        if self._thread is not None:
            self._thread.join(ENDING)

    @property
    def done(self) -> bool:
        """Whether all have been looked at, be it in vain."""
        return self._done.is_set()

    @property
    def usable(self) -> bool:
        """Whether pictures can be compared with them."""
        return self._search is not None

    def rank(self, picture: "Picture", count: int) -> list[tuple[Path, float]]:
        """The pictures whose content is the most similar to a picture's, and how similar, most similar first; where it is usable."""
        assert self._search is not None
        return self._search.rank(picture, count)

    def _build(self) -> None:
        from stylecolor.reference_search import ReferenceSearch

        assert self._model.settings.references is not None
        try:
            self._search = ReferenceSearch(self._model.colorizer(), self._model.settings.references, self._read, "--references")
        except Cancelled:
            pass
        except (ValueError, OSError, RuntimeError) as error:
            # torch's own errors are RuntimeErrors; visitors choose by name then
            log.warning("%s; the studio shows the pictures in the order of their names", one_line(error))
        finally:
            self._done.set()

    def _read(self, path: Path) -> "Picture":
        from stylecolor.pictures.files import read_picture

        with one_at_a_time:
            self._ticket.check()
            return read_picture(path, self._model.settings.max_pixels)
