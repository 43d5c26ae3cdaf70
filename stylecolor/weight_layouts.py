"""The layouts in which weights of the transfer sub-net are published, and their way into ours."""

from collections.abc import Mapping
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from stylecolor.weights import check_state, read_state_file, read_weights, unwrap_state

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
GRAY_MEAN = 0.449
"""What a one-channel encoder subtracts from grey sRGB in [0, 1]: the average of ImageNet's means."""
GRAY_STD = 0.226

_VGG19 = {
    "conv1_1": 0,
    "conv1_2": 2,
    "conv2_1": 5,
    "conv2_2": 7,
    "conv3_1": 10,
    "conv3_2": 12,
    "conv3_3": 14,
    "conv3_4": 16,
    "conv4_1": 19,
}
"""Index in torchvision's `features` of each convolution that the paper's authors use."""
_DECODER = {
    "conv4_1": "4.0",
    "conv3_4_2": "3.0",
    "conv3_3": "3.1",
    "conv3_2": "3.2",
    "conv3_1": "3.3",
    "conv2_2_2": "2.0",
    "conv2_1": "2.1",
    "conv1_2_2": "1.0",
    "conv1_1": "1.1",
}
"""Level and place in `stylecolor.transfer.Decoder`, with `skips="pre_pool"`, of each convolution of the authors' decoder."""

Kernels = tuple[Float[Tensor, "out in height width"], Float[Tensor, " out"]]
"""Weight and bias of a convolution."""


def compose_affine(kernels: Kernels, matrix: Float[Tensor, "in new"], offset: Float[Tensor, " in"]) -> Kernels:
    """The convolution that does what `kernels` do behind the pointwise map `y = matrix x + offset`; computed in float64.

    Exact with reflection padding, which only repeats pixels. With zero padding it is exact but for the border, where `kernels` see zeros
    and the composed ones see `offset`.
    """
    weight, bias = (tensor.double() for tensor in kernels)
    composed = torch.einsum("oihw,in->onhw", weight, matrix.double())
    return composed.to(kernels[0].dtype), (bias + torch.einsum("oihw,i->o", weight, offset.double())).to(kernels[1].dtype)


def gray_encoder_state(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The state dict of a one-channel encoder from that of a colour one, whose first kernels are summed over the colours.

    Each behind its own input normalisation, a grey picture gives what it gives in three equal channels; with zero padding, relu1_1 differs
    in its outermost pixels, and deeper maps in 2 to 4.
    """
    mean, std = torch.tensor(IMAGENET_MEAN, dtype=torch.float64), torch.tensor(IMAGENET_STD, dtype=torch.float64)
    first = (state["features.0.weight"], state["features.0.bias"])
    weight, bias = compose_affine(first, (GRAY_STD / std)[:, None], (GRAY_MEAN - mean) / std)
    return {**state, "features.0.weight": weight, "features.0.bias": bias}


def load_encoder_state(
    source: str, expected: Mapping[str, Tensor], *, width: float, padding: str, channels_in: int, setting: str, mirror: str | None = None
) -> dict[str, Tensor]:
    """VGG19's convolutions for `VGG19Encoder`, from torchvision's layout (`features.0.weight` ...) or the paper's authors' (`conv0` ...).

    Layers of torchvision's file beyond those that are used are left out. The authors' `conv0`, a 1x1 convolution that prepares sRGB in
    [0, 1], is folded into conv1_1 together with the inverse of our own normalisation.

    Args:
        source: `imagenet`, or a file; its keys may begin with `module.`, or it may hold them under `state_dict`.
        expected: the encoder's own state dict.
        width: the encoder's, for errors.
        padding: the encoder's; the authors' file needs `reflect`.
        channels_in: 3, or 1 for a grey encoder, which sums the kernels of colour files (`gray_encoder_state`).
        setting: the name of the setting that holds `source`, for errors.
        mirror: see `stylecolor.published_weights.obtain`.

    Raises:
        ValueError: when ImageNet weights are asked for at another width than 1 or cannot be had, and for a file that does not fit.
    """
    if source == "imagenet" and width != 1.0:
        raise ValueError(f"{setting}=imagenet: ImageNet weights exist for stage.width=1.0, got {width:g}; use {setting}=random with it")
    state = unwrap_state(read_weights(source, setting, ("imagenet",), mirror))
    described = f"{setting}={source}"
    if "conv0.weight" in state:
        state = _read_authors_encoder(state, expected, width, padding, described)
    else:
        state = _read_torchvision(state, expected, width, channels_in, described)
    return gray_encoder_state(state) if state["features.0.weight"].shape[1] > channels_in else state


def _with_colors(expected: Mapping[str, Tensor]) -> dict[str, Tensor]:
    first = expected["features.0.weight"]
    return {**expected, "features.0.weight": first.new_empty(first.shape[0], 3, *first.shape[2:])}


def _read_torchvision(
    state: dict[str, Any], expected: Mapping[str, Tensor], width: float, channels_in: int, described: str
) -> dict[str, Tensor]:
    unused = {name for name in state.keys() - expected.keys() if name.startswith(("features.", "classifier."))}
    state = {name: tensor for name, tensor in state.items() if name not in unused}
    first = state.get("features.0.weight")
    is_gray = isinstance(first, Tensor) and first.shape[1:2] == (1,)
    if is_gray and channels_in == 3:
        raise ValueError(f"{described}: is an encoder for grey pictures; use it with stage.precolor=gray_encoder")
    check_state(state, expected if is_gray else _with_colors(expected), described, width)
    return state


def _read_authors_encoder(
    state: dict[str, Any], expected: Mapping[str, Tensor], width: float, padding: str, described: str
) -> dict[str, Tensor]:
    names = {f"{name}.{kind}": f"features.{index}.{kind}" for name, index in _VGG19.items() for kind in ("weight", "bias")}
    if deeper := expected.keys() - names.values():
        raise ValueError(
            f"{described}: the authors' encoder ends at conv4_1, and here {len(deeper)} deeper tensors are needed; name a file in "
            "torchvision's layout, or random, for the perceptual loss with stage.loss.network_weights"
        )
    if padding != "reflect":
        raise ValueError(f"{described}: the authors' encoder has reflection padding; use it with stage.encoder.padding=reflect")
    own = _with_colors(expected)
    first = own["features.0.weight"]
    layout = {name: own[ours] for name, ours in names.items()}
    layout |= {"conv0.weight": first.new_empty(3, 3, 1, 1), "conv0.bias": first.new_empty(3)}
    check_state(state, layout, described, width)
    mean, std = torch.tensor(IMAGENET_MEAN, dtype=torch.float64), torch.tensor(IMAGENET_STD, dtype=torch.float64)
    matrix = state["conv0.weight"][:, :, 0, 0].double()
    read = {ours: state[name] for name, ours in names.items()}
    read["features.0.weight"], read["features.0.bias"] = compose_affine(
        (read["features.0.weight"], read["features.0.bias"]), matrix * std, matrix @ mean + state["conv0.bias"].double()
    )
    return read


def load_decoder_state(
    source: str, expected: Mapping[str, Tensor], *, width: float, skips: str, norm: str, padding: str, setting: str
) -> dict[str, Tensor]:
    """A file of the paper's authors' decoder (`conv4_1`, `conv3_4_2` ... `conv1_1`) for `stylecolor.transfer.Decoder`.

    Args:
        source: the file; its keys may begin with `module.`, or it may hold them under `state_dict`.
        expected: the decoder's own state dict.
        width: the decoder's, for errors.
        skips: the decoder's; the file needs `pre_pool`.
        norm: the decoder's; the file needs `none`.
        padding: the decoder's; the file needs `reflect`.
        setting: the name of the setting that holds `source`, for errors.

    Raises:
        ValueError: for a decoder of another form, and for a file that does not fit.
    """
    described = f"{setting}={source}"
    form = {"stage.skips": (skips, "pre_pool"), "stage.norm": (norm, "none"), "stage.padding": (padding, "reflect")}
    if other := [f"{name}={needed}" for name, (value, needed) in form.items() if value != needed]:
        raise ValueError(f"{described}: the authors' decoder has another form; use it with {' '.join(other)}")
    state = unwrap_state(read_state_file(source, setting))
    names = {f"{name}.{kind}": f"levels.{place}.0.{kind}" for name, place in _DECODER.items() for kind in ("weight", "bias")}
    check_state(state, {name: expected[ours] for name, ours in names.items()}, described, width)
    return {ours: state[name] for name, ours in names.items()}
