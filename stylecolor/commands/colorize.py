"""`stylecolor colorize`."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from stylecolor.commands import options
from stylecolor.commands.networks import NetworkSettings, encode_references, explain_out_of_memory
from stylecolor.commands.pictures import PictureCommand, PictureSettings
from stylecolor.errors import check_range

if TYPE_CHECKING:
    import numpy as np

    from stylecolor.picture_jobs import Paint, Painted
    from stylecolor.pictures.files import Picture


def colorize(
    targets: options.Targets,
    reference: options.References = None,
    auto: Annotated[bool, typer.Option("--auto", help="Without a reference: the colours that the colorization network expects.")] = False,
    match_from: Annotated[
        Path | None,
        typer.Option(metavar="FOLDER", help="Search it for each target's reference: the picture with the most similar content."),
    ] = None,
    weights: options.Weights = None,
    labels: options.Labels = None,
    strength: options.Strength = 1.0,
    saturation: options.Saturation = 1.0,
    matching: options.Matching = None,
    sites: options.Sites = None,
    output: options.Output = None,
    skip_existing: options.SkipExisting = False,
    jobs: options.Jobs = 1,
    json: options.Json = False,
    sheet: options.Sheet = None,
    quality: options.Quality = options.QUALITY,
    max_megapixels: options.MaxMegapixels = None,
    checkpoint: options.CheckpointOption = None,
    size: options.Size = None,
    device: options.Device = "auto",
    precision: options.Precision = "auto",
) -> None:
    """Colorize pictures with the colours of others.

    Pictures keep their size and their lightness, of which alone the colours are made. One of --reference, --auto and --match-from says
    where the colours come from.

    Without --output the result of grey.jpg is grey_colorized.jpg, and that of a folder scans is a folder scans_colorized. Formats that are
    read but not written become PNG. A picture that cannot be colorized is named on stderr, and the others are done; the status is then 1.
    """
    references = reference or []
    if sum((bool(references), auto, match_from is not None)) != 1:
        raise ValueError("name exactly one of --reference FILE, --auto and --match-from FOLDER: where the colours come from")
    check_range("--strength", strength, 0, 1)
    check_range("--saturation", saturation, low=0)
    if auto and strength != 1:
        raise ValueError(f"--strength {strength}: says how far colours follow a reference, which --auto has none of; use --saturation")
    shares = parse_weights(weights, len(references))
    if labels is not None and (len(references) != 1 or len(targets) != 1 or Path(targets[0]).is_dir()):
        raise ValueError("--labels belongs to one target and one --reference: it names a label map of each")
    if match_from is not None and not match_from.is_dir():
        raise ValueError(f"--match-from {match_from}: no such folder")
    networks = NetworkSettings(checkpoint, size, device, precision, matching, sites)
    if auto:
        networks.refuse_matching("--auto has none")
    command = PictureCommand(
        PictureSettings(output, max_megapixels, quality, jobs, skip_existing, json, sheet),
        "colorized",
        references,
        match_from,
        name_labels(labels),
    )

    def prepare(pictures: Sequence["Picture"]) -> "Paint":
        from stylecolor.picture_jobs import Painted

        target_labels, reference_labels = read_labels(labels, targets[0], pictures, command.settings.max_pixels)
        colorizer = networks.load(needs_reference=not auto)
        if match_from is not None:
            from stylecolor.pictures.files import read_picture
            from stylecolor.reference_search import ReferenceSearch

            search = ReferenceSearch(colorizer, match_from, partial(read_picture, max_pixels=command.settings.max_pixels))

            def paint_by_match(picture: "Picture", target: Path) -> "Painted":
                with explain_out_of_memory():
                    found = search.find(picture, target)
                    result = colorizer.colorize(picture, found.style, strength=strength, saturation=saturation)
                return Painted(result, (found.path,), found.similarity)

            return paint_by_match
        style = None if auto else encode_references(colorizer, pictures, shares, reference_labels)

        def paint(picture: "Picture", target: Path) -> "Painted":
            with explain_out_of_memory():
                result = colorizer.colorize(picture, style, target_labels=target_labels, strength=strength, saturation=saturation)
            return Painted(result, tuple(references))

        return paint

    command.run(targets, prepare)


def name_labels(labels: tuple[Path, Path] | None) -> dict[str, Path]:
    """The files of `--labels` by what a person calls them."""
    return {f"--labels {path}": path for path in labels or ()}


def read_labels(
    labels: tuple[Path, Path] | None, target: str, references: Sequence["Picture"], max_pixels: int
) -> tuple["np.ndarray | None", "np.ndarray | None"]:
    """The label maps of `--labels`, of the target and of its only reference.

    Raises:
        ValueError: for what `read_label_map` refuses.
    """
    if labels is None:
        return None, None
    from stylecolor.pictures.files import read_size
    from stylecolor.pictures.labels import read_label_map

    return read_label_map(labels[0], read_size(target), max_pixels), read_label_map(labels[1], references[0].size, max_pixels)


def parse_weights(weights: str | None, references: int) -> list[float] | None:
    """The numbers of `--weights`.

    Raises:
        ValueError: for what is no list of weights, and another number of them than there are references.
    """
    if weights is None:
        return None
    if references < 2:
        raise ValueError(f"--weights {weights}: belongs to several references; name each with --reference")
    try:
        shares = [float(weight) for weight in weights.split(",")]
    except ValueError:
        raise ValueError(f"--weights {weights}: is no list of numbers; write one for each reference, such as 0.7,0.3") from None
    for share in shares:
        check_range("--weights", share, low=0)
    if len(shares) != references or not sum(shares):
        raise ValueError(f"--weights {weights}: {references} references need {references} weights, not all of them 0")
    return shares
