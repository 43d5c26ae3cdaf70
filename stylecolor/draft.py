"""A target's colorization as it is being worked on: what the steps gave is kept, so that a change computes only what depends on it."""

import hashlib
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Float32, UInt8
from torch import Tensor

from stylecolor.color import join_lab, rgb_to_lab
from stylecolor.exemplar_colorizer import ExemplarColorizer
from stylecolor.painting import from_unit_range, to_unit_range
from stylecolor.pictures.files import Picture
from stylecolor.pipeline import ColorDistribution, Colorization
from stylecolor.reference_style import ReferenceStyle
from stylecolor.steps import PRECOLORING, READING_REFERENCE, READING_TARGET, REFINING, TRANSFERRING, UNGUIDED
from stylecolor.user_hints import HintPoint
from stylecolor.working_size import resize_pixels, working_size

REFERENCES = 8
"""So many references' statistics are kept beside those of the last colorization."""
_SAMPLED_SIDE = 64
"""px, the shorter side at which the colours of references are kept."""
_SHOWN_L = 60.0
"""Of all hints in the mask's picture: most colours can be displayed at it, ..."""
_HIDDEN_L = 0.3
"""... and times its L, a pixel that is no hint is darker."""


@dataclass(frozen=True)
class ReferenceInput:
    """A reference, and what tells it from others."""

    key: Hashable
    """The same for the same picture, and for no other."""
    picture: Picture | Callable[[], Picture]
    """Or what reads it, which is called only where its statistics are not kept."""
    labels: UInt8[np.ndarray, "height width"] | None = None
    """Its label map, of its own size, for matching region by region."""


class _Lent(NamedTuple):
    """What is kept of a reference."""

    style: ReferenceStyle
    lab: Float32[np.ndarray, "pixels 3"]


class _Kept(NamedTuple):
    key: Hashable
    """What the value depends on besides the target."""
    value: Any


class Draft:
    """One target's colorization, step by step, for one thread at a time.

    Results are those of `ExemplarColorizer.colorize`, byte for byte. Of each step the last value is kept, at the networks' size: the
    target's L and its pre-colorization, the transfer's colours, the refined ones, those without a reference; and the statistics of
    references. Strength and saturation are blended and painted alone.

    Args:
        picture: the target.
    """

    def __init__(self, picture: Picture) -> None:
        self.picture = picture
        self._kept: dict[str, _Kept] = {}
        self._references: dict[Hashable, _Lent] = {}
        self._l: Tensor | None = None
        self._steps: Colorization | None = None
        self._reference_lab: list[np.ndarray] = []
        self._distribution: _Kept | None = None

    def colorize(
        self,
        colorizer: ExemplarColorizer,
        references: Sequence[ReferenceInput] = (),
        *,
        weights: Sequence[float] | None = None,
        target_labels: UInt8[np.ndarray, "height width"] | None = None,
        strength: float = 1.0,
        saturation: float = 1.0,
        hints: Sequence[HintPoint] = (),
        report: Callable[[str], None] = lambda step: None,
    ) -> Picture:
        """What `ExemplarColorizer.colorize` gives, from what is kept as far as it can be.

        Args:
            colorizer: any, each time; what is kept serves those that share its weights.
            references: several are mixed; without any, the colorization sub-net chooses the colours.
            weights: see `ExemplarColorizer.colorize`, like all that follow but the last one.
            target_labels: of the target's size.
            strength: in [0, 1].
            saturation: 0 or more.
            hints: colours at points.
            report: called with a step's name (`stylecolor.steps`) before each one that is computed. What it raises ends the work; what was
                kept until then stays, and the next call goes on from there.

        Raises:
            ValueError: as `ExemplarColorizer.colorize` and `ExemplarColorizer.encode_reference`.
        """
        transfer = colorizer.networks.transfer
        prepared = (colorizer.weights_identity, colorizer.size)
        matched = None if transfer is None else (*prepared, transfer.matching, transfer.sites)
        lent = [(matched, one.key, _digest(one.labels)) for one in references]
        read = [self._read(key, one, colorizer, report) for key, one in zip(lent, references, strict=True)]
        styles = [one.style for one in read]
        self._forget_references(len(set(lent)))
        transferred = (*lent, None if weights is None else tuple(weights), _digest(target_labels))
        keys = {
            READING_TARGET: prepared,
            PRECOLORING: prepared,
            TRANSFERRING: transferred,
            REFINING: (transferred, tuple(hints)),
            UNGUIDED: (prepared, tuple(hints)),
        }
        used: dict[str, Any] = {}

        def step(name: str, compute: Callable[[], Any]) -> Any:
            kept = self._kept.get(name)
            if kept is None or kept.key != keys.get(name):
                report(name)
                kept = _Kept(keys.get(name), compute())
            if name in keys:
                self._kept[name] = kept
                used[name] = kept.value
            return kept.value

        result = colorizer.colorize(
            self.picture,
            styles[0] if len(styles) == 1 else styles or None,
            weights=weights,
            target_labels=target_labels,
            strength=strength,
            saturation=saturation,
            hints=hints,
            step=step,
        )
        self._l = used[READING_TARGET]
        self._steps = next(used[name] for name in (REFINING, TRANSFERRING, UNGUIDED) if name in used)
        self._reference_lab = [one.lab for one in read]
        self._distribution = None
        return result

    @property
    def steps(self) -> Colorization | None:
        """The last colorization, at full strength, with the steps between; None before the first one."""
        return self._steps

    @property
    def working_l(self) -> Float[Tensor, "1 1 height width"]:
        """L in [0, 100] of the target at the size at which the networks saw it last."""
        assert self._l is not None, "nothing is colorized yet"
        return self._l

    @property
    def reference_lab(self) -> list[Float32[np.ndarray, "pixels 3"]]:
        """The colours of some thousand pixels of each reference of the last colorization, in Lab units."""
        return self._reference_lab

    def color_distribution(self, colorizer: ExemplarColorizer) -> ColorDistribution | None:
        """How likely the colorization sub-net holds each colour, given the hints of the last colorization; None where it does not tell.

        Args:
            colorizer: that of the last colorization; asked once for each.
        """
        if self._distribution is None:
            self._distribution = _Kept(None, colorizer.networks.color_distribution(self.working_l, self._finished().hints))
        return self._distribution.value

    def precolored(self) -> UInt8[np.ndarray, "height width 3"]:
        """What the last colorization began with: sRGB, at the networks' size."""
        return self._picture_of(self._finished().precolor_ab)

    def coarse(self) -> UInt8[np.ndarray, "height width 3"]:
        """The transfer's ab map of the last colorization with the target's L: sRGB, at the networks' size."""
        return self._picture_of(self._finished().transfer_ab)

    def mask(self) -> UInt8[np.ndarray, "height width 3"]:
        """The hints that the colorization sub-net was shown last, on the darkened target: sRGB, at the networks' size.

        Hints have one L, as many a colour could not be told in a dark place.
        """
        hints = self._finished().hints
        return self._picture_of(hints.ab * hints.mask, torch.where(hints.mask > 0, _SHOWN_L, self.working_l * _HIDDEN_L))

    @property
    def nbytes(self) -> int:
        """Size of the target's pixels and of all that is kept."""
        pixels = self.picture.pixels.nbytes + (0 if self.picture.alpha is None else self.picture.alpha.nbytes)
        # lists: another thread may ask while this draft is at work
        kept = (self._l, self._steps, self._distribution, [one.value for one in list(self._kept.values())])
        lent = list(self._references.values())
        # by storage, as steps share tensors and a view keeps all of its tensor
        storages = {tensor.untyped_storage().data_ptr(): tensor.untyped_storage().nbytes() for tensor in _tensors(kept)}
        return pixels + sum(storages.values()) + sum(one.style.nbytes + one.lab.nbytes for one in lent)

    def _read(self, key: Hashable, reference: ReferenceInput, colorizer: ExemplarColorizer, report: Callable[[str], None]) -> _Lent:
        lent = self._references.pop(key, None)
        if lent is None:
            report(READING_REFERENCE)
            picture = reference.picture if isinstance(reference.picture, Picture) else reference.picture()
            lent = _Lent(colorizer.encode_reference(picture, reference.labels), _sample_lab(picture))
        # the latest last
        self._references[key] = lent
        return lent

    def _forget_references(self, in_use: int) -> None:
        for key in list(self._references)[: -(in_use + REFERENCES)]:
            del self._references[key]

    def _finished(self) -> Colorization:
        assert self._steps is not None, "nothing is colorized yet"
        return self._steps

    @torch.inference_mode()
    def _picture_of(self, ab: Tensor, l: Tensor | None = None) -> UInt8[np.ndarray, "height width 3"]:
        return from_unit_range(join_lab(self.working_l if l is None else l, ab), np.dtype(np.uint8))


def _digest(labels: np.ndarray | None) -> Hashable:
    return None if labels is None else (labels.shape, hashlib.blake2b(labels.tobytes(), digest_size=16).digest())


def _sample_lab(picture: Picture) -> Float32[np.ndarray, "pixels 3"]:
    rgb = to_unit_range(resize_pixels(picture.pixels, working_size(*picture.size, _SAMPLED_SIDE))).expand(-1, 3, -1, -1)
    return rgb_to_lab(rgb)[0].flatten(1).T.contiguous().numpy()


def _tensors(value: Any) -> Iterator[Tensor]:
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, Iterable):
        for part in value:
            yield from _tensors(part)
