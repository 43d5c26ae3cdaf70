"""Where a profiler writes: into the run directory."""

from pathlib import Path

from lightning.pytorch.profilers import AdvancedProfiler, Profiler, PyTorchProfiler, SimpleProfiler

PROFILERS: dict[str, type[SimpleProfiler | AdvancedProfiler | PyTorchProfiler]] = {
    "simple": SimpleProfiler,
    "advanced": AdvancedProfiler,
    "pytorch": PyTorchProfiler,
}


def make_profiler(name: str | None, directory: Path) -> Profiler | None:
    """Lightning's profiler of that name, whose reports (and traces, for `pytorch`) appear in the run directory's profile/."""
    return None if name is None else PROFILERS[name](dirpath=directory / "profile", filename=name)
