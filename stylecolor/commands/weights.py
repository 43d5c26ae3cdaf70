"""Published weights on the command line: `stylecolor weights --help`."""

from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

weights = typer.Typer(
    help="Published weights: what there is, and verified copies in the cache (STYLECOLOR_CACHE names another place for it).",
    short_help="List, fetch and verify published weights.",
    rich_markup_mode=None,
    no_args_is_help=True,
)


def _state(found: Path | None, test: Callable[[Path], object]) -> str:
    if found is None:
        return "absent"
    try:
        test(found)
    except ValueError as error:
        return f"wrong ({error})"
    return "verified"


@weights.command("list")
def list_weights() -> None:
    """Show what there is and whether it is here.

    Of each file: name, state (absent, verified or wrong), size, licence; what it is for; where it is or belongs; where it comes from.
    """
    from stylecolor.published_weights import PUBLISHED

    for published in PUBLISHED.values():
        found = published.find()
        typer.echo(f"{published.name:<12}{_state(found, published.check)}, {published.megabytes} MB, {published.license}")
        typer.echo(f"{'':<12}{published.use}")
        typer.echo(f"{'':<12}{found or published.path}")
        typer.echo(f"{'':<12}{published.url}")


@weights.command("fetch")
def fetch_weights(
    names: Annotated[list[str], typer.Argument(metavar="NAME...", help="As `stylecolor weights list` has them.")],
    mirror: Annotated[
        str | None,
        typer.Option(
            metavar="ADDRESS|DIR", help="Where the files are under their own names; else STYLECOLOR_WEIGHTS_MIRROR, or as published."
        ),
    ] = None,
) -> None:
    """Put files into the cache, verified.

    An interrupted download goes on where it stopped.
    """
    from stylecolor.published_weights import find_published, obtain

    for published in find_published(names):
        typer.echo(f"{published.name}: {obtain(published.name, published.name, mirror, '--mirror')}")


@weights.command("verify")
def verify_weights(
    names: Annotated[list[str] | None, typer.Argument(metavar="[NAME...]", help="Which must be here; without, whichever are.")] = None,
) -> None:
    """Check files against their SHA-256.

    It must begin with the digits in the file's name, and be the one that was pinned when the file was first verified.
    """
    from stylecolor.published_weights import find_published

    wrong = []
    for published in find_published(names or []):
        found = published.find()
        state = _state(found, published.verify)
        typer.echo(f"{published.name}: {state}: {found or published.path}")
        if state != "verified" and (names or found is not None):
            wrong.append(published.name)
    if wrong:
        raise ValueError(
            f"{', '.join(wrong)}: not verified, see above; remove what is wrong, and stylecolor weights fetch {' '.join(wrong)}"
        )
