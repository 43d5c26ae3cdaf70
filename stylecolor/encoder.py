"""The frozen VGG19 encoder: ImageNet, own or random weights, average pooling, cut at relu{i}_1."""

import math
from collections.abc import Iterator
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from stylecolor.choices import PADDINGS
from stylecolor.errors import check_choice
from stylecolor.uninitialized import Uninitialized
from stylecolor.weight_layouts import GRAY_MEAN, GRAY_STD, IMAGENET_MEAN, IMAGENET_STD, gray_encoder_state, load_encoder_state

# torchvision's `vgg19().features`: the channels of each convolution, "pool" for each pooling. Every convolution is followed by a ReLU,
# so that convolutions stand at the indices 0, 2, 5, 7, 10, ... of the Sequential, as in every published weight file.
VGG19_LAYOUT: tuple[int | str, ...] = (64, 64, "pool", 128, 128, "pool", 256, 256, 256, 256, "pool", 512, 512, 512, 512, "pool", 512)
SLICE_ENDS = (2, 7, 12, 21, 30)
"""Slice i of the Sequential ends behind relu{i}_1 (exclusive index)."""
RANDOM_WEIGHTS_SEED = 19


def weight_dtype(network: nn.Module) -> torch.dtype:
    """In which a network's first layer computes."""
    return next(network.parameters()).dtype


def scale_channels(channels: int, width: float) -> int:
    """The channel count of a layer under the `width` multiplier (1.0 is the published size)."""
    return max(1, round(channels * width))


def slice_channels(width: float = 1.0, depth: int = 5) -> list[int]:
    """Channels of relu1_1 ... relu{depth}_1."""
    return [scale_channels(channels, width) for channels in (64, 128, 256, 512, 512)[:depth]]


class SliceOutput(NamedTuple):
    """What one slice of the encoder computes.

    `output` is relu{i}_1; `before_pool` and `pooled` are the last feature map before the pooling inside the slice (conv1_2, conv2_2,
    conv3_4, conv4_4, after their ReLU) and the pooled map, None for the first slice, which has no pooling.
    """

    output: Float[Tensor, "batch channels height width"]
    before_pool: Float[Tensor, "batch channels_in height_in width_in"] | None
    pooled: Float[Tensor, "batch channels_in height width"] | None


class VGG19Encoder(nn.Module):
    """VGG19 (Simonyan and Zisserman, ICLR 2015) up to relu{depth}_1, frozen, always in eval mode, with 2x2 average pooling.

    The state dict has torchvision's layout (`features.0.weight` ...), so ImageNet files load directly.

    Args:
        weights: `imagenet` (torchvision's IMAGENET1K_V1, fetched once), the path of a `.pth` or `.safetensors` file in its layout or in
            that of the paper's authors (see `weight_layouts.load_encoder_state`), `random` (He-normal, fan-out, fixed seed), or `empty`
            for a network whose weights come from a checkpoint next.
        width: multiplies every channel count; weights that were made for another width are refused.
        depth: 4 for the transfer sub-net, 5 for the perceptual loss.
        pooling: `average`, as style transfer prefers (Gatys et al., CVPR 2016, section 2), or `max`, the network as it was trained.
        padding: `zeros`, the network as it was trained, or `reflect`, as the paper's authors have it.
        channels_in: 3, or 1 for an encoder of grey pictures (the paper's "gray VGG"). Its first kernels are the colour ones summed, so that
            it gives what the colour encoder gives for three equal channels (with zero padding not quite at the border), or come from a file
            whose first convolution has one input channel.
        mirror: of published weights, see `published_weights.obtain`.
        setting: the name of the setting that holds `weights`, for errors.

    Raises:
        ValueError: for weights that cannot be had or do not fit, with the remedy.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self,
        weights: str = "imagenet",
        width: float = 1.0,
        depth: int = 4,
        pooling: str = "average",
        padding: str = "zeros",
        channels_in: int = 3,
        mirror: str | None = None,
        setting: str = "stage.encoder.weights",
    ) -> None:
        super().__init__()
        if pooling not in ("average", "max"):
            raise ValueError(f"VGG19Encoder: pooling={pooling!r} is not one of average, max")
        check_choice("stage.encoder.padding", padding, PADDINGS)
        if channels_in not in (1, 3):
            raise ValueError(f"VGG19Encoder: channels_in={channels_in} is neither 3 (colour) nor 1 (grey)")
        self.width = width
        self.depth = depth
        self.padding = padding
        self.channels_in = channels_in
        self.features = nn.Sequential(*_layers(width, depth, pooling, padding, channels_in))
        mean, std = (IMAGENET_MEAN, IMAGENET_STD) if channels_in == 3 else ((GRAY_MEAN,), (GRAY_STD,))
        self.register_buffer("mean", torch.tensor(mean).view(1, channels_in, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(std).view(1, channels_in, 1, 1), persistent=False)
        if weights == "random":
            self._initialise_randomly()
        elif weights != "empty":
            state = load_encoder_state(
                weights, self.state_dict(), width=width, padding=padding, channels_in=channels_in, setting=setting, mirror=mirror
            )
            self.load_state_dict(state)
        self.requires_grad_(False)
        self.eval()

    def _initialise_randomly(self) -> None:
        generator = torch.Generator().manual_seed(RANDOM_WEIGHTS_SEED)
        state = {}
        for name, tensor in self.state_dict().items():
            if tensor.ndim == 1:
                state[name] = torch.zeros_like(tensor)
            else:
                fan_out = tensor.shape[0] * math.prod(tensor.shape[2:])
                # a grey encoder draws the colour one's kernels, so that both are the same network
                channels_in = 3 if name == "features.0.weight" else tensor.shape[1]
                weight = tensor.new_empty(tensor.shape[0], channels_in, *tensor.shape[2:])
                state[name] = nn.init.normal_(weight, std=math.sqrt(2 / fan_out), generator=generator)
        self.load_state_dict(gray_encoder_state(state) if self.channels_in == 1 else state)

    def train(self, mode: bool = True) -> "VGG19Encoder":
        """Stay in eval mode: the encoder is frozen."""
        return super().train(False)

    def normalize(self, rgb: Float[Tensor, "batch channels_in height width"]) -> Float[Tensor, "batch channels_in height width"]:
        """Subtract ImageNet's mean from sRGB (or grey) in [0, 1] and divide by its standard deviation."""
        return (rgb - self.mean) / self.std

    @property
    def dtype(self) -> torch.dtype:
        """Of its convolutions, and so of the features."""
        return weight_dtype(self.features)

    def run_slice(self, index: int, features: Tensor) -> SliceOutput:
        """Run slice `index` (0-based) on the output of the slice before it, or on the normalised picture for slice 0."""
        start = SLICE_ENDS[index - 1] if index else 0
        before_pool = pooled = None
        for layer in self.features[start : SLICE_ENDS[index]]:
            is_pooling = isinstance(layer, nn.AvgPool2d | nn.MaxPool2d)
            if is_pooling:
                before_pool = features
            features = layer(features)
            if is_pooling:
                pooled = features
        return SliceOutput(features, before_pool, pooled)

    def forward(self, rgb: Float[Tensor, "batch channels_in height width"]) -> list[Float[Tensor, "batch channels _ _"]]:
        """relu1_1 ... relu{depth}_1 of sRGB (or grey) pictures in [0, 1]."""
        features = self.normalize(rgb).to(self.dtype)
        outputs = []
        for index in range(self.depth):
            features = self.run_slice(index, features).output
            outputs.append(features)
        return outputs


def _layers(width: float, depth: int, pooling: str, padding: str, channels_in: int) -> Iterator[nn.Module]:
    count = 0
    for entry in VGG19_LAYOUT:
        if count == SLICE_ENDS[depth - 1]:
            return
        if isinstance(entry, str):
            yield nn.AvgPool2d(2) if pooling == "average" else nn.MaxPool2d(2)
            count += 1
        else:
            channels = scale_channels(entry, width)
            # weights follow from elsewhere: no random number is drawn for them
            with Uninitialized():
                convolution = nn.Conv2d(channels_in, channels, 3, padding=1, padding_mode=padding)  # pyright: ignore[reportArgumentType]
            yield convolution
            yield nn.ReLU()
            channels_in = channels
            count += 2
