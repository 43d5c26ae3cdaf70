import shlex
from dataclasses import asdict
from pathlib import Path
from typing import Any

import hydra
import pytest

from stylecolor.reports.command_line import repeat_command, shell_command
from stylecolor.reports.tables import read_settings
from tests.stylecolor.reports.directories import write_config
from training.composition import CONFIG_DIRECTORY, register, to_experiment


def test_the_shell_gives_back_each_word() -> None:
    words = ["a=b c", "d='e'", "f=[1,2]", "g=$HOME"]
    assert shlex.split(shell_command("python", "train.py", overrides=words)) == ["python", "train.py", *words]


def compose(overrides: list[str]) -> dict[str, Any]:
    register()
    with hydra.initialize_config_dir(str(CONFIG_DIRECTORY), version_base="1.3"):
        return asdict(to_experiment(hydra.compose("config", overrides)))


@pytest.mark.parametrize(
    "overrides",
    [
        ["stage=transfer", "data=coco", "data.root=my photographs", "data.categories=[giraffe,zebra]", "stage.sites=[bottleneck,encoder]"],
        ["stage=colorizer", "data=mix", 'data.sources=[{name: folder, root: "it\'s"}]', "data.references={palette: 0.7, self: 0.3}"],
        ["stage=joint", "data=sample", "logger=csv", "trainer.max_steps=3", "trainer.gradient_clip_val=0.5"],
    ],
)
def test_the_command_that_repeats_a_run_composes_the_same_settings(tmp_path: Path, overrides: list[str]) -> None:
    composed = compose(overrides)
    write_config(tmp_path, composed)
    program, script, *again = shlex.split(repeat_command("train.py", read_settings(tmp_path / "config.yaml")))
    assert (program, script) == ("python", "train.py")
    assert compose(again) == composed
