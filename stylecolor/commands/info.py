"""`stylecolor info`."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from stylecolor.choices import HINTED_NETWORKS


def info(
    checkpoint: Annotated[Path, typer.Argument(metavar="CKPT", help="A checkpoint, or a directory that save_pretrained wrote.")],
    as_json: Annotated[bool, typer.Option("--json", help="One line of JSON.")] = False,
) -> None:
    """Say what a checkpoint or a saved directory holds, and what it can be used for."""
    described = _describe(checkpoint)
    if as_json:
        typer.echo(json.dumps(described))
    else:
        for line in _lines(described):
            typer.echo(line)


def _describe(path: Path) -> dict[str, Any]:
    from stylecolor import checkpoint, pretrained
    from stylecolor.choices import STAGES
    from stylecolor.pipeline import ExemplarNetworks

    if path.is_dir():
        networks = pretrained.load_networks(path)
        origin = {"kind": "directory", "format": pretrained.FORMAT, "stage": None, "global_step": None}
    else:
        read = checkpoint.read_checkpoint(path, "checkpoint", STAGES)
        networks = ExemplarNetworks.from_checkpoint(path)
        origin = {"kind": "checkpoint", "format": checkpoint.FORMAT, "stage": read.stage, "global_step": read.global_step}
    settings = {name: value for name, value in networks.description.items() if name != "pipeline"}
    parameters = {name: sum(parameter.numel() for parameter in network.parameters()) for name, network in networks.named_children()}
    return {
        "path": str(path),
        **origin,
        "networks": {name: {"parameters": parameters[name], "settings": settings[name]} for name in settings},
        "pipeline": networks.settings,
        "uses": list(_uses(networks.description)),
    }


def _uses(description: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    """The commands that these networks serve."""
    pipeline = description["pipeline"]["pipeline"]
    transfer, colorizer = description.get("transfer"), description.get("colorizer")
    if pipeline != "precolor":
        yield "stylecolor colorize --reference"
        yield "stylecolor video --reference"
    if colorizer is not None:
        yield "stylecolor colorize --auto"
        if colorizer["network"] in HINTED_NETWORKS:
            yield "stylecolor hints"
    if transfer is not None and not transfer["gray_encoder"]:
        yield "stylecolor stylize"
    yield "stylecolor export"


def _lines(described: Mapping[str, Any]) -> Iterator[str]:
    origin = f"checkpoint of stage {described['stage']} after step {described['global_step']}" if described["stage"] else "saved networks"
    yield f"{described['path']}: {origin}, format {described['format']}"
    for name, network in described["networks"].items():
        yield f"{name}: {network['parameters']:,} parameters; {_settings(network['settings'])}"
    yield f"pipeline: {_settings(described['pipeline'])}"
    yield f"for: {', '.join(described['uses'])}"


def _settings(settings: Mapping[str, Any]) -> str:
    """As train.py's command line has them."""
    return ", ".join(f"{name}={','.join(value) if isinstance(value, list) else value}" for name, value in settings.items())
