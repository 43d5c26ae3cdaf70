"""Pages that show what a training run, an evaluation or a sweep left in its directory."""

from pathlib import Path


def render_report(directory: Path, output: Path | None = None) -> Path:
    """See `stylecolor.reports.page.render_report`."""
    from stylecolor.reports import page

    return page.render_report(directory, output)
