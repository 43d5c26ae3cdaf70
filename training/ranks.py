"""Which of several processes this is, before any of them is joined to the others."""

import os


def global_rank() -> int:
    """This process's rank among all, as torchrun, SLURM or Lightning's own launcher say."""
    return _first_of("RANK", "LOCAL_RANK", "SLURM_PROCID")


def local_rank() -> int:
    """This process's rank on its machine."""
    return _first_of("LOCAL_RANK", "SLURM_LOCALID")


def _first_of(*names: str) -> int:
    return next((int(os.environ[name]) for name in names if name in os.environ), 0)
