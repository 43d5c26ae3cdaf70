"""Frames out of films of any container, beside the packets of their other streams."""

import logging
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Self

import av
import numpy as np
from av.container import InputContainer
from av.error import EOFError as EndOfStream
from av.error import FFmpegError
from av.packet import Packet
from av.stream import Disposition, Stream
from av.video.reformatter import ColorRange, Colorspace, ColorTrc, Interpolation
from av.video.stream import VideoStream

if TYPE_CHECKING:
    from av.container.core import Chapter

# the slower ways of swscale, which round to the nearest level
CONVERSION = Interpolation.BICUBIC | Interpolation.ACCURATE_RND | Interpolation.FULL_CHR_H_INT | Interpolation.FULL_CHR_H_INP
CONVERSION_THREADS = 1
"""With more, a process that is forked while a frame is there, such as a data loader's, waits for them for ever when it frees the frame.
They would save a millisecond of a frame of 1080 lines."""
BROKEN_OFF = 0.5
"""Seconds that a film may lack of the length that its header tells."""
STARTS_OVER = 1.0
"""Seconds by which the times of a stream go back only where another film was appended."""
_UNSPECIFIED_MATRIX = 2
_HIGH_DEFINITION = 720
"""Height from which players take an unspecified matrix for that of BT.709."""

log = logging.getLogger(__name__)


class Frame(NamedTuple):
    """A frame of a film, upright: sRGB of shape (height, width, 3), 8 or 16 bits; its time and duration in units of the time base."""

    pixels: np.ndarray
    pts: int
    duration: int


@dataclass
class Damage:
    """What a film lacks. Times are in seconds from its first frame."""

    packets: int = 0
    """How many could not be decoded or copied."""
    first: float | None = None
    """When the first of these was due."""
    breaks_off: float | None = None
    """Beyond which it cannot be read."""
    length: float = 0.0
    """What the header tells; 0 where that is not known."""
    starts_over: float | None = None
    """Where the times go back, as in films that were joined byte by byte; nothing beyond that is read."""

    def note(self, time: float) -> None:
        """A packet that could not be decoded or copied."""
        self.packets += 1
        self.first = time if self.first is None else self.first

    def __bool__(self) -> bool:
        return self.packets > 0 or self.breaks_off is not None or self.starts_over is not None

    def __str__(self) -> str:
        places = f"{self.packets} damaged place{'s' * (self.packets > 1)}, the first at {self.first or 0:.2f} s" if self.packets else ""
        whole = f" of {self.length:.2f} s" if self.length else ""
        end = f"breaks off at {self.breaks_off:.2f} s{whole}" if self.breaks_off is not None else ""
        again = f"times start over at {self.starts_over:.2f} s, colorize the parts one by one" if self.starts_over is not None else ""
        return " and ".join(part for part in (places, end, again) if part)


@dataclass(frozen=True)
class Orientation:
    """How stored frames are turned for showing, as the display matrix of their container says: transposed first, then flipped."""

    transposed: bool = False
    flipped_rows: bool = False
    flipped_columns: bool = False

    @classmethod
    def of(cls, frame: av.VideoFrame) -> "Orientation":
        """Of a decoded frame.

        Raises:
            ValueError: for turns by other angles than multiples of 90 degrees.
        """
        matrix: Any = frame.side_data.get("DISPLAYMATRIX")
        if matrix is None:
            return cls()
        # what is stored at (x, y) is shown at (a x + c y, b x + d y), in 16.16 fixed point
        a, b, _, c, d, *_ = (round(value / 65536, 3) for value in np.frombuffer(bytes(matrix), np.int32))
        if not b and not c and a and d:
            return cls(False, d < 0, a < 0)
        if not a and not d and b and c:
            return cls(True, b < 0, c < 0)
        raise ValueError("is turned by an angle that is no multiple of 90 degrees; turn it upright first")

    def upright(self, pixels: np.ndarray) -> np.ndarray:
        """Pixels of shape (height, width, 3) as they are to be shown, contiguous."""
        if self.transposed:
            pixels = pixels.swapaxes(0, 1)
        return np.ascontiguousarray(pixels[:: -1 if self.flipped_rows else 1, :: -1 if self.flipped_columns else 1])


@dataclass(frozen=True)
class Header:
    """What is known of a film before it is read. Times are in seconds."""

    size: tuple[int, int]
    """Height and width, upright."""
    pixel_aspect: Fraction
    """A pixel's width over its height, upright."""
    bits: int
    time_base: Fraction
    """What a unit of the frames' times takes."""
    start: Fraction
    """Time of the first frame."""
    rate: Fraction
    """Frames a second, on average."""
    length: float
    """0 where it is not known."""
    frames: int | None
    """How many there are, where it is known."""
    tags: dict[str, str]
    video_tags: dict[str, str]
    chapters: "list[Chapter]"

    @classmethod
    def of(cls, container: InputContainer, stream: VideoStream, first: av.VideoFrame, orientation: Orientation) -> "Header":
        """Of a film, from its first frame."""
        assert stream.time_base is not None
        aspect = stream.sample_aspect_ratio or Fraction(1)
        rate, length, frames = _extent(container, stream)
        return cls(
            size=(first.width, first.height) if orientation.transposed else (first.height, first.width),
            pixel_aspect=1 / aspect if orientation.transposed else aspect,
            bits=max(component.bits for component in first.format.components),
            time_base=stream.time_base,
            start=(first.pts or 0) * stream.time_base,
            rate=rate,
            length=length,
            frames=frames,
            tags=dict(container.metadata),
            video_tags=dict(stream.metadata),
            chapters=container.chapters(),
        )


class Claims(NamedTuple):
    """What the header of a film tells, which need not be so."""

    size: tuple[int, int]
    """Height and width of the frames as they are stored."""
    length: float
    """In seconds; 0 where it is not told."""
    frames: int | None
    """How many there are, where it is told."""


def read_claims(path: Path, demuxer: str | None = None) -> Claims:
    """Look at a film before anything of it is decoded.

    Args:
        path: of the film.
        demuxer: see `VideoReader`.

    Raises:
        ValueError: naming the file, for one that is no film, holds no video, or video of a kind that cannot be decoded here.
    """
    with _open(path, demuxer) as container:
        stream = _video_stream(container, path)
        _, length, frames = _extent(container, stream)
        return Claims((stream.codec_context.height, stream.codec_context.width), length, frames)


class VideoReader:
    """A film that is read once, from its beginning to its end.

    Its first frame is decoded at once, so that what cannot be read is refused before any work.

    Args:
        path: of the film.
        demuxer: what FFmpeg reads it with; left out, what its contents look like, which may be a list of other files.

    Raises:
        ValueError: naming the file, for one that is missing or no film, holds no video, or whose video cannot be decoded.
    """

    def __init__(self, path: Path, demuxer: str | None = None) -> None:
        self.path = path
        self.damage = Damage()
        if not path.is_file():
            raise ValueError(f"{path}: {'is a directory' if path.is_dir() else 'no such file'}; expected a film")
        first = _first_frame(path, demuxer)
        try:
            self._orientation = Orientation.of(first)
        except ValueError as error:
            raise ValueError(f"{path}: {error}") from error
        if first.color_trc in (ColorTrc.SMPTE2084, ColorTrc.ARIB_STD_B67):
            log.warning("%s: is HDR, which is taken for SDR and comes out pale; convert it first", path)
        self._stored_size = first.height, first.width
        self._container = _open(path, demuxer)
        self._stream = _video_stream(self._container, path)
        self._stream.thread_type = "AUTO"
        self.header = Header.of(self._container, self._stream, first, self._orientation)
        self.others: list[Stream] = [stream for stream in self._container.streams if stream.index != self._stream.index]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._container.close()

    def seconds(self, frame: Frame) -> float:
        """The time of a frame, from the first one."""
        return float(frame.pts * self.header.time_base - self.header.start)

    def parts(self) -> Iterator[Frame | Packet]:
        """All frames, and all packets of the other streams, in the file's order.

        What cannot be decoded is passed over and noted in `damage`, as is what ends the film early.
        """
        header, end, readable = self.header, 0.0, True
        shown, step = header.start, max(1, round(1 / header.rate / header.time_base))
        last = round(header.start / header.time_base) - step
        try:
            for packet, frames in _decode(self._container, self._stream):
                if packet.size:
                    end = max(end, _end(packet))
                if frames is None:
                    self.damage.note(float(shown - header.start))
                    continue
                if packet.stream_index != self._stream.index:
                    # demuxers end each stream with an empty packet
                    if packet.size:
                        yield packet
                    continue
                for frame in frames:
                    # encoders need times that grow, and raw streams have none
                    last = max(frame.pts if frame.pts is not None else last + step, last + 1)
                    shown = (last + (frame.duration or step)) * header.time_base
                    yield Frame(self._pixels(frame), last, frame.duration)
        except _StartsOverError:
            self.damage.starts_over = float(shown - header.start)
            return
        except _UnreadableError:
            readable = False
        origin = (self._container.start_time or 0) / av.time_base
        if not readable or (header.length and end - origin < header.length - BROKEN_OFF):
            self.damage.breaks_off, self.damage.length = float(shown - header.start), header.length

    def _pixels(self, frame: av.VideoFrame) -> np.ndarray:
        height, width = self._stored_size
        matrix = frame.colorspace
        if matrix == _UNSPECIFIED_MATRIX:
            matrix = Colorspace.ITU709 if height >= _HIGH_DEFINITION else Colorspace.ITU601
        # with the size, since the frames of some streams change theirs
        form = "rgb24" if self.header.bits <= 8 else "rgb48le"
        rgb = frame.reformat(
            width,
            height,
            form,
            src_colorspace=matrix,
            dst_color_range=ColorRange.JPEG,
            interpolation=CONVERSION,
            threads=CONVERSION_THREADS,
        )
        return self._orientation.upright(rgb.to_ndarray())


class _UnreadableError(Exception):
    """The file cannot be read any further."""


class _StartsOverError(Exception):
    """The times go back to those of another film."""


def _first_frame(path: Path, demuxer: str | None) -> av.VideoFrame:
    # an unreadable rest matters only if no frame comes before it
    with _open(path, demuxer) as container, suppress(_UnreadableError, _StartsOverError):
        for _, frames in _decode(container, _video_stream(container, path)):
            for frame in frames or ():
                return frame
    raise ValueError(f"{path}: none of its frames can be decoded")


def _open(path: Path, demuxer: str | None) -> InputContainer:
    try:
        # absolute, as FFmpeg takes what stands before a colon for a protocol
        return av.open(str(path.absolute()), "r", format=demuxer)
    except FFmpegError as error:
        raise ValueError(f"{path}: cannot be read as a film ({error.strerror})") from error


def _video_stream(container: InputContainer, path: Path) -> VideoStream:
    # a cover is a video of one picture
    films = [stream for stream in container.streams.video if not stream.disposition & Disposition.attached_pic]
    if not films:
        kinds = sorted({stream.type for stream in container.streams})
        raise ValueError(f"{path}: holds no video, only {', '.join(kinds) or 'nothing'}")
    best = container.streams.best("video")
    stream = next((film for film in films if best is not None and film.index == best.index), films[0])
    if stream.codec_context is None:
        raise ValueError(f"{path}: its video is of a kind that cannot be decoded here")
    return stream


def _extent(container: InputContainer, stream: VideoStream) -> tuple[Fraction, float, int | None]:
    """Frames a second, seconds (0 where they are not known), and how many frames there are, where that is known."""
    rate, length = stream.average_rate or stream.guessed_rate or Fraction(25), (container.duration or 0) / av.time_base
    return rate, length, stream.frames or round(length * rate) or None


def _decode(container: InputContainer, stream: VideoStream) -> Iterator[tuple[Packet, list[av.VideoFrame] | None]]:
    """Every packet with the frames that it completes, none for other streams; None for what cannot be decoded or copied.

    Raises:
        _UnreadableError: after all that can be read.
        _StartsOverError: after all that comes before.
    """
    try:
        for packet, late in _demux(container):
            if packet.stream_index == stream.index:
                yield packet, _decoded(stream, packet)
            else:
                # no container takes packets whose times go back
                yield packet, None if late else []
    except (_UnreadableError, _StartsOverError):
        # the decoder still holds frames
        packet = _end_of(stream)
        yield packet, _decoded(stream, packet)
        raise


def _demux(container: InputContainer) -> Iterator[tuple[Packet, bool]]:
    """Every packet, and whether its stream has gone back in decoding time and is not beyond where it was.

    Raises:
        _UnreadableError: where the file cannot be read any further.
        _StartsOverError: where the times go back to those of another film.
    """
    latest: dict[int, Fraction] = {}
    late: set[int] = set()
    try:
        for packet in container.demux():
            index = packet.stream_index
            if packet.dts is not None:
                time = packet.dts * packet.time_base
                ahead = time - latest.get(index, time)
                # subtitles need not be in order
                if ahead < -STARTS_OVER and packet.stream.type in ("video", "audio"):
                    raise _StartsOverError
                if ahead < 0:
                    late.add(index)
                elif ahead > 0:
                    late.discard(index)
                latest[index] = max(time, latest.get(index, time))
            yield packet, index in late
    except FFmpegError as error:
        raise _UnreadableError from error


def _decoded(stream: VideoStream, packet: Packet) -> list[av.VideoFrame] | None:
    try:
        return stream.decode(packet)
    except EndOfStream:
        # demuxers may end a stream twice
        return []
    except FFmpegError:
        return None


def _end_of(stream: VideoStream) -> Packet:
    packet: Packet = Packet()
    packet.stream = stream
    return packet


def _end(packet: Packet) -> float:
    time = packet.pts if packet.pts is not None else packet.dts
    return 0.0 if time is None else float((time + (packet.duration or 0)) * packet.time_base)
