"""The colorizer stage: the U-Net learns to spread hints taken from the target's own colours."""

from typing import Any

from datamodules.batch import Batch
from lightning_modules.base import Stage, StepOutput, check_resumed
from lightning_modules.config import ColorizerConfig
from stylecolor.checkpoint import Checkpoint
from stylecolor.colorizer import ColorizationNet
from stylecolor.hints import drop_hints, make_sampler
from stylecolor.losses import MaskedHuberLoss
from stylecolor.weights import load_colorizer_state


class ColorizerStage(Stage):
    """Masked Huber loss on ab; in training some pictures get no hints at all (SIGGRAPH'17, section 3.4)."""

    loss_names = ("loss", "huber")
    config: ColorizerConfig

    def __init__(self, config: ColorizerConfig, resumed: Checkpoint | None = None) -> None:
        super().__init__(config)
        self.colorizer = ColorizationNet(config.width)
        if resumed is not None:
            check_resumed(resumed, config)
        elif config.weights != "random":
            state = load_colorizer_state(config.weights, self.colorizer.state_dict(), config.width, "stage.weights")
            self.colorizer.load_state_dict(state)
        self.sampler = make_sampler(config.hints, config.mask_probability)
        self.huber = MaskedHuberLoss(config.lambda_, config.delta)
        self.use_memory_format()

    def networks(self) -> dict[str, dict[str, Any]]:
        """See `Stage`."""
        return {"colorizer": self.colorizer.settings}

    def step(self, batch: Batch) -> StepOutput:
        """See `Stage`."""
        hints = self.sampler(batch.target_ab, batch.keys)
        if self.training:
            hints = drop_hints(hints, batch.keys, self.config.empty_probability)
        ab = self.colorizer(batch.target_l, *hints)
        huber = self.huber(ab, batch.target_ab, hints.mask)
        return StepOutput({"loss": huber, "huber": huber}, hints.ab, ab.detach())
