"""What the command lines of the project share."""

import logging
import sys
import warnings
from typing import Any, TextIO

import typer
import typer.core

from stylecolor.errors import one_line


class OneLineErrors(typer.core.TyperGroup):
    """Ends every mistake of the user, in any command, in one line and exit status 1, and Ctrl-C in 130."""

    def invoke(self, ctx: Any) -> Any:
        """Run the command.

        Raises:
            typer.Exit: with the status.
            BrokenPipeError: when nobody reads the output.
        """
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt as interrupt:
            typer.echo(f"interrupted: {str(interrupt) or 'what is there is kept, and the same command goes on'}", err=True)
            raise typer.Exit(130) from None
        except BrokenPipeError:
            # whoever reads the output has seen enough; click ends in silence
            raise
        except (ValueError, OSError) as error:
            typer.echo(f"error: {one_line(error)}", err=True)
            raise typer.Exit(1) from error


def say(line: str, stream: TextIO) -> None:
    """Write a line to `sys.stdout` or `sys.stderr`, which a progress bar replaces; `typer.echo` would write into the bar."""
    stream.write(f"{line}\n")
    stream.flush()


class _OneLineWarnings(logging.Handler):
    """Says each warning on stderr in one line, and the same one only once."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.said: set[str] = set()

    def emit(self, record: logging.LogRecord) -> None:
        """Say a warning that was logged."""
        self.say(record.getMessage())

    def show(self, message: Warning | str, *_: Any) -> None:
        """Say a warning of the module `warnings`, as its `showwarning` does."""
        self.say(str(message))

    def say(self, warning: str) -> None:
        """Say it, in one line."""
        line = " ".join(warning.split())
        if line not in self.said:
            self.said.add(line)
            say(f"warning: {line}", sys.stderr)


def show_warnings() -> None:
    """Let warnings come out on stderr for people, whoever warns; each command begins with it."""
    root = logging.getLogger()
    for handler in [handler for handler in root.handlers if isinstance(handler, _OneLineWarnings)]:
        root.removeHandler(handler)
    handler = _OneLineWarnings()
    root.addHandler(handler)
    warnings.showwarning = handler.show
