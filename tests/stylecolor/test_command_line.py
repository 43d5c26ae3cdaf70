import logging
import warnings
from collections.abc import Iterator

import pytest
import typer
from typer.testing import CliRunner

from stylecolor.command_line import OneLineErrors, show_warnings


@pytest.fixture(autouse=True)
def restored() -> Iterator[None]:
    """What a command sets for its process."""
    handlers = logging.getLogger().handlers[:]
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        yield
    logging.getLogger().handlers = handlers


def make_app(error: BaseException | None = None) -> typer.Typer:
    app = typer.Typer(cls=OneLineErrors)

    @app.callback()
    def begin() -> None:
        show_warnings()

    @app.command()
    def act() -> None:
        for _ in range(2):
            logging.getLogger("stylecolor.some").warning("it is %s\n  indeed", "late")
            warnings.warn("it is cold", stacklevel=1)
        logging.getLogger("stylecolor.some").info("of no concern")
        if error is not None:
            raise error

    return app


def test_warnings_are_one_line_each_and_said_once_a_command() -> None:
    app = make_app()
    for _ in range(2):
        result = CliRunner().invoke(app, ["act"])
        assert (result.exit_code, result.stdout) == (0, "")
        assert result.stderr == "warning: it is late indeed\nwarning: it is cold\n"


@pytest.mark.parametrize(
    ("error", "status", "said"),
    [
        (ValueError("of two\n lines"), 1, "error: of two lines"),
        (OSError(28, "No space left on device", "a.png"), 1, "error: a.png: No space left on device"),
        (OSError("a.png: cannot be written"), 1, "error: a.png: cannot be written"),
        (KeyboardInterrupt(), 130, "interrupted: what is there is kept, and the same command goes on"),
        (KeyboardInterrupt("1 of 2"), 130, "interrupted: 1 of 2"),
    ],
)
def test_errors_are_one_line_and_a_status(error: BaseException, status: int, said: str) -> None:
    result = CliRunner().invoke(make_app(error), ["act"])
    assert result.exit_code == status
    assert result.stderr.splitlines()[2:] == [said]
