import sys
from pathlib import Path

import pytest

from stylecolor.studio.config import StudioSettings
from stylecolor.studio.model import NoNetworksError, StudioModel

LONGEST = 60


def loaded(model: StudioModel) -> StudioModel:
    model.start()
    assert model.wait(LONGEST)
    return model


def test_a_package_that_is_missing_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "stylecolor.default_checkpoint", None)
    model = loaded(StudioModel(StudioSettings(tmp_path / "none.ckpt")))
    assert model.state == "missing"
    assert "stylecolor.default_checkpoint" in model.message


def test_a_checkpoint_that_is_damaged_is_called_so_with_the_remedy(
    tmp_path: Path, joint_checkpoint: Path, caplog: pytest.LogCaptureFixture
) -> None:
    contents = joint_checkpoint.read_bytes()
    remedy = "; take another one with --checkpoint"
    for part in (contents[: len(contents) // 2], contents[:20_000], b"no checkpoint"):
        caplog.clear()
        path = tmp_path / "half.ckpt"
        path.write_bytes(part)
        model = loaded(StudioModel(StudioSettings(path)))
        assert model.message == f"checkpoint={path}: is no weight file, or is damaged or truncated"
        assert caplog.messages == [f"the studio has no networks: {model.message}{remedy}"]
        with pytest.raises(NoNetworksError, match=rf"is damaged or truncated{remedy}$"):
            model.colorizer()


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_whatever_goes_wrong_nobody_waits_for_ever(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(model: StudioModel) -> None:
        raise KeyError("state_dict")

    monkeypatch.setattr(StudioModel, "_read", fail)
    model = loaded(StudioModel(StudioSettings(tmp_path / "none.ckpt")))
    assert (model.state, model.message) == ("missing", "the networks cannot be loaded; the studio's terminal says why")
