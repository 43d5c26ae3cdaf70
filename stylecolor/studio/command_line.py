"""The command that does what was done on the page, to be copied."""

import shlex
from collections.abc import Callable, Collection, Sequence
from pathlib import Path

from stylecolor.studio.config import StudioSettings
from stylecolor.studio.requests import CRF, QUALITY, SIZE, ClipRequest, ColorizeRequest, StylizeRequest
from stylecolor.studio.uploads import LONGEST_NAME, cut

NameOf = Callable[[Path], str]
"""What a file is called on the machine that it came from."""
POINTS_FILE = "points.json"
"""What the copied command calls the file of colour hints."""
WRITTEN_SUFFIXES = (".mp4", ".m4v", ".mov", ".mkv", ".webm")
"""Those that `stylecolor.video.writing` writes, whose import takes long."""


def colorize_command(request: ColorizeRequest, name_of: NameOf, settings: StudioSettings, source: str) -> str:
    """`stylecolor colorize`, or `stylecolor hints` where there are points, for a shell.

    Args:
        request: what was done.
        name_of: tells what the visitor's files are called.
        settings: of the studio.
        source: of the networks, as `--checkpoint` takes it.
    """
    labels = () if request.target_labels is None or request.reference_labels is None else (request.target_labels, request.reference_labels)
    target, *others = bare_names((request.target, *request.references, *labels), name_of, settings.references)
    references, label_maps = others[: len(request.references)], others[len(request.references) :]
    options = _mixing_options(references, request.weights)
    if request.points:
        options += ["--points", POINTS_FILE]
    elif not references:
        options.append("--auto")
    if label_maps:
        options += ["--labels", *label_maps]
    options += _color_options(request.strength, request.saturation)
    options += _file_options(request.quality, target, "colorized", others, settings)
    return _join("hints" if request.points else "colorize", target, options + _network_options(request, settings, source))


def stylize_command(request: StylizeRequest, name_of: NameOf, settings: StudioSettings, source: str) -> str:
    """`stylecolor stylize`; see `colorize_command`."""
    photo, *references = bare_names((request.photo, *request.references), name_of, settings.references)
    options = _mixing_options(references, request.weights) + _color_options(request.strength, 1.0)
    options += _file_options(request.quality, photo, "stylized", references, settings)
    return _join("stylize", photo, options + _network_options(request, settings, source))


def clip_command(request: ClipRequest, name_of: NameOf, settings: StudioSettings, source: str) -> str:
    """`stylecolor video`; see `colorize_command`."""
    film, *references = bare_names((request.film, *request.references), name_of, settings.references)
    options = ["--output", clip_output(film), *(_mixing_options(references, None) or ["--auto"])]
    options += _color_options(request.strength, request.saturation)
    if request.crf != CRF:
        options += ["--crf", str(request.crf)]
    return _join("video", film, options + _network_options(request, settings, source))


def output_name(target: str, ending: str) -> str:
    """What the commands call the result for a target, by its name; shorter where that is longer than a name may be."""
    # imported late: it needs what takes a while
    from stylecolor.targets import output_beside

    default = output_beside(Path(target), ending)
    return default.name if _fits(default.name) else _fit(Path(target).stem, f"_{ending}{default.suffix}")


def clip_output(film: str) -> str:
    """The name of a clip's result."""
    path = Path(film)
    suffix = path.suffix if path.suffix.lower() in WRITTEN_SUFFIXES else ".mp4"
    return _no_option(_fit(path.stem, f"_colorized{suffix}"))


def bare_names(paths: Sequence[Path], name_of: NameOf, folder: Path | None) -> list[str]:
    """How a visitor's files are called where they came from, which the studio does not know: by their bare names.

    Pictures of the folder of references keep the path that it was given by. Of several files of the same name the later ones get a number,
    since they cannot have come from the same folder.
    """
    named: dict[str, Path] = {}
    for path in paths:
        own = str(path) if folder is not None and path.is_relative_to(folder) else name_of(path)
        others = {name for name, other in named.items() if other != path}
        named[_free_name(own, others)] = path
    names = {path: name for name, path in named.items()}
    return [_no_option(names[path]) for path in paths]


def _free_name(name: str, taken: Collection[str]) -> str:
    """A name, with a number if it is taken."""
    free, number, path = name, 2, Path(name)
    while free in taken:
        free, number = _fit(path.stem, f"-{number}{path.suffix}"), number + 1
    return free


def _fit(stem: str, ending: str) -> str:
    return cut(stem, LONGEST_NAME - len(ending.encode())) + ending


def _fits(name: str) -> bool:
    return len(name.encode()) <= LONGEST_NAME


def _no_option(name: str) -> str:
    """A name that does not look like an option."""
    return f"./{name}" if name.startswith("-") else name


def _join(command: str, target: str, options: Sequence[str]) -> str:
    return shlex.join(("stylecolor", command, target, *options))


def _mixing_options(references: Sequence[str], weights: Sequence[float] | None) -> list[str]:
    options = [part for name in references for part in ("--reference", name)]
    return options if weights is None else [*options, "--weights", ",".join(repr(float(weight)) for weight in weights)]


def _color_options(strength: float, saturation: float) -> list[str]:
    given = {"--strength": strength, "--saturation": saturation}
    return [part for option, value in given.items() if value != 1 for part in (option, repr(float(value)))]


def _file_options(quality: int, target: str, ending: str, read: Sequence[str], settings: StudioSettings) -> list[str]:
    # imported late, as above
    from stylecolor.pictures.files import MAX_PIXELS
    from stylecolor.targets import output_beside

    options = [] if quality == QUALITY else ["--quality", str(quality)]
    # an earlier result may be among the references, and must not be written over
    output = _free_name(output_name(target, ending), [name.removeprefix("./") for name in read])
    if output != output_beside(Path(target), ending).name:
        options += ["--output", _no_option(output)]
    if settings.max_pixels > MAX_PIXELS:
        options += ["--max-megapixels", repr(settings.max_megapixels)]
    return options


def _network_options(request: ColorizeRequest | StylizeRequest | ClipRequest, settings: StudioSettings, source: str) -> list[str]:
    given = {
        "--checkpoint": source,
        "--size": None if request.size == SIZE else str(request.size),
        "--matching": request.matching,
        "--sites": None if request.sites is None else ",".join(request.sites),
        "--device": None if settings.device == "auto" else settings.device,
        "--precision": None if settings.precision == "auto" else settings.precision,
    }
    return [part for option, value in given.items() if value is not None for part in (option, value)]
