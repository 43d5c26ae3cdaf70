"""Which films the studio takes: short ones, of the containers that cameras and browsers write."""

from pathlib import Path

from stylecolor.errors import check_choice
from stylecolor.studio.requests import CLIP_FRAMES

CLIP_SUFFIXES = (".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi")
"""Of other names FFmpeg would look for further files."""
CLIP_BYTES = 300_000_000
"""Of a film's file; all of a request are bounded by it, see `stylecolor.studio.security.body_limit`."""
CLIP_PIXELS = 9_000_000
"""Of a frame, a little more than those of UHD: decoders hold a score of frames."""
_FTYP = slice(4, 8)
_MATROSKA = b"\x1a\x45\xdf\xa3"
_HEAD = 12
_REMEDY = "use stylecolor video for it"


def check_clip(path: Path, max_pixels: int) -> None:
    """Refuse a film by its header, before anything of it is decoded.

    Args:
        path: of the film.
        max_pixels: of a frame, where that is less than `CLIP_PIXELS`.

    Raises:
        ValueError: as `clip_demuxer`, and for what is no film, or too large or long, naming the limit and the remedy.
    """
    name = path.name
    check_choice(f"suffix of {name}", path.suffix.lower(), CLIP_SUFFIXES)
    size = path.stat().st_size
    if size > CLIP_BYTES:
        raise ValueError(f"{name}: its {size / 1e6:.0f} MB are more than the {CLIP_BYTES / 1e6:.0f} MB that the studio takes; {_REMEDY}")
    demuxer = clip_demuxer(path)
    # imported late: the page needs no FFmpeg
    from stylecolor.video.reading import read_claims

    claims = read_claims(path, demuxer)
    height, width = claims.size
    limit = min(CLIP_PIXELS, max_pixels)
    if height * width > limit:
        raise ValueError(f"{name}: its frames of {width} x {height} px have more than {limit / 1e6:g} megapixels; {_REMEDY}")
    if claims.frames is not None and claims.frames > CLIP_FRAMES:
        raise ValueError(f"{name}: its {claims.frames} frames are more than the {CLIP_FRAMES} that the studio takes; {_REMEDY}")


def clip_demuxer(path: Path) -> str:
    """What FFmpeg is to read a film with. Left to itself it would take a text for a list of other files
    or addresses, and open these.

    Raises:
        ValueError: for other containers than those of `CLIP_SUFFIXES`.
    """
    with path.open("rb") as file:
        head = file.read(_HEAD)
    if head[_FTYP] in (b"ftyp", b"moov", b"mdat", b"wide", b"free"):
        return "mov"
    if head.startswith(_MATROSKA):
        return "matroska"
    if head.startswith(b"RIFF") and head[8:12] == b"AVI ":
        return "avi"
    raise ValueError(f"{path.name}: is no MP4, QuickTime, Matroska, WebM or AVI film")
