"""What is compared: the training-free comparators and what each checkpoint can do, all called alike."""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from functools import partial

import torch
from jaxtyping import Float
from torch import Tensor

from evaluation.choices import METHODS, OF_CHECKPOINTS, TRAINING_FREE
from evaluation.networks import LoadedCheckpoint
from stylecolor.baselines import BASELINES
from stylecolor.color import gray_rgb, join_lab, rgb_to_lab
from stylecolor.errors import name_few
from stylecolor.hints import target_keys
from stylecolor.pipeline import ExemplarNetworks, colorize_exemplar

_BASELINE_NAMES = {"histogram_matching": "histogram"}
"""Where `stylecolor.baselines` has another name."""
_NEEDS = {"transfer": ("transfer",), "colorizer": ("colorizer",), "both": ("transfer", "colorizer"), "reconstruction": ("transfer",)}
_PIPELINES = {"transfer": "transfer", "colorizer": "precolor", "both": "both"}


@dataclass
class Pictures:
    """What methods are given, on one device: sRGB in [0, 1] in steps of 8 bits, and L in [0, 100].

    Only the oracle looks at `truth_rgb`, the targets in their own colours.
    """

    truth_rgb: Float[Tensor, "batch 3 height width"]
    l: Float[Tensor, "batch 1 height width"]
    reference_rgb: Float[Tensor, "batch 3 height width"] | None

    def __len__(self) -> int:
        return len(self.l)

    def first(self, count: int) -> "Pictures":
        """The first few."""
        return Pictures(self.truth_rgb[:count], self.l[:count], None if self.reference_rgb is None else self.reference_rgb[:count])


@dataclass(frozen=True)
class Method:
    """One of the columns of the comparison."""

    name: str
    """In tables: that of several checkpoints stands before it, `<checkpoint>/both`."""
    kind: str
    """One of `METHODS`."""
    checkpoint: str | None
    """Whose it is; None for a training-free one."""
    colorize: Callable[[Pictures], Tensor]
    """Gives sRGB in [0, 1]."""

    @property
    def needs_reference(self) -> bool:
        """Whether its result depends on the reference."""
        return self.kind not in ("gray", "colorizer")

    @property
    def is_oracle(self) -> bool:
        """Whether it is shown the true colours, which makes it no competitor of the others."""
        return self.kind == "reconstruction"

    def takes_part(self, protocol: str) -> bool:
        """Whether there is anything to measure in this protocol: nothing follows a reference where there is none, and the oracle, which
        looks at the target's own picture, has no other reference."""
        if self.is_oracle:
            return protocol == "self"
        return protocol != "auto" or not self.needs_reference

    @torch.inference_mode()
    def __call__(self, pictures: Pictures) -> Float[Tensor, "batch 3 height width"]:
        """Colorize; the result is rounded to 8 bits, as a file of it would be."""
        return round_to_8_bits(self.colorize(pictures))


def round_to_8_bits(rgb: Float[Tensor, "batch 3 height width"]) -> Float[Tensor, "batch 3 height width"]:
    """sRGB in [0, 1] in steps of 1/255."""
    return (rgb.float().clamp(0, 1) * 255).round() / 255


def make_methods(checkpoints: Sequence[LoadedCheckpoint], chosen: Collection[str] | None) -> list[Method]:
    """The methods called `chosen` (None for all that there are), in the order of tables.

    Raises:
        ValueError: when one of them needs a network that no checkpoint has.
    """
    wanted = [name for name in METHODS if chosen is None or name in chosen]
    found = [Method(name, name, None, _training_free(name)) for name in wanted if name in TRAINING_FREE]
    for checkpoint in checkpoints:
        for name in wanted:
            if name in OF_CHECKPOINTS and _can(checkpoint, name):
                title = name if len(checkpoints) == 1 else f"{checkpoint.name}/{name}"
                found.append(Method(title, name, checkpoint.name, partial(_COLORIZE[name], checkpoint.networks, name)))
    missing = {name for name in wanted if chosen is not None and name in OF_CHECKPOINTS} - {method.kind for method in found}
    if missing:
        stages = ", ".join(f"{checkpoint.name}: {checkpoint.stage}" for checkpoint in checkpoints)
        raise ValueError(f"methods: no checkpoint has the networks for {name_few(missing)} ({stages}); take one of stage=joint")
    return found


def _can(checkpoint: LoadedCheckpoint, method: str) -> bool:
    networks = checkpoint.networks
    if any(getattr(networks, name) is None for name in _NEEDS[method]):
        return False
    # a one-channel encoder cannot be shown colours
    return not (method == "reconstruction" and networks.transfer is not None and networks.transfer.gray_encoder is not None)


def _training_free(name: str) -> Callable[[Pictures], Tensor]:
    if name == "gray":
        return lambda pictures: gray_rgb(pictures.l)
    baseline = BASELINES[_BASELINE_NAMES.get(name, name)]
    return lambda pictures: join_lab(pictures.l, baseline(pictures.l, pictures.reference_rgb))


def _run_pipeline(networks: ExemplarNetworks, method: str, pictures: Pictures) -> Tensor:
    result = colorize_exemplar(
        networks.transfer,
        networks.colorizer,
        pictures.l,
        pictures.reference_rgb,
        target_keys(pictures.l),
        networks.sampler,
        networks.precolor,
        _PIPELINES[method],
    )
    return join_lab(pictures.l, result.ab)


def _reconstruct(networks: ExemplarNetworks, method: str, pictures: Pictures) -> Tensor:
    """What stage=transfer trains: the target in its true colours is the content, and the reference too."""
    assert networks.transfer is not None
    styled = networks.transfer(pictures.truth_rgb, pictures.truth_rgb)
    return join_lab(pictures.l, rgb_to_lab(styled)[:, 1:])


_COLORIZE = {**dict.fromkeys(_PIPELINES, _run_pipeline), "reconstruction": _reconstruct}
