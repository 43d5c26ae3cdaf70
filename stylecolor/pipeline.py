"""The whole pipeline: pre-colorize the target, transfer the reference's colours, refine them."""

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Self

import torch
from jaxtyping import Float, Int64, UInt8
from torch import Tensor, nn

from stylecolor.checkpoint import read_checkpoint
from stylecolor.choices import PIPELINES, STAGES
from stylecolor.classification import ClassificationNet
from stylecolor.color import join_lab, rgb_to_lab
from stylecolor.colorizer import ColorizationNet, class_colors
from stylecolor.colorizers import describe_colorizer, load_colorizer, restore_colorizer
from stylecolor.errors import check_choice, check_range
from stylecolor.hints import Hints, Sampler, combine_hints, empty_hints, make_sampler, target_keys
from stylecolor.precolor import Precolor, Precolored, make_precolor
from stylecolor.reference_style import ReferenceStyle, mix_styles
from stylecolor.regions import LabelMap
from stylecolor.steps import PRECOLORING, REFINING, TRANSFERRING, UNGUIDED, Step, run_step
from stylecolor.transfer import TransferNet
from stylecolor.uninitialized import Uninitialized
from stylecolor.weights import check_state

Reference = Tensor | ReferenceStyle

log = logging.getLogger(__name__)


class Colorization(NamedTuple):
    """A result with the steps between, ab in Lab units."""

    ab: Float[Tensor, "batch 2 height width"]
    precolor_ab: Float[Tensor, "batch 2 height width"]
    transfer_ab: Float[Tensor, "batch 2 height width"]
    hints: Hints


class ColorDistribution(NamedTuple):
    """How likely each colour is at each place, at a quarter of the pictures' size."""

    colors: Float[Tensor, "colors 2"]
    """ab in Lab units."""
    probabilities: Float[Tensor, "batch colors quarter_height quarter_width"]


def colorize_exemplar(
    transfer: TransferNet | None,
    colorizer: nn.Module | None,
    l: Float[Tensor, "batch 1 height width"],
    reference: Reference | None,
    keys: Tensor,
    sampler: Sampler,
    precolor: Precolor,
    pipeline: str = "both",
    target_labels: LabelMap | None = None,
    reference_labels: LabelMap | None = None,
    feather: int = 0,
    user_hints: Hints | None = None,
    step: Step[Any] = run_step,
) -> Colorization:
    """Pre-colorize (without gradient), transfer, and colorize with hints from the transfer's ab.

    Used as it is by the joint stage and by `ExemplarNetworks`, so that what is trained is what is run.

    Args:
        transfer: the transfer sub-net; None where the pipeline does without.
        colorizer: the colorization sub-net; None where the pipeline does without.
        l: the targets' L in [0, 100].
        reference: sRGB in [0, 1], or its statistics; None where the pipeline does without.
        keys: one for each sample, see `stylecolor.randomness`.
        sampler: chooses the hints from the transfer's ab map.
        precolor: what the transfer sub-net sees of the target, see `stylecolor.precolor`.
        pipeline: what makes the result: `both` sub-nets, the `transfer` sub-net alone, or the colorization sub-net without hints
            (`precolor`), which looks at no reference (the paper's ablation, its section 4.2).
        target_labels: for matching region by region, see `TransferNet`.
        reference_labels: likewise.
        feather: likewise.
        user_hints: colours that a person chose; they stand above those of the transfer's map, and the colorization sub-net sees them in
            any pipeline that has it.
        step: runs each step, see `stylecolor.steps`.
    """

    def color_unguided() -> Colorization:
        assert colorizer is not None
        hints = user_hints or empty_hints(l.expand(-1, 2, -1, -1))
        ab = colorizer(l, *hints)
        return Colorization(ab, ab, ab, hints)

    if pipeline == "precolor":
        return step(UNGUIDED, color_unguided)
    precolored: Precolored = step(PRECOLORING, lambda: precolor(l))

    def transfer_colors() -> Colorization:
        assert transfer is not None
        assert reference is not None
        transferred = transfer(precolored.picture, reference, target_labels, reference_labels, feather)
        transfer_ab = rgb_to_lab(transferred)[:, 1:]
        return Colorization(transfer_ab, precolored.ab, transfer_ab, empty_hints(transfer_ab))

    transferred: Colorization = step(TRANSFERRING, transfer_colors)
    if pipeline == "transfer":
        return transferred

    def refine() -> Colorization:
        assert colorizer is not None
        hints = sampler(transferred.transfer_ab, keys)
        if user_hints is not None:
            hints = combine_hints(hints, user_hints)
        return transferred._replace(ab=colorizer(l, *hints), hints=hints)

    return step(REFINING, refine)


class ExemplarNetworks(nn.Module):
    """The trained networks, and how they work together: tensors of the networks' own sizes in, tensors out.

    `stylecolor.exemplar_colorizer.ExemplarColorizer` takes pictures of any kind and size.

    Args:
        transfer: the transfer sub-net; without it no reference can be followed.
        colorizer: the colorization sub-net; without it the transfer's colours are the result.
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
        transfer: TransferNet | None,
        colorizer: nn.Module | None,
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
        assert transfer is not None or pipeline == "precolor"
        assert colorizer is not None or pipeline == "transfer"
        self.settings = {
            "hints": hints,
            "mask_probability": mask_probability,
            "hint_points": hint_points,
            "precolor": precolor,
            "pipeline": pipeline,
            "feather": feather,
        }
        self.transfer = transfer
        self.colorizer = colorizer
        self.precolorizer = precolorizer
        self.sampler = make_sampler(hints, mask_probability, hint_points)
        make_precolor(precolor, colorizer if precolor == "network" else precolorizer)
        self.pipeline = pipeline
        self.feather = feather
        self.eval()

    @property
    def precolor(self) -> Precolor:
        """What the transfer sub-net sees of the target."""
        # made of the networks that are here now: a copy of these has copies of them
        name = str(self.settings["precolor"])
        return make_precolor(name, self.colorizer if name == "network" else self.precolorizer)

    @property
    def description(self) -> dict[str, dict[str, Any]]:
        """The networks' settings by name, as a joint checkpoint records them; `build` makes the same networks of it."""
        networks = {} if self.transfer is None else {"transfer": self.transfer.settings}
        colorizers = {"colorizer": self.colorizer, "precolorizer": self.precolorizer}
        networks |= {name: describe_colorizer(network) for name, network in colorizers.items() if network is not None}
        return {**networks, "pipeline": self.settings}

    @classmethod
    def build(cls, description: Mapping[str, Mapping[str, Any]]) -> Self:
        """Networks of the architecture that `description` records, their weights to be loaded next."""
        with Uninitialized():
            transfer = TransferNet.from_settings(description["transfer"]) if "transfer" in description else None
            colorizer, precolorizer = (
                restore_colorizer(description[name]) if name in description else None for name in ("colorizer", "precolorizer")
            )
        return cls(transfer, colorizer, **description["pipeline"], precolorizer=precolorizer)

    @classmethod
    def from_checkpoint(cls, path: str | Path) -> Self:
        """Read a checkpoint, on the CPU and in eval mode.

        One of the colorizer stage colorizes without reference and by a user's hints, one of the transfer stage without refinement.

        Raises:
            ValueError: for a missing or damaged file, and one whose weights do not fit what it says.
        """
        checkpoint = read_checkpoint(path, "checkpoint", STAGES)
        description = dict(checkpoint.networks)
        if checkpoint.stage == "transfer":
            gray = description["transfer"]["gray_encoder"]
            description["pipeline"] = {"pipeline": "transfer", "precolor": "gray_encoder" if gray else "gray"}
        elif checkpoint.stage == "colorizer":
            description["pipeline"] = {"pipeline": "precolor"}
        networks = cls.build(description)
        for name, network in networks.named_children():
            state = checkpoint.network_state(name)
            check_state(state, network.state_dict(), f"checkpoint={path}: {name}", description[name]["width"])
            network.load_state_dict(state)
        return networks

    @classmethod
    def from_colorizer(cls, source: str, setting: str, mirror: str | None = None) -> Self:
        """A colorization network alone: a published one or a file, see `stylecolor.colorizers.load_colorizer`.

        Raises:
            ValueError: for weights that cannot be had or do not fit.
        """
        return cls(None, load_colorizer(source, setting, mirror=mirror), pipeline="precolor")

    def rematched(self, matching: str | None = None, sites: Sequence[str] | None = None) -> "ExemplarNetworks":
        """The same networks, not copied, of which the transfer sub-net matches otherwise; see `TransferNet.rematched`.

        Raises:
            ValueError: where there is no transfer sub-net, and as `TransferNet.rematched`.
        """
        if self.transfer is None:
            raise ValueError("matching, sites: these weights hold no transfer sub-net, which matches; take a checkpoint of stage=joint")
        transfer = self.transfer.rematched(matching, sites)
        return ExemplarNetworks(transfer, self.colorizer, **self.settings, precolorizer=self.precolorizer)

    @torch.inference_mode()
    def encode_reference(
        self,
        reference: Float[Tensor, "batch 3 height width"],
        labels: UInt8[Tensor, "batch height width"] | None = None,
    ) -> ReferenceStyle:
        """A reference's statistics, for any number of targets; see `TransferNet.encode_reference`.

        Raises:
            ValueError: for references that are too small or hold NaN, label maps of another size, and where there is no transfer sub-net.
        """
        if self.transfer is None:
            raise ValueError("colorize: these weights hold no transfer sub-net, which a reference needs; take a checkpoint of stage=joint")
        _check_finite(reference, "reference")
        return self.transfer.encode_reference(reference, None if labels is None else LabelMap.read(labels), self.feather)

    @torch.inference_mode()
    def predict(
        self,
        l: Float[Tensor, "batch 1 height width"],
        style: ReferenceStyle | None,
        target_labels: UInt8[Tensor, "batch height width"] | None = None,
        keys: Int64[Tensor, " batch"] | None = None,
        user_hints: Hints | None = None,
        step: Step[Any] = run_step,
    ) -> Colorization:
        """The result and the steps before it.

        Args:
            l: of the targets, in [0, 100]; sides are multiples of 8.
            style: one for each target or one for all; without it the colorization sub-net works alone.
            target_labels: of the targets, see `TransferNet`.
            keys: choose the random hints; left out, they follow from the target's grey pixels, so that the same input gives the same
                output, alone or in a batch.
            user_hints: see `colorize_exemplar`.
            step: runs each step, see `stylecolor.steps`.

        Raises:
            ValueError: for sides that are no multiple of 8, a style or label maps that do not fit, hints that no network takes, and where a
                network is missing.
        """
        if style is None and self.colorizer is None:
            raise ValueError("colorize: these weights hold no colorization sub-net, which colorizes without a reference; name a reference")
        pipeline = "precolor" if style is None else self.pipeline
        if user_hints is not None and (pipeline == "transfer" or isinstance(self.colorizer, ClassificationNet)):
            raise ValueError("hints: no sub-net of these weights that makes the result takes hints; take a checkpoint with siggraph17")
        if style is not None and len(style) not in (1, len(l)):
            raise ValueError(f"colorize: {len(l)} targets need 1 or {len(l)} references, got {len(style)}")
        if keys is None:
            keys = target_keys(l)
        return colorize_exemplar(
            self.transfer,
            self.colorizer,
            l,
            style,
            keys,
            self.sampler,
            self.precolor,
            pipeline,
            target_labels=None if target_labels is None else LabelMap.read(target_labels),
            feather=self.feather,
            user_hints=user_hints,
            step=step,
        )

    @torch.inference_mode()
    def color_distribution(self, l: Float[Tensor, "batch 1 height width"], hints: Hints) -> ColorDistribution | None:
        """How likely the colorization sub-net holds each of many colours; None where it does not tell.

        Args:
            l: of the targets, in [0, 100]; sides are multiples of 8.
            hints: that it is shown.
        """
        if isinstance(self.colorizer, ClassificationNet):
            probabilities = (self.colorizer.logits(l) / self.colorizer.temperature).softmax(dim=1)
            return ColorDistribution(self.colorizer.bins, probabilities)
        if not isinstance(self.colorizer, ColorizationNet) or self.colorizer.model_class is None:
            return None
        logits = self.colorizer.predict(l, *hints).logits
        assert logits is not None
        return ColorDistribution(class_colors().to(l.device), logits.float().softmax(dim=1))

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

        The result keeps the target's own L.

        Args:
            target: grey (one channel) or colour pictures, whose colours are ignored; sides are multiples of 8.
            reference: colour pictures of any size, or their statistics; several of them are mixed.
            weights: of several references, in which they are mixed; equal if left out.
            target_labels: with label maps on both sides, regions of the same label are matched with each other.
            reference_labels: of one reference; of several, or of statistics, encode them with `encode_reference`.

        Raises:
            ValueError: for sides that are no multiple of 8, tensors of other kinds, and weights or label maps that do not fit.
        """
        if target.ndim != 4 or target.shape[1] not in (1, 3):
            raise ValueError(f"colorize: expected targets of shape (batch, 1 or 3, height, width), got {tuple(target.shape)}")
        style = self._style(reference, weights, reference_labels).to(target.device)
        if (target_labels is None) != (not style.labels):
            log.warning("colorize: one side alone has labels, which are ignored: regions are matched where target and reference have them")
        _check_finite(target, "targets")
        l = rgb_to_lab(target.expand(-1, 3, -1, -1))[:, :1]
        return join_lab(l, self.predict(l, style, target_labels).ab)

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
