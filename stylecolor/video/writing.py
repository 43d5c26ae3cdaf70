"""Films from frames, with the packets of another film's other streams copied as they are."""

import logging
import os
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from io import BytesIO
from pathlib import Path
from types import TracebackType
from typing import NamedTuple, Self

import av
import torch
from av.codec.context import Flags
from av.container import OutputContainer
from av.error import FFmpegError
from av.packet import Packet
from av.stream import Stream
from av.video.reformatter import ColorPrimaries, ColorRange, Colorspace, ColorTrc
from av.video.stream import VideoStream

from stylecolor.errors import check_range
from stylecolor.video.reading import CONVERSION, CONVERSION_THREADS, Frame, VideoReader
from stylecolor.whole_file import remove_stale_parts, written_whole

WORST_CRF = 51
"""Of the encoders' constant rate factors."""
# those of MP4's own header, which another container would show as tags
_FORMAT_TAGS = ("major_brand", "minor_version", "compatible_brands", "encoder")

log = logging.getLogger(__name__)


class Container(NamedTuple):
    """How films of one file name extension are written."""

    format: str
    codec: str
    codec_options: dict[str, str]
    options: dict[str, str]
    odd_sides: bool
    """Whether its codec has 4:2:0 pictures with odd sides."""


# with its code for AVX-512, x264 makes another file of the same frames from run to run: 60 of them 16, with that for AVX2 1
_H264 = {"preset": "medium"} | ({"x264-params": "asm=avx2"} if torch.backends.cpu.get_cpu_capability() == "AVX512" else {})
_VP9 = {"deadline": "good", "cpu-used": "4", "row-mt": "1"}
_FAST_START = {"movflags": "+faststart"}
CONTAINERS = {
    ".mp4": Container("mp4", "libx264", _H264, _FAST_START, odd_sides=False),
    ".m4v": Container("mp4", "libx264", _H264, _FAST_START, odd_sides=False),
    ".mov": Container("mov", "libx264", _H264, _FAST_START, odd_sides=False),
    ".mkv": Container("matroska", "libx264", _H264, {}, odd_sides=False),
    ".webm": Container("webm", "libvpx-vp9", _VP9, {}, odd_sides=True),
}
"""By the extensions that can be written: H.264, which everything plays, and VP9 in WebM, which takes no H.264."""


def check_output(path: Path, inputs: Iterable[Path]) -> None:
    """Refuse what cannot be written, before any work.

    Args:
        path: where the film is to go.
        inputs: files that it must not replace.

    Raises:
        ValueError: for an unknown extension, a directory in its place, and one of the inputs.
        OSError: for a place in something that is no directory or that must not be written to.
    """
    if path.suffix.lower() not in CONTAINERS:
        raise ValueError(f"{path}: cannot be written; films end in {', '.join(CONTAINERS)}")
    if path.is_dir():
        raise ValueError(f"{path}: is a directory; name a file to write")
    if path.exists() and any(source.exists() and path.samefile(source) for source in inputs):
        raise ValueError(f"{path}: would replace what is read; name another file to write")
    directory = next(parent for parent in path.absolute().parents if parent.exists())
    if not directory.is_dir():
        raise NotADirectoryError(f"{path}: cannot be written, as {directory} is no directory")
    if not os.access(directory, os.W_OK | os.X_OK):
        raise PermissionError(f"{path}: cannot be written, as the permissions of {directory} forbid it")


class VideoWriter:
    """A film that is written aside and appears under its name once it is whole; its directory is made where there is none.

    Frames keep their times and the film its time base, as far as the container has it (Matroska and WebM count milliseconds); pixel
    aspect, tags and chapters too. Frames are written upright. Pixels are 4:2:0, with the brightness of each and one colour for every four,
    which everything plays. Pictures with an odd side, which H.264 cannot have so, are written in 4:4:4, which keeps their size but is more
    than some players show. Films of more than 8 bits keep 10. Colours are BT.709 of limited range, and tagged so.

    Args:
        path: see `check_output`.
        film: gives all but the frames' colours.
        crf: the encoder's constant rate factor, 0 to 51: 0 loses nothing, and every 6 more about halve the size.

    Raises:
        ValueError: for sound and pixel aspects that the container does not take. Subtitles and other streams are left out with a warning.
        OSError: on writing.
    """

    def __init__(self, path: Path, film: VideoReader, crf: int) -> None:
        check_range("crf", crf, low=0, high=WORST_CRF)
        self._path = path
        self._film = film
        self._kind = CONTAINERS[path.suffix.lower()]
        aspect = film.header.pixel_aspect
        if aspect != 1 and self._kind.format == "webm":
            # VP9 has no place for it, and PyAV does not reach that of the container
            raise ValueError(f"{path}: pixels of {aspect.numerator}:{aspect.denominator} cannot be kept in webm; write it as .mkv")
        copied = [stream for stream in film.others if self._takes(stream)]
        # bitexact: Matroska would write a random number
        options = {**self._kind.options, "fflags": "+bitexact"}
        if film.header.time_base.numerator == 1 and self._kind.format in ("mp4", "mov"):
            options["video_track_timescale"] = str(film.header.time_base.denominator)
        made = [parent for parent in path.absolute().parents if not parent.exists()]
        self._whole = ExitStack()
        with self._named():
            path.parent.mkdir(parents=True, exist_ok=True)
            remove_stale_parts(path.parent)
            self._whole.callback(_remove_empty, made)
            # absolute, as FFmpeg takes what stands before a colon for a protocol
            aside = self._whole.enter_context(written_whole(path.absolute()))
            self._container = av.open(str(aside), "w", format=self._kind.format, container_options=options)
            self._whole.callback(_abandon, self._container)
        self._container.metadata.update({key: value for key, value in film.header.tags.items() if key not in _FORMAT_TAGS})
        self._container.set_chapters(film.header.chapters)
        self._stream = self._add_video(crf)
        self._copies = {stream.index: _add_copy(self._container, stream) for stream in copied}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        if kind is not None:
            self._whole.__exit__(kind, error, traceback)
            return
        with self._named(), self._whole:
            self._container.mux(self._stream.encode(None))
            self._container.close()

    def write(self, frame: Frame) -> None:
        """The next frame, of the film's upright size."""
        rgb = av.VideoFrame.from_ndarray(frame.pixels, format="rgb24" if frame.pixels.itemsize == 1 else "rgb48le")
        picture = rgb.reformat(
            format=self._stream.pix_fmt,
            dst_colorspace=Colorspace.ITU709,
            dst_color_range=ColorRange.MPEG,
            interpolation=CONVERSION,
            threads=CONVERSION_THREADS,
        )
        picture.pts, picture.time_base, picture.duration = frame.pts, self._film.header.time_base, frame.duration
        with self._named():
            self._container.mux(self._stream.encode(picture))

    def copy(self, packet: Packet) -> None:
        """A packet of one of the film's other streams."""
        if packet.stream_index in self._copies:
            packet.stream = self._copies[packet.stream_index]
            with self._named():
                self._container.mux(packet)

    def _takes(self, stream: Stream) -> bool:
        if _takes(self._kind.format, stream):
            return True
        what = f"{stream.type} {stream.name or 'of unknown kind'} (stream {stream.index} of {self._film.path})"
        if stream.type == "audio":
            raise ValueError(f"{self._path}: {self._kind.format} takes no {what}; write it as .mkv, which takes every sound")
        log.warning("%s: %s takes no %s; it is left out", self._path, self._kind.format, what)
        return False

    def _add_video(self, crf: int) -> VideoStream:
        height, width = self._film.header.size
        odd = bool(height % 2 or width % 2) and not self._kind.odd_sides
        if odd:
            log.warning("%s: %d x %d px is odd, and written in 4:4:4, which some players cannot show", self._path, width, height)
        options = {**self._kind.codec_options, "crf": str(crf)}
        stream = self._container.add_stream(self._kind.codec, rate=self._film.header.rate, options=options)
        assert isinstance(stream, VideoStream)
        stream.width, stream.height = width, height
        stream.pix_fmt = ("yuv444p" if odd else "yuv420p") + ("10le" if self._film.header.bits > 8 else "")
        stream.time_base = stream.codec_context.time_base = self._film.header.time_base
        stream.codec_context.sample_aspect_ratio = self._film.header.pixel_aspect
        stream.color_range, stream.colorspace = ColorRange.MPEG, Colorspace.ITU709
        stream.color_primaries, stream.color_trc = ColorPrimaries.BT709, ColorTrc.BT709
        # so that the last frame is shown as long as it was
        stream.codec_context.flags |= Flags.frame_duration
        stream.metadata.update({key: value for key, value in self._film.header.video_tags.items() if key not in _FORMAT_TAGS})
        return stream

    @contextmanager
    def _named(self) -> Iterator[None]:
        """Errors name the film, and not the file aside."""
        try:
            yield
        except (FFmpegError, OSError) as error:
            raise OSError(error.errno, error.strerror, str(self._path)) from error


def _takes(form: str, stream: Stream) -> bool:
    """Whether a container takes a stream, which only writing its header tells."""
    try:
        with av.open(BytesIO(), "w", format=form) as trial:
            _add_copy(trial, stream)
            trial.start_encoding()
    except (FFmpegError, ValueError):
        return False
    return True


def _add_copy(container: OutputContainer, stream: Stream) -> Stream:
    copy = container.add_stream_from_template(stream, opaque=True)
    copy.metadata.update(stream.metadata)
    copy.disposition = stream.disposition
    return copy


def _abandon(container: OutputContainer) -> None:
    """Close a film, unless it is closed; its end cannot be written where the disk is full, and need not be."""
    try:
        container.close()
    except FFmpegError:
        log.debug("closing an abandoned film", exc_info=True)


def _remove_empty(directories: Iterable[Path]) -> None:
    """Remove the innermost first, as far as nothing is in them."""
    with suppress(OSError):
        for directory in directories:
            directory.rmdir()
