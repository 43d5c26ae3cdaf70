"""What the studio does for its visitors, whether they come by the page or by the REST endpoint."""

import errno
import os
import re
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar
from weakref import WeakKeyDictionary

from stylecolor.errors import NoRoomError, one_line
from stylecolor.steps import STEPS
from stylecolor.studio.clips import check_clip, clip_demuxer
from stylecolor.studio.command_line import clip_command, clip_output, colorize_command, output_name, stylize_command
from stylecolor.studio.config import StudioSettings
from stylecolor.studio.line import LineFullError, Ticket, WaitingLine
from stylecolor.studio.model import NoNetworksError, StudioModel
from stylecolor.studio.requests import CLIP_FRAMES, FILE_BYTES, ClipRequest, ColorizeRequest, StylizeRequest
from stylecolor.studio.sessions import Session, Sessions
from stylecolor.studio.uploads import LONGEST_NAME, PREFIX, safe_name

if TYPE_CHECKING:
    import numpy as np

    from stylecolor.draft import Draft, ReferenceInput
    from stylecolor.exemplar_colorizer import ExemplarColorizer
    from stylecolor.pictures.files import Picture
    from stylecolor.user_hints import HintPoint

__all__ = ["ClipRequest", "ClipResult", "ColorizeRequest", "Report", "Result", "Studio", "StylizeRequest", "TooLargePictureError"]

Report = Callable[[float, str], None]
"""Is told how much of the work is done, from 0 to 1, and what comes next."""
WAITING_FOR_NETWORKS = "waiting for the networks"
_Request = TypeVar("_Request", ColorizeRequest, StylizeRequest, ClipRequest)
DRAWN_STEPS = ("precolored", "coarse", "mask")
"""What of a draft is shown beside its result."""
FULL = (errno.ENOSPC, errno.EDQUOT, errno.ENOMEM, errno.EMFILE, errno.ENFILE)
"""Errors that are nobody's who asks for something."""
Look = Callable[["Picture"], object]
"""Is given a picture that was made, of which nothing but the file is kept."""


class TooLargePictureError(ValueError):
    """A picture has more pixels than the studio takes."""


@dataclass(frozen=True)
class Result:
    """A picture that was made; of its pixels nothing is kept in memory."""

    path: Path
    """Of the file at its full size, named as the command would name it."""
    size: tuple[int, int]
    """Height and width, px."""
    command: str
    """Makes the same file, byte for byte, where the visitor's files are."""
    seconds: float
    """Of work, without the wait in the line."""


@dataclass(frozen=True)
class ClipResult:
    """A clip that was colorized; its fields are those of `Result`."""

    path: Path
    frames: int
    damage: str
    """What the clip lacks; empty where it is whole."""
    command: str
    seconds: float


class Studio:
    """What the page and the REST endpoint share.

    Args:
        settings: of the command.
        root: the directory for uploads and results, which is there.
    """

    def __init__(self, settings: StudioSettings, root: Path) -> None:
        self.settings = settings
        self.model = StudioModel(settings)
        self.line = WaitingLine()
        self.sessions = Sessions(root)
        self._finished: WeakKeyDictionary[Draft, ColorizeRequest] = WeakKeyDictionary()
        """What each draft's steps belong to."""
        self._private = re.compile(rf"{re.escape(str(self.sessions.root))}/{PREFIX}[^/\s]+/[0-9a-f]+/")

    def colorize(
        self, request: ColorizeRequest, session: Session, report: Report, ticket: Ticket | None = None, look: Look = lambda _: None
    ) -> Result:
        """Colorize a picture in its turn.

        Args:
            request: what to do; its files are the session's, or of the folder of references.
            session: the visitor's.
            report: is told of each step, in this thread.
            ticket: cancels it; left out, the session alone can.
            look: called when others have their turn.

        Raises:
            ValueError: in one line, for what the visitor can do something about; `LineFullError` when too many wait.
            Cancelled: when the ticket is cancelled.
        """
        labels = (request.target_labels, request.reference_labels)
        with self._turn(session, (request.target, *request.references), labels, report, ticket) as ticket:
            begin = time.perf_counter()
            from stylecolor.pictures.files import write_picture

            request = self._leave_out_trained(request)
            _, _, picture = self._colorize(request, session, report, ticket)
            ticket.check()
            path = output_path(session, request.target, "colorized")
            write_picture(path, picture, quality=request.quality)
        command = colorize_command(request, session.name_of, self.settings, self.model.source)
        with self.named_plainly():
            look(picture)
        return Result(path, picture.size, command, time.perf_counter() - begin)

    def _colorize(
        self, request: ColorizeRequest, session: Session, report: Report, ticket: Ticket
    ) -> "tuple[Draft, ExemplarColorizer, Picture]":
        # imported late: they need torch, which takes seconds
        from stylecolor.pictures.files import read_picture, read_size
        from stylecolor.pictures.labels import read_label_map

        max_pixels = self.settings.max_pixels
        colorizer = self.model.colorizer(request.size, request.matching, request.sites)
        target_labels = reference_labels = None
        if request.target_labels is not None and request.reference_labels is not None:
            target_labels = read_label_map(request.target_labels, read_size(request.target), max_pixels)
            reference_labels = read_label_map(request.reference_labels, read_size(request.references[0]), max_pixels)
        references = [self._reference(path, reference_labels) for path in request.references]

        def tell(step: str) -> None:
            ticket.check()
            report(STEPS.index(step) / len(STEPS), step)

        draft = session.draft(request.target, lambda: read_picture(request.target, max_pixels))
        self._finished.pop(draft, None)
        picture = draft.colorize(
            colorizer,
            references,
            weights=request.weights,
            target_labels=target_labels,
            strength=request.strength,
            saturation=request.saturation,
            hints=request.points,
            report=tell,
        )
        self._finished[draft] = request
        return draft, colorizer, picture

    def draw_steps(self, request: ColorizeRequest, session: Session) -> dict[str, "np.ndarray"]:
        """The steps between of a colorization, in its turn: sRGB of 8 bits at the networks' size, by the methods of `Draft` that draw them.

        Args:
            request: what was done, or is done now where its draft is gone or something else was made of it.
            session: see `colorize`.

        Raises:
            ValueError: as `colorize`.
            Cancelled: when the session ends.
        """
        labels = (request.target_labels, request.reference_labels)
        with self._turn(session, (request.target, *request.references), labels, lambda *_: None, None) as ticket:
            request = self._leave_out_trained(request)
            from stylecolor.pictures.files import read_picture

            draft = session.draft(request.target, lambda: read_picture(request.target, self.settings.max_pixels))
            if self._finished.get(draft) != request:
                draft, _, _ = self._colorize(request, session, lambda *_: None, ticket)
            return {name: getattr(draft, name)() for name in DRAWN_STEPS}

    def suggest_colors(
        self, request: ColorizeRequest, session: Session, x: float, y: float, ticket: Ticket | None = None
    ) -> list[tuple[float, float]]:
        """Likely ab at a point of a target, most likely first, see `stylecolor.color_suggestions`; in its turn.

        Args:
            request: how to colorize it, where that has not been done.
            session: see `colorize`.
            x: in 0..1 of the width.
            y: in 0..1 of the height.
            ticket: see `colorize`.

        Raises:
            ValueError: as `colorize`.
            Cancelled: likewise.
        """
        with self._turn(session, (request.target, *request.references), (), lambda *_: None, ticket) as ticket:
            from stylecolor.color_suggestions import suggest_colors
            from stylecolor.pictures.files import read_picture

            request = self._leave_out_trained(request)
            draft = session.draft(request.target, lambda: read_picture(request.target, self.settings.max_pixels))
            colorizer = self.model.colorizer(request.size, request.matching, request.sites)
            if draft.steps is None:
                draft, colorizer, _ = self._colorize(request, session, lambda *_: None, ticket)
            return suggest_colors(draft, colorizer, x, y)

    def rank_references(
        self, target: Path, count: int, session: Session, report: Report, ticket: Ticket | None = None
    ) -> list[tuple[Path, float]]:
        """The pictures of the folder of references whose content is the most similar to a target's, and how similar they are; in its turn.

        Args:
            target: a file of the session.
            count: so many at most.
            session: see `colorize`.
            report: likewise.
            ticket: likewise.

        Raises:
            ValueError: as `colorize`.
            Cancelled: likewise.
        """
        with self._turn(session, (target,), (), report, ticket):
            from stylecolor.pictures.files import read_picture

            return self.model.index.rank(read_picture(target, self.settings.max_pixels), count)

    def stylize(
        self, request: StylizeRequest, session: Session, report: Report, ticket: Ticket | None = None, look: Look = lambda _: None
    ) -> Result:
        """Give a colour photograph the look of references, in its turn.

        Args:
            request: see `colorize`.
            session: likewise.
            report: likewise.
            ticket: likewise.
            look: likewise.

        Raises:
            ValueError: as `colorize`.
            Cancelled: likewise.
        """
        with self._turn(session, (request.photo, *request.references), (), report, ticket) as ticket:
            begin = time.perf_counter()
            from stylecolor.pictures.files import read_picture, write_picture

            request = self._leave_out_trained(request)
            colorizer = self.model.colorizer(request.size, request.matching, request.sites)
            photo = read_picture(request.photo, self.settings.max_pixels)
            styles = []
            for number, path in enumerate(request.references):
                ticket.check()
                report(0.5 * number / len(request.references), "reading the reference")
                styles.append(colorizer.encode_reference(read_picture(path, self.settings.max_pixels)))
            ticket.check()
            report(0.5, "stylizing")
            style = styles if len(styles) > 1 else styles[0]
            picture = colorizer.stylize(photo, style, weights=request.weights, strength=request.strength)
            ticket.check()
            path = output_path(session, request.photo, "stylized")
            write_picture(path, picture, quality=request.quality)
        command = stylize_command(request, session.name_of, self.settings, self.model.source)
        with self.named_plainly():
            look(picture)
        return Result(path, picture.size, command, time.perf_counter() - begin)

    def colorize_clip(self, request: ClipRequest, session: Session, report: Report, ticket: Ticket | None = None) -> ClipResult:
        """Colorize a short film, in its turn.

        Args:
            request: see `colorize`.
            session: likewise.
            report: likewise.
            ticket: likewise.

        Raises:
            ValueError: as `colorize`, and for a film that is too long, or has larger frames than pictures may be.
            Cancelled: likewise.
        """
        with self.named_plainly():
            check_clip(request.film, self.settings.max_pixels)
        with self._turn(session, request.references, (request.film,), report, ticket) as ticket:
            begin = time.perf_counter()
            from stylecolor.pictures.files import read_picture
            from stylecolor.video.film import colorize_video
            from stylecolor.video.reading import VideoReader
            from stylecolor.video.reference_times import ReferenceTimes
            from stylecolor.video.writing import VideoWriter

            request = self._leave_out_trained(request)
            colorizer = self.model.colorizer(request.size, request.matching, request.sites)
            pictures = [read_picture(path, self.settings.max_pixels) for path in request.references]
            path = session.fresh_directory() / safe_name(clip_output(session.name_of(request.film)), LONGEST_NAME)
            with VideoReader(request.film, clip_demuxer(request.film)) as reader, VideoWriter(path, reader, request.crf) as writer:
                total = reader.header.frames
                if total is not None:
                    check_frames(total)
                styles = [(0.0, colorizer.encode_reference(picture)) for picture in pictures]

                def tell(frames: int) -> None:
                    ticket.check()
                    check_frames(frames)
                    report(min(1.0, frames / total) if total else 0.0, f"frame {frames}" + (f" of {total}" if total else ""))

                summary = colorize_video(
                    reader,
                    writer,
                    colorizer,
                    ReferenceTimes(styles) if styles else None,
                    strength=request.strength,
                    saturation=request.saturation,
                    report=tell,
                )
        command = clip_command(request, session.name_of, self.settings, self.model.source)
        return ClipResult(path, summary.frames, str(summary.damage), command, time.perf_counter() - begin)

    def sheet(self, request: ColorizeRequest, result: Result, session: Session) -> Path:
        """The target, its references and the result side by side, as `--sheet` draws them.

        Raises:
            ValueError: for a file that is gone; `LineFullError` when too many wait.
            Cancelled: when the session ends.
        """
        from stylecolor.pictures.sheets import SheetReader, write_sheet

        count = len(request.references)
        names = [f"reference {number}" for number in range(1, count + 1)] if count > 1 else ["reference"] * count
        path = session.fresh_directory() / f"{request.target.stem}_sheet.png"
        with self._turn(session, (request.target, *request.references), (), lambda *_: None, None):
            reader = SheetReader(self.settings.max_pixels, grey=True)
            row = reader.read_row(session.name_of(request.target), request.target, request.references, result.path)
            write_sheet(path, ("target", *names, "result"), [row])
        return path

    def _leave_out_trained(self, request: _Request) -> _Request:
        """Without the matching and sites with which the networks were trained, which commands leave out; once these are there."""
        matching = None if request.matching == self.model.matching else request.matching
        sites = None if set(request.sites or ()) == set(self.model.trained_sites) else request.sites
        return replace(request, matching=matching, sites=sites)

    @contextmanager
    def named_plainly(self) -> Iterator[None]:
        """One line for what goes wrong in the block, with the names that visitors know their files by, not the studio's.

        Raises:
            ValueError: for ValueError and OSError; `NoRoomError` when memory or disk are full.
        """
        try:
            yield
        except (LineFullError, NoNetworksError, NoRoomError, TooLargePictureError):
            raise
        except (ValueError, OSError) as error:
            if isinstance(error, OSError) and error.errno in FULL:
                raise NoRoomError(f"the studio cannot go on: {os.strerror(error.errno)}; try again later") from error
            raise ValueError(self._private.sub("", one_line(error))) from error
        except MemoryError as error:
            raise NoRoomError("the studio's memory is full; use a smaller picture") from error

    @contextmanager
    def _turn(
        self, session: Session, pictures: Sequence[Path], others: Sequence[Path | None], report: Report, ticket: Ticket | None
    ) -> Iterator[Ticket]:
        """A job of a session, when it has been refused what can be refused at once and its turn has come; the networks are there then."""
        with self.named_plainly(), session.job(ticket) as ticket:
            for path in (*pictures, *(other for other in others if other is not None)):
                self._check_owned(path, session)
            for path in pictures:
                self.check_size(path)
            with self.line.turn(ticket, lambda ahead: report(0.0, f"waiting, {ahead} ahead")):
                if not self.model.wait(0):
                    report(0.0, WAITING_FOR_NETWORKS)
                while not self.model.wait(0.1):
                    ticket.check()
                from stylecolor.commands.networks import explain_out_of_memory

                with explain_out_of_memory():
                    yield ticket

    def _check_owned(self, path: Path, session: Session) -> None:
        folder = self.settings.references
        if ".." in path.parts or not (path.is_relative_to(session.directory) or (folder is not None and path.is_relative_to(folder))):
            raise ValueError(f"{path.name}: is neither an upload of this session nor a picture of the folder of references")

    def read_points(self, path: Path) -> "tuple[HintPoint, ...]":
        """The points of a file, see `stylecolor.user_hints.read_hints`.

        Raises:
            ValueError: for a file that is no list of points, and one that has more than `FILE_BYTES`, which is not read.
        """
        if path.stat().st_size > FILE_BYTES:
            raise ValueError(f"points {path.name}: is larger than {FILE_BYTES} bytes, which no list of points is")
        # imported late: it needs torch, which takes seconds
        from stylecolor.user_hints import read_hints

        return tuple(read_hints(path))

    def check_size(self, path: Path) -> None:
        """Refuse a picture that is too large, by its header, before it is decoded.

        Raises:
            TooLargePictureError: naming the picture, its size and the limit.
            ValueError: for what is no picture.
            OSError: for one that must not be read.
        """
        from stylecolor.pictures.files import read_size

        height, width = read_size(path)
        if height * width > self.settings.max_pixels:
            raise TooLargePictureError(
                f"picture {path.name}: its {width} x {height} px are more than the {self.settings.max_megapixels:g} megapixels that this "
                "studio takes (--max-megapixels)"
            )

    def _reference(self, path: Path, labels: "np.ndarray | None") -> "ReferenceInput":
        from stylecolor.draft import ReferenceInput
        from stylecolor.pictures.files import read_picture

        stat = path.stat()
        # pictures of the folder of references may be changed by others
        key = (str(path), stat.st_size, stat.st_mtime_ns)
        return ReferenceInput(key, lambda: read_picture(path, self.settings.max_pixels), labels)


def output_path(session: Session, target: Path, ending: str) -> Path:
    """Where the result for a target goes, under the name that the command would give it, as far as that is harmless everywhere."""
    return session.fresh_directory() / safe_name(output_name(session.name_of(target), ending), LONGEST_NAME)


def check_frames(frames: int) -> None:
    """Refuse a film that would keep all others waiting.

    Raises:
        ValueError: naming the limit and the remedy.
    """
    if frames > CLIP_FRAMES:
        raise ValueError(f"the clip has more than the {CLIP_FRAMES} frames that the studio takes; use `stylecolor video` for long films")
