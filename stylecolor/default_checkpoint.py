"""Which networks a command takes where none are named. Imports no torch, so that a command without any ends at once."""

from pathlib import Path

from stylecolor.published_weights import PUBLISHED

OUTPUTS = Path("outputs")
"""Where runs leave their checkpoints, below the working directory."""
RUNS = ("joint/**/checkpoints", "demo/*/joint/checkpoints")
"""Of the joint stage: single runs and sweeps, and the demo's."""
CHECKPOINTS = ("best.ckpt", "last.ckpt")
"""Of a run, the first that is there: one that was broken off early has no best."""
PUBLISHED_COLORIZER = "siggraph17"


def find_default_checkpoint(needs_reference: bool, setting: str = "--checkpoint") -> str:
    """The newest checkpoint of the joint stage, best.ckpt of its run if there is one; where no reference is followed, otherwise the
    published colorizer, if it is here.

    Args:
        needs_reference: whether a reference is to be followed.
        setting: that names a checkpoint, for the error.

    Returns:
        A path, or the name of published weights.

    Raises:
        ValueError: when there is none, naming what to do.
    """
    runs = {directory for pattern in RUNS for directory in OUTPUTS.glob(pattern)}
    kept = [[directory / name for name in CHECKPOINTS if (directory / name).is_file()] for directory in runs]
    found = [paths[0] for paths in kept if paths]
    newest = max(found, key=lambda path: (path.stat().st_mtime_ns, path), default=None)
    if newest is not None:
        return str(newest)
    remedies = ["`make demo` (minutes)", "`python train.py stage=transfer`, then colorizer, then joint"]
    if not needs_reference:
        if PUBLISHED[PUBLISHED_COLORIZER].find() is not None:
            return PUBLISHED_COLORIZER
        remedies.insert(0, f"`stylecolor weights fetch {PUBLISHED_COLORIZER}`")
    raise ValueError(
        f"there is no checkpoint under {OUTPUTS.absolute() / 'joint'} or {OUTPUTS.absolute() / 'demo'}; name one with {setting}, or get "
        f"one by {' or by '.join(remedies)}"
    )
