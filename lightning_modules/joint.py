"""The joint stage: decoder and colorizer are tuned together."""

import logging
from typing import Any

from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from datamodules.batch import Batch
from lightning_modules.base import Stage, StepOutput
from lightning_modules.config import JointConfig
from stylecolor.checkpoint import Checkpoint, read_checkpoint
from stylecolor.choices import HINTED_NETWORKS, PRECOLOR_NETWORKS
from stylecolor.colorizers import describe_colorizer, load_colorizer, restore_colorizer
from stylecolor.hints import Hints, drop_hints, make_sampler
from stylecolor.losses import MaskedHuberLoss
from stylecolor.pipeline import colorize_exemplar
from stylecolor.precolor import load_precolorizer, make_precolor
from stylecolor.transfer import TransferNet
from stylecolor.weight_layouts import gray_encoder_state

log = logging.getLogger(__name__)


class JointStage(Stage):
    """The whole pipeline under the masked Huber loss alone, truth being the target's own ab (the project report, section 6.3).

    The encoder and a pre-colorizer of its own stay frozen, BatchNorm keeps the statistics it came with, and the gradient reaches the
    decoder through the hints. Each network is as wide as its checkpoint: a full encoder goes with a narrow colorizer.
    """

    loss_names = ("loss", "huber")
    config: JointConfig

    def __init__(self, config: JointConfig, resumed: Checkpoint | None = None) -> None:
        super().__init__(config)
        self.transfer, self.colorizer, self.precolorizer = self._build(config) if resumed is None else self._rebuild(config, resumed)
        self.sampler = make_sampler(config.hints, config.mask_probability, config.hint_points)
        self.precolor = make_precolor(config.precolor, self.precolorizer or self.colorizer)
        self.huber = MaskedHuberLoss(config.lambda_, config.delta)
        self._freeze()
        self.use_memory_format()
        # Lightning trains in the modes that it finds
        self.train()

    @staticmethod
    def _build(config: JointConfig) -> tuple[TransferNet, nn.Module, nn.Module | None]:
        assert config.transfer_checkpoint is not None
        assert config.colorizer_checkpoint is not None
        transfer = _load_transfer(config)
        colorizer = load_colorizer(
            config.colorizer_checkpoint,
            "stage.colorizer_checkpoint",
            mirror=config.weights_mirror,
            networks=HINTED_NETWORKS,
        )
        widths = {"transfer": transfer.settings["width"], "colorizer": describe_colorizer(colorizer)["width"]}
        if config.width not in {1.0, *widths.values()}:
            found = ", ".join(f"{name} {width:g}" for name, width in widths.items())
            log.warning("stage.width=%g is ignored: in stage=joint each network is as wide as its checkpoint (%s)", config.width, found)
        precolorizer = None
        if config.precolor in PRECOLOR_NETWORKS:
            precolorizer = load_precolorizer(config.precolor, config.precolor_weights, config.weights_mirror)
        return transfer, colorizer, precolorizer

    @staticmethod
    def _rebuild(config: JointConfig, resumed: Checkpoint) -> tuple[TransferNet, nn.Module, nn.Module | None]:
        networks = resumed.networks
        precolorizer = restore_colorizer(networks["precolorizer"]) if "precolorizer" in networks else None
        return TransferNet.from_settings(networks["transfer"]), restore_colorizer(networks["colorizer"]), precolorizer

    def _freeze(self) -> None:
        """What has no part in the result does not train."""
        if self.config.pipeline == "precolor":
            self.transfer.requires_grad_(False)
        if self.config.pipeline == "transfer":
            self.colorizer.requires_grad_(False)
        if self.precolorizer is not None:
            self.precolorizer.requires_grad_(False)

    def train(self, mode: bool = True) -> "JointStage":
        """Train with BatchNorm's statistics frozen; the colorizer has nothing else that tells training from evaluation."""
        super().train(mode)
        self.colorizer.eval()
        if self.precolorizer is not None:
            self.precolorizer.eval()
        for module in self.transfer.modules():
            if isinstance(module, _BatchNorm):
                module.eval()
        return self

    def networks(self) -> dict[str, dict[str, Any]]:
        """See `Stage`."""
        names = ("hints", "mask_probability", "hint_points", "precolor", "pipeline")
        networks = {
            "transfer": self.transfer.settings,
            "colorizer": describe_colorizer(self.colorizer),
            "pipeline": {
                **{name: getattr(self.config, name) for name in names},
                "feather": self.config.feather if self.config.regions else 0,
            },
        }
        return networks if self.precolorizer is None else {**networks, "precolorizer": describe_colorizer(self.precolorizer)}

    def step(self, batch: Batch) -> StepOutput:
        """See `Stage`."""
        target_labels, reference_labels = batch.label_maps() if self.config.regions else (None, None)
        result = colorize_exemplar(
            self.transfer,
            self.colorizer,
            batch.target_l,
            batch.reference_rgb,
            batch.keys,
            self._sample_hints,
            self.precolor,
            self.config.pipeline,
            target_labels,
            reference_labels,
            self.config.feather,
        )
        huber = self.huber(result.ab, batch.target_ab, result.hints.mask)
        return StepOutput({"loss": huber, "huber": huber}, result.transfer_ab.detach(), result.ab.detach())

    def _sample_hints(self, ab: Tensor, keys: Tensor) -> Hints:
        hints = self.sampler(ab, keys)
        return drop_hints(hints, keys, self.config.empty_probability) if self.training else hints


def _load_transfer(config: JointConfig) -> TransferNet:
    setting = "stage.transfer_checkpoint"
    trained = read_checkpoint(str(config.transfer_checkpoint), setting, ("transfer", "joint"))
    gray = config.precolor == "gray_encoder"
    overrides = {name: value for name in ("matching", "sites", "alpha") if (value := getattr(config, name)) is not None}
    transfer = TransferNet.from_settings(trained.networks["transfer"], **overrides, gray_encoder=gray)
    state = trained.network_state("transfer")
    own = {name: tensor for name, tensor in state.items() if gray or not name.startswith("gray_encoder.")}
    if gray and not trained.networks["transfer"]["gray_encoder"]:
        colors = {name.removeprefix("encoder."): tensor for name, tensor in state.items() if name.startswith("encoder.")}
        own |= {f"gray_encoder.{name}": tensor for name, tensor in gray_encoder_state(colors).items()}
    transfer.load_state_dict(own)
    return transfer
