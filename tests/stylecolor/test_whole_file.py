from pathlib import Path

import pytest

from stylecolor.whole_file import written_whole


def test_contents_stand_under_the_path_after_the_block(tmp_path: Path) -> None:
    path = tmp_path / "result.onnx"
    with written_whole(path) as aside:
        aside.write_text("new")
        assert not path.exists()
        assert aside.suffix == ".onnx"
    assert [file.name for file in tmp_path.iterdir()] == ["result.onnx"]
    assert path.read_text() == "new"


def test_a_block_that_fails_leaves_what_was_there(tmp_path: Path) -> None:
    path = tmp_path / "result.onnx"
    path.write_text("old")
    with pytest.raises(RuntimeError, match="half way"), written_whole(path) as aside:
        aside.write_text("ne")
        raise RuntimeError("half way")
    assert [file.name for file in tmp_path.iterdir()] == ["result.onnx"]
    assert path.read_text() == "old"
