import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from av.packet import Packet
from PIL import Image

from stylecolor.video.reading import Frame, VideoReader
from tests.stylecolor.films import RATE, STEP, TIME_BASE, frames, make_film, pan


def read(path: Path) -> tuple[list[Frame], list[Packet], VideoReader]:
    with VideoReader(path) as film:
        parts = list(film.parts())
    return [part for part in parts if isinstance(part, Frame)], [part for part in parts if not isinstance(part, Frame)], film


def test_all_frames_are_read_with_their_times(tmp_path: Path) -> None:
    originals, times = pan(), [0, 300, 900, 2500, 2600, 4000, 4001, 6000, 7000, 9000]
    found, packets, film = read(make_film(tmp_path / "film.mp4", originals, times))
    assert [frame.pts for frame in found] == times
    assert film.header.time_base == TIME_BASE
    assert film.header.size == (64, 96)
    assert film.header.bits == 8
    assert film.seconds(found[3]) == pytest.approx(2500 / 12800)
    assert not film.damage
    for frame, original in zip(found, originals, strict=True):
        assert frame.pixels.dtype == np.uint8
        assert np.abs(frame.pixels.astype(int) - original).mean() < 6
    assert sum(packet.size for packet in packets) > 0
    assert {packet.stream_index for packet in packets} == {1}


FORK = """
import gc, os, signal, sys
from pathlib import Path
import av
from stylecolor.video.reading import VideoReader
path = Path(sys.argv[1])
with av.open(str(path)) as film:
    frame = next(film.decode(video=0))
with VideoReader(path) as reader:
    reader._pixels(frame)
child = os.fork()
if child == 0:
    signal.alarm(60)
    del frame
    gc.collect()
    os._exit(0)
sys.exit(os.waitpid(child, 0)[1])
"""


def test_a_process_that_is_forked_after_a_conversion_frees_its_frame(tmp_path: Path) -> None:
    path = make_film(tmp_path / "film.mp4", pan())
    assert subprocess.run([sys.executable, "-c", FORK, path], check=False).returncode == 0


def test_the_length_is_known_beforehand(tmp_path: Path) -> None:
    for suffix in (".mp4", ".mkv"):
        with VideoReader(make_film(tmp_path / f"film{suffix}", pan(), sound=None)) as film:
            assert film.header.frames == 10
            assert film.header.length == pytest.approx(0.4, abs=0.01)
            assert film.header.rate == RATE


@pytest.mark.parametrize("codec", ["mpeg4", "libx264", "mjpeg", "ffv1"])
def test_a_grey_film_is_read_to_the_level(tmp_path: Path, codec: str) -> None:
    path = make_film(tmp_path / "film.mkv", pan(), codec=codec, pixel_format="yuvj420p" if codec == "mjpeg" else "yuv420p", grey=True)
    for frame, (_, expected) in zip(read(path)[0], frames(path), strict=True):
        assert np.ptp(frame.pixels, axis=2).max() <= 1
        np.testing.assert_allclose(frame.pixels.astype(int), expected, atol=2)


def test_films_of_more_than_8_bits_keep_them(tmp_path: Path) -> None:
    found, _, film = read(make_film(tmp_path / "film.mkv", pan(), pixel_format="yuv420p10le"))
    assert film.header.bits == 10
    assert found[0].pixels.dtype == np.uint16
    assert len(np.unique(found[0].pixels // 256)) < len(np.unique(found[0].pixels))
    assert np.abs(found[0].pixels / 257 - pan()[0]).mean() < 6


@pytest.mark.parametrize(("rotation", "flip"), [(90, False), (180, False), (-90, False), (0, True), (90, True)])
def test_frames_are_turned_upright(tmp_path: Path, rotation: int, flip: bool) -> None:
    path = make_film(tmp_path / "film.mp4", pan(), rotation=rotation, flip=flip, aspect=Fraction(4, 3))
    found, _, film = read(path)
    # what `set_display_rotation` promises: counter-clockwise, then mirrored
    expected = np.rot90(frames(path)[0][1], rotation // 90)
    expected = expected[:, ::-1] if flip else expected
    assert film.header.size == expected.shape[:2]
    assert film.header.pixel_aspect == (Fraction(3, 4) if rotation in (90, -90) else Fraction(4, 3))
    assert found[0].pixels.flags.c_contiguous
    assert np.abs(found[0].pixels.astype(int) - expected).mean() < 4


def test_other_turns_are_refused(tmp_path: Path) -> None:
    path = make_film(tmp_path / "film.mp4", pan(), rotation=30)
    with pytest.raises(ValueError, match=r"film\.mp4: is turned by an angle that is no multiple of 90 degrees"):
        VideoReader(path)


def test_a_damaged_place_is_passed_over_and_noted(tmp_path: Path) -> None:
    # each picture on its own, so that the damage stays where it is
    path = make_film(tmp_path / "film.mov", pan(frames=20), codec="png", pixel_format="rgb24", sound=None)
    contents = bytearray(path.read_bytes())
    starts = [index for index in range(len(contents)) if contents.startswith(b"\x89PNG", index)]
    contents[starts[7] : starts[7] + 4] = b"none"
    path.write_bytes(contents)
    found, _, film = read(path)
    assert len(found) == 19
    assert str(film.damage) == "1 damaged place, the first at 0.28 s"
    assert [round(film.seconds(frame) * RATE) for frame in found] == [*range(7), *range(8, 20)]


@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
def test_a_film_that_breaks_off_is_read_as_far_as_it_goes(tmp_path: Path, suffix: str) -> None:
    options = {"movflags": "+faststart"} if suffix == ".mp4" else {}
    whole = make_film(tmp_path / f"whole{suffix}", pan(frames=75, step=1), options=options)
    cut = tmp_path / f"cut{suffix}"
    cut.write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    found, _, film = read(cut)
    assert 15 < len(found) < 60
    assert film.damage
    assert film.damage.breaks_off == pytest.approx(len(found) / RATE, abs=0.1)
    assert f"breaks off at {film.damage.breaks_off:.2f} s of 3.0" in str(film.damage)
    for frame, (_, expected) in zip(found[:10], frames(whole), strict=False):
        assert np.abs(frame.pixels.astype(int) - expected).mean() < 4


def test_a_stream_without_times_begins_at_0_and_goes_on_at_its_rate(tmp_path: Path) -> None:
    found, _, film = read(make_film(tmp_path / "film.h264", pan(), sound=None))
    assert [film.seconds(frame) for frame in found] == pytest.approx([index / RATE for index in range(10)])


@pytest.mark.parametrize("sound", [None, "aac"])
def test_a_joined_film_is_read_to_where_its_times_start_over(tmp_path: Path, sound: str | None) -> None:
    whole = make_film(tmp_path / "whole.ts", pan(frames=40, step=1), sound=sound)
    (tmp_path / "joined.ts").write_bytes(whole.read_bytes() * 2)
    found, packets, film = read(tmp_path / "joined.ts")
    expected, others, _ = read(whole)
    assert [frame.pts for frame in found] == [frame.pts for frame in expected]
    assert [bytes(packet) for packet in packets] == [bytes(packet) for packet in others]
    assert str(film.damage) == "times start over at 1.60 s, colorize the parts one by one"


def test_sound_that_goes_back_a_little_is_left_out_and_noted(tmp_path: Path) -> None:
    whole = make_film(tmp_path / "whole.ts", pan(frames=20, step=1))
    (tmp_path / "joined.ts").write_bytes(whole.read_bytes() * 2)
    _, packets, film = read(tmp_path / "joined.ts")
    assert [bytes(packet) for packet in packets] == [bytes(packet) for packet in read(whole)[1]]
    assert film.damage.packets == len(packets)


def test_what_the_demuxer_cannot_read_is_noted_however_near_the_end(tmp_path: Path) -> None:
    path = make_film(
        tmp_path / "film.y4m", pan(frames=30, step=1), range(30), codec="wrapped_avframe", sound=None, time_base=Fraction(1, RATE)
    )
    contents = path.read_bytes()
    end = contents.rindex(b"FRAME")
    path.write_bytes(contents[:end] + b"NONE." + contents[end + 5 :])
    found, _, film = read(path)
    assert len(found) == 29
    assert str(film.damage) == "breaks off at 1.16 s of 1.20 s"


def test_names_may_have_a_colon(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_film(tmp_path / "film.mp4", pan()).rename(tmp_path / "12:30.mp4")
    monkeypatch.chdir(tmp_path)
    assert len(read(Path("12:30.mp4"))[0]) == 10


def test_what_is_no_film_is_refused_in_a_line(tmp_path: Path) -> None:
    (tmp_path / "text.mp4").write_text("no film at all")
    (tmp_path / "empty.mp4").touch()
    make_film(tmp_path / "sound.mkv", pan(frames=2))
    whole = make_film(tmp_path / "whole.mp4", pan())
    (tmp_path / "headless.mp4").write_bytes(whole.read_bytes()[:2000])
    for name, part in (
        ("none.mp4", "no such file"),
        (".", "is a directory"),
        ("text.mp4", "cannot be read as a film"),
        ("empty.mp4", "cannot be read as a film"),
        ("headless.mp4", "cannot be read as a film"),
    ):
        with pytest.raises(ValueError, match=part) as refusal:
            VideoReader(tmp_path / name)
        assert str(tmp_path / name) in str(refusal.value)
        assert "\n" not in str(refusal.value)


def test_a_file_without_video_is_refused(tmp_path: Path) -> None:
    import av

    path = tmp_path / "sound.mka"
    with av.open(str(make_film(tmp_path / "film.mkv", pan()))) as film, av.open(str(path), "w", format="matroska") as sound:
        stream = sound.add_stream_from_template(film.streams.audio[0])
        for packet in film.demux(film.streams.audio[0]):
            if packet.size:
                packet.stream = stream
                sound.mux(packet)
    with pytest.raises(ValueError, match=r"sound\.mka: holds no video, only audio"):
        VideoReader(path)


def test_the_matrix_and_range_of_a_film_are_honoured(tmp_path: Path) -> None:
    picture = pan()[0]
    for name in ("yuvj420p", "yuv444p"):
        path = make_film(tmp_path / f"{name}.mkv", [picture] * 3, pixel_format=name)
        assert np.abs(read(path)[0][0].pixels.astype(int) - picture).mean() < 5, name
    Image.fromarray(picture).save(tmp_path / "still.png")
    assert np.abs(read(tmp_path / "still.png")[0][0].pixels.astype(int) - picture).max() == 0


def test_times_are_counted_from_the_first_frame(tmp_path: Path) -> None:
    times = [STEP * index + 64000 for index in range(10)]
    found, _, film = read(make_film(tmp_path / "film.mp4", pan(), times, sound=None))
    assert [round(film.seconds(frame) * RATE) for frame in found] == list(range(10))
    assert not film.damage
