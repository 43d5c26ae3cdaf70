"""The settings of every stage.

They stand apart from the modules they configure because those import torch and Lightning, and a typo must be refused before that takes
its seconds.
"""

from dataclasses import dataclass, field
from typing import Any

from stylecolor.choices import HINT_SAMPLERS, NORMS, PADDINGS, SITES, check_sites
from stylecolor.errors import check_choice, check_range

SCHEDULES = ("constant", "step")


def _names(value: Any) -> list[str]:
    names = [value] if isinstance(value, str) else value
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise ValueError(f"stage.sites={value} must be a list of names, such as [encoder,decoder], or one name")
    return names


@dataclass
class OptimizerConfig:
    """Adam and its learning rate's schedule."""

    lr: float = 1e-3
    """Learning rate."""
    weight_decay: float = 0.0
    """L2 penalty."""
    schedule: str = "constant"
    """`constant`, or `step`: multiplied by `gamma` every `step_epochs` epochs."""
    gamma: float = 0.5
    """Factor of the step schedule."""
    step_epochs: int = 5
    """Epochs between the steps of the step schedule."""

    def __post_init__(self) -> None:
        check_range("stage.optimizer.lr", self.lr, above=0)
        check_range("stage.optimizer.weight_decay", self.weight_decay, low=0)
        check_choice("stage.optimizer.schedule", self.schedule, SCHEDULES)
        check_range("stage.optimizer.gamma", self.gamma, above=0)
        check_range("stage.optimizer.step_epochs", self.step_epochs, low=1)


@dataclass
class StageConfig:
    """What every stage has."""

    name: str = "transfer"
    """The stage, as in `stage=`."""
    width: float = 1.0
    """Multiplies every channel count; 1.0 is the published size."""
    channels_last: bool = True
    """Keep weights and activations in NHWC memory order, which is the faster one on tensor cores and for bf16 on CPUs."""
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)

    def __post_init__(self) -> None:
        check_range("stage.width", self.width, above=0)


@dataclass
class EncoderConfig:
    """The frozen VGG19."""

    weights: str = "imagenet"
    """`imagenet` (fetched once), `random`, or a file in torchvision's layout."""


@dataclass
class TransferLossConfig:
    """Total = perceptual * (content * content loss + style * style loss) + reconstruction * mean squared error."""

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
class TransferConfig(StageConfig):
    """`stage=transfer`: the decoder learns to reconstruct the content in the style's colours."""

    encoder: EncoderConfig = field(default_factory=EncoderConfig)
    sites: Any = field(default_factory=lambda: ["bottleneck"])
    """Where AdaIN is applied: a list of any of bottleneck, encoder, skips, decoder."""
    alpha: float = 1.0
    """Strength of AdaIN, 0 to 1."""
    skips: str = "slices"
    """What the decoder gets from the encoder: `slices` (relu1_1 to relu3_1) or `pre_pool` (conv1_2, conv2_2, conv3_4, pooled maps)."""
    norm: str = "batch"
    """Of the decoder: `batch` or `none`."""
    padding: str = "zeros"
    """Of the decoder: `zeros` or `reflect`."""
    loss: TransferLossConfig = field(default_factory=TransferLossConfig)

    def __post_init__(self) -> None:
        super().__post_init__()
        self.sites = _names(self.sites)
        check_sites(self.sites, self.skips)
        check_range("stage.alpha", self.alpha, low=0, high=1)
        check_choice("stage.norm", self.norm, NORMS)
        check_choice("stage.padding", self.padding, PADDINGS)


@dataclass
class HintedConfig(StageConfig):
    """What the stages that train the colorization sub-net share."""

    hints: str = "bernoulli"
    """How hints are chosen: `bernoulli` (single pixels), `patches` (squares of 1 to 9 px), `all` or `none`."""
    mask_probability: float = 0.99
    """Probability that `bernoulli` hides a pixel's colour."""
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
        check_range("stage.empty_probability", self.empty_probability, low=0, high=1)
        check_range("stage.lambda_", self.lambda_, low=0)
        check_range("stage.delta", self.delta, above=0)


@dataclass
class ColorizerConfig(HintedConfig):
    """`stage=colorizer`: the U-Net learns to spread hints from the target's own colours."""

    name: str = "colorizer"
    weights: str = "random"
    """Where the network starts: `random`, `siggraph17` (the published weights), a file in their layout, or a checkpoint."""
    optimizer: OptimizerConfig = field(default_factory=lambda: OptimizerConfig(lr=1e-4))


@dataclass
class JointConfig(HintedConfig):
    """`stage=joint`: decoder and colorizer are tuned together, on hints from the transfer's colours."""

    name: str = "joint"
    transfer_checkpoint: str | None = None
    """A checkpoint of stage=transfer; left out, the newest best.ckpt under outputs/transfer."""
    colorizer_checkpoint: str | None = None
    """A checkpoint of stage=colorizer, a file in the SIGGRAPH'17 layout or `siggraph17`; left out, the newest under outputs/colorizer."""
    sites: Any = None
    """Other AdaIN sites than the transfer checkpoint's."""
    alpha: float | None = None
    """Another strength of AdaIN than the transfer checkpoint's, 0 to 1."""
    optimizer: OptimizerConfig = field(default_factory=lambda: OptimizerConfig(lr=1e-5))

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.hints == "none":
            raise ValueError(
                "stage.hints=none: without hints no gradient reaches the transfer's decoder in stage=joint; use stage=colorizer"
            )
        if self.sites is not None:
            self.sites = _names(self.sites)
            for site in self.sites:
                check_choice("stage.sites", site, SITES)
        if self.alpha is not None:
            check_range("stage.alpha", self.alpha, low=0, high=1)
