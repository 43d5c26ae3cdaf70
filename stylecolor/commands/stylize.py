"""`stylecolor stylize`."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from stylecolor.commands import options
from stylecolor.commands.colorize import parse_weights
from stylecolor.commands.networks import NetworkSettings, encode_references, explain_out_of_memory
from stylecolor.commands.pictures import PictureCommand, PictureSettings
from stylecolor.errors import check_range

if TYPE_CHECKING:
    from stylecolor.picture_jobs import Paint, Painted
    from stylecolor.pictures.files import Picture


def stylize(
    targets: options.Targets,
    reference: options.References = None,
    weights: options.Weights = None,
    strength: options.Strength = 1.0,
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
    """Give colour photographs the look of another one.

    The transfer sub-net does it alone. Without --output the result of photo.jpg is photo_stylized.jpg, and that of a folder album is a
    folder album_stylized.
    """
    references = reference or []
    if not references:
        raise ValueError("name a photograph with --reference FILE: whose look to give")
    check_range("--strength", strength, 0, 1)
    shares = parse_weights(weights, len(references))
    networks = NetworkSettings(checkpoint, size, device, precision, matching, sites)
    settings = PictureSettings(output, max_megapixels, quality, jobs, skip_existing, json, sheet)
    command = PictureCommand(settings, "stylized", references, target_column="photograph", grey_targets=False)

    def prepare(pictures: Sequence["Picture"]) -> "Paint":
        from stylecolor.picture_jobs import Painted

        colorizer = networks.load(needs_reference=True)
        style = encode_references(colorizer, pictures, shares)

        def paint(picture: "Picture", target: Path) -> "Painted":
            with explain_out_of_memory():
                return Painted(colorizer.stylize(picture, style, strength=strength), tuple(references))

        return paint

    command.run(targets, prepare)
