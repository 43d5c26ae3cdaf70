"""Which pictures a command works on, and where each result goes. All that can be refused is refused before the work."""

import glob
import logging
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path

from stylecolor.pictures.files import PICTURE_SUFFIXES, WRITTEN_SUFFIXES

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Job:
    """A picture to read, and the one to write."""

    target: Path
    output: Path


def plan_jobs(
    targets: Sequence[str],
    output: Path | None,
    ending: str,
    sheet: Path | None = None,
    own_files: Mapping[str, Path] | None = None,
    folders: Mapping[str, Path] | None = None,
) -> list[Job]:
    """Find the targets and name their outputs.

    A single file's output is `output`, or in it if it is a folder, or else `<stem>_<ending><suffix>` beside the file. That of a folder's
    pictures is a folder, `output` or else `<folder>_<ending>` beside it, with the same names below it. For several targets, or a pattern,
    `output` is a folder and has to be named. Suffixes stay where they can be written; other pictures become PNG.

    Folders are searched with all below them, without what is hidden; patterns keep the names below their part without wildcards. Neither
    looks into `output`, so that the results of an earlier run are not taken for targets, nor at `sheet`.

    Args:
        targets: files, folders, and patterns with `*`, `**`, `?` and `[...]`.
        output: as the user named it.
        ending: what the names of outputs end in, where none is given.
        sheet: a picture that the command writes besides.
        own_files: further files of the command by the names of their options, which no output may replace, such as references.
        folders: folders by the names of their options, in which no output may lie.

    Raises:
        ValueError: for targets that are empty texts or not there, patterns and folders without pictures, outputs that would replace a
            target, each other or another file of the command, and a missing `output`.
    """
    if "" in targets:
        # Path takes it for the working directory
        raise ValueError("a target is an empty text; name a file, a folder or a pattern")
    first = Path(targets[0])
    if len(targets) == 1 and not first.is_dir() and not _is_pattern(targets[0]):
        _check_any_exists(targets)
        jobs = [Job(first, _name_single(first, output, ending))]
    else:
        output = _default_folder(targets, ending) if output is None else output
        if output.is_file():
            raise ValueError(f"--output {output}: is a file; name a folder for the results of several pictures")
        _check_any_exists(targets)
        found = [(path, output / _written_name(name)) for target in targets for path, name in _find(target, output, sheet)]
        # what is named twice is done once
        jobs = list({(_real(path), written): Job(path, written) for path, written in found}.values())
    own = {f"{option} {path}": path for option, path in (own_files or {}).items()}
    if sheet is not None:
        own[f"--sheet {sheet}"] = sheet
        _check_sheet(sheet, jobs, own_files or {})
    _check_outputs(jobs, own, folders or {})
    return jobs


def output_beside(target: Path, ending: str) -> Path:
    """What `plan_jobs` calls the output of a single file where no other is named."""
    return _written_name(target.with_stem(f"{target.stem}_{ending}"))


def _real(path: Path) -> Path:
    # unlike Path.resolve, it takes links that lead in a circle
    return Path(os.path.realpath(path))


def _is_pattern(target: str) -> bool:
    return glob.has_magic(target) and not Path(target).exists()


def _check_any_exists(targets: Sequence[str]) -> None:
    if not any(_is_pattern(target) or Path(target).exists() for target in targets):
        raise ValueError(f"{targets[0]}: no such file or folder")


def _written_name(name: Path) -> Path:
    return name if name.suffix.lower() in WRITTEN_SUFFIXES else name.with_suffix(".png")


def _name_single(target: Path, output: Path | None, ending: str) -> Path:
    if output is None:
        return output_beside(target, ending)
    return output / _written_name(Path(target.name)) if output.is_dir() else output


def _default_folder(targets: Sequence[str], ending: str) -> Path:
    if len(targets) > 1 or _is_pattern(targets[0]):
        raise ValueError("several targets need --output: the folder for their results")
    folder = Path(targets[0])
    # "." and ".." have no name of their own
    folder = folder if folder.name not in ("", "..") else _real(folder)
    return folder.with_name(f"{folder.name}_{ending}")


def _find(target: str, output: Path, sheet: Path | None) -> Iterator[tuple[Path, Path]]:
    """Pictures, and what to call their results below the output folder."""
    path = Path(target)
    if not path.is_dir() and not _is_pattern(target):
        yield path, Path(path.name)
        return
    base = path if path.is_dir() else Path(*takewhile(lambda part: not glob.has_magic(part), path.parts))
    if _real(output) == _real(base):
        raise ValueError(f"--output {output}: is the folder of the targets; name another one")
    inside = _real(output)
    found = _walk(path, inside) if path.is_dir() else _expand(target, inside)
    pictures = [path for path in found if path.suffix.lower() in PICTURE_SUFFIXES and (sheet is None or _real(path) != _real(sheet))]
    if not pictures:
        raise ValueError(f"{target}: no picture found; pictures are files that end in {', '.join(sorted(PICTURE_SUFFIXES))}")
    for picture in pictures:
        yield picture, picture.relative_to(base)


def _walk(folder: Path, output: Path) -> Iterator[Path]:
    """Files of a folder and of those below it, in the order of their names."""
    for directory, folders, files in os.walk(folder, onerror=_warn_of_unreadable):
        folders[:] = sorted(name for name in folders if not name.startswith(".") and _real(Path(directory, name)) != output)
        for name in folders:
            if Path(directory, name).is_symlink():
                log.warning("%s is a link to a folder, and is not searched for targets", Path(directory, name))
        yield from (Path(directory, name) for name in sorted(files) if not name.startswith("."))


def _expand(pattern: str, output: Path) -> Iterator[Path]:
    for match in sorted(glob.glob(pattern, recursive=True)):
        path = Path(match)
        if not _real(path).is_relative_to(output):
            yield from _walk(path, output) if path.is_dir() else (path,)


def _warn_of_unreadable(error: OSError) -> None:
    log.warning("%s is left out: %s", error.filename, error.strerror)


def _check_sheet(sheet: Path, jobs: Sequence[Job], own_files: Mapping[str, Path]) -> None:
    if _real(sheet) in {_real(path) for path in (*(job.target for job in jobs), *own_files.values())}:
        raise ValueError(f"--sheet {sheet}: would be written over a picture that is read; name another file")


def _check_outputs(jobs: Sequence[Job], own_files: Mapping[str, Path], folders: Mapping[str, Path]) -> None:
    read = {_real(path): what for what, path in own_files.items()} | {_real(job.target): f"the target {job.target}" for job in jobs}
    written: dict[Path, Path] = {}
    for job in jobs:
        output = _real(job.output)
        if output in read:
            whom = "the target itself" if output == _real(job.target) else read[output]
            raise ValueError(f"{job.target}: its output would be written over {whom}; name another place with --output")
        if output in written:
            raise ValueError(
                f"{written[output]} and {job.target} would both be written to {job.output}; rename one of them, or run them apart"
            )
        for option, folder in folders.items():
            if output.is_relative_to(_real(folder)):
                raise ValueError(
                    f"{job.output}: lies in {option} {folder}, where it would be taken for a reference; name another place with --output"
                )
        written[output] = job.target
