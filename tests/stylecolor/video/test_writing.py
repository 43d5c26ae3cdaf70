import os
import signal
import subprocess
import sys
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from stylecolor.video.reading import Frame, VideoReader
from stylecolor.video.writing import CONTAINERS, VideoWriter, check_output
from tests.stylecolor.films import CopiedStream, frames, luma, make_film, pan, streams

TIMES = [0, 300, 900, 2500, 2600, 4000, 4001, 6000, 7000, 9000]


def rewrite(source: Path, target: Path, crf: int = 4, change: Callable[[np.ndarray], np.ndarray] = lambda pixels: pixels) -> Path:
    with VideoReader(source) as film, VideoWriter(target, film, crf) as writer:
        for part in film.parts():
            if isinstance(part, Frame):
                writer.write(part._replace(pixels=change(part.pixels)))
            else:
                writer.copy(part)
    return target


def described(stream: CopiedStream) -> tuple[str, str, str | None]:
    return stream.type, stream.codec, stream.metadata.get("language")


@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".m4v"])
def test_every_frame_keeps_its_time_and_all_sound_its_bytes(tmp_path: Path, suffix: str) -> None:
    source = make_film(tmp_path / "source.mp4", pan(), TIMES, second_sound="libmp3lame")
    target = rewrite(source, tmp_path / f"target{suffix}")
    assert [time for time, _ in frames(target)] == [Fraction(time, 12800) for time in TIMES]
    found, expected = streams(target), streams(source)
    assert len(found) == len(expected) == 2
    for own, other in zip(found, expected, strict=True):
        assert described(own) == described(other)
        assert own.packets == other.packets
    with av.open(str(target)) as film:
        assert film.streams.video[0].time_base == Fraction(1, 12800)
        assert film.metadata["title"] == "A film"


@pytest.mark.parametrize(("sound", "suffix"), [("libopus", ".webm"), ("aac", ".mkv"), ("flac", ".mkv")])
def test_matroska_and_webm_keep_times_to_the_millisecond(tmp_path: Path, sound: str, suffix: str) -> None:
    source = make_film(tmp_path / "source.mkv", pan(), [16 * time for time in TIMES], sound=sound)
    target = rewrite(source, tmp_path / f"target{suffix}")
    assert [time for time, _ in frames(target)] == [time for time, _ in frames(source)]
    assert streams(target)[0].packets == streams(source)[0].packets


def test_subtitles_and_chapters_are_kept_where_the_container_takes_them(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    source = make_film(tmp_path / "source.mkv", pan(), subtitles=True)
    with av.open(str(source)) as film, av.open(str(tmp_path / "chapters.mkv"), "w") as chaptered:
        copies = {stream.index: chaptered.add_stream_from_template(stream, opaque=True) for stream in film.streams}
        chaptered.set_chapters([{"id": 1, "start": 0, "end": 200, "time_base": Fraction(1, 1000), "metadata": {"title": "One"}}])
        for packet in film.demux():
            if packet.size:
                packet.stream = copies[packet.stream_index]
                chaptered.mux(packet)
    target = rewrite(tmp_path / "chapters.mkv", tmp_path / "target.mkv")
    assert [stream.codec for stream in streams(target)] == ["aac", "srt"]
    assert streams(target)[1].packets == streams(source)[1].packets
    with av.open(str(target)) as film:
        assert [chapter["metadata"] for chapter in film.chapters()] == [{"title": "One"}]
    assert not caplog.records
    target = rewrite(source, tmp_path / "target.mp4")
    assert [stream.codec for stream in streams(target)] == ["aac"]
    assert [record.getMessage() for record in caplog.records] == [
        f"{target}: mp4 takes no subtitle srt (stream 2 of {source}); it is left out"
    ]


def test_sound_that_the_container_does_not_take_is_refused(tmp_path: Path) -> None:
    source = make_film(tmp_path / "source.mp4", pan())
    with VideoReader(source) as film, pytest.raises(ValueError, match=r"target\.webm: webm takes no audio aac .*; write it as \.mkv"):
        VideoWriter(tmp_path / "target.webm", film, 16)
    assert os.listdir(tmp_path) == ["source.mp4"]


@pytest.mark.parametrize("suffix", list(CONTAINERS))
def test_colours_are_tagged_and_come_back(tmp_path: Path, suffix: str) -> None:
    def paint(pixels: np.ndarray) -> np.ndarray:
        return np.broadcast_to(np.array([200, 80, 40], np.uint8), pixels.shape).copy()

    target = rewrite(make_film(tmp_path / "source.mkv", pan(), sound=None), tmp_path / f"target{suffix}", change=paint)
    with av.open(str(target)) as film:
        stream = film.streams.video[0]
        assert (stream.color_range, stream.colorspace, stream.color_primaries, stream.color_trc) == (1, 1, 1, 1)
        assert stream.pix_fmt == "yuv420p"
        frame = next(film.decode(video=0)).to_ndarray()
    # ITU-R BT.709, limited range
    red, green, blue = np.array([200, 80, 40]) / 255
    y = 0.2126 * red + 0.7152 * green + 0.0722 * blue
    expected = (16 + 219 * y, 128 + 224 * (blue - y) / 1.8556, 128 + 224 * (red - y) / 1.5748)
    for plane, value in zip((frame[:64], frame[64:80], frame[80:]), expected, strict=True):
        assert plane.mean() == pytest.approx(value, abs=1)
    with VideoReader(target) as film:
        pixels = next(part.pixels for part in film.parts() if isinstance(part, Frame))
    np.testing.assert_allclose(pixels.reshape(-1, 3).mean(0), [200, 80, 40], atol=2.5)


@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
def test_a_grey_film_without_loss_keeps_its_luma_to_the_level(tmp_path: Path, suffix: str) -> None:
    source = make_film(tmp_path / "source.mkv", pan(), codec="ffv1", grey=True, sound=None)
    target = rewrite(source, tmp_path / f"target{suffix}", crf=0)
    assert np.array_equal(luma(target), luma(source))


@pytest.mark.parametrize("suffix", [".mp4", ".webm"])
def test_the_same_frames_make_the_same_file(tmp_path: Path, suffix: str) -> None:
    rng = np.random.default_rng(0)
    grained = [np.clip(frame + rng.integers(-3, 4, frame.shape), 0, 255).astype(np.uint8) for frame in pan(frames=24, size=(240, 320))]
    source = make_film(tmp_path / "source.mp4", grained, sound=None)
    made = set()
    for _ in range(8):
        # what encoders do not set they find otherwise each time
        for size in rng.integers(1_000, 4_000_000, 20):
            rng.bytes(size)
        made.add(rewrite(source, tmp_path / f"target{suffix}", crf=18).read_bytes())
    assert len(made) == 1


def test_pixel_aspect_is_kept(tmp_path: Path) -> None:
    source = make_film(tmp_path / "source.mp4", pan(), aspect=Fraction(4, 3), sound=None)
    for suffix in (".mp4", ".m4v", ".mov", ".mkv"):
        with av.open(str(rewrite(source, tmp_path / f"target{suffix}"))) as film:
            assert film.streams.video[0].sample_aspect_ratio == Fraction(4, 3), suffix
    with pytest.raises(ValueError, match=r"target\.webm: pixels of 4:3 cannot be kept in webm; write it as \.mkv"):
        rewrite(source, tmp_path / "target.webm")


@pytest.mark.parametrize(("suffix", "pixel_format"), [(".mp4", "yuv444p"), (".mkv", "yuv444p"), (".webm", "yuv420p")])
def test_odd_sides_are_kept(tmp_path: Path, caplog: pytest.LogCaptureFixture, suffix: str, pixel_format: str) -> None:
    source = make_film(tmp_path / "source.mkv", pan(size=(49, 65)), pixel_format="yuv444p", sound=None)
    target = rewrite(source, tmp_path / f"target{suffix}")
    with av.open(str(target)) as film:
        stream = film.streams.video[0]
        assert (stream.height, stream.width, stream.pix_fmt) == (49, 65, pixel_format)
    for (_, own), (_, other) in zip(frames(target), frames(source), strict=True):
        assert np.abs(own.astype(int) - other).mean() < 6
    assert [record.getMessage() for record in caplog.records] == (
        [f"{target}: 65 x 49 px is odd, and written in 4:4:4, which some players cannot show"] if pixel_format == "yuv444p" else []
    )


def test_films_of_more_than_8_bits_are_written_with_10(tmp_path: Path) -> None:
    source = make_film(tmp_path / "source.mkv", pan(), pixel_format="yuv420p10le", sound=None)
    with av.open(str(rewrite(source, tmp_path / "target.mp4"))) as film:
        assert film.streams.video[0].pix_fmt == "yuv420p10le"


def test_turned_films_are_written_upright(tmp_path: Path) -> None:
    source = make_film(tmp_path / "source.mp4", pan(), rotation=90)
    target = rewrite(source, tmp_path / "target.mp4")
    with av.open(str(target)) as film:
        frame = next(film.decode(video=0))
        assert (frame.width, frame.height, frame.rotation) == (64, 96, 0)
    assert np.abs(frames(target)[0][1].astype(int) - np.rot90(frames(source)[0][1])).mean() < 6


@pytest.mark.parametrize("error", [KeyboardInterrupt, ValueError])
def test_what_is_interrupted_leaves_nothing_and_replaces_nothing(tmp_path: Path, error: type[BaseException]) -> None:
    source = make_film(tmp_path / "source.mp4", pan(frames=60))
    target = tmp_path / "target.mp4"
    target.write_text("what was there")
    seen = []

    def interrupt(pixels: np.ndarray) -> np.ndarray:
        seen.append(len(os.listdir(tmp_path)))
        if len(seen) == 58:
            raise error
        return pixels

    with pytest.raises(error):
        rewrite(source, target, change=interrupt)
    assert max(seen) == 3, "nothing had been written yet"
    assert sorted(os.listdir(tmp_path)) == ["source.mp4", "target.mp4"]
    assert target.read_text() == "what was there"


REWRITE = """
import os, resource, signal, sys
from pathlib import Path
from stylecolor.video.reading import Frame, VideoReader
from stylecolor.video.writing import VideoWriter
source, target, action = sys.argv[1:]
if action == "limit":
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, resource.getrlimit(resource.RLIMIT_FSIZE)[1]))
with VideoReader(Path(source)) as film, VideoWriter(Path(target), film, 4) as writer:
    for part in film.parts():
        if isinstance(part, Frame):
            writer.write(part)
        else:
            writer.copy(part)
    if action == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
"""
"""Writes a film in a process of its own, with files that may not grow, which stand for a full disk, or killed before the end."""


@pytest.mark.skipif(sys.platform == "win32", reason="this system limits no file sizes")
@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
def test_a_full_disk_is_told_by_the_films_name(tmp_path: Path, suffix: str) -> None:
    source, target = make_film(tmp_path / "source.mp4", pan(frames=30)), tmp_path / "new" / "films" / f"target{suffix}"
    done = subprocess.run([sys.executable, "-c", REWRITE, source, target, "limit"], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == f"OSError: [Errno 27] File too large: '{target}'"
    assert os.listdir(tmp_path) == ["source.mp4"], "the directories made for it are gone again"


@pytest.mark.skipif(sys.platform == "win32", reason="this system has no SIGKILL")
def test_what_a_killed_process_leaves_is_hidden_and_removed_by_the_next(tmp_path: Path) -> None:
    source, target = make_film(tmp_path / "source.mp4", pan(frames=60)), tmp_path / "target.mp4"
    done = subprocess.run([sys.executable, "-c", REWRITE, source, target, "kill"], capture_output=True, check=False)
    assert done.returncode == -signal.SIGKILL
    (left,) = set(os.listdir(tmp_path)) - {"source.mp4"}
    assert left.startswith(".")
    assert ".part" in left
    rewrite(source, target)
    assert sorted(os.listdir(tmp_path)) == ["source.mp4", "target.mp4"]


def test_names_may_have_a_colon(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_film(tmp_path / "source.mp4", pan(frames=3))
    monkeypatch.chdir(tmp_path)
    rewrite(Path("source.mp4"), Path("a:b.mp4"))
    assert sorted(os.listdir(tmp_path)) == ["a:b.mp4", "source.mp4"]
    assert len(frames(tmp_path / "a:b.mp4")) == 3


@pytest.mark.parametrize("sound", [None, "aac"])
def test_of_a_joined_film_the_first_part_is_kept(tmp_path: Path, sound: str | None) -> None:
    whole = make_film(tmp_path / "whole.ts", pan(frames=40, step=1), sound=sound)
    (tmp_path / "joined.ts").write_bytes(whole.read_bytes() * 2)
    first, both = (rewrite(tmp_path / f"{name}.ts", tmp_path / f"{name}.mp4") for name in ("whole", "joined"))
    assert [time for time, _ in frames(both)] == [time for time, _ in frames(first)]
    assert streams(both) == streams(first)


def test_missing_directories_are_made(tmp_path: Path) -> None:
    source = make_film(tmp_path / "source.mp4", pan(frames=3))
    target = tmp_path / "new" / "films" / "target.mp4"
    check_output(target, [source])
    assert not (tmp_path / "new").exists()
    assert len(frames(rewrite(source, target))) == 3


def test_outputs_that_cannot_be_are_refused_before_the_work(tmp_path: Path) -> None:
    source = make_film(tmp_path / "source.mp4", pan(frames=2), sound=None)
    (tmp_path / "folder.mp4").mkdir()
    (tmp_path / "link.mp4").symlink_to(source)
    for name, part in (
        ("target.avi", r"cannot be written; films end in \.mp4, \.m4v, \.mov, \.mkv, \.webm"),
        ("target", "cannot be written; films end in"),
        ("folder.mp4", "is a directory"),
        ("source.mp4", "would replace what is read"),
        ("link.mp4", "would replace what is read"),
    ):
        with pytest.raises(ValueError, match=part):
            check_output(tmp_path / name, [source])
    with pytest.raises(NotADirectoryError, match=r"none/target\.mp4: cannot be written, as .*source\.mp4 is no directory"):
        check_output(source / "none" / "target.mp4", [])
    check_output(tmp_path / "target.MP4", [source])
    with VideoReader(source) as film, pytest.raises(ValueError, match=r"^crf=52 is outside 0\.\.51"):
        VideoWriter(tmp_path / "target.mp4", film, 52)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_directory_without_permission_is_refused(tmp_path: Path) -> None:
    (closed := tmp_path / "closed").mkdir(mode=0o500)
    with pytest.raises(PermissionError):
        check_output(closed / "target.mp4", [])
