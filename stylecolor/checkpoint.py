"""What a stylecolor checkpoint says of itself: its stage and the settings of its networks."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from stylecolor.weights import read_state_file

KEY = "stylecolor"
"""The entry of a checkpoint's dictionary that holds `describe`'s answer."""
FORMAT = 2


def describe(stage: str, **networks: dict[str, Any]) -> dict[str, Any]:
    """The entry that makes a checkpoint readable without the framework that wrote it: stage name and each network's settings."""
    return {"format": FORMAT, "stage": stage, "networks": networks}


@dataclass
class Checkpoint:
    """A checkpoint read from a file, on the CPU."""

    path: Path
    stage: str
    networks: dict[str, dict[str, Any]]
    state: dict[str, Tensor]
    global_step: int

    def network_state(self, name: str) -> dict[str, Tensor]:
        """The state dict of one network, `transfer` or `colorizer`."""
        prefix = f"{name}."
        return {key.removeprefix(prefix): tensor for key, tensor in self.state.items() if key.startswith(prefix)}


def read_description(contents: Mapping[str, Any], described: str) -> dict[str, Any]:
    """The entry of a checkpoint's contents that says what it holds.

    Raises:
        ValueError: for what is no stylecolor checkpoint, and one of another format.
    """
    description = contents.get(KEY)
    if not isinstance(description, dict) or not isinstance(contents.get("state_dict"), dict):
        raise ValueError(f"{described}: is no stylecolor checkpoint")
    if description.get("format") != FORMAT:
        raise ValueError(
            f"{described}: has checkpoint format {description.get('format')}, this version reads {FORMAT}; use the version that wrote it"
        )
    networks = description.get("networks")
    if not isinstance(networks, dict) or not all(isinstance(settings, dict) for settings in networks.values()):
        raise ValueError(f"{described}: is damaged, it does not say which networks it holds")
    if "stage" not in description or "global_step" not in contents:
        raise ValueError(f"{described}: is damaged, it does not say which stage wrote it and when")
    return description


def read_checkpoint(path: str | Path, setting: str, stages: tuple[str, ...]) -> Checkpoint:
    """Read a checkpoint that one of `stages` wrote; only tensors and plain values are unpickled.

    Args:
        path: the file.
        setting: the name of the setting that holds the path, for the error.
        stages: the stages whose checkpoints are welcome.

    Raises:
        ValueError: for a missing or damaged file, a file that is no stylecolor checkpoint, and one of another stage.
    """
    contents = read_state_file(path, setting)
    description = read_description(contents, f"{setting}={path}")
    if description["stage"] not in stages:
        raise ValueError(f"{setting}={path}: is a checkpoint of stage={description['stage']}, expected stage={' or '.join(stages)}")
    return Checkpoint(Path(path), description["stage"], description["networks"], contents["state_dict"], contents["global_step"])
