"""Where progress bars go, and whether there are any."""

import sys

from rich.console import Console


def console() -> Console:
    """Progress goes to stderr, so that the summary can be piped."""
    return Console(stderr=True)


def hide_progress() -> bool:
    """Progress bars are for terminals."""
    return not sys.stderr.isatty()
