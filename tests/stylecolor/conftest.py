from pathlib import Path

import pytest
from filelock import FileLock


@pytest.fixture(scope="session")
def joint_checkpoint(shared_directory: Path) -> Path:
    """A tiny joint checkpoint that no test may change; its networks show every fifth pixel of the transfer's map as a hint."""
    # imported late: only some of these tests need Lightning, which takes seconds
    from tests.stylecolor.colorizers_for_tests import save_joint

    path = shared_directory / "joint" / "joint.ckpt"
    with FileLock(shared_directory / "joint.lock"):
        return path if path.is_file() else save_joint(path, mask_probability=0.8)
