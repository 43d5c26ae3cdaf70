"""The transfer stage: only the decoder trains."""

from typing import Any

import torch.nn.functional as F

from datamodules.batch import Batch
from lightning_modules.base import Stage, StepOutput, check_resumed
from lightning_modules.config import TransferConfig
from stylecolor.checkpoint import Checkpoint
from stylecolor.choices import PRECOLOR_NETWORKS
from stylecolor.color import rgb_to_lab
from stylecolor.colorizers import describe_colorizer, restore_colorizer
from stylecolor.encoder import VGG19Encoder
from stylecolor.losses import PerceptualLoss
from stylecolor.precolor import load_precolorizer, make_precolor
from stylecolor.transfer import TransferNet
from stylecolor.weight_layouts import load_decoder_state


class TransferStage(Stage):
    """Content is the target's true picture, style its reference; perceptual and reconstruction losses (the project report, section 6.1).

    With another `stage.precolor` than `truth` the encoder sees the target as it will see it in the whole pipeline.
    """

    monitor = TransferConfig.monitor
    monitor_mode = TransferConfig.monitor_mode
    loss_names = ("loss", "reconstruction", "content", "style")
    config: TransferConfig

    def __init__(self, config: TransferConfig, resumed: Checkpoint | None = None) -> None:
        super().__init__(config)
        if resumed is not None:
            check_resumed(resumed, config)
        self.transfer = self._build(config, load=resumed is None)
        self.precolorizer = self._build_precolorizer(config, resumed)
        self.precolor = None if config.precolor == "truth" else make_precolor(config.precolor, self.precolorizer)
        loss_network = _make_encoder(config, "loss.network_weights", depth=5)
        self.perceptual = PerceptualLoss(loss_network, config.loss.content_layer, config.loss.style_weights, config.loss.normalize)
        self.use_memory_format()
        # Lightning trains in the modes that it finds
        self.train()

    @staticmethod
    def _build(config: TransferConfig, load: bool) -> TransferNet:
        padding = config.encoder.padding
        encoder = _make_encoder(config, "encoder.weights", load, padding=padding)
        gray_encoder = None
        if config.precolor == "gray_encoder":
            gray_encoder = _make_encoder(config, "encoder.gray_weights", load, padding=padding, channels_in=1)
        form = {"skips": config.skips, "norm": config.norm, "padding": config.padding}
        transfer = TransferNet(encoder, config.matching, config.sites, config.alpha, **form, gray_encoder=gray_encoder)
        if load and config.decoder_weights != "random":
            decoder = transfer.decoder
            decoder.load_state_dict(
                load_decoder_state(
                    config.decoder_weights, decoder.state_dict(), width=config.width, **form, setting="stage.decoder_weights"
                )
            )
        return transfer

    @staticmethod
    def _build_precolorizer(config: TransferConfig, resumed: Checkpoint | None) -> Any:
        if config.precolor not in PRECOLOR_NETWORKS:
            return None
        if resumed is not None:
            return restore_colorizer(resumed.networks["precolorizer"]).requires_grad_(False)
        return load_precolorizer(config.precolor, config.precolor_weights, config.weights_mirror)

    def train(self, mode: bool = True) -> "TransferStage":
        """Train with the pre-colorizer as it came."""
        super().train(mode)
        if self.precolorizer is not None:
            self.precolorizer.eval()
        return self

    def networks(self) -> dict[str, dict[str, Any]]:
        """See `Stage`."""
        networks = {"transfer": self.transfer.settings}
        return networks if self.precolorizer is None else {**networks, "precolorizer": describe_colorizer(self.precolorizer)}

    def step(self, batch: Batch) -> StepOutput:
        """See `Stage`."""
        content_picture = batch.target_rgb if self.precolor is None else self.precolor(batch.target_l).picture
        target_labels, reference_labels = batch.label_maps() if self.config.regions else (None, None)
        output = self.transfer(content_picture, batch.reference_rgb, target_labels, reference_labels, self.config.feather)
        weights = self.config.loss
        reconstruction = F.mse_loss(output.float(), batch.target_rgb)
        content, style = self.perceptual(output, batch.target_rgb, batch.reference_rgb)
        perceptual = weights.content_coefficient * content + weights.style_coefficient * style
        loss = weights.perceptual_coefficient * perceptual + weights.reconstruction_coefficient * reconstruction
        # only evaluation looks at the colours
        ab = batch.target_ab if self.training else rgb_to_lab(output)[:, 1:]
        return StepOutput({"loss": loss, "reconstruction": reconstruction, "content": content, "style": style}, ab, ab)


def _make_encoder(config: TransferConfig, setting: str, load: bool = True, **form: Any) -> VGG19Encoder:
    """An encoder with the weights of `stage.<setting>`, or the encoder's own where that is null."""
    own = {"loss.network_weights": config.loss.network_weights, "encoder.gray_weights": config.encoder.gray_weights}.get(setting)
    if own is None:
        own, setting = config.encoder.weights, "encoder.weights"
    return VGG19Encoder(own if load else "empty", config.width, mirror=config.weights_mirror, setting=f"stage.{setting}", **form)
