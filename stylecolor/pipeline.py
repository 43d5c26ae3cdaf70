"""The whole pipeline: pre-colorize the target, transfer the reference's colours, refine them."""

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from jaxtyping import Float, UInt8
from torch import Tensor, nn

from stylecolor.checkpoint import Checkpoint, read_checkpoint
from stylecolor.choices import PIPELINES
from stylecolor.color import gray_rgb, join_lab, rgb_to_lab
from stylecolor.colorizers import restore_colorizer
from stylecolor.errors import check_choice, check_range
from stylecolor.hints import Hints, Sampler, empty_hints, make_sampler
from stylecolor.precolor import Precolor, make_precolor
from stylecolor.randomness import picture_keys
from stylecolor.reference_style import ReferenceStyle, mix_styles
from stylecolor.regions import LabelMap
from stylecolor.transfer import TransferNet

Reference = Tensor | ReferenceStyle

log = logging.getLogger(__name__)


class Colorization(NamedTuple):
    """A result with the steps between, ab in Lab units."""

    ab: Float[Tensor, "batch 2 height width"]
    precolor_ab: Float[Tensor, "batch 2 height width"]
    transfer_ab: Float[Tensor, "batch 2 height width"]
    hints: Hints


def colorize_exemplar(
    transfer: TransferNet,
    colorizer: nn.Module,
    l: Float[Tensor, "batch 1 height width"],
    reference: Reference,
    keys: Tensor,
    sampler: Sampler,
    precolor: Precolor,
    pipeline: str = "both",
    target_labels: LabelMap | None = None,
    reference_labels: LabelMap | None = None,
    feather: int = 0,
) -> Colorization:
    """Pre-colorize (without gradient), transfer, and colorize with hints from the transfer's ab.

    Used as it is by the joint stage and by `ExemplarColorizer`, so that what is trained is what is run.

    Args:
        transfer: the transfer sub-net.
        colorizer: the colorization sub-net.
        l: the targets' L in [0, 100].
        reference: sRGB in [0, 1], or its statistics.
        keys: one for each sample, see `stylecolor.randomness`.
        sampler: chooses the hints from the transfer's ab map.
        precolor: what the transfer sub-net sees of the target, see `stylecolor.precolor`.
        pipeline: what makes the result: `both` sub-nets, the `transfer` sub-net alone, or the colorization sub-net without hints
            (`precolor`), which looks at no reference (the paper's ablation, its section 4.2).
        target_labels: for matching region by region, see `TransferNet`.
        reference_labels: likewise.
        feather: likewise.
    """
    if pipeline == "precolor":
        hints = empty_hints(l.expand(-1, 2, -1, -1))
        ab = colorizer(l, *hints)
        return Colorization(ab, ab, ab, hints)
    precolored = precolor(l)
    transferred = transfer(precolored.picture, reference, target_labels, reference_labels, feather)
    transfer_ab = rgb_to_lab(transferred)[:, 1:]
    if pipeline == "transfer":
        return Colorization(transfer_ab, precolored.ab, transfer_ab, empty_hints(transfer_ab))
    hints = sampler(transfer_ab, keys)
    return Colorization(colorizer(l, *hints), precolored.ab, transfer_ab, hints)


class ExemplarColorizer(nn.Module):
    """Colorizes targets with the colours of references, by the two trained sub-nets.

    Args:
        transfer: the transfer sub-net.
        colorizer: the colorization sub-net.
        hints: the name of the sampler that chooses hints from the transfer's ab map.
        mask_probability: for the `bernoulli` sampler, the probability that a pixel of the map is hidden.
        hint_points: for the `points` sampler, how many pixels are shown.
        precolor: what the transfer sub-net sees of the target, see `stylecolor.precolor.make_precolor`.
        precolorizer: the network for it, unless it is the colorization sub-net itself or none is needed.
        pipeline: see `colorize_exemplar`.
        feather: px over which regions of a picture blend into each other, to each side of their border.

    Raises:
        ValueError: for names that are none, ranges, and a pre-colorization whose network is missing.
    """

    def __init__(
        self,
        transfer: TransferNet,
        colorizer: nn.Module,
        hints: str = "bernoulli",
        mask_probability: float = 0.99,
        hint_points: int = 10,
        precolor: str = "network",
        precolorizer: nn.Module | None = None,
        pipeline: str = "both",
        feather: int = 0,
    ) -> None:
        super().__init__()
        check_choice("stage.pipeline", pipeline, PIPELINES)
        check_range("stage.feather", feather, low=0)
        self.transfer = transfer
        self.colorizer = colorizer
        self.precolorizer = precolorizer
        self.sampler = make_sampler(hints, mask_probability, hint_points)
        self.precolor = make_precolor(precolor, colorizer if precolor == "network" else precolorizer)
        self.pipeline = pipeline
        self.feather = feather
        self.eval()

    @classmethod
    def from_checkpoint(cls, path: str | Path) -> "ExemplarColorizer":
        """Read a checkpoint of the joint stage, on the CPU and in eval mode.

        Raises:
            ValueError: for a missing or damaged file, or a checkpoint of another stage.
        """
        checkpoint = read_checkpoint(path, "checkpoint", ("joint",))
        transfer = TransferNet.from_settings(checkpoint.networks["transfer"])
        transfer.load_state_dict(checkpoint.network_state("transfer"))
        colorizer = _read_colorizer(checkpoint, "colorizer")
        precolorizer = _read_colorizer(checkpoint, "precolorizer") if "precolorizer" in checkpoint.networks else None
        return cls(transfer, colorizer, **checkpoint.networks["pipeline"], precolorizer=precolorizer)

    @torch.inference_mode()
    def encode_reference(
        self,
        reference: Float[Tensor, "batch 3 height width"],
        labels: UInt8[Tensor, "batch height width"] | None = None,
    ) -> ReferenceStyle:
        """A reference's statistics, for any number of targets; see `TransferNet.encode_reference`.

        Raises:
            ValueError: for references that are too small or hold NaN, and label maps of another size.
        """
        _check_finite(reference, "reference")
        return self.transfer.encode_reference(reference, None if labels is None else LabelMap.read(labels), self.feather)

    @torch.inference_mode()
    def colorize(
        self,
        target: Float[Tensor, "batch channels height width"],
        reference: Reference | Sequence[Reference],
        weights: Sequence[float] | None = None,
        target_labels: UInt8[Tensor, "batch height width"] | None = None,
        reference_labels: UInt8[Tensor, "batch reference_height reference_width"] | None = None,
    ) -> Float[Tensor, "batch 3 height width"]:
        """Colorize targets with references: sRGB in [0, 1], one reference for each target or one for all.

        The result keeps the target's own L. Hints are drawn from the target's pixels alone: the same input gives the same output, alone or
        in a batch.

        Args:
            target: grey (one channel) or colour pictures, whose colours are ignored; sides are multiples of 8.
            reference: colour pictures of any size, or their statistics; several of them are mixed.
            weights: of several references, in which they are mixed; equal if left out.
            target_labels: with label maps on both sides, regions of the same label are matched with each other.
            reference_labels: of one reference; of several, or of statistics, encode them with `encode_reference`.

        Raises:
            ValueError: for sides that are no multiple of 8, tensors of other kinds, and weights or label maps that do not fit.
        """
        return join_lab(*self._run(target, reference, weights, target_labels, reference_labels))

    def _run(
        self,
        target: Tensor,
        reference: Reference | Sequence[Reference],
        weights: Sequence[float] | None,
        target_labels: Tensor | None,
        reference_labels: Tensor | None,
    ) -> tuple[Tensor, Tensor]:
        if target.ndim != 4 or target.shape[1] not in (1, 3):
            raise ValueError(f"colorize: expected targets of shape (batch, 1 or 3, height, width), got {tuple(target.shape)}")
        style = self._style(reference, weights, reference_labels).to(target.device)
        if (target_labels is None) != (not style.labels):
            log.warning("colorize: one side alone has labels, which are ignored: regions are matched where target and reference have them")
        _check_finite(target, "targets")
        if len(style) not in (1, len(target)):
            raise ValueError(f"colorize: {len(target)} targets need 1 or {len(target)} references, got {len(style)}")
        rgb = target.expand(-1, 3, -1, -1)
        l = rgb_to_lab(rgb)[:, :1]
        # keyed by the grey picture, so that a target's own colours, which are not used, cannot change the hints either
        keys = picture_keys((gray_rgb(l)[:, :1] * 255).round().to(torch.uint8))
        labels = None if target_labels is None else LabelMap.read(target_labels)
        result = colorize_exemplar(
            self.transfer,
            self.colorizer,
            l,
            style,
            keys,
            self.sampler,
            self.precolor,
            self.pipeline,
            target_labels=labels,
            feather=self.feather,
        )
        return l, result.ab

    def _style(self, reference: Reference | Sequence[Reference], weights: Sequence[float] | None, labels: Tensor | None) -> ReferenceStyle:
        if weights is not None and isinstance(reference, Tensor | ReferenceStyle):
            raise ValueError(f"colorize: weights={weights} belong to several references; pass them as a list")
        if isinstance(reference, Tensor):
            return self.encode_reference(reference, labels)
        if labels is not None:
            raise ValueError("colorize: reference_labels belong to one reference picture; encode others with encode_reference")
        if isinstance(reference, ReferenceStyle):
            return reference
        styles = [one if isinstance(one, ReferenceStyle) else self.encode_reference(one) for one in reference]
        return mix_styles(styles, weights)


def _check_finite(pictures: Tensor, what: str) -> None:
    if not pictures.isfinite().all():
        raise ValueError(f"colorize: NaN or infinity in the {what}; expected sRGB in [0, 1]")


def _read_colorizer(checkpoint: Checkpoint, name: str) -> nn.Module:
    network = restore_colorizer(checkpoint.networks[name])
    network.load_state_dict(checkpoint.network_state(name))
    return network
