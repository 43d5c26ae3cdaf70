"""What each colorizer network is trained for: its losses, what it is shown, and what evaluation measures beyond."""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from datamodules.batch import Batch
from lightning_modules.base import StepOutput
from lightning_modules.config import ColorizerConfig
from stylecolor.classification import ClassificationNet
from stylecolor.colorizer import ColorizationNet, GlobalColorizationNet, Prediction, ab_classes
from stylecolor.global_hints import measure_global_hints, reveal_global_hints
from stylecolor.hints import Hints, all_hints, drop_hints, empty_hints, make_sampler
from stylecolor.losses import MaskedHuberLoss, RebalancedCrossEntropyLoss, top_bin_accuracy


def points_metric(points: int | str) -> str:
    """The name of the PSNR with so many shown pixels."""
    return f"psnr_points/{points}"


class Objective(nn.Module):
    """Base of the objectives. It holds what a network does not: losses and samplers, but no network.

    Args:
        config: of the stage.
        network: that is trained.
    """

    def __init__(self, config: ColorizerConfig, network: nn.Module) -> None:
        super().__init__()
        self.config = config

    @staticmethod
    def loss_names(config: ColorizerConfig) -> tuple[str, ...]:
        """Of the losses that `forward` answers with."""
        raise NotImplementedError

    @staticmethod
    def further_psnr_names(config: ColorizerConfig) -> tuple[str, ...]:
        """Of the ab maps that `further_ab` answers with."""
        return ()

    def forward(self, network: Any, batch: Batch, training: bool, empty: bool) -> StepOutput:
        """Forward pass and losses; `empty` says that no picture gets hints."""
        raise NotImplementedError

    def further_ab(self, network: Any, batch: Batch, pictures: int) -> dict[str, Tensor]:
        """See `lightning_modules.base.Stage`; `pictures` is how many of the batch the revealed points are measured on."""
        return {}


class HintedRegression(Objective):
    """Masked Huber loss on ab, some pictures getting no hints (Zhang et al., SIGGRAPH 2017, section 3.4); with the distribution head,
    cross-entropy of its classes is added."""

    def __init__(self, config: ColorizerConfig, network: ColorizationNet) -> None:
        super().__init__(config, network)
        self.sampler = make_sampler(config.hints, config.mask_probability, config.hint_points)
        self.samplers = {
            points_metric(points): all_hints if points == "all" else make_sampler("points", hint_points=points)
            for points in config.revealed_points
        }
        self.huber = MaskedHuberLoss(config.lambda_, config.delta)

    @staticmethod
    def loss_names(config: ColorizerConfig) -> tuple[str, ...]:
        """See `Objective`."""
        return ("loss", "huber", "cross_entropy") if config.distribution else ("loss", "huber")

    @staticmethod
    def further_psnr_names(config: ColorizerConfig) -> tuple[str, ...]:
        """See `Objective`."""
        return tuple(map(points_metric, config.revealed_points))

    def forward(self, network: ColorizationNet, batch: Batch, training: bool, empty: bool) -> StepOutput:
        """See `Objective`."""
        hints = self._sample_hints(batch, training, empty)
        ab, logits = self._predict(network, batch, hints, training)
        huber = self.huber(ab, batch.target_ab, hints.mask)
        losses = {"loss": self.config.regression_coefficient * huber, "huber": huber}
        if logits is not None:
            with torch.autocast(logits.device.type, enabled=False):
                losses["cross_entropy"] = F.cross_entropy(logits.float(), ab_classes(batch.target_ab))
            losses["loss"] = losses["loss"] + self.config.distribution_coefficient * losses["cross_entropy"]
        return StepOutput(losses, hints.ab, ab.detach())

    def _sample_hints(self, batch: Batch, training: bool, empty: bool) -> Hints:
        if empty:
            return empty_hints(batch.target_ab)
        hints = self.sampler(batch.target_ab, batch.keys)
        return drop_hints(hints, batch.keys, self.config.empty_probability) if training else hints

    def _predict(self, network: ColorizationNet, batch: Batch, hints: Hints, training: bool) -> Prediction:
        return network.predict(batch.target_l, *hints)

    def further_ab(self, network: ColorizationNet, batch: Batch, pictures: int) -> dict[str, Tensor]:
        """See `Objective`: PSNR against the number of shown pixels (Zhang et al., SIGGRAPH 2017, figure 6)."""
        if not pictures:
            return {}
        l, ab, keys = batch.target_l[:pictures], batch.target_ab[:pictures], batch.keys[:pictures]
        return {name: network(l, *sampler(ab, keys)) for name, sampler in self.samplers.items()}


class GlobalRegression(HintedRegression):
    """The same with global hints, each revealed at random in training (Zhang et al., SIGGRAPH 2017, section 3.3).

    Evaluation gives none of them, but for the PSNR called `psnr_global`, which gives both.
    """

    @staticmethod
    def further_psnr_names(config: ColorizerConfig) -> tuple[str, ...]:
        """See `Objective`."""
        return ("psnr_global", *HintedRegression.further_psnr_names(config))

    def _predict(self, network: GlobalColorizationNet, batch: Batch, hints: Hints, training: bool) -> Prediction:
        if not training:
            return network.predict(batch.target_l, *hints)
        truth = measure_global_hints(batch.target_rgb, batch.target_ab, network.bins)
        return network.predict(batch.target_l, *hints, reveal_global_hints(truth, batch.keys, self.config.global_probability))

    def further_ab(self, network: GlobalColorizationNet, batch: Batch, pictures: int) -> dict[str, Tensor]:
        """See `Objective`."""
        hints = self._sample_hints(batch, training=False, empty=False)
        truth = measure_global_hints(batch.target_rgb, batch.target_ab, network.bins)
        return {"psnr_global": network(batch.target_l, *hints, truth), **super().further_ab(network, batch, pictures)}


class Classification(Objective):
    """Rebalanced cross-entropy over the ab bins (Zhang et al., ECCV 2016, section 2.2)."""

    def __init__(self, config: ColorizerConfig, network: ClassificationNet) -> None:
        super().__init__(config, network)
        self.cross_entropy = RebalancedCrossEntropyLoss(network.bins, None, config.neighbours, config.sigma)

    @staticmethod
    def loss_names(config: ColorizerConfig) -> tuple[str, ...]:
        """See `Objective`."""
        return ("loss", "cross_entropy", "accuracy")

    def forward(self, network: ClassificationNet, batch: Batch, training: bool, empty: bool) -> StepOutput:
        """See `Objective`."""
        logits = network.logits(batch.target_l)
        cross_entropy = self.cross_entropy(logits, batch.target_ab)
        accuracy = top_bin_accuracy(logits.detach(), batch.target_ab, self.cross_entropy.bins)
        # only evaluation looks at the colours
        ab = batch.target_ab if training else network.decode(logits).detach()
        losses = {"loss": cross_entropy, "cross_entropy": cross_entropy, "accuracy": accuracy}
        return StepOutput(losses, torch.zeros_like(batch.target_ab), ab)


OBJECTIVES: dict[str, type[Objective]] = {
    "siggraph17": HintedRegression,
    "siggraph17_global": GlobalRegression,
    "eccv16": Classification,
}
"""By the names of `stylecolor.colorizers.NETWORKS`."""
