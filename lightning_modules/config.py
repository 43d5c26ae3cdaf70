"""The settings of every stage.

They stand apart from the modules they configure because those import torch and Lightning, and a typo must be refused before that takes
its seconds.
"""

from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Any, ClassVar

from stylecolor.choices import (
    COLORIZER_NETWORKS,
    HINT_SAMPLERS,
    MATCHINGS,
    NORMS,
    PADDINGS,
    PIPELINES,
    PRECOLOR_NETWORKS,
    PRECOLORS,
    check_sites,
    colorizer_blocks,
)
from stylecolor.errors import check_choice, check_range

SCHEDULES = ("constant", "step", "milestones")


def _names(value: Any) -> list[str]:
    names = [value] if isinstance(value, str) else value
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise ValueError(f"stage.sites={value} must be a list of names, such as [encoder,decoder], or one name")
    return names


def _changed(config: Any, names: Collection[str], prefix: str = "") -> list[str]:
    """Which of these settings differ from their defaults."""
    defaults = type(config)()
    return [f"{prefix}{name}" for name in sorted(names) if getattr(config, name) != getattr(defaults, name)]


@dataclass
class OptimizerConfig:
    """Adam and its learning rate's schedule."""

    lr: float = 1e-3
    """Learning rate."""
    weight_decay: float = 0.0
    """L2 penalty."""
    schedule: str = "constant"
    """`constant`; `step`: multiplied by `gamma` every `step_epochs` epochs; or `milestones`: at the `milestones`, once each."""
    gamma: float = 0.5
    """Factor of the schedule."""
    step_epochs: int = 5
    """Epochs between the steps of the step schedule."""
    milestones: list[int] = field(default_factory=list)
    """Epochs after which the milestones schedule takes its steps."""

    def __post_init__(self) -> None:
        check_range("stage.optimizer.lr", self.lr, above=0)
        check_range("stage.optimizer.weight_decay", self.weight_decay, low=0)
        check_choice("stage.optimizer.schedule", self.schedule, SCHEDULES)
        check_range("stage.optimizer.gamma", self.gamma, above=0)
        check_range("stage.optimizer.step_epochs", self.step_epochs, low=1)
        for epoch in self.milestones:
            check_range("stage.optimizer.milestones", epoch, low=1)
        if self.milestones != sorted(set(self.milestones)):
            raise ValueError(f"stage.optimizer.milestones={self.milestones} must be different epochs in rising order")
        if self.schedule == "milestones" and not self.milestones:
            raise ValueError("stage.optimizer.schedule=milestones needs stage.optimizer.milestones, such as [10]")

    def ignored(self) -> dict[str, str]:
        """See `StageConfig`."""
        used = {"constant": (), "step": ("gamma", "step_epochs"), "milestones": ("gamma", "milestones")}[self.schedule]
        unused = {"gamma", "step_epochs", "milestones"} - {*used}
        return dict.fromkeys(_changed(self, unused, "optimizer."), f"stage.optimizer.schedule={self.schedule}")


@dataclass
class StageConfig:
    """What every stage has."""

    monitor: ClassVar[str] = "val/psnr"
    """The value that makes a checkpoint the best one, and by which a sweep judges its jobs."""
    monitor_mode: ClassVar[str] = "max"
    """Whether it is to be as high (`max`) or as low (`min`) as possible."""
    name: str = "transfer"
    """The stage, as in `stage=`."""
    width: float = 1.0
    """Multiplies every channel count; 1.0 is the published size."""
    channels_last: bool = True
    """Keep weights and activations in NHWC memory order, which is the faster one on tensor cores and for bf16 on CPUs."""
    weights_mirror: str | None = None
    """Address or directory of a mirror of the published weights; null is STYLECOLOR_WEIGHTS_MIRROR, or where their authors keep them."""
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)

    def __post_init__(self) -> None:
        check_range("stage.width", self.width, above=0)

    def ignored(self) -> dict[str, str]:
        """Settings that were changed and have no effect, each with the setting that is why."""
        return self.optimizer.ignored()

    def wants_ab_histogram(self) -> bool:
        """Whether training needs to know how often each ab occurs, see `lightning_modules.base.Stage.use_ab_histogram`."""
        return False


@dataclass
class EncoderConfig:
    """The frozen VGG19."""

    weights: str = "imagenet"
    """`imagenet` (fetched once), `random`, or a file in torchvision's layout or in that of the paper's authors."""
    padding: str = "zeros"
    """`zeros`, as the network was trained, or `reflect`, which the authors' file needs."""
    gray_weights: str | None = None
    """Of the one-channel encoder of stage.precolor=gray_encoder; null sums the colour encoder's first kernels."""

    def __post_init__(self) -> None:
        check_choice("stage.encoder.padding", self.padding, PADDINGS)


@dataclass
class TransferLossConfig:
    """Total = perceptual * (content * content loss + style * style loss) + reconstruction * mean squared error."""

    network_weights: str | None = None
    """Of the loss network, which reaches down to relu5_1, as `stage.encoder.weights`; null takes the encoder's."""
    perceptual_coefficient: float = 0.2
    reconstruction_coefficient: float = 0.8
    content_coefficient: float = 1.0
    style_coefficient: float = 0.03
    """Four photographs overfitted for 400 steps come back at 16.8 dB with 1, 22.6 with 0.1, 24.0 with 0.03, 24.5 without a style loss."""
    content_layer: int = 4
    """relu{content_layer}_1 carries the content, 1 to 5."""
    style_weights: list[float] = field(default_factory=lambda: [1.0, 0.75, 0.2, 0.2, 0.2])
    """Of relu1_1 ... relu5_1."""
    normalize: bool = True
    """Rescale each layer of the loss network to unit mean square, so that coefficients mean the same for every weight file."""

    def __post_init__(self) -> None:
        for name in ("perceptual_coefficient", "reconstruction_coefficient", "content_coefficient", "style_coefficient"):
            check_range(f"stage.loss.{name}", getattr(self, name), low=0)
        check_range("stage.loss.content_layer", self.content_layer, low=1, high=5)
        if len(self.style_weights) != 5:
            raise ValueError(f"stage.loss.style_weights={self.style_weights} must be five numbers, for relu1_1 to relu5_1")
        for weight in self.style_weights:
            check_range("stage.loss.style_weights", weight, low=0)


@dataclass
class ExemplarConfig(StageConfig):
    """What the stages with a reference share."""

    regions: bool = False
    """Match regions of the same label with each other, by the label maps of the data (`data.label_maps`)."""
    feather: int = 0
    """Pixels of the picture over which regions blend into each other, to each side of their border; 0 is a hard border."""
    precolor: str = "truth"
    """What the encoder sees of the target: its true colours (`truth`, in stage=transfer), what the colorizer makes of it without hints
    (`network`, in stage=joint), what another network does (`eccv16`, `siggraph17`), L in three channels (`gray`) or in one
    (`gray_encoder`)."""
    precolor_weights: str | None = None
    """Of precolor=eccv16 or siggraph17: a file in their layout or a checkpoint; null is the published weights."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_range("stage.feather", self.feather, low=0)

    def ignored(self) -> dict[str, str]:
        """See `StageConfig`."""
        ignored = super().ignored()
        if self.precolor not in PRECOLOR_NETWORKS:
            ignored |= dict.fromkeys(_changed(self, ["precolor_weights"]), f"stage.precolor={self.precolor}")
        if not self.regions:
            ignored |= dict.fromkeys(_changed(self, ["feather"]), "stage.regions=false")
        return ignored


_OF_MATCHING = ("sites", "alpha", "regions", "feather")


def _ignored_by_matching(config: Any) -> dict[str, str]:
    """Settings of the matching that have no effect because another one turns it off."""
    if config.matching == "none":
        return dict.fromkeys(_changed(config, _OF_MATCHING), "stage.matching=none")
    if config.sites == []:
        return dict.fromkeys(_changed(config, ("matching", "alpha", "regions", "feather")), "stage.sites=[]")
    if config.alpha == 0:
        return dict.fromkeys(_changed(config, ("matching", "sites", "regions", "feather")), "stage.alpha=0")
    return {}


@dataclass
class TransferConfig(ExemplarConfig):
    """`stage=transfer`: the decoder learns to reconstruct the content in the style's colours."""

    monitor: ClassVar[str] = "val/loss"
    monitor_mode: ClassVar[str] = "min"
    encoder: EncoderConfig = field(default_factory=EncoderConfig)
    matching: str = "adain"
    """How features take the reference's statistics: `adain`, `wct` or `none`."""
    sites: Any = field(default_factory=lambda: ["bottleneck"])
    """Where: a list of any of bottleneck, encoder, skips, decoder."""
    alpha: float = 1.0
    """Strength of the matching, 0 to 1."""
    decoder_weights: str = "random"
    """Where the decoder starts: `random`, or a file of the paper's authors."""
    skips: str = "slices"
    """What the decoder gets from the encoder: `slices` (relu1_1 to relu3_1) or `pre_pool` (conv1_2, conv2_2, conv3_4, pooled maps)."""
    norm: str = "batch"
    """Of the decoder: `batch` or `none`."""
    padding: str = "zeros"
    """Of the decoder: `zeros` or `reflect`."""
    loss: TransferLossConfig = field(default_factory=TransferLossConfig)

    def __post_init__(self) -> None:
        super().__post_init__()
        check_choice("stage.matching", self.matching, MATCHINGS)
        check_choice("stage.precolor", self.precolor, ("truth", *PRECOLORS[1:]))
        self.sites = _names(self.sites)
        check_sites(self.sites, self.skips)
        check_range("stage.alpha", self.alpha, low=0, high=1)
        check_choice("stage.norm", self.norm, NORMS)
        check_choice("stage.padding", self.padding, PADDINGS)

    def ignored(self) -> dict[str, str]:
        """See `StageConfig`."""
        ignored = super().ignored() | _ignored_by_matching(self)
        if self.precolor != "gray_encoder":
            ignored |= dict.fromkeys(_changed(self.encoder, ["gray_weights"], "encoder."), f"stage.precolor={self.precolor}")
        return ignored


@dataclass
class HintedConfig(StageConfig):
    """What the stages that train the colorization sub-net share."""

    hints: str = "bernoulli"
    """How hints are chosen: `bernoulli` (single pixels), `patches` (squares of 1 to 9 px), `points` (so many pixels), `all` or `none`."""
    mask_probability: float = 0.99
    """Probability that `bernoulli` hides a pixel's colour."""
    hint_points: int = 10
    """Pixels that `points` shows of each picture."""
    empty_probability: float = 0.1
    """Probability that a whole picture gets no hints in training, so that the network learns to colorize on its own too."""
    lambda_: float = 10.0
    """Extra weight of the hinted pixels in the loss."""
    delta: float = 1.0
    """Where the Huber loss turns linear, in Lab units."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_choice("stage.hints", self.hints, HINT_SAMPLERS)
        check_range("stage.mask_probability", self.mask_probability, low=0, high=1)
        check_range("stage.hint_points", self.hint_points, low=0)
        check_range("stage.empty_probability", self.empty_probability, low=0, high=1)
        check_range("stage.lambda_", self.lambda_, low=0)
        check_range("stage.delta", self.delta, above=0)

    def ignored(self) -> dict[str, str]:
        """See `StageConfig`."""
        of_sampler = {"mask_probability": "bernoulli", "hint_points": "points"}
        unused = [name for name, sampler in of_sampler.items() if sampler != self.hints]
        if self.hints == "none":
            unused += ["empty_probability", "lambda_"]
        return super().ignored() | dict.fromkeys(_changed(self, unused), f"stage.hints={self.hints}")


_OF_HINTED_NETWORKS = (
    "hints", "mask_probability", "hint_points", "empty_probability", "empty_epochs", "lambda_", "delta", "distribution",
    "regression_coefficient", "distribution_coefficient", "revealed_points", "revealed_pictures",
)  # fmt: skip
_OF_CLASSIFICATION = ("temperature", "rebalancing", "neighbours", "sigma")


@dataclass
class ColorizerConfig(HintedConfig):
    """`stage=colorizer`: a network learns to colorize, from hints of the target's own colours or from nothing."""

    name: str = "colorizer"
    network: str = "siggraph17"
    """`siggraph17` (local hints), `siggraph17_global` (a histogram and a saturation too) or `eccv16` (no hints, classification)."""
    weights: str = "random"
    """Where the network starts: `random`, `siggraph17` or `eccv16` (published weights), a file in their layout, or a checkpoint."""
    pretrained_blocks: Any = None
    """Blocks that are taken from `weights`, such as [1,2,3,4], the rest starts random; null takes all."""
    freeze: Any = field(default_factory=list)
    """Blocks that do not train, such as [1,2]: their weights and BatchNorm statistics stay."""
    lr_factors: Any = None
    """Factors of the learning rate by block, such as {1: 0.1, out: 2}."""
    empty_epochs: int = 0
    """The first epochs, in which no picture gets any hint: the network learns to colorize on its own before it learns from hints."""
    distribution: bool = False
    """Train the 529-class head of the siggraph17 networks too."""
    regression_coefficient: float = 1.0
    """Of the Huber loss of the siggraph17 networks; 0 with `distribution` is the first of their authors' two steps."""
    distribution_coefficient: float = 1.0
    """Of the cross-entropy of `distribution`."""
    global_probability: float = 0.5
    """Probability that siggraph17_global is told a picture's histogram in training, and likewise its saturation."""
    temperature: float | None = None
    """Of eccv16's annealed mean; null is the weights' own (1 for the released ones), or 0.38."""
    rebalancing: float = 0.5
    """Share of the uniform distribution in the prior that eccv16's classes are weighed by, above 0; 1 weighs all alike."""
    neighbours: int = 5
    """Bins over which eccv16's truth is spread."""
    sigma: float = 5.0
    """Of the Gaussian that spreads eccv16's truth and smooths its prior, in Lab units."""
    revealed_points: Any = field(default_factory=lambda: [0, 1, 10, 100, 1000, "all"])
    """Numbers of shown pixels at which evaluation measures PSNR, for networks with hints; [] measures none."""
    revealed_pictures: int = 64
    """Pictures of each evaluation of which that is measured, over all processes; each process takes one at least."""
    optimizer: OptimizerConfig = field(default_factory=lambda: OptimizerConfig(lr=1e-4))

    def __post_init__(self) -> None:
        super().__post_init__()
        check_choice("stage.network", self.network, COLORIZER_NETWORKS)
        if self.weights in COLORIZER_NETWORKS and (self.weights == "eccv16") != (self.network == "eccv16"):
            raise ValueError(f"stage.weights={self.weights}: stage.network={self.network} cannot start from weights of that network")
        self._check_blocks()
        check_range("stage.empty_epochs", self.empty_epochs, low=0)
        check_range("stage.regression_coefficient", self.regression_coefficient, low=0)
        check_range("stage.distribution_coefficient", self.distribution_coefficient, low=0)
        if self.regression_coefficient == 0 and not (self.distribution and self.distribution_coefficient):
            raise ValueError("stage.regression_coefficient=0 leaves nothing to learn; use stage.distribution=true with it")
        check_range("stage.global_probability", self.global_probability, low=0, high=1)
        if self.temperature is not None:
            check_range("stage.temperature", self.temperature, above=0)
        check_range("stage.rebalancing", self.rebalancing, above=0)
        check_range("stage.rebalancing", self.rebalancing, low=0, high=1)
        check_range("stage.neighbours", self.neighbours, low=1, high=100)
        check_range("stage.sigma", self.sigma, above=0)
        check_range("stage.revealed_pictures", self.revealed_pictures, low=1)
        points = self.revealed_points
        if not isinstance(points, list) or not all(point == "all" or (type(point) is int and point >= 0) for point in points):
            raise ValueError(f"stage.revealed_points={points} must be a list of numbers of pixels and `all`, such as [0,10,all]")
        if len(set(points)) != len(points):
            raise ValueError(f"stage.revealed_points={points} names a number twice")

    def _check_blocks(self) -> None:
        valid = colorizer_blocks(self.network, self.distribution)
        for name in ("pretrained_blocks", "freeze", "lr_factors"):
            value = getattr(self, name)
            if not isinstance(value, dict | None if name == "lr_factors" else list | None):
                example = "{1: 0.1, 2: 0.5}" if name == "lr_factors" else "[1,2,3,4]"
                raise ValueError(f"stage.{name}={value} must look like {example}, or be null")
            for block in map(str, value or ()):
                if block not in valid:
                    raise ValueError(f"stage.{name}: {block} is no block of stage.network={self.network}, which has {', '.join(valid)}")
        for block, factor in (self.lr_factors or {}).items():
            if isinstance(factor, bool) or not isinstance(factor, int | float):
                raise ValueError(f"stage.lr_factors: the factor of block {block} must be a number, got {factor}")
            if factor == 0:
                raise ValueError(f"stage.lr_factors: a factor of 0 is stage.freeze=[{block}]")
            check_range(f"stage.lr_factors of block {block}", factor, above=0)
        frozen = {*map(str, self.freeze or ())}
        if frozen == {*valid}:
            raise ValueError("stage.freeze: names every block, which leaves nothing to train")
        if both := frozen & {*map(str, self.lr_factors or ())}:
            raise ValueError(f"stage.lr_factors: block {min(both)} is frozen by stage.freeze; name it in one of them")

    def ignored(self) -> dict[str, str]:
        """See `StageConfig`."""
        by_network = _OF_HINTED_NETWORKS if self.network == "eccv16" else _OF_CLASSIFICATION
        if self.network != "siggraph17_global":
            by_network += ("global_probability",)
        found = super().ignored() | dict.fromkeys(_changed(self, by_network), f"stage.network={self.network}")
        conditions = {
            "pretrained_blocks": (self.weights == "random", "stage.weights=random"),
            "distribution_coefficient": (not self.distribution, "stage.distribution=false"),
            "revealed_pictures": (not self.revealed_points, "stage.revealed_points=[]"),
        }
        for name, (without_effect, why) in conditions.items():
            if without_effect and _changed(self, [name]):
                found.setdefault(name, why)
        return found

    def wants_ab_histogram(self) -> bool:
        """See `StageConfig`: for the prior of eccv16's classes."""
        return self.network == "eccv16" and self.rebalancing < 1


_OF_HINTS = ("hints", "mask_probability", "hint_points", "empty_probability", "lambda_")


@dataclass
class JointConfig(HintedConfig, ExemplarConfig):
    """`stage=joint`: decoder and colorizer are tuned together, on hints from the transfer's colours."""

    name: str = "joint"
    precolor: str = "network"
    transfer_checkpoint: str | None = None
    """A checkpoint of stage=transfer; left out, the newest best.ckpt under outputs/transfer."""
    colorizer_checkpoint: str | None = None
    """A checkpoint of stage=colorizer, a file in the SIGGRAPH'17 layout or `siggraph17`; left out, the newest under outputs/colorizer."""
    pipeline: str = "both"
    """What makes the result: `both` sub-nets, `transfer` alone, or the colorizer without hints (`precolor`): the paper's ablation."""
    matching: str | None = None
    """Another matching than the transfer checkpoint's."""
    sites: Any = None
    """Other sites than the transfer checkpoint's."""
    alpha: float | None = None
    """Another strength than the transfer checkpoint's, 0 to 1."""
    optimizer: OptimizerConfig = field(default_factory=lambda: OptimizerConfig(lr=1e-5))

    def __post_init__(self) -> None:
        super().__post_init__()
        check_choice("stage.pipeline", self.pipeline, PIPELINES)
        check_choice("stage.precolor", self.precolor, PRECOLORS)
        nothing = {
            "hints=none": self.hints == "none",
            "mask_probability=1": self.hints == "bernoulli" and self.mask_probability == 1,
            "hint_points=0": self.hints == "points" and self.hint_points == 0,
            "empty_probability=1": self.empty_probability == 1,
        }
        if self.pipeline == "both" and any(nothing.values()):
            setting = next(name for name, hidden in nothing.items() if hidden)
            raise ValueError(
                f"stage.{setting}: without hints no gradient reaches the transfer's decoder in stage=joint; use stage.pipeline=precolor"
            )
        if self.matching is not None:
            check_choice("stage.matching", self.matching, MATCHINGS)
        if self.sites is not None:
            self.sites = _names(self.sites)
            # which skips there are, the checkpoint says
            check_sites(self.sites, "pre_pool")
        if self.alpha is not None:
            check_range("stage.alpha", self.alpha, low=0, high=1)

    def ignored(self) -> dict[str, str]:
        """See `StageConfig`."""
        ignored = super().ignored() | _ignored_by_matching(self)
        if self.pipeline == "precolor":
            names = ("precolor", "precolor_weights", "matching", *_OF_MATCHING)
            ignored |= dict.fromkeys(_changed(self, names), "stage.pipeline=precolor")
        if self.pipeline != "both":
            ignored |= dict.fromkeys(_changed(self, _OF_HINTS), f"stage.pipeline={self.pipeline}")
        return ignored
