"""The transfer sub-net: encode, match the reference's statistics, decode to sRGB."""

import copy
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from stylecolor.choices import MATCHINGS, NORMS, PADDINGS, check_site_names, check_sites
from stylecolor.encoder import SliceOutput, VGG19Encoder, slice_channels
from stylecolor.errors import check_choice, check_range
from stylecolor.matching import MATCHINGS as METHODS
from stylecolor.matching import Statistics
from stylecolor.reference_style import ReferenceStyle
from stylecolor.regions import LabelMap, RegionPyramid, corresponding

DECODER_CONVOLUTIONS = {"slices": (2, 2, 2, 4), "pre_pool": (2, 2, 4, 1)}
"""Convolutions in the decoder's levels 1 to 4, by the kind of skips.

With `slices` they are the encoder's slices mirrored, and one more in level 1, whose widths 64 -> 64 -> 3 need two. With `pre_pool` they
are the authors' (`conv1_2_2, conv1_1`; `conv2_2_2, conv2_1`; `conv3_4_2, conv3_3, conv3_2, conv3_1`; `conv4_1`).
"""

MINIMUM_REFERENCE_SIDE = 16
"""Below it the encoder's last feature map is a single pixel, which has no statistics."""

log = logging.getLogger(__name__)


@dataclass
class EncodedPicture:
    """The encoder's view of a picture: relu4_1, and per level 1 to 3 what the decoder's slice takes."""

    bottleneck: Tensor
    skips: dict[int, Tensor]
    pooled: dict[int, Tensor]


Match = Callable[[str, Tensor], Tensor]
"""Called with a site's key and the features there; returns the features to go on with."""


class Decoder(nn.Module):
    """Mirror of the encoder's four slices; each unit is conv 3x3, BatchNorm, ReLU, the last convolution is bare.

    Level i works at the resolution of relu{i}_1 and is followed by nearest upsampling by 2. With `slices`, the input of levels 3, 2, 1 is
    concat(upsampled, relu{i}_1) (the report); with `pre_pool` it is concat(upsampled, upsampled pool{i}, conv{i}'s last map before
    pooling), as the authors have it.

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
            convolutions = DECODER_CONVOLUTIONS[skips][level - 1]
            # level 4 narrows at once; the others keep their own width until the last convolution
            inner = channels[2] if level == 4 else channels[level - 1]
            channels_out = channels[level - 2] if level > 1 else 3
            widths = [channels_in, *[inner] * (convolutions - 1), channels_out]
            self.levels[str(level)] = nn.Sequential(
                *(_unit(widths[i], widths[i + 1], norm, padding, bare=level == 1 and i == convolutions - 1) for i in range(convolutions))
            )

    def forward(self, encoded: EncodedPicture, match: Match) -> Float[Tensor, "batch 3 height width"]:
        """Decode to sRGB, not clamped.

        `match` sees features of each level as `decoder{level}`: those that it begins with, or, with `pre_pool`, those before the last
        convolution of levels 3, 2, 1, which is where the authors' levels begin.
        """
        features = self.levels["4"](match("decoder4", encoded.bottleneck))
        for level in (3, 2, 1):
            if self.skips == "pre_pool":
                features = torch.cat((features, match(f"skips{level}", encoded.pooled[level])), dim=1)
            else:
                features = match(f"decoder{level}", features)
            skip = encoded.skips[level]
            # odd sizes: pooling rounded down, so the skip says how large the upsampled map must be
            features = F.interpolate(features, size=skip.shape[-2:], mode="nearest")
            features = torch.cat((features, skip), dim=1)
            *units, last = self.levels[str(level)].children()
            for unit in units:
                features = unit(features)
            features = last(match(f"decoder{level}", features) if self.skips == "pre_pool" else features)
        return features


def _unit(channels_in: int, channels_out: int, norm: str, padding: str, bare: bool) -> nn.Sequential:
    layers: list[nn.Module] = []
    layers.append(nn.Conv2d(channels_in, channels_out, kernel_size=3, padding=1, padding_mode=padding))  # pyright: ignore[reportArgumentType]
    if not bare:
        layers += [nn.BatchNorm2d(channels_out)] * (norm == "batch") + [nn.ReLU()]
    return nn.Sequential(*layers)


class TransferNet(nn.Module):
    """Stylization of a content picture by a style picture: frozen VGG19, matching at the chosen sites, trained decoder.

    Source: Xu et al., CVPR 2020, section 3.1, as the project report re-implements it (`sites=["bottleneck"]`, `skips="slices"`).

    Args:
        encoder: what sees the references, and the targets too unless `gray_encoder` is given.
        matching: `adain`, `wct`, or `none`, with which `sites` and `alpha` mean nothing.
        sites: where features are matched: any of `bottleneck`; `encoder` (after each relu{i}_1, the matched feature feeding the next
            slice); `skips` (on pool1..3, with `skips="pre_pool"`); `decoder` (at levels 3, 2, 1, see `Decoder.forward`, against the
            style's own decode, and before level 4 when `encoder` is off).
        alpha: strength of every matching in [0, 1].
        skips: `slices` or `pre_pool`, see `Decoder`.
        norm: `batch` or `none`.
        padding: `zeros` or `reflect`, of the decoder.
        gray_encoder: a one-channel encoder for the targets, which are then grey (the paper's "gray VGG").
    """

    def __init__(
        self,
        encoder: VGG19Encoder,
        matching: str = "adain",
        sites: Sequence[str] = ("bottleneck",),
        alpha: float = 1.0,
        skips: str = "slices",
        norm: str = "batch",
        padding: str = "zeros",
        gray_encoder: VGG19Encoder | None = None,
    ) -> None:
        super().__init__()
        check_choice("stage.matching", matching, MATCHINGS)
        check_sites(sites, skips)
        check_range("stage.alpha", alpha, low=0, high=1)
        self.settings = {
            "width": encoder.width,
            "encoder_padding": encoder.padding,
            "gray_encoder": gray_encoder is not None,
            "matching": matching,
            "sites": list(sites),
            "alpha": alpha,
            "skips": skips,
            "norm": norm,
            "padding": padding,
        }
        self.matching = matching
        self.sites = frozenset(sites if matching != "none" else ())
        self.alpha = alpha
        self.skips = skips
        self.encoder = encoder
        self.gray_encoder = gray_encoder
        self.decoder = Decoder(encoder.width, skips, norm, padding)

    @classmethod
    def from_settings(cls, settings: Mapping[str, Any], **overrides: Any) -> "TransferNet":
        """A network of the architecture that a checkpoint records, its weights to be loaded next."""
        settings = {**settings, **overrides}
        width, padding, gray = (settings.pop(name) for name in ("width", "encoder_padding", "gray_encoder"))
        encoder = VGG19Encoder("empty", width, padding=padding)
        return cls(encoder, **settings, gray_encoder=VGG19Encoder("empty", width, padding=padding, channels_in=1) if gray else None)

    def rematched(self, matching: str | None = None, sites: Sequence[str] | None = None) -> Self:
        """The same weights with another matching or other sites; nothing is copied, and what is left out stays as it is.

        Args:
            matching: see the class.
            sites: see the class.

        Raises:
            ValueError: for names that are none, and a site that these weights do not have.
        """
        if matching is not None:
            check_choice("matching", matching, MATCHINGS)
        if sites is not None:
            check_site_names("sites", sites)
            if "skips" in sites and self.skips != "pre_pool":
                raise ValueError(
                    f"sites={','.join(sites)}: these weights have no site 'skips', as they were trained with stage.skips={self.skips}; "
                    "leave it out"
                )
        settings = {**self.settings, "matching": matching or self.matching}
        settings["sites"] = list(sites) if sites is not None else self.settings["sites"]
        if sites is not None and settings["matching"] == "none":
            log.warning("sites=%s is ignored: with matching=none nothing is matched", ",".join(sites))
        other = copy.copy(self)
        other.settings = settings
        other.matching = settings["matching"]
        other.sites = frozenset(settings["sites"] if other.matching != "none" else ())
        return other

    def _key_in_use(self, key: str) -> bool:
        site = key.rstrip("1234")
        if key == "decoder4":
            # the bottleneck is matched once: by its own site, by the encoder's last slice or, failing both, as the decoder's level 4
            return "decoder" in self.sites and not self.sites & {"encoder", "bottleneck"}
        if key == "bottleneck":
            return "bottleneck" in self.sites and "encoder" not in self.sites
        return site in self.sites

    def _encode(self, encoder: VGG19Encoder, picture: Tensor, match: Match) -> EncodedPicture:
        features = encoder.normalize(picture).to(encoder.dtype)
        skips: dict[int, Tensor] = {}
        pooled: dict[int, Tensor] = {}
        for index in range(4):
            output: SliceOutput = encoder.run_slice(index, features)
            features = match(f"encoder{index + 1}", output.output)
            if output.before_pool is not None and output.pooled is not None and self.skips == "pre_pool":
                skips[index] = output.before_pool
                pooled[index] = output.pooled
            if self.skips == "slices" and index < 3:
                skips[index + 1] = features
        return EncodedPicture(match("bottleneck", features), skips, pooled)

    def encode_reference(
        self, reference: Float[Tensor, "batch 3 height width"], label_map: LabelMap | None = None, feather: int = 0
    ) -> ReferenceStyle:
        """The reference's statistics at every site in use, of the whole picture and of each region of its label map.

        Args:
            reference: sRGB in [0, 1], of any size from 16 x 16.
            label_map: of the same size.
            feather: px, as its targets will have it.

        Raises:
            ValueError: for references that are too small and label maps of another size.
        """
        check_reference(reference)
        if label_map is None or not self.sites:
            labels, shares, regions = (), reference.new_zeros(reference.shape[0], 0), None
        else:
            label_map.check_size(reference, "reference")
            labels, shares = label_map.values, label_map.shares(label_map.values)
            regions = RegionPyramid(label_map, labels, feather) if labels else None
        statistics: dict[str, Statistics] = {}

        def record(key: str, features: Tensor) -> Tensor:
            if self._key_in_use(key):
                at_size = None if regions is None else regions.at(features.shape[-2:])
                statistics[key] = METHODS[self.matching].measure(features, at_size)
            return features

        if self.sites:
            encoded = self._encode(self.encoder, reference, record)
            if "decoder" in self.sites:
                self.decoder(encoded, record)
            else:
                for level, features in encoded.pooled.items():
                    record(f"skips{level}", features)
        return ReferenceStyle(self.matching, statistics, labels, shares, feather if labels else None)

    def forward(
        self,
        content: Float[Tensor, "batch channels height width"],
        reference: Float[Tensor, "batch 3 style_height style_width"] | ReferenceStyle,
        target_labels: LabelMap | None = None,
        reference_labels: LabelMap | None = None,
        feather: int = 0,
    ) -> Float[Tensor, "batch 3 height width"]:
        """Stylize content pictures by references or their statistics; sRGB, clamped to [0, 1] only in eval mode.

        Args:
            content: sRGB in [0, 1]; one channel of it with a grey encoder.
            reference: sRGB in [0, 1], or what `encode_reference` made of it; one for each content, or one for all.
            target_labels: with regions on both sides, each region of the content takes the statistics of the reference's region of the same
                label, where both have more than 10 px and their shares of the pictures differ by less than a factor of 100; all other
                pixels take those of the whole pictures.
            reference_labels: of the reference, unless its statistics are given.
            feather: px over which regions blend into each other, to each side of their border, in the content and in the reference.

        Raises:
            ValueError: for label maps of other sizes or types, and statistics of another network.
        """
        encoder = self.gray_encoder or self.encoder
        if content.shape[1] != encoder.channels_in:
            raise ValueError(f"TransferNet: the content has {content.shape[1]} channels, its encoder takes {encoder.channels_in}")
        if isinstance(reference, ReferenceStyle):
            style = reference
            self._check_style(style, len(content))
        else:
            style = self.encode_reference(reference, reference_labels, feather)
        if target_labels is None:
            pyramid, statistics = None, style.select(())
        else:
            target_labels.check_size(content, "target")
            if style.feather not in (None, feather):
                raise ValueError(f"reference style: its regions were measured with feather={style.feather}, the targets have {feather}")
            values, valid = corresponding(target_labels, style.labels, style.shares)
            pyramid = RegionPyramid(target_labels, values, feather, valid) if values else None
            statistics = style.select(values)

        def match(key: str, features: Tensor) -> Tensor:
            if not self._key_in_use(key):
                return features
            at_size = None if pyramid is None else pyramid.at(features.shape[-2:])
            return METHODS[self.matching].match(features, statistics[key], self.alpha, at_size)

        output = self.decoder(self._encode(encoder, content, match), match)
        return output if self.training else output.to(content.dtype).clamp(0, 1)

    def _check_style(self, style: ReferenceStyle, targets: int) -> None:
        channels = slice_channels(self.encoder.width, depth=4)
        keys = [f"{site}{level}" for site, levels in (("encoder", 4), ("skips", 3), ("decoder", 4)) for level in range(1, levels + 1)]
        wanted = {key: channels[int(key[-1]) - 1] for key in keys if self._key_in_use(key)}
        wanted |= {"bottleneck": channels[3]} if self._key_in_use("bottleneck") else {}
        found = {key: statistics.mean.shape[-1] for key, statistics in style.statistics.items()}
        if style.matching != self.matching or found != wanted:
            raise ValueError(
                f"reference style: holds {style.matching} statistics at {_describe(found)}, this network needs {self.matching} at "
                f"{_describe(wanted)}; encode the reference with this network"
            )
        if len(style) not in (1, targets):
            raise ValueError(f"reference style: holds {len(style)} references, {targets} targets need 1 or {targets}")


def _describe(channels: Mapping[str, int]) -> str:
    return ", ".join(f"{key} ({count} channels)" for key, count in sorted(channels.items())) or "no site"


def check_reference(reference: Tensor) -> None:
    """Refuse what is no batch of reference pictures.

    Raises:
        ValueError: for integer tensors, other shapes, and sides below 16 px.
    """
    if not reference.is_floating_point():
        raise ValueError(f"reference: expected a floating-point tensor, sRGB in [0, 1], got {reference.dtype}; divide uint8 by 255 first")
    if reference.ndim != 4 or reference.shape[1] != 3:
        raise ValueError(f"reference: expected shape (batch, 3, height, width), got {tuple(reference.shape)}")
    if any(side < MINIMUM_REFERENCE_SIDE for side in reference.shape[-2:]):
        raise ValueError(f"reference: needs sides of {MINIMUM_REFERENCE_SIDE} px at least, got {tuple(reference.shape[-2:])}")
