"""The networks of the checkpoints that are evaluated."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from evaluation.checkpoints import NamedCheckpoint
from stylecolor.classification import ClassificationNet
from stylecolor.colorizer import ColorizationNet
from stylecolor.fast_inference import prepare
from stylecolor.pipeline import ExemplarNetworks


@dataclass
class LoadedCheckpoint:
    """A checkpoint's networks on a device, in the form that colorizes fastest there, see `stylecolor.fast_inference`."""

    name: str
    networks: ExemplarNetworks

    @property
    def stage(self) -> str:
        """Which networks there are: `transfer`, `colorizer` or, with both, `joint`."""
        if self.networks.transfer is None:
            return "colorizer"
        return "transfer" if self.networks.colorizer is None else "joint"

    @property
    def takes_hints(self) -> bool:
        """Whether there is a colorizer to which colours can be shown."""
        return isinstance(self.networks.colorizer, ColorizationNet)


def load_checkpoints(
    checkpoints: Sequence[NamedCheckpoint], device: torch.device, precision: str, mirror: str | None = None
) -> list[LoadedCheckpoint]:
    """Read the networks of checkpoints.

    Args:
        checkpoints: what to read.
        device: where the networks go.
        precision: `32-true` or `bf16-mixed`.
        mirror: of published weights.

    Raises:
        ValueError: for a file that is damaged or no checkpoint, and published weights that cannot be had.
    """
    loaded = []
    for checkpoint in checkpoints:
        if checkpoint.path is None:
            networks = ExemplarNetworks.from_colorizer(checkpoint.source, "checkpoint", mirror)
        else:
            networks = ExemplarNetworks.from_checkpoint(checkpoint.path)
        assert isinstance(networks.colorizer, ColorizationNet | ClassificationNet | None)
        loaded.append(LoadedCheckpoint(checkpoint.name, prepare(networks, device, "bf16" if precision == "bf16-mixed" else "float32")))
    return loaded
