"""What the command lines of the project share."""

from typing import Any

import typer
import typer.core


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
        except KeyboardInterrupt:
            typer.echo("interrupted: what is there is kept, and the same command goes on", err=True)
            raise typer.Exit(130) from None
        except BrokenPipeError:
            # whoever reads the output has seen enough; click ends in silence
            raise
        except (ValueError, OSError) as error:
            typer.echo(f"error: {' '.join(str(error).split())}", err=True)
            raise typer.Exit(1) from error
