"""Small films, made and taken apart with PyAV."""

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import skimage.data
from av.container import OutputContainer

RATE = 25
TIME_BASE = Fraction(1, 12800)
STEP = 512
SOUND_RATE = 48000


def pan(name: str = "astronaut", frames: int = 10, size: tuple[int, int] = (64, 96), step: int = 2) -> list[np.ndarray]:
    """A window that moves to the right over one of scikit-image's photographs, sRGB of 8 bits."""
    height, width = size
    pixels = cv2.GaussianBlur(getattr(skimage.data, name)()[::2, ::2, :3], (0, 0), 1)
    pixels = cv2.resize(pixels, (width + step * frames, height), interpolation=cv2.INTER_AREA)
    return [np.ascontiguousarray(pixels[:, index * step : index * step + width]) for index in range(frames)]


def make_film(
    path: Path,
    frames: Sequence[np.ndarray],
    times: Sequence[int] | None = None,
    *,
    codec: str = "libx264",
    pixel_format: str = "yuv420p",
    sound: str | None = "aac",
    second_sound: str | None = None,
    aspect: Fraction | None = None,
    rotation: int = 0,
    flip: bool = False,
    subtitles: bool = False,
    grey: bool = False,
    time_base: Fraction = TIME_BASE,
    options: dict[str, str] | None = None,
) -> Path:
    """Frames at these times (units of the time base; equal steps if left out), with as much sound."""
    times = range(0, STEP * len(frames), STEP) if times is None else times
    with av.open(str(path), "w", options=options or {}) as film:
        video = film.add_stream(codec, rate=RATE)
        assert isinstance(video, av.VideoStream)
        if codec.startswith("libx264"):
            video.options = {"crf": "4", "g": "10"}
        video.height, video.width = frames[0].shape[:2]
        video.pix_fmt = pixel_format
        video.codec_context.time_base = time_base
        video.codec_context.sample_aspect_ratio = aspect or Fraction(1)
        if rotation or flip:
            video.set_display_rotation(rotation, hflip=flip)
        sounds = [film.add_stream(kind, rate=SOUND_RATE) for kind in (sound, second_sound) if kind is not None]
        titles = film.add_mux_stream("subrip") if subtitles else None
        film.metadata["title"] = "A film"
        for stream in sounds:
            stream.metadata["language"] = "fra"
        for stream in sounds:
            assert isinstance(stream, av.AudioStream)
            _add_sound(film, stream, float((times[-1] + STEP) * time_base))
        if titles is not None:
            packet = av.Packet(b"A line")
            packet.stream, packet.pts, packet.dts, packet.duration, packet.time_base = titles, 100, 100, 200, Fraction(1, 1000)
            film.mux(packet)
        for pixels, time in zip(frames, times, strict=True):
            frame = av.VideoFrame.from_ndarray(pixels, format="rgb24").reformat(format=pixel_format)
            if grey:
                _remove_colours(frame)
            frame.pts, frame.time_base = time, time_base
            film.mux(video.encode(frame))
        film.mux(video.encode(None))
    return path


def _remove_colours(frame: av.VideoFrame) -> None:
    for plane in frame.planes[1:]:
        plane.update(bytes([128]) * plane.buffer_size)


def _add_sound(film: OutputContainer, stream: av.AudioStream, seconds: float) -> None:
    wave = (np.sin(np.arange(int(seconds * SOUND_RATE)) * 0.05) * 8000).astype(np.int16)
    frame = av.AudioFrame.from_ndarray(wave.repeat(2)[None], format="s16", layout="stereo")
    frame.sample_rate, frame.pts, frame.time_base = SOUND_RATE, 0, Fraction(1, SOUND_RATE)
    resampler = av.AudioResampler(
        stream.codec_context.format.name, "stereo", SOUND_RATE, frame_size=stream.codec_context.frame_size or 1024
    )
    for piece in [*resampler.resample(frame), *resampler.resample(None)]:
        film.mux(stream.encode(piece))
    film.mux(stream.encode(None))


@dataclass
class CopiedStream:
    """A stream, with the bytes and the times in seconds of all its packets."""

    type: str
    codec: str
    metadata: dict[str, str]
    packets: list[tuple[Fraction | None, bytes]]


def streams(path: Path) -> list[CopiedStream]:
    """All streams but the video."""
    found = []
    with av.open(str(path)) as film:
        kinds = [(stream.index, stream.type, stream.name or "", dict(stream.metadata)) for stream in film.streams]
    for index, kind, name, metadata in kinds:
        if kind == "video":
            continue
        with av.open(str(path)) as film:
            packets = [packet for packet in film.demux(film.streams[index]) if packet.size]
            timed = [(None if packet.pts is None else packet.pts * packet.time_base, bytes(packet)) for packet in packets]
        found.append(CopiedStream(kind, name, metadata, timed))
    return found


def frames(path: Path) -> list[tuple[Fraction, np.ndarray]]:
    """The time in seconds and the sRGB pixels of each frame, as stored."""
    with av.open(str(path)) as film:
        decoded = list(film.decode(video=0))
        return [
            (frame.pts * frame.time_base, frame.to_ndarray(format="rgb24"))
            for frame in decoded
            if frame.pts is not None and frame.time_base
        ]


def luma(path: Path) -> np.ndarray:
    """(frames, height, width) of the stored luma, of planar formats with 8 bits."""
    with av.open(str(path)) as film:
        planes = [frame.planes[0] for frame in film.decode(video=0)]
        rows = [np.frombuffer(bytes(plane), np.uint8).reshape(plane.height, plane.line_size) for plane in planes]
        return np.stack(rows)[..., : planes[0].width]
