"""Which of several processes this is, before any of them is joined to the others."""

import os


def global_rank() -> int:
    """This process's rank, as torchrun, SLURM or Lightning's own launcher say."""
    for name in ("RANK", "SLURM_PROCID", "LOCAL_RANK"):
        if name in os.environ:
            return int(os.environ[name])
    return 0
