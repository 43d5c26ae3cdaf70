"""The frozen VGG19 encoder: ImageNet, own or random weights, average pooling, cut at relu{i}_1."""

import math
from collections.abc import Iterator
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from stylecolor.weights import load_vgg19_state

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)

# torchvision's `vgg19().features`: the channels of each convolution, "pool" for each pooling. Every convolution is followed by a ReLU,
# so that convolutions stand at the indices 0, 2, 5, 7, 10, ... of the Sequential, as in every published weight file.
VGG19_LAYOUT: tuple[int | str, ...] = (64, 64, "pool", 128, 128, "pool", 256, 256, 256, 256, "pool", 512, 512, 512, 512, "pool", 512)
SLICE_ENDS = (2, 7, 12, 21, 30)
"""Slice i of the Sequential ends behind relu{i}_1 (exclusive index)."""
RANDOM_WEIGHTS_SEED = 19


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
        weights: `imagenet` (torchvision's IMAGENET1K_V1, fetched once), the path of a `.pth` or `.safetensors` file in its layout,
            `random` (He-normal, fan-out, fixed seed), or `empty` for a network whose weights come from a checkpoint next.
        width: multiplies every channel count; weights that were made for another width are refused.
        depth: 4 for the transfer sub-net, 5 for the perceptual loss.
        pooling: `average`, as style transfer prefers (Gatys et al., CVPR 2016, section 2), or `max`, the network as it was trained.

    Raises:
        ValueError: for weights that cannot be had or do not fit, with the remedy.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, weights: str = "imagenet", width: float = 1.0, depth: int = 4, pooling: str = "average") -> None:
        super().__init__()
        if pooling not in ("average", "max"):
            raise ValueError(f"VGG19Encoder: pooling={pooling!r} is not one of average, max")
        self.width = width
        self.depth = depth
        self.features = nn.Sequential(*_layers(width, depth, pooling))
        self.register_buffer("mean", torch.tensor(IMAGENET_MEAN).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(IMAGENET_STD).view(1, 3, 1, 1), persistent=False)
        if weights == "random":
            self._initialise_randomly()
        elif weights != "empty":
            self.load_state_dict(load_vgg19_state(weights, self.state_dict(), width))
        self.requires_grad_(False)
        self.eval()

    def _initialise_randomly(self) -> None:
        generator = torch.Generator().manual_seed(RANDOM_WEIGHTS_SEED)
        for module in self.features:
            if isinstance(module, nn.Conv2d):
                fan_out = module.out_channels * math.prod(module.kernel_size)
                nn.init.normal_(module.weight, std=math.sqrt(2 / fan_out), generator=generator)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)

    def train(self, mode: bool = True) -> "VGG19Encoder":
        """Stay in eval mode: the encoder is frozen."""
        return super().train(False)

    def normalize(self, rgb: Float[Tensor, "batch 3 height width"]) -> Float[Tensor, "batch 3 height width"]:
        """Subtract ImageNet's mean from sRGB in [0, 1] and divide by its standard deviation."""
        return (rgb - self.mean) / self.std

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

    def forward(self, rgb: Float[Tensor, "batch 3 height width"]) -> list[Float[Tensor, "batch channels height width"]]:
        """relu1_1 ... relu{depth}_1 of sRGB pictures in [0, 1]."""
        features = self.normalize(rgb)
        outputs = []
        for index in range(self.depth):
            features = self.run_slice(index, features).output
            outputs.append(features)
        return outputs


def _layers(width: float, depth: int, pooling: str) -> Iterator[nn.Module]:
    channels_in = 3
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
            yield nn.utils.skip_init(nn.Conv2d, channels_in, channels, kernel_size=3, padding=1)
            yield nn.ReLU()
            channels_in = channels
            count += 2
