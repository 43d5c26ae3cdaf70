"""`stylecolor hints`."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from stylecolor.commands import options
from stylecolor.commands.colorize import name_labels, parse_weights, read_labels
from stylecolor.commands.networks import NetworkSettings, encode_references, explain_out_of_memory
from stylecolor.commands.pictures import PictureCommand, PictureSettings
from stylecolor.errors import check_range

if TYPE_CHECKING:
    from stylecolor.picture_jobs import Paint, Painted
    from stylecolor.pictures.files import Picture


def hints(
    target: Annotated[str, typer.Argument(metavar="TARGET", help="The picture to colorize.")],
    points: Annotated[Path, typer.Option(metavar="FILE.json", help="Which colours are where.")],
    reference: options.References = None,
    weights: options.Weights = None,
    labels: options.Labels = None,
    strength: options.Strength = 1.0,
    saturation: options.Saturation = 1.0,
    matching: options.Matching = None,
    sites: options.Sites = None,
    output: options.Output = None,
    json: options.Json = False,
    quality: options.Quality = options.QUALITY,
    max_megapixels: options.MaxMegapixels = None,
    checkpoint: options.CheckpointOption = None,
    size: options.Size = None,
    device: options.Device = "auto",
    precision: options.Precision = "auto",
) -> None:
    """Colorize a picture with your own colours at points.

    They stand alone, or on top of a reference's. The file is a list such as [{"x": 0.41, "y": 0.2, "a": 23.0, "b": -11.5, "radius": 4}]:
    the position in 0..1 of width and height, the colour's a and b in CIELab, and the radius in pixels of the picture.
    """
    references = reference or []
    if Path(target).is_dir():
        raise ValueError(f"{target}: is a folder; hints are for one picture")
    check_range("--strength", strength, 0, 1)
    check_range("--saturation", saturation, low=0)
    if not references and strength != 1:
        raise ValueError(f"--strength {strength}: says how far colours follow a reference; name one with --reference, or use --saturation")
    shares = parse_weights(weights, len(references))
    if labels is not None and len(references) != 1:
        raise ValueError("--labels belongs to one --reference: it names a label map of each picture")
    networks = NetworkSettings(checkpoint, size, device, precision, matching, sites)
    if not references:
        networks.refuse_matching("name one with --reference, or leave it out")
    settings = PictureSettings(output, max_megapixels, quality, as_json=json)
    command = PictureCommand(settings, "colorized", references, own_files={f"--points {points}": points, **name_labels(labels)})

    def prepare(pictures: Sequence["Picture"]) -> "Paint":
        from stylecolor.picture_jobs import Painted
        from stylecolor.user_hints import read_hints

        chosen = read_hints(points)
        target_labels, reference_labels = read_labels(labels, target, pictures, settings.max_pixels)
        colorizer = networks.load(needs_reference=bool(references))
        style = encode_references(colorizer, pictures, shares, reference_labels) if references else None

        def paint(picture: "Picture", target: Path) -> "Painted":
            with explain_out_of_memory():
                result = colorizer.colorize(
                    picture, style, target_labels=target_labels, hints=chosen, strength=strength, saturation=saturation
                )
            return Painted(result, tuple(references))

        return paint

    command.run([target], prepare)
