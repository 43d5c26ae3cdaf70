"""Arguments and options that several commands have."""

from pathlib import Path
from typing import Annotated

import typer

QUALITY = 95
"""Of JPEG and WebP."""

Targets = Annotated[
    list[str],
    typer.Argument(metavar="TARGET", help="Files, folders (searched with all below them) and patterns ('scans/**/*.tif')."),
]
References = Annotated[
    list[Path] | None,
    typer.Option("--reference", "-r", metavar="FILE", help="The picture that lends its colours; several are mixed."),
]
Weights = Annotated[str | None, typer.Option(metavar="0.7,0.3", help="Of several references, in which they are mixed; equal if left out.")]
Labels = Annotated[
    tuple[Path, Path] | None,
    typer.Option(
        metavar="TARGET.png REFERENCE.png",
        help="Label maps (8 bits, 255 for none) of a target and its reference, whose regions are matched by label.",
    ),
]
Matching = Annotated[
    str | None, typer.Option(metavar="NAME", help="How a reference is followed: adain, wct or none; as in training if left out.")
]
Sites = Annotated[
    str | None,
    typer.Option(metavar="bottleneck,encoder", help="Where: any of bottleneck, encoder, skips, decoder; as in training if left out."),
]
Output = Annotated[
    Path | None,
    typer.Option(
        "--output",
        "-o",
        metavar="PATH",
        help="A file for a single target; a folder for several targets, a pattern or a folder, whose names it keeps. Left out, it is named "
        "after the file or folder, beside it.",
    ),
]
Strength = Annotated[float, typer.Option(metavar="0..1", help="How far results follow the reference: 0 not at all.")]
Saturation = Annotated[float, typer.Option(metavar="FACTOR", help="Of the new colours: 0 is grey, above 1 they are stronger.")]
Size = Annotated[int | None, typer.Option(metavar="PX", help="Shorter side at which the networks see pictures; 256 if left out.")]
CheckpointOption = Annotated[
    Path | None,
    typer.Option("--checkpoint", metavar="PATH", help="A checkpoint, or a folder of save_pretrained; else that of the newest joint run."),
]
Device = Annotated[str, typer.Option(metavar="NAME", help="auto, cpu, cuda, cuda:1, mps.")]
Precision = Annotated[str, typer.Option(metavar="NAME", help="auto, float32 or bf16.")]
Jobs = Annotated[int, typer.Option(min=1, metavar="N", help="How many pictures to work on at once; results do not depend on it.")]
SkipExisting = Annotated[
    bool, typer.Option("--skip-existing", help="Leave targets whose output is there, and so go on after an interruption.")
]
Json = Annotated[bool, typer.Option("--json", help="Print a JSON object for each picture, a line each.")]
Sheet = Annotated[
    Path | None, typer.Option(metavar="FILE", help="Besides, put the first 40 targets, references and results side by side (PNG or JPEG).")
]
Quality = Annotated[int, typer.Option(min=1, max=100, help="Of JPEG and lossy WebP.")]
MaxMegapixels = Annotated[float | None, typer.Option(metavar="N", help="Refuse larger pictures, unread; 500 if left out.")]
