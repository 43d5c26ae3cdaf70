import os
import pty
import re
import subprocess
from pathlib import Path

import pytest

from tests.stylecolor.commands.running import installed, save_photograph


def run_on_terminal(*arguments: str | Path) -> str:
    """What the installed command shows on a terminal of 200 columns, with its ways to move the cursor."""
    terminal, side = pty.openpty()
    environment = {**os.environ, "TERM": "xterm", "COLUMNS": "200", "NO_COLOR": "1"}
    with subprocess.Popen(installed(*arguments), stdin=side, stdout=side, stderr=side, env=environment):
        os.close(side)
        shown = b""
        while True:
            try:
                part = os.read(terminal, 1 << 16)
            except OSError:
                # Linux says so when the other side is closed
                part = b""
            if not part:
                break
            shown += part
    os.close(terminal)
    return shown.decode()


def test_errors_stand_above_the_progress_bar(tmp_path: Path, joint_checkpoint: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for number in range(3):
        save_photograph(tmp_path / "scans" / f"{number}.png", number)
    (tmp_path / "scans" / "bad.png").write_text("no picture")
    arguments = ("colorize", "scans", "-r", "scans/0.png", "--checkpoint", joint_checkpoint, "--size", "32")
    shown = run_on_terminal(*arguments)
    assert "0/4" in shown
    assert "4/4" in shown
    lines = [re.sub(r".*\x1b\[[0-9;?]*[A-Za-z]", "", line) for line in re.split(r"[\r\n]+", shown)]
    assert "error: picture scans/bad.png: is no picture of a format that is read: PNG, JPEG, TIFF, WebP, BMP, GIF" in lines
    assert "3 of 4 pictures done: scans_colorized" in lines
    assert "error: 1 of 4 pictures failed" in lines
