"""The library on the command line: `stylecolor --help`."""

import gc
import signal
import sys
from io import TextIOWrapper

import typer

from stylecolor.command_line import OneLineErrors, show_warnings
from stylecolor.commands.colorize import colorize
from stylecolor.commands.export import export
from stylecolor.commands.hints import hints
from stylecolor.commands.info import info
from stylecolor.commands.report import report
from stylecolor.commands.studio import studio
from stylecolor.commands.stylize import stylize
from stylecolor.commands.video import video
from stylecolor.commands.weights import weights

app = typer.Typer(
    cls=OneLineErrors,
    help="Give a grey photograph the colours of another photograph.",
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    add_completion=False,
    no_args_is_help=True,
)
app.command("colorize")(colorize)
app.command("stylize")(stylize)
app.command("video")(video)
app.command("hints")(hints)
app.command("studio")(studio)
app.command("export")(export)
app.command("info")(info)
app.command("report")(report)
app.add_typer(weights, name="weights")


@app.callback()
def stylecolor() -> None:
    """Give a grey photograph the colours of another photograph."""
    show_warnings()


def main() -> None:
    """The `stylecolor` command."""
    # names of files may hold bytes that are no text
    if isinstance(sys.stdout, TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")
    # ends like Ctrl-C, so that nothing half-written stays
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        app(prog_name="stylecolor")
    finally:
        # Python's last collection would look at all that torch has made, for a third of a second; what export loads takes what is left
        # for a leak, and says so
        if "triton" not in sys.modules:
            gc.freeze()


if __name__ == "__main__":
    main()
