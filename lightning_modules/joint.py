"""The joint stage: decoder and colorizer are tuned together."""

from typing import Any

from torch import Tensor
from torch.nn.modules.batchnorm import _BatchNorm

from datamodules.batch import Batch
from lightning_modules.base import Stage, StepOutput, check_resumed, check_width
from lightning_modules.config import JointConfig
from stylecolor.checkpoint import Checkpoint, read_checkpoint
from stylecolor.colorizer import ColorizationNet
from stylecolor.hints import Hints, drop_hints, make_sampler
from stylecolor.losses import MaskedHuberLoss
from stylecolor.pipeline import colorize_exemplar
from stylecolor.transfer import TransferNet
from stylecolor.weights import load_colorizer_state


class JointStage(Stage):
    """The whole pipeline under the masked Huber loss alone, truth being the target's own ab (the project report, section 6.3).

    The encoder stays frozen, BatchNorm keeps the statistics it came with, and the gradient reaches the decoder through the hints.
    """

    loss_names = ("loss", "huber")
    config: JointConfig

    def __init__(self, config: JointConfig, resumed: Checkpoint | None = None) -> None:
        super().__init__(config)
        self.transfer, self.colorizer = self._build(config) if resumed is None else self._rebuild(config, resumed)
        self.sampler = make_sampler(config.hints, config.mask_probability)
        self.huber = MaskedHuberLoss(config.lambda_, config.delta)
        self.use_memory_format()
        # Lightning trains in the modes that it finds
        self.train()

    @staticmethod
    def _build(config: JointConfig) -> tuple[TransferNet, ColorizationNet]:
        assert config.transfer_checkpoint is not None
        assert config.colorizer_checkpoint is not None
        setting = "stage.transfer_checkpoint"
        trained = read_checkpoint(config.transfer_checkpoint, setting, ("transfer", "joint"))
        check_width(trained.networks, "transfer", config.width, f"{setting}={config.transfer_checkpoint}")
        overrides = {name: value for name in ("sites", "alpha") if (value := getattr(config, name)) is not None}
        transfer = TransferNet.from_settings(trained.networks["transfer"], **overrides)
        transfer.load_state_dict(trained.network_state("transfer"))
        colorizer = ColorizationNet(config.width)
        setting = "stage.colorizer_checkpoint"
        colorizer.load_state_dict(load_colorizer_state(config.colorizer_checkpoint, colorizer.state_dict(), config.width, setting))
        return transfer, colorizer

    @staticmethod
    def _rebuild(config: JointConfig, resumed: Checkpoint) -> tuple[TransferNet, ColorizationNet]:
        check_resumed(resumed, config)
        networks = resumed.networks
        return TransferNet.from_settings(networks["transfer"]), ColorizationNet.from_settings(networks["colorizer"])

    def train(self, mode: bool = True) -> "JointStage":
        """Train with BatchNorm's statistics frozen; the colorizer has nothing else that tells training from evaluation."""
        super().train(mode)
        self.colorizer.eval()
        for module in self.transfer.modules():
            if isinstance(module, _BatchNorm):
                module.eval()
        return self

    def networks(self) -> dict[str, dict[str, Any]]:
        """See `Stage`."""
        pipeline = {"hints": self.config.hints, "mask_probability": self.config.mask_probability}
        return {"transfer": self.transfer.settings, "colorizer": self.colorizer.settings, "pipeline": pipeline}

    def step(self, batch: Batch) -> StepOutput:
        """See `Stage`."""
        result = colorize_exemplar(self.transfer, self.colorizer, batch.target_l, batch.reference_rgb, batch.keys, self._sample_hints)
        huber = self.huber(result.ab, batch.target_ab, result.hints.mask)
        return StepOutput({"loss": huber, "huber": huber}, result.transfer_ab.detach(), result.ab.detach())

    def _sample_hints(self, ab: Tensor, keys: Tensor) -> Hints:
        hints = self.sampler(ab, keys)
        return drop_hints(hints, keys, self.config.empty_probability) if self.training else hints
