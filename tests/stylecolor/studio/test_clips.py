from pathlib import Path

import pytest

from stylecolor.studio import clips
from stylecolor.studio.clips import check_clip, clip_demuxer
from stylecolor.video.reading import VideoReader, read_claims
from tests.stylecolor.films import make_film, pan

MANY = 10**9


@pytest.mark.parametrize("name", ["film.mp4", "film.MOV", "film.mkv", "film.avi"])
def test_films_of_usual_containers_are_taken(tmp_path: Path, name: str) -> None:
    make_film(tmp_path / name.lower(), pan(frames=3), sound=None)
    (tmp_path / name.lower()).rename(tmp_path / name)
    check_clip(tmp_path / name, MANY)


def test_the_header_tells_size_and_length(tmp_path: Path) -> None:
    make_film(tmp_path / "film.mp4", pan(frames=5, size=(64, 96)))
    claims = read_claims(tmp_path / "film.mp4")
    assert (claims.size, claims.frames) == ((64, 96), 5)
    assert claims.length == pytest.approx(0.2, abs=0.1)


def test_large_frames_are_refused_by_the_header(tmp_path: Path) -> None:
    make_film(tmp_path / "film.mp4", pan(frames=3, size=(64, 96)))
    with pytest.raises(
        ValueError, match=r"^film.mp4: its frames of 96 x 64 px have more than 0.006 megapixels; use stylecolor video for it$"
    ):
        check_clip(tmp_path / "film.mp4", 6000)


def test_many_frames_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_film(tmp_path / "film.mp4", pan(frames=5))
    monkeypatch.setattr(clips, "CLIP_FRAMES", 4)
    with pytest.raises(ValueError, match=r"film.mp4: its 5 frames are more than the 4 that the studio takes"):
        check_clip(tmp_path / "film.mp4", MANY)


def test_large_files_are_refused(tmp_path: Path) -> None:
    with (tmp_path / "film.mp4").open("wb") as file:
        file.truncate(301_000_000)
    with pytest.raises(ValueError, match=r"film.mp4: its 301 MB are more than the 300 MB"):
        check_clip(tmp_path / "film.mp4", MANY)


@pytest.mark.parametrize(
    "contents",
    [
        "#EXTM3U\n#EXT-X-TARGETDURATION:10\n#EXTINF:10,\n{other}\n#EXT-X-ENDLIST\n",
        "ffconcat version 1.0\nfile '{other}'\n",
        "",
    ],
)
def test_lists_of_other_files_are_no_films(tmp_path: Path, contents: str) -> None:
    """FFmpeg would open what they name, whatever the list itself is called."""
    make_film(tmp_path / "secret.ts", pan(frames=3), sound=None)
    (tmp_path / "film.mp4").write_text(contents.format(other=tmp_path / "secret.ts"))
    with pytest.raises(ValueError, match=r"film.mp4: is no MP4, QuickTime, Matroska, WebM or AVI film"):
        check_clip(tmp_path / "film.mp4", MANY)


def test_a_film_is_read_as_what_it_begins_like(tmp_path: Path) -> None:
    """FFmpeg would take the one that fits most of it, and has some that open other files."""
    make_film(tmp_path / "film.ts", pan(frames=20), sound=None)
    (tmp_path / "film.mp4").write_bytes(b"\x1a\x45\xdf\xa3" + (tmp_path / "film.ts").read_bytes())
    read_claims(tmp_path / "film.mp4")
    with pytest.raises(ValueError, match=r"film.mp4: "):
        check_clip(tmp_path / "film.mp4", MANY)
    with pytest.raises(ValueError, match=r"film.mp4: "):
        VideoReader(tmp_path / "film.mp4", clip_demuxer(tmp_path / "film.mp4"))


def test_other_names_are_refused(tmp_path: Path) -> None:
    make_film(tmp_path / "film.mp4", pan(frames=3))
    (tmp_path / "film.mp4").rename(tmp_path / "film%d.png")
    with pytest.raises(ValueError, match=r"suffix of film%d.png=.png is not one of .mp4"):
        check_clip(tmp_path / "film%d.png", MANY)


def test_what_only_begins_like_a_film_is_refused(tmp_path: Path) -> None:
    (tmp_path / "film.mp4").write_bytes(b"\0\0\0\x18ftypmp42" + bytes(1000))
    with pytest.raises(ValueError, match=r"film.mp4: "):
        check_clip(tmp_path / "film.mp4", MANY)
