"""Colorize anything: pictures of any kind and size, with the trained networks."""

import copy
import logging
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Self, cast

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, Float32, Int64, UInt8
from torch import Tensor

from stylecolor.color import gray_rgb, rgb_to_lab
from stylecolor.errors import check_range
from stylecolor.fast_inference import choose_device, choose_precision, prepare
from stylecolor.hints import Hints
from stylecolor.painting import paint, shift_colors, to_unit_range, working_l
from stylecolor.pictures.files import Picture
from stylecolor.pictures.kinds import AnyPicture, like_source, to_picture
from stylecolor.pictures.labels import read_label_map
from stylecolor.pipeline import ExemplarNetworks
from stylecolor.pretrained import load_networks, save_networks
from stylecolor.reference_style import ReferenceStyle, mix_styles, stack_styles
from stylecolor.steps import PAINTING, READING_TARGET, Step, run_step
from stylecolor.user_hints import HintPoint, rasterize
from stylecolor.working_size import resize_labels, resize_pixels, working_size

SIZE = 256
"""px. Shorter side of what the networks see unless told otherwise: that of training; docs/performance.md compares others."""
BATCH = 8
"""Pictures that go through the networks together on a GPU, at most; a processor is faster with one at a time (docs/performance.md)."""

AnyReference = AnyPicture | ReferenceStyle
AnyLabels = str | Path | np.ndarray

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Task:
    """One picture on its way through the networks."""

    picture: Picture
    l: Tensor
    style: ReferenceStyle | None
    labels: Tensor | None = None
    hints: Hints | None = None


class ExemplarColorizer:
    """Gives pictures the colours of references. Thread-safe once it is made; results depend on nothing but the arguments.

    A picture is a path, a `Picture`, a PIL picture, an array (height, width) or (height, width, 1, 3 or 4) of uint8, uint16 or float32 in
    [0, 1], or a float tensor (1 or 3, height, width) in [0, 1]; results are of the kind of the target, a `Picture` for a path. The networks
    work at `size`, and a picture's own L guides their colours to its own size.

    Args:
        networks: the trained networks; they are copied.
        size: px, the shorter side of what the networks see.
        device: `auto` (a GPU where there is one), `cpu`, `cuda`, `cuda:1`, ...
        precision: `auto` (bf16 where the device is fast at it), `float32` or `bf16`, in which the convolutions are computed.

    Raises:
        ValueError: for a size below 16 px, and a device or a precision that is none.
    """

    def __init__(self, networks: ExemplarNetworks, size: int = SIZE, device: str = "auto", precision: str = "auto") -> None:
        check_range("size", size, low=16)
        self.size = size
        self.device = choose_device(device)
        self.precision = choose_precision(precision, self.device)
        self.networks = prepare(networks, self.device, self.precision)
        self.weights_identity = object()
        """The same one in whatever colorizers share their weights, device and precision."""
        self._trained = networks

    @classmethod
    def from_checkpoint(cls, path: str | Path, **options: Any) -> Self:
        """Read a checkpoint of training, see `ExemplarNetworks.from_checkpoint`; the options are those of the class.

        Raises:
            ValueError: for a missing or damaged file.
        """
        return cls(ExemplarNetworks.from_checkpoint(path), **options)

    @classmethod
    def from_pretrained(cls, directory: str | Path, **options: Any) -> Self:
        """Read what `save_pretrained` wrote.

        Raises:
            ValueError: for a directory that holds no such networks.
        """
        return cls(load_networks(directory), **options)

    @classmethod
    def from_colorizer(cls, source: str = "siggraph17", setting: str = "colorizer", **options: Any) -> Self:
        """A colorization network alone, which follows no reference: a published one, fetched once, or a file.

        Raises:
            ValueError: for weights that cannot be had or do not fit.
        """
        return cls(ExemplarNetworks.from_colorizer(source, setting), **options)

    def save_pretrained(self, directory: str | Path) -> None:
        """Write the networks as they were trained, in float32: model.safetensors and config.json."""
        save_networks(self._trained, directory)

    def resized(self, size: int) -> Self:
        """One with the same networks, not copied, that works at another size.

        Raises:
            ValueError: for a size below 16 px.
        """
        check_range("size", size, low=16)
        other = copy.copy(self)
        other.size = size
        return other

    def rematched(self, matching: str | None = None, sites: Sequence[str] | None = None) -> Self:
        """One with the same weights, not copied, that matches otherwise; what is left out stays as it is.

        Args:
            matching: `adain`, `wct` or `none`, see `stylecolor.transfer.TransferNet`.
            sites: where features are matched: any of `bottleneck`, `encoder`, `skips`, `decoder`.

        Raises:
            ValueError: for names that are none, a site that these weights do not have, and weights without a transfer sub-net.
        """
        other = copy.copy(self)
        other.networks = self.networks.rematched(matching, sites)
        other._trained = self._trained.rematched(matching, sites)
        return other

    @torch.inference_mode()
    def encode_reference(self, reference: AnyPicture, labels: AnyLabels | None = None) -> ReferenceStyle:
        """What a reference lends, for any number of targets.

        Args:
            reference: a colour picture of any kind and size.
            labels: its label map, of its own size, for matching region by region.

        Raises:
            ValueError: for what is no picture, label maps of another size, and weights without a transfer sub-net.
        """
        picture = to_picture(reference, "reference")
        size = working_size(*picture.size, self.size)
        return self.networks.encode_reference(self._working_rgb(picture, size), self._working_labels(labels, picture, size, "reference"))

    def colorize(
        self,
        target: AnyPicture,
        reference: AnyReference | Sequence[AnyReference] | None = None,
        *,
        weights: Sequence[float] | None = None,
        target_labels: AnyLabels | None = None,
        reference_labels: AnyLabels | None = None,
        strength: float = 1.0,
        saturation: float = 1.0,
        hints: Sequence[HintPoint] = (),
        step: Step[Any] = run_step,
    ) -> Any:
        """Colorize a picture: its own L, untouched, with new colours.

        Args:
            target: a picture, whose own colours are ignored; or a batch of them, a tensor of four axes.
            reference: a colour picture, or what `encode_reference` made of it; several are mixed; without any, the colorization sub-net
                chooses the colours.
            weights: of several references, in which they are mixed; equal if left out.
            target_labels: with label maps on both sides, regions of the same label are matched with each other.
            reference_labels: of one reference; of several, encode them with `encode_reference`.
            strength: from 0, the colours that the networks choose without a reference, to 1, those that follow it.
            saturation: multiplies the chroma; 0 is grey.
            hints: colours that a person put at points of the picture.
            step: runs each step of one picture, see `stylecolor.steps`; `stylecolor.draft.Draft` keeps what they gave.

        Returns:
            A picture of the target's kind and size.

        Raises:
            ValueError: for what is no picture, settings out of range, and weights and label maps that do not fit.
        """
        if isinstance(target, Tensor) and target.ndim == 4:
            if target_labels is not None or hints:
                raise ValueError("colorize: target_labels and hints belong to one picture; give them one by one")
            styles = self._style(reference, weights, reference_labels)
            return torch.stack(self.colorize_batch(list(target), styles, strength=strength, saturation=saturation))
        picture = to_picture(target)
        style = self._style(reference, weights, reference_labels)
        if (target_labels is None) != (style is None or not style.labels):
            log.warning("colorize: one side alone has labels, which are ignored: regions are matched where target and reference have them")
        task = self._task(picture, style, target_labels, hints, step)
        return like_source(self._run([task], strength, saturation, step)[0], target)

    def colorize_batch(
        self,
        targets: Sequence[AnyPicture],
        references: AnyReference | Sequence[AnyReference | Sequence[AnyReference]] | None = None,
        *,
        strength: float = 1.0,
        saturation: float = 1.0,
    ) -> list[Any]:
        """Colorize several pictures, those of the same shape at work together; the results are those of `colorize`.

        Args:
            targets: pictures of any kinds and sizes.
            references: one for all targets, or a list with what `colorize` takes for each.
            strength: see `colorize`.
            saturation: see `colorize`.

        Raises:
            ValueError: as `colorize`, and for another number of references than of targets.
        """
        if isinstance(references, list | tuple):
            if len(references) != len(targets):
                raise ValueError(f"colorize_batch: {len(targets)} targets need one reference or {len(targets)}, got {len(references)}")
            styles = [self._style(reference) for reference in references]
        else:
            styles = [self._style(cast(AnyReference | None, references))] * len(targets)
        tasks = [self._task(to_picture(target), style) for target, style in zip(targets, styles, strict=True)]
        results = self._run(tasks, strength, saturation)
        return [like_source(result, target) for result, target in zip(results, targets, strict=True)]

    @torch.inference_mode()
    def stylize(
        self,
        photo: AnyPicture,
        reference: AnyReference | Sequence[AnyReference],
        *,
        weights: Sequence[float] | None = None,
        strength: float = 1.0,
    ) -> Any:
        """Give a colour photograph the look of a reference, by the transfer sub-net alone: its L changes too.

        What the sub-net changes at `size` is added to the photograph at its own size, guided by its L, so that its details stay.

        Args:
            photo: a colour picture.
            reference: see `colorize`.
            weights: see `colorize`.
            strength: from 0, the photograph as it is, to 1.

        Raises:
            ValueError: as `colorize`, and for weights whose transfer sub-net takes grey pictures alone.
        """
        check_range("strength", strength, low=0, high=1)
        style = self._encode_all(reference, weights)
        if style is None:
            raise ValueError("stylize: needs a reference")
        transfer = self.networks.transfer
        assert transfer is not None
        if transfer.gray_encoder is not None:
            raise ValueError(
                "stylize: the transfer sub-net of these weights takes grey pictures alone; train one without stage.precolor=gray_encoder"
            )
        picture = to_picture(photo, "photo")
        rgb = self._working_rgb(picture, working_size(*picture.size, self.size))
        lab = rgb_to_lab(rgb)
        change = rgb_to_lab(transfer(rgb, style)) - lab
        return like_source(picture.recolored(shift_colors(picture.pixels, lab[:, :1], change * strength)), photo)

    def working_l(self, picture: Picture) -> Float[Tensor, "1 1 height width"]:
        """L in [0, 100] of a picture at the size at which the networks see it."""
        return working_l(picture.pixels, working_size(*picture.size, self.size), self.device)

    def predict_ab(
        self,
        l: Float[Tensor, "batch 1 height width"],
        style: ReferenceStyle | None,
        *,
        target_labels: UInt8[Tensor, "batch height width"] | None = None,
        keys: Int64[Tensor, " batch"] | None = None,
        hints: Hints | None = None,
        strength: float = 1.0,
        step: Step[Any] = run_step,
    ) -> Float32[Tensor, "batch 2 height width"]:
        """The networks' ab map in Lab units, at their size; see `ExemplarNetworks.predict`, and `colorize` for the strength."""
        steps = self.networks.predict(l, style, target_labels, keys, hints, step)
        if style is None or strength == 1:
            return steps.ab
        # a person's hints stand, however little of the reference is wanted
        without = steps.precolor_ab if hints is None else self.networks.predict(l, None, user_hints=hints, step=step).ab
        return torch.lerp(without, steps.ab, strength)

    def paint(
        self, picture: Picture, l: Float[Tensor, "1 1 height width"], ab: Float[Tensor, "1 2 height width"], *, saturation: float = 1.0
    ) -> Picture:
        """A picture with its own L and an ab map of the networks' size; `l` is its `working_l`."""
        return picture.recolored(paint(picture.pixels, l, ab if saturation == 1 else ab * saturation))

    @torch.inference_mode()
    def content_features(self, l: Float[Tensor, "batch 1 height width"]) -> Float32[Tensor, "batch features"]:
        """What a picture shows, whatever its colours, for finding similar ones: vectors of length 1, on the CPU.

        relu4_1 of the grey picture, averaged over its quarters, as where things are matters too; roots keep few strong channels from
        deciding alone (the power normalisation of Perronnin et al., ECCV 2010).

        Raises:
            ValueError: for weights without a transfer sub-net.
        """
        if self.networks.transfer is None:
            raise ValueError("content features: these weights hold no encoder; take a checkpoint of stage=joint")
        features = self.networks.transfer.encoder(gray_rgb(l))[-1].float()
        return F.normalize(F.adaptive_avg_pool2d(features, 2).flatten(1).sqrt(), dim=1).cpu()

    def _style(
        self,
        reference: AnyReference | Sequence[AnyReference] | None,
        weights: Sequence[float] | None = None,
        labels: AnyLabels | None = None,
    ) -> ReferenceStyle | None:
        if reference is not None and self.networks.transfer is not None and self.networks.pipeline == "precolor":
            raise ValueError("colorize: these weights follow no reference (pipeline=precolor); colorize without one, or take others")
        return self._encode_all(reference, weights, labels)

    def _encode_all(
        self,
        reference: AnyReference | Sequence[AnyReference] | None,
        weights: Sequence[float] | None = None,
        labels: AnyLabels | None = None,
    ) -> ReferenceStyle | None:
        if reference is not None and self.networks.transfer is None:
            raise ValueError("colorize: these weights hold no transfer sub-net, which a reference needs; take a checkpoint of stage=joint")
        if labels is not None and (reference is None or isinstance(reference, list | tuple | ReferenceStyle)):
            raise ValueError("colorize: reference_labels belong to one reference picture; encode others with encode_reference")
        if isinstance(reference, list | tuple):
            return mix_styles([self._encoded(one) for one in reference], weights)
        if weights is not None:
            raise ValueError(f"colorize: weights={weights} belong to several references; pass them as a list")
        return None if reference is None else self._encoded(cast(AnyReference, reference), labels)

    def _encoded(self, reference: AnyReference, labels: AnyLabels | None = None) -> ReferenceStyle:
        return reference.to(self.device) if isinstance(reference, ReferenceStyle) else self.encode_reference(reference, labels)

    def _working_rgb(self, picture: Picture, size: tuple[int, int]) -> Float[Tensor, "1 3 height width"]:
        return to_unit_range(resize_pixels(picture.pixels, size)).to(self.device).expand(-1, 3, -1, -1)

    def _working_labels(self, labels: AnyLabels | None, picture: Picture, size: tuple[int, int], what: str) -> Tensor | None:
        if labels is None:
            return None
        if not isinstance(labels, np.ndarray):
            labels = read_label_map(Path(labels), picture.size)
        if labels.dtype != np.uint8 or labels.shape != picture.size:
            raise ValueError(f"colorize: {what} labels are {labels.dtype} of shape {labels.shape}; expected uint8 of shape {picture.size}")
        return torch.from_numpy(resize_labels(labels, size)).unsqueeze(0).to(self.device)

    def _task(
        self,
        picture: Picture,
        style: ReferenceStyle | None,
        labels: AnyLabels | None = None,
        hints: Sequence[HintPoint] = (),
        step: Step[Any] = run_step,
    ) -> _Task:
        l: Tensor = step(READING_TARGET, lambda: self.working_l(picture))
        size = (l.shape[-2], l.shape[-1])
        points = rasterize(hints, picture.size, size, self.device) if hints else None
        return _Task(picture, l, style, self._working_labels(labels, picture, size, "target"), points)

    def _run(self, tasks: Sequence[_Task], strength: float, saturation: float, step: Step[Any] = run_step) -> list[Picture]:
        check_range("strength", strength, low=0, high=1)
        check_range("saturation", saturation, low=0)
        if strength != 1 and all(task.style is None for task in tasks):
            log.warning("colorize: strength=%g is ignored: there is no reference to follow", strength)
        groups: defaultdict[tuple[Any, ...], list[int]] = defaultdict(list)
        for index, task in enumerate(tasks):
            groups[(task.l.shape, task.style is None, index if task.labels is not None or task.hints else None)].append(index)
        results: dict[int, Picture] = {}
        together = 1 if self.device.type == "cpu" else BATCH
        for indices in groups.values():
            for start in range(0, len(indices), together):
                chunk = indices[start : start + together]
                for index, ab in zip(chunk, self._predict([tasks[index] for index in chunk], strength, step), strict=True):
                    results[index] = step(PAINTING, partial(self.paint, tasks[index].picture, tasks[index].l, ab, saturation=saturation))
        return [results[index] for index in range(len(tasks))]

    @torch.inference_mode()
    def _predict(self, tasks: Sequence[_Task], strength: float, step: Step[Any]) -> Sequence[Tensor]:
        styles = [task.style for task in tasks if task.style is not None]
        shared = not styles or all(style is styles[0] for style in styles)
        style = (styles[0] if styles else None) if shared else stack_styles(styles)
        l = torch.cat([task.l for task in tasks])
        ab = self.predict_ab(l, style, target_labels=tasks[0].labels, hints=tasks[0].hints, strength=strength, step=step)
        return ab.split(1)
