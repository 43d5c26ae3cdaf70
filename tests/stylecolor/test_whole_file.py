import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from stylecolor.whole_file import remove_stale_parts, written_whole


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


def test_two_threads_may_write_the_same_file(tmp_path: Path) -> None:
    def write(text: str) -> None:
        with written_whole(tmp_path / "result.txt") as aside:
            aside.write_text(text)

    with ThreadPoolExecutor(8) as executor:
        list(executor.map(write, ["a" * 100_000, "b" * 100_000] * 50))
    assert [file.name for file in tmp_path.iterdir()] == ["result.txt"]
    assert set((tmp_path / "result.txt").read_text()) in ({"a"}, {"b"})


def test_what_a_killed_process_leaves_is_removed_and_nothing_else(tmp_path: Path) -> None:
    program = (
        "import os, signal, sys; from pathlib import Path; from stylecolor.whole_file import written_whole\n"
        "with written_whole(Path(sys.argv[1])) as aside: aside.write_text('half'); os.kill(os.getpid(), signal.SIGKILL)"
    )
    subprocess.run([sys.executable, "-c", program, tmp_path / "result.png"], check=False)
    assert len(list(tmp_path.iterdir())) == 1
    kept = {f".{os.getpid()}-0123456789abcdef.part.png", ".hidden.png", "photo.part.png", ".a.12.part"}
    for name in kept:
        (tmp_path / name).touch()
    remove_stale_parts(tmp_path)
    assert {file.name for file in tmp_path.iterdir()} == kept
    remove_stale_parts(tmp_path / "not there")
