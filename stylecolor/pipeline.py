"""The whole pipeline: pre-colorize the target, transfer the reference's colours, refine them."""

from pathlib import Path
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from stylecolor.checkpoint import read_checkpoint
from stylecolor.color import gray_rgb, join_lab, rgb_to_lab
from stylecolor.colorizer import ColorizationNet
from stylecolor.hints import Hints, Sampler, empty_hints, make_sampler
from stylecolor.randomness import picture_keys
from stylecolor.transfer import ReferenceStyle, TransferNet

MINIMUM_REFERENCE_SIDE = 16
"""Below it the encoder's last feature map is a single pixel, which has no statistics."""


class Colorization(NamedTuple):
    """A result with the steps between, ab in Lab units."""

    ab: Float[Tensor, "batch 2 height width"]
    precolor_ab: Float[Tensor, "batch 2 height width"]
    transfer_ab: Float[Tensor, "batch 2 height width"]
    hints: Hints


def colorize_exemplar(
    transfer: TransferNet,
    colorizer: ColorizationNet,
    l: Float[Tensor, "batch 1 height width"],
    reference: Tensor | ReferenceStyle,
    keys: Tensor,
    sampler: Sampler,
) -> Colorization:
    """Pre-colorize (without gradient and in eval mode), transfer, and colorize with hints from the transfer's ab.

    Used as it is by the joint stage and by `ExemplarColorizer`, so that what is trained is what is run.

    Args:
        transfer: the transfer sub-net.
        colorizer: the colorization sub-net; it makes the pre-colorization too.
        l: the targets' L in [0, 100].
        reference: sRGB in [0, 1], or its statistics.
        keys: one for each sample, see `stylecolor.randomness`.
        sampler: chooses the hints from the transfer's ab map.
    """
    training = colorizer.training
    colorizer.eval()
    with torch.no_grad():
        precolor_ab = colorizer(l, *empty_hints(l.expand(-1, 2, -1, -1)))
        target = join_lab(l, precolor_ab)
    colorizer.train(training)
    transfer_ab = rgb_to_lab(transfer(target, reference))[:, 1:]
    hints = sampler(transfer_ab, keys)
    return Colorization(colorizer(l, *hints), precolor_ab, transfer_ab, hints)


class ExemplarColorizer(nn.Module):
    """Colorizes targets with the colours of references, by the two trained sub-nets.

    Args:
        transfer: the transfer sub-net.
        colorizer: the colorization sub-net.
        hints: the name of the sampler that chooses hints from the transfer's ab map.
        mask_probability: for the `bernoulli` sampler, the probability that a pixel of the map is hidden.
    """

    def __init__(self, transfer: TransferNet, colorizer: ColorizationNet, hints: str = "bernoulli", mask_probability: float = 0.99) -> None:
        super().__init__()
        self.transfer = transfer
        self.colorizer = colorizer
        self.sampler = make_sampler(hints, mask_probability)
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
        colorizer = ColorizationNet.from_settings(checkpoint.networks["colorizer"])
        colorizer.load_state_dict(checkpoint.network_state("colorizer"))
        return cls(transfer, colorizer, **checkpoint.networks["pipeline"])

    @torch.inference_mode()
    def colorize(
        self,
        target: Float[Tensor, "batch channels height width"],
        reference: Float[Tensor, "batch 3 reference_height reference_width"] | ReferenceStyle,
    ) -> Float[Tensor, "batch 3 height width"]:
        """Colorize targets with references: sRGB in [0, 1], one reference for each target or one for all.

        The result keeps the target's own L. Hints are drawn from the target's pixels alone: the same input gives the same output, alone or
        in a batch.

        Args:
            target: grey (one channel) or colour pictures, whose colours are ignored; sides are multiples of 8.
            reference: colour pictures of any size.

        Raises:
            ValueError: for sides that are no multiple of 8 and tensors of other kinds.
        """
        return join_lab(*self._run(target, reference))

    def _run(self, target: Tensor, reference: Tensor | ReferenceStyle) -> tuple[Tensor, Tensor]:
        if target.ndim != 4 or target.shape[1] not in (1, 3):
            raise ValueError(f"colorize: expected targets of shape (batch, 1 or 3, height, width), got {tuple(target.shape)}")
        if isinstance(reference, Tensor):
            _check_reference(reference, target.shape[0])
        rgb = target.expand(-1, 3, -1, -1)
        l = rgb_to_lab(rgb)[:, :1]
        # keyed by the grey picture, so that a target's own colours, which are not used, cannot change the hints either
        keys = picture_keys((gray_rgb(l)[:, :1] * 255).round().to(torch.uint8))
        return l, colorize_exemplar(self.transfer, self.colorizer, l, reference, keys, self.sampler).ab


def _check_reference(reference: Tensor, targets: int) -> None:
    if not reference.is_floating_point():
        raise ValueError(f"colorize: expected a floating-point reference, sRGB in [0, 1], got {reference.dtype}; divide uint8 by 255 first")
    if reference.ndim != 4 or reference.shape[1] != 3 or reference.shape[0] not in (1, targets):
        raise ValueError(f"colorize: expected 1 or {targets} references of shape (batch, 3, height, width), got {tuple(reference.shape)}")
    if min(reference.shape[-2:]) < MINIMUM_REFERENCE_SIDE:
        raise ValueError(f"colorize: a reference needs sides of {MINIMUM_REFERENCE_SIDE} px at least, got {tuple(reference.shape[-2:])}")
