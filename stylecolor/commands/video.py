"""`stylecolor video`."""

import json as json_format
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from stylecolor.commands import options
from stylecolor.commands.networks import NetworkSettings, explain_out_of_memory
from stylecolor.errors import check_range

CRF = 16
"""At which the losses of H.264 can hardly be seen."""


def video(
    film: Annotated[Path, typer.Argument(metavar="FILM", help="Any film that FFmpeg reads; of its colours only the lightness is used.")],
    output: Annotated[Path, typer.Option("--output", "-o", metavar="FILE", help="Ends in .mp4, .m4v, .mov, .mkv (H.264) or .webm (VP9).")],
    reference: Annotated[
        list[str] | None,
        typer.Option(
            "--reference",
            "-r",
            metavar="FILE[@TIME]",
            help="The picture that lends its colours, from a time on in seconds, mm:ss or h:mm:ss; several of one time are mixed.",
        ),
    ] = None,
    auto: Annotated[bool, typer.Option("--auto", help="Without a reference: the colours that the colorization network expects.")] = False,
    blend: Annotated[
        float, typer.Option(metavar="SECONDS", help="Over which a reference takes over from the one before; 0 is a cut.")
    ] = 0.0,
    strength: options.Strength = 1.0,
    saturation: options.Saturation = 1.0,
    matching: options.Matching = None,
    sites: options.Sites = None,
    crf: Annotated[
        int, typer.Option(metavar="0..51", help="The encoder's constant rate factor: lower is better and larger, 0 without loss.")
    ] = CRF,
    json: Annotated[bool, typer.Option("--json", help="Print a JSON object at the end.")] = False,
    checkpoint: options.CheckpointOption = None,
    size: options.Size = None,
    device: options.Device = "auto",
    precision: options.Precision = "auto",
) -> None:
    """Colorize a film with the colours of one picture, or of several in turn, and keep its colours steady.

    Sound, subtitles, times, pixel aspect, chapters and tags are kept. Of a damaged film what can be decoded is written, and the status
    is 1.
    """
    begin = time.perf_counter()
    if bool(reference) == auto:
        raise ValueError("name either --reference FILE or --auto: where the colours come from")
    check_range("--strength", strength, 0, 1)
    check_range("--saturation", saturation, low=0)
    check_range("--blend", blend, low=0)
    networks = NetworkSettings(checkpoint, size, device, precision, matching, sites)
    if auto:
        networks.refuse_matching("--auto has none")
    # imported late: --help needs none of it, and torch, which takes seconds, comes after what can be refused without it
    from stylecolor.pictures.files import read_picture
    from stylecolor.video.reading import VideoReader
    from stylecolor.video.reference_times import ReferenceTimes, check_times, parse_timed_reference
    from stylecolor.video.writing import WORST_CRF, VideoWriter, check_output

    check_range("--crf", crf, 0, WORST_CRF)
    references = [parse_timed_reference(text) for text in reference or ()]
    starts = {one.start for one in references}
    check_times(starts, blend)
    if blend and len(starts) < 2:
        raise ValueError(f"--blend={blend:g} needs references of different times, of which one takes over from another; leave it out")
    for path in (film, *(one.path for one in references)):
        if not path.is_file():
            raise ValueError(f"{path}: no such file")
    check_output(output, [film, *(one.path for one in references)])
    pictures = [read_picture(one.path) for one in references]
    with VideoReader(film) as reader, VideoWriter(output, reader, crf) as writer:
        colorizer = networks.load(needs_reference=not auto)
        from stylecolor.video.film import colorize_video

        with explain_out_of_memory(), _progress(reader.header.frames) as report:
            styles = [(one.start, colorizer.encode_reference(picture)) for one, picture in zip(references, pictures, strict=True)]
            times = ReferenceTimes(styles, blend) if styles else None
            try:
                summary = colorize_video(reader, writer, colorizer, times, strength=strength, saturation=saturation, report=report)
            except KeyboardInterrupt:
                raise KeyboardInterrupt(f"{output} is not written") from None
    if json:
        fields = {
            "target": str(film),
            "output": str(output),
            "reference": [f"{one.path}@{one.start:g}" for one in references],
            "frames": summary.frames,
            "scenes": summary.scenes,
            "seconds": round(time.perf_counter() - begin, 3),
            "status": "damaged" if summary.damage else "done",
            "error": f"{film}: {summary.damage}" if summary.damage else None,
        }
        typer.echo(json_format.dumps(fields))
    if summary.damage:
        raise ValueError(f"{film}: {summary.damage}; {output} holds what could be decoded")
    if not json:
        typer.echo(f"{film} -> {output}: {summary.frames} frames in {summary.scenes} scene{'s' * (summary.scenes > 1)}")


@contextmanager
def _progress(frames: int | None) -> Iterator[Callable[[int], None]]:
    """A bar on stderr; gives what is to be told the number of frames done."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    from stylecolor.progress import console, hide_progress

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console(), disable=hide_progress(), transient=True) as progress:
        task = progress.add_task("frames", total=frames)
        yield lambda done: progress.update(task, completed=done)
