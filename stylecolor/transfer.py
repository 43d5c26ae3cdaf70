"""The transfer sub-net: encode, match the reference's statistics, decode to sRGB."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from stylecolor.choices import NORMS, PADDINGS, check_sites
from stylecolor.encoder import SliceOutput, VGG19Encoder, slice_channels
from stylecolor.errors import check_choice, check_range
from stylecolor.matching import ChannelStatistics, channel_statistics, match_statistics

DECODER_CONVOLUTIONS = (2, 2, 2, 4)
"""Convolutions in the decoder slices 1 to 4: the encoder's, and one more in slice 1, whose widths 64 -> 64 -> 3 need two."""


@dataclass
class EncodedPicture:
    """The encoder's view of a picture: relu4_1, and per level 1 to 3 what the decoder's slice takes."""

    bottleneck: Tensor
    skips: dict[int, Tensor]
    pooled: dict[int, Tensor]


@dataclass
class ReferenceStyle:
    """All reference-side statistics of one batch of references, by site: computed once, used for any number of targets.

    Keys are `encoder1` ... `encoder4`, `skips1` ... `skips3`, `decoder1` ... `decoder4` and `bottleneck`.
    """

    statistics: dict[str, ChannelStatistics] = field(default_factory=dict)


Match = Callable[[str, Tensor], Tensor]
"""Called with a site's key and the features there; returns the features to go on with."""


class Decoder(nn.Module):
    """Mirror of the encoder's four slices; each unit is conv 3x3, BatchNorm, ReLU, the last convolution is bare.

    Level i works at the resolution of relu{i}_1 and is followed by nearest upsampling by 2. With `slices`, the input of levels 3, 2, 1 is
    concat(upsampled, relu{i}_1) (the report); with `pre_pool` it is upsampled concat(decoded, pool{i}) and conv{i}'s last map before
    pooling (the authors' choice of features; how they are joined is decided here).

    Args:
        width: multiplies every channel count but the three of the output.
        skips: `slices` or `pre_pool`.
        norm: `batch` or `none`.
        padding: `zeros` or `reflect`.
    """

    def __init__(self, width: float = 1.0, skips: str = "slices", norm: str = "batch", padding: str = "zeros") -> None:
        super().__init__()
        check_choice("stage.norm", norm, NORMS)
        check_choice("stage.padding", padding, PADDINGS)
        self.skips = skips
        channels = slice_channels(width, depth=4)
        self.levels = nn.ModuleDict()
        for level in (4, 3, 2, 1):
            skipped = {4: 0}.get(level, channels[level - 1] * (2 if skips == "pre_pool" else 1))
            channels_in = channels[level - 1] + skipped
            convolutions = DECODER_CONVOLUTIONS[level - 1]
            # level 4 narrows at once; the others keep their own width until the last convolution
            inner = channels[2] if level == 4 else channels[level - 1]
            channels_out = channels[level - 2] if level > 1 else 3
            widths = [channels_in, *[inner] * (convolutions - 1), channels_out]
            self.levels[str(level)] = nn.Sequential(
                *(_unit(widths[i], widths[i + 1], norm, padding, bare=level == 1 and i == convolutions - 1) for i in range(convolutions))
            )

    def forward(self, encoded: EncodedPicture, match: Match) -> Float[Tensor, "batch 3 height width"]:
        """Decode to sRGB, not clamped; `match` sees the features before each level as `decoder{level}`."""
        features = self.levels["4"](match("decoder4", encoded.bottleneck))
        for level in (3, 2, 1):
            features = match(f"decoder{level}", features)
            if self.skips == "pre_pool":
                features = torch.cat((features, match(f"skips{level}", encoded.pooled[level])), dim=1)
            skip = encoded.skips[level]
            # odd sizes: pooling rounded down, so the skip says how large the upsampled map must be
            features = F.interpolate(features, size=skip.shape[-2:], mode="nearest")
            features = self.levels[str(level)](torch.cat((features, skip), dim=1))
        return features


def _unit(channels_in: int, channels_out: int, norm: str, padding: str, bare: bool) -> nn.Sequential:
    layers: list[nn.Module] = []
    layers.append(nn.Conv2d(channels_in, channels_out, kernel_size=3, padding=1, padding_mode=padding))  # pyright: ignore[reportArgumentType]
    if not bare:
        layers += [nn.BatchNorm2d(channels_out)] * (norm == "batch") + [nn.ReLU()]
    return nn.Sequential(*layers)


class TransferNet(nn.Module):
    """Stylization of a content picture by a style picture: frozen VGG19, AdaIN at the chosen sites, trained decoder.

    Source: Xu et al., CVPR 2020, section 3.1, as the project report re-implements it (`sites=["bottleneck"]`, `skips="slices"`).

    Args:
        width: multiplies every channel count (1.0 is the published size).
        encoder_weights: see `VGG19Encoder`.
        sites: where AdaIN is applied: any of `bottleneck`; `encoder` (after each relu{i}_1, the matched feature feeding the next slice);
            `skips` (on pool1..3, with `skips="pre_pool"`); `decoder` (before levels 3, 2, 1, against the style's own decode, and before
            level 4 when `encoder` is off).
        alpha: strength of every AdaIN in [0, 1].
        skips: `slices` or `pre_pool`, see `Decoder`.
        norm: `batch` or `none`.
        padding: `zeros` or `reflect`.
    """

    def __init__(
        self,
        width: float = 1.0,
        encoder_weights: str = "imagenet",
        sites: Sequence[str] = ("bottleneck",),
        alpha: float = 1.0,
        skips: str = "slices",
        norm: str = "batch",
        padding: str = "zeros",
    ) -> None:
        super().__init__()
        check_sites(sites, skips)
        check_range("stage.alpha", alpha, low=0, high=1)
        self.settings = {
            "width": width,
            "sites": list(sites),
            "alpha": alpha,
            "skips": skips,
            "norm": norm,
            "padding": padding,
        }
        self.sites = frozenset(sites)
        self.alpha = alpha
        self.skips = skips
        self.encoder = VGG19Encoder(encoder_weights, width, depth=4)
        self.decoder = Decoder(width, skips, norm, padding)

    @classmethod
    def from_settings(cls, settings: Mapping[str, object], **overrides: object) -> "TransferNet":
        """A network of the architecture that a checkpoint records, its encoder's weights to be loaded next."""
        return cls(**{**settings, "encoder_weights": "empty", **overrides})  # pyright: ignore[reportArgumentType]

    def _key_in_use(self, key: str) -> bool:
        site = key.rstrip("1234")
        if key == "decoder4":
            # the bottleneck is matched once: by its own site, by the encoder's last slice or, failing both, as the decoder's level 4
            return "decoder" in self.sites and not self.sites & {"encoder", "bottleneck"}
        if key == "bottleneck":
            return "bottleneck" in self.sites and "encoder" not in self.sites
        return site in self.sites

    def _encode(self, rgb: Tensor, match: Match) -> EncodedPicture:
        features = self.encoder.normalize(rgb)
        skips: dict[int, Tensor] = {}
        pooled: dict[int, Tensor] = {}
        for index in range(4):
            output: SliceOutput = self.encoder.run_slice(index, features)
            features = match(f"encoder{index + 1}", output.output)
            if output.before_pool is not None and output.pooled is not None and self.skips == "pre_pool":
                skips[index] = output.before_pool
                pooled[index] = output.pooled
            if self.skips == "slices" and index < 3:
                skips[index + 1] = features
        return EncodedPicture(match("bottleneck", features), skips, pooled)

    def encode_reference(self, reference: Float[Tensor, "batch 3 height width"]) -> ReferenceStyle:
        """The reference's statistics at every site in use; reference is sRGB in [0, 1], of any size from 8 x 8."""
        style = ReferenceStyle()

        def record(key: str, features: Tensor) -> Tensor:
            if self._key_in_use(key):
                style.statistics[key] = channel_statistics(features)
            return features

        encoded = self._encode(reference, record)
        if "decoder" in self.sites:
            self.decoder(encoded, record)
        else:
            for level, features in encoded.pooled.items():
                record(f"skips{level}", features)
        return style

    def forward(
        self, content: Float[Tensor, "batch 3 height width"], reference: Float[Tensor, "batch 3 style_height style_width"] | ReferenceStyle
    ) -> Float[Tensor, "batch 3 height width"]:
        """Stylize content pictures, sRGB in [0, 1], by references or their statistics; clamped to [0, 1] only in eval mode."""
        style = reference if isinstance(reference, ReferenceStyle) else self.encode_reference(reference)

        def match(key: str, features: Tensor) -> Tensor:
            if not self._key_in_use(key):
                return features
            return match_statistics(features, style.statistics[key], self.alpha)

        output = self.decoder(self._encode(content, match), match)
        return output if self.training else output.clamp(0, 1)
