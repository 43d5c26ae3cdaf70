"""`stylecolor studio`."""

import os
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

import typer

from stylecolor.commands import options
from stylecolor.studio.config import AUTH_VARIABLE, MAX_MEGAPIXELS, StudioSettings


def studio(
    checkpoint: options.CheckpointOption = None,
    references: Annotated[Path | None, typer.Option(metavar="FOLDER", help="Of pictures that visitors may choose as references.")] = None,
    host: Annotated[str, typer.Option(metavar="ADDRESS", help="To listen on; others can reach any but 127.0.0.1.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(metavar="N", help="0 takes any free one.")] = 7860,
    auth: Annotated[
        str | None,
        typer.Option(metavar="USER:PASSWORD", help=f"Let in only who knows them; better from the environment variable {AUTH_VARIABLE}."),
    ] = None,
    no_auth: Annotated[bool, typer.Option("--no-auth", help="Listen on an address that others reach, and let everybody in.")] = False,
    max_megapixels: Annotated[float, typer.Option(metavar="N", help="Refuse larger pictures, unread.")] = MAX_MEGAPIXELS,
    device: options.Device = "auto",
    precision: options.Precision = "auto",
) -> None:
    """Open a page on which to colorize by looking and clicking.

    It says where; Ctrl-C ends it. What visitors upload is removed when they go.
    """
    auth = auth or os.environ.get(AUTH_VARIABLE) or None
    settings = StudioSettings(checkpoint, references, host, port, auth, no_auth, max_megapixels, device, precision)
    if find_spec("gradio") is None:
        raise ValueError("the studio needs Gradio, which is not installed here; get it by `pip install stylecolor[studio]`")
    from stylecolor.studio.server import serve

    serve(settings)
