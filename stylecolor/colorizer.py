"""The colorization sub-net: the SIGGRAPH'17 user-guided U-Net, with local hints and with global ones too."""

from collections.abc import Mapping
from typing import Any, NamedTuple, Self

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn

from stylecolor.ab_bins import gamut_bins
from stylecolor.color import AB_SCALE, L_CENTER, L_SCALE
from stylecolor.encoder import scale_channels, weight_dtype
from stylecolor.global_hints import GlobalHints, hide_global_hints

GRID_STEP = 10.0
"""Of the classes of the distribution head, in Lab units."""
GRID_SIDE = 23
"""Classes along a and along b, from -110 to 110."""
DISTRIBUTION_STRIDE = 4
"""Pixels of the picture for each of the distribution head's."""


class Prediction(NamedTuple):
    """ab in Lab units, float32, and the logits of the distribution head, whose class is 23 * (a + 110) / 10 + (b + 110) / 10."""

    ab: Float[Tensor, "batch 2 height width"]
    logits: Float[Tensor, "batch 529 height/4 width/4"] | None


def ab_classes(ab: Float[Tensor, "batch 2 height width"]) -> Int64[Tensor, "batch height/4 width/4"]:
    """The class of every fourth pixel, for the distribution head: the nearest node of a 23 x 23 grid of ab with step 10.

    Source: the authors' training code, which takes every fourth pixel too.
    """
    middle = GRID_SIDE // 2
    nodes = (ab[:, :, ::DISTRIBUTION_STRIDE, ::DISTRIBUTION_STRIDE].float() / GRID_STEP).round().clamp(-middle, middle) + middle
    return (GRID_SIDE * nodes[:, 0] + nodes[:, 1]).to(torch.int64)


def class_colors() -> Float[Tensor, "529 2"]:
    """The ab of each class of the distribution head, Lab units; most of the grid's corners are no colours."""
    nodes = (torch.arange(GRID_SIDE) - GRID_SIDE // 2) * GRID_STEP
    return torch.cartesian_prod(nodes, nodes)


def _block(channels_in: int, channels_out: int, convolutions: int, dilation: int = 1, relu_first: bool = False) -> nn.Sequential:
    layers: list[nn.Module] = [nn.ReLU()] if relu_first else []
    for index in range(convolutions):
        layers.append(
            nn.Conv2d(channels_in if index == 0 else channels_out, channels_out, kernel_size=3, padding=dilation, dilation=dilation)
        )
        layers.append(nn.ReLU())
    return nn.Sequential(*layers, nn.BatchNorm2d(channels_out))


class ColorizationNet(nn.Module):
    """Ten blocks from (L, hinted ab, mask) to ab (Zhang et al., SIGGRAPH 2017, section 3.3, and the authors' released weights).

    Resolution halves after blocks 1, 2 and 3 by taking every second pixel, blocks 5 and 6 are dilated by 2, and blocks 8, 9, 10 come back
    up with shortcuts from blocks 3, 2, 1. Attribute names follow the released file (`model1.0.weight` ... `model_out.0.bias`), which
    `stylecolor.colorizers` therefore loads directly.

    Args:
        width: multiplies every channel count but those of the input and the output.
        distribution: add the head on block 8 that classifies every fourth pixel (section 3.3, "color distribution prediction").
    """

    def __init__(self, width: float = 1.0, distribution: bool = False) -> None:
        super().__init__()
        self.settings: dict[str, Any] = {"width": width, "distribution": distribution}
        c64, c128, c256, c512 = (scale_channels(channels, width) for channels in (64, 128, 256, 512))
        self.model1 = _block(4, c64, 2)
        self.model2 = _block(c64, c128, 2)
        self.model3 = _block(c128, c256, 3)
        self.model4 = _block(c256, c512, 3)
        self.model5 = _block(c512, c512, 3, dilation=2)
        self.model6 = _block(c512, c512, 3, dilation=2)
        self.model7 = _block(c512, c512, 3)
        self.model8up = nn.Sequential(nn.ConvTranspose2d(c512, c256, kernel_size=4, stride=2, padding=1))
        self.model3short8 = nn.Sequential(nn.Conv2d(c256, c256, kernel_size=3, padding=1))
        self.model8 = _block(c256, c256, 2, relu_first=True)
        self.model9up = nn.Sequential(nn.ConvTranspose2d(c256, c128, kernel_size=4, stride=2, padding=1))
        self.model2short9 = nn.Sequential(nn.Conv2d(c128, c128, kernel_size=3, padding=1))
        self.model9 = _block(c128, c128, 1, relu_first=True)
        self.model10up = nn.Sequential(nn.ConvTranspose2d(c128, c128, kernel_size=4, stride=2, padding=1))
        self.model1short10 = nn.Sequential(nn.Conv2d(c64, c128, kernel_size=3, padding=1))
        self.model10 = nn.Sequential(nn.ReLU(), nn.Conv2d(c128, c128, kernel_size=3, padding=1), nn.LeakyReLU(0.2))
        self.model_out = nn.Sequential(nn.Conv2d(c128, 2, kernel_size=1), nn.Tanh())
        self.model_class = nn.Sequential(nn.Conv2d(c256, GRID_SIDE**2, kernel_size=1)) if distribution else None

    @property
    def full_precision(self) -> tuple[nn.Module, ...]:
        """The layers that stay float32 when all others are bf16, see `_decode`."""
        return (self.model_out,)

    @classmethod
    def from_settings(cls, settings: Mapping[str, Any]) -> Self:
        """A network of the architecture that a checkpoint records."""
        return cls(**settings)

    def forward(
        self,
        l: Float[Tensor, "batch 1 height width"],
        hint_ab: Float[Tensor, "batch 2 height width"],
        mask: Float[Tensor, "batch 1 height width"],
    ) -> Float[Tensor, "batch 2 height width"]:
        """Predict ab in Lab units, float32, from L in [0, 100], hinted ab in Lab units and the mask (1 where ab is a hint).

        Height and width must be multiples of 8. Hinted ab is multiplied by the mask here, so that hidden colours never leak.

        Raises:
            ValueError: for sides that are no multiple of 8.
        """
        return self._decode(*self._encode(l, hint_ab, mask)).ab

    def predict(
        self,
        l: Float[Tensor, "batch 1 height width"],
        hint_ab: Float[Tensor, "batch 2 height width"],
        mask: Float[Tensor, "batch 1 height width"],
    ) -> Prediction:
        """Like calling the network, with the distribution's logits where it has the head for them."""
        return self._decode(*self._encode(l, hint_ab, mask), classify=True)

    def _encode(self, l: Tensor, hint_ab: Tensor, mask: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """The features after blocks 1 to 4."""
        if l.shape[-2] % 8 or l.shape[-1] % 8:
            raise ValueError(f"ColorizationNet: height and width must be multiples of 8, got {l.shape[-2]} x {l.shape[-1]}")
        inputs = torch.cat(((l - L_CENTER) / L_SCALE, hint_ab / AB_SCALE * mask, mask), dim=1)
        block1 = self.model1(inputs.to(weight_dtype(self.model1)))
        block2 = self.model2(block1[:, :, ::2, ::2])
        block3 = self.model3(block2[:, :, ::2, ::2])
        return block1, block2, block3, self.model4(block3[:, :, ::2, ::2])

    def _decode(self, block1: Tensor, block2: Tensor, block3: Tensor, block4: Tensor, classify: bool = False) -> Prediction:
        block7 = self.model7(self.model6(self.model5(block4)))
        block8 = self.model8(self.model8up(block7) + self.model3short8(block3))
        block9 = self.model9(self.model9up(block8) + self.model2short9(block2))
        block10 = self.model10(self.model10up(block9) + self.model1short10(block1))
        logits = self.model_class(block8) if classify and self.model_class is not None else None
        # in full precision, since bf16 would leave steps of half a Lab unit
        with torch.autocast(block10.device.type, enabled=False):
            return Prediction(self.model_out(block10.to(weight_dtype(self.model_out))).float() * AB_SCALE, logits)


class GlobalColorizationNet(ColorizationNet):
    """The same network with global hints: four 1x1 convolutions, each with a ReLU, lead them to the features after block 4, onto which
    they are added at every pixel (Zhang et al., SIGGRAPH 2017, section 3.3, "global hints network").

    The branch is `model_global`; it sees the histogram over the derived bins, its flag, the saturation and its flag.

    Args:
        width: multiplies every channel count but those of the input and the output.
        distribution: see `ColorizationNet`.
    """

    bins: Tensor

    def __init__(self, width: float = 1.0, distribution: bool = False) -> None:
        super().__init__(width, distribution)
        self.register_buffer("bins", gamut_bins(), persistent=False)
        channels = scale_channels(512, width)
        layers: list[nn.Module] = []
        for channels_in in (len(self.bins) + 3, channels, channels, channels):
            layers += [nn.Conv2d(channels_in, channels, kernel_size=1), nn.ReLU()]
        self.model_global = nn.Sequential(*layers)

    def forward(
        self,
        l: Float[Tensor, "batch 1 height width"],
        hint_ab: Float[Tensor, "batch 2 height width"],
        mask: Float[Tensor, "batch 1 height width"],
        global_hints: GlobalHints | None = None,
    ) -> Float[Tensor, "batch 2 height width"]:
        """See `ColorizationNet`; without global hints the network sees zeros, and flags that say so."""
        return self._decode(*self._encode_with(global_hints, l, hint_ab, mask)).ab

    def predict(
        self,
        l: Float[Tensor, "batch 1 height width"],
        hint_ab: Float[Tensor, "batch 2 height width"],
        mask: Float[Tensor, "batch 1 height width"],
        global_hints: GlobalHints | None = None,
    ) -> Prediction:
        """Like calling the network, with the distribution's logits where it has the head for them."""
        return self._decode(*self._encode_with(global_hints, l, hint_ab, mask), classify=True)

    def _encode_with(
        self, global_hints: GlobalHints | None, l: Tensor, hint_ab: Tensor, mask: Tensor
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        block1, block2, block3, block4 = self._encode(l, hint_ab, mask)
        hints = hide_global_hints(l, len(self.bins)) if global_hints is None else global_hints
        added = self.model_global(torch.cat(hints, dim=1)[:, :, None, None].to(weight_dtype(self.model_global)))
        return block1, block2, block3, block4 + added
