"""The stages: one file each. `STAGES` names them as `stage=` does; modules are imported when they are asked for."""

from importlib import import_module
from typing import TYPE_CHECKING

from lightning_modules.config import ColorizerConfig, JointConfig, StageConfig, TransferConfig

if TYPE_CHECKING:
    from lightning_modules.base import Stage
    from stylecolor.checkpoint import Checkpoint

STAGES: dict[str, tuple[type[StageConfig], str]] = {
    "transfer": (TransferConfig, "lightning_modules.transfer:TransferStage"),
    "colorizer": (ColorizerConfig, "lightning_modules.colorizer:ColorizerStage"),
    "joint": (JointConfig, "lightning_modules.joint:JointStage"),
}


def make_stage(config: StageConfig, resumed: "Checkpoint | None" = None) -> "Stage":
    """The stage that this config configures; one that is resumed takes its networks from its own checkpoint."""
    module, name = STAGES[config.name][1].split(":")
    return getattr(import_module(module), name)(config, resumed)
