"""The colorizer stage: a network learns to colorize from hints taken from the target's own colours, or from nothing."""

from typing import Any

import numpy as np
import torch
from jaxtyping import Int64
from torch import Tensor
from torch.nn.modules.batchnorm import _BatchNorm

from datamodules.batch import Batch
from lightning_modules.base import Stage, StepOutput, check_resumed
from lightning_modules.config import ColorizerConfig
from lightning_modules.objectives import OBJECTIVES, Classification
from stylecolor.ab_bins import bin_prior, rebalancing_weights
from stylecolor.checkpoint import Checkpoint
from stylecolor.colorizers import (
    Colorizer,
    StoredColorizer,
    block_of,
    describe_colorizer,
    load_blocks,
    make_colorizer,
    read_colorizer,
    restore_colorizer,
)


class ColorizerStage(Stage):
    """One of `stylecolor.colorizers.NETWORKS` with its objective; blocks may start from weights, be frozen, or learn at rates of their own.

    The first `stage.empty_epochs` epochs give no picture any hint. They come first, since which epoch is the last may change in a resumed
    run.
    """

    config: ColorizerConfig

    def __init__(self, config: ColorizerConfig, resumed: Checkpoint | None = None) -> None:
        super().__init__(config)
        if resumed is None:
            self.colorizer = start_colorizer(config)
        else:
            check_resumed(resumed, config)
            self.colorizer = restore_colorizer(resumed.networks["colorizer"])
            # the objective needs the bins, which come with the weights
            self.colorizer.load_state_dict(resumed.network_state("colorizer"))
        self.objective = OBJECTIVES[config.network](config, self.colorizer)
        self.frozen_blocks = {*map(str, config.freeze or ())}
        for name, parameter in self.colorizer.named_parameters():
            if block_of(name, config.network) in self.frozen_blocks:
                parameter.requires_grad = False
        self.evaluated_pictures = 0
        self.use_memory_format()
        # Lightning trains in the modes that it finds
        self.train()

    @property
    def loss_names(self) -> tuple[str, ...]:
        """Of the network's objective."""
        return OBJECTIVES[self.config.network].loss_names(self.config)

    @property
    def further_psnr_names(self) -> tuple[str, ...]:
        """Of the network's objective."""
        return OBJECTIVES[self.config.network].further_psnr_names(self.config)

    def networks(self) -> dict[str, dict[str, Any]]:
        """See `Stage`."""
        return {"colorizer": describe_colorizer(self.colorizer)}

    def train(self, mode: bool = True) -> "ColorizerStage":
        """Train with the BatchNorm statistics of frozen blocks frozen too."""
        super().train(mode)
        for name, module in self.colorizer.named_modules():
            if isinstance(module, _BatchNorm) and block_of(f"{name}.", self.config.network) in self.frozen_blocks:
                module.eval()
        return self

    def parameter_groups(self) -> list[dict[str, Any]]:
        """See `Stage`; blocks with a factor of their own are groups of their own, after the others."""
        factors = {str(block): factor for block, factor in (self.config.lr_factors or {}).items()}
        groups: dict[str | None, list[Tensor]] = {None: []}
        for name, parameter in self.colorizer.named_parameters():
            block = block_of(name, self.config.network)
            if parameter.requires_grad:
                groups.setdefault(block if block in factors else None, []).append(parameter)
        return [
            {"params": parameters, "lr": self.config.optimizer.lr * (factors[block] if block is not None else 1)}
            for block, parameters in groups.items()
            if parameters
        ]

    def use_ab_histogram(self, histogram: Int64[np.ndarray, "256 256"]) -> None:
        """See `Stage`: weigh the classes of eccv16 by how rare they are."""
        assert isinstance(self.objective, Classification)
        loss = self.objective.cross_entropy
        loss.set_weights(rebalancing_weights(bin_prior(torch.from_numpy(histogram), loss.bins, self.config.sigma), self.config.rebalancing))

    def step(self, batch: Batch) -> StepOutput:
        """See `Stage`."""
        empty = self.training and self.current_epoch < self.config.empty_epochs
        return self.objective(self.colorizer, batch, self.training, empty)

    def on_validation_epoch_start(self) -> None:
        """Count the pictures from 0."""
        self.evaluated_pictures = 0

    def on_test_epoch_start(self) -> None:
        """Count the pictures from 0."""
        self.evaluated_pictures = 0

    def further_ab(self, batch: Batch) -> dict[str, Tensor]:
        """See `Stage`: of the pictures that one process would take first, each takes its share."""
        rank, processes = self.trainer.global_rank, self.trainer.world_size
        share = max(1, -(-(self.config.revealed_pictures - rank) // processes))
        left = max(0, share - self.evaluated_pictures)
        self.evaluated_pictures += len(batch)
        return self.objective.further_ab(self.colorizer, batch, min(left, len(batch)))


def start_colorizer(config: ColorizerConfig) -> Colorizer:
    """The network of a fresh run, with what `stage.weights` and `stage.pretrained_blocks` give it.

    Raises:
        ValueError: for weights that do not fit.
    """
    if config.weights == "random":
        return make_colorizer(config.network, _settings(config, None))
    setting = "stage.weights"
    stored = read_colorizer(config.weights, setting, config.weights_mirror, assumed=config.network)
    blocks = None if config.pretrained_blocks is None else {*map(str, config.pretrained_blocks)}
    network = make_colorizer(config.network, _settings(config, stored if blocks is None or "8" in blocks else None))
    load_blocks(network, stored, config.weights, setting, blocks)
    return network


def _settings(config: ColorizerConfig, classifier: StoredColorizer | None) -> dict[str, Any]:
    """Of the network; `classifier` are the weights whose last block, and with it whose bins, are taken."""
    if config.network != "eccv16":
        return {"width": config.width, "distribution": config.distribution}
    stored = classifier.settings if classifier is not None and classifier.network == "eccv16" else {}
    settings = {name: stored[name] for name in ("bins", "temperature") if name in stored}
    if config.temperature is not None:
        settings["temperature"] = config.temperature
    return {"width": config.width, **settings}
