"""The transfer stage: only the decoder trains."""

from typing import Any

import torch.nn.functional as F

from datamodules.batch import Batch
from lightning_modules.base import Stage, StepOutput, check_resumed
from lightning_modules.config import TransferConfig
from stylecolor.checkpoint import Checkpoint
from stylecolor.color import rgb_to_lab
from stylecolor.encoder import VGG19Encoder
from stylecolor.losses import PerceptualLoss
from stylecolor.transfer import TransferNet


class TransferStage(Stage):
    """Content is the target's true picture, style its reference; perceptual and reconstruction losses (the project report, section 6.1)."""

    monitor = "val/loss"
    monitor_mode = "min"
    loss_names = ("loss", "reconstruction", "content", "style")
    config: TransferConfig

    def __init__(self, config: TransferConfig, resumed: Checkpoint | None = None) -> None:
        super().__init__(config)
        if resumed is not None:
            check_resumed(resumed, config)
        self.transfer = TransferNet(
            config.width, config.encoder.weights, config.sites, config.alpha, config.skips, config.norm, config.padding
        )
        loss_network = VGG19Encoder(config.encoder.weights, config.width, depth=5)
        self.perceptual = PerceptualLoss(loss_network, config.loss.content_layer, config.loss.style_weights, config.loss.normalize)
        self.use_memory_format()

    def networks(self) -> dict[str, dict[str, Any]]:
        """See `Stage`."""
        return {"transfer": self.transfer.settings}

    def step(self, batch: Batch) -> StepOutput:
        """See `Stage`."""
        output = self.transfer(batch.target_rgb, batch.reference_rgb)
        weights = self.config.loss
        reconstruction = F.mse_loss(output.float(), batch.target_rgb)
        content, style = self.perceptual(output, batch.target_rgb, batch.reference_rgb)
        perceptual = weights.content_coefficient * content + weights.style_coefficient * style
        loss = weights.perceptual_coefficient * perceptual + weights.reconstruction_coefficient * reconstruction
        # only evaluation looks at the colours
        ab = batch.target_ab if self.training else rgb_to_lab(output)[:, 1:]
        return StepOutput({"loss": loss, "reconstruction": reconstruction, "content": content, "style": style}, ab, ab)
