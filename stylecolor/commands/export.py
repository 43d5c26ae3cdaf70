"""`stylecolor export`."""

from pathlib import Path
from typing import Annotated

import typer

SUFFIXES = {"onnx": ".onnx", "torch-export": ".pt2", "safetensors": ""}
"""What the output's name ends in, by format; safetensors makes a directory."""


def export(
    checkpoint: Annotated[Path, typer.Argument(metavar="CKPT", help="A checkpoint, or a directory that save_pretrained wrote.")],
    format: Annotated[str, typer.Option("--format", metavar="|".join(SUFFIXES), help="Of the output.")],
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="PATH", help="A file, or with safetensors a directory; else named after CKPT, beside it."),
    ] = None,
) -> None:
    """Write the networks in a form that other programs read.

    onnx and torch-export: the whole pipeline as one graph, which runs without this library, with any batch and size; what it takes and
    gives stands in the file. safetensors: a directory for ExemplarColorizer.from_pretrained.
    """
    from stylecolor.errors import check_choice

    check_choice("--format", format, SUFFIXES)
    suffix = SUFFIXES[format]
    if output is None:
        output = checkpoint.with_name((checkpoint.name if checkpoint.is_dir() else checkpoint.stem) + suffix)
    elif suffix and output.suffix != suffix:
        raise ValueError(f"--output={output}: a file of --format={format} ends in {suffix}")
    if output.resolve() == checkpoint.resolve():
        raise ValueError(f"--output={output}: is what is to be exported; name another")
    if output.exists() and output.is_dir() != (not suffix):
        raise ValueError(f"--output={output}: is a {'directory' if output.is_dir() else 'file'} already; name another")

    from stylecolor.pretrained import read_networks, save_networks

    networks = read_networks(checkpoint)
    output.parent.mkdir(parents=True, exist_ok=True)
    if format == "safetensors":
        save_networks(networks, output)
    else:
        from stylecolor.export import export_onnx, export_torch

        (export_onnx if format == "onnx" else export_torch)(networks, output)
    typer.echo(output)
