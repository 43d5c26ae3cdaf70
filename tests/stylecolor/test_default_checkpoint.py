import os
from pathlib import Path

import pytest

from stylecolor.default_checkpoint import find_default_checkpoint
from stylecolor.published_weights import PUBLISHED
from tests.stylecolor.published import isolate


@pytest.fixture(autouse=True)
def isolated(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """An empty working directory and empty caches."""
    isolate(monkeypatch, tmp_path)
    monkeypatch.chdir(tmp_path)


def put(name: str, time: int) -> str:
    path = Path("outputs", name, "checkpoints", "best.ckpt")
    path.parent.mkdir(parents=True)
    path.touch()
    os.utime(path, (time, time))
    return str(path)


def fetch(name: str) -> None:
    PUBLISHED[name].path.parent.mkdir(parents=True)
    PUBLISHED[name].path.touch()


def test_the_newest_of_runs_sweeps_and_demos_is_taken() -> None:
    path = ""
    runs = ("joint/one", "demo/one/joint", "joint/sweeps/one/0", "joint/two")
    for time, name in enumerate(runs):
        path = put(name, 1000 + time)
        assert find_default_checkpoint(needs_reference=True) == path
        assert find_default_checkpoint(needs_reference=False) == path
    put("joint/old", 10)
    assert find_default_checkpoint(needs_reference=True) == path


def test_other_stages_and_other_checkpoints_do_not_count() -> None:
    for name in ("transfer/run", "colorizer/run", "demo/run/transfer", "demo/run/colorizer"):
        put(name, 1000)
    Path("outputs/joint/run/checkpoints").mkdir(parents=True)
    Path("outputs/joint/run/checkpoints/other.ckpt").touch()
    with pytest.raises(ValueError, match=r"there is no checkpoint under .*outputs.joint or .*outputs.demo; name one with --checkpoint"):
        find_default_checkpoint(needs_reference=True)


def test_without_a_reference_the_published_colorizer_serves_too() -> None:
    with pytest.raises(ValueError, match="`stylecolor weights fetch siggraph17` or by `make demo`"):
        find_default_checkpoint(needs_reference=False)
    fetch("siggraph17")
    assert find_default_checkpoint(needs_reference=False) == "siggraph17"
    with pytest.raises(ValueError, match=r"get one by `make demo` \(minutes\) or by `python train\.py stage=transfer`"):
        find_default_checkpoint(needs_reference=True)
    path = put("joint/run", 1000)
    assert find_default_checkpoint(needs_reference=False) == path


def test_of_a_run_without_a_best_checkpoint_the_last_is_taken() -> None:
    put("joint/old", 1000)
    best = Path(put("joint/new", 2000))
    last = best.rename(best.with_name("last.ckpt"))
    assert find_default_checkpoint(needs_reference=True) == str(last)
    best.touch()
    os.utime(best, (1500, 1500))
    assert find_default_checkpoint(needs_reference=True) == str(best)
