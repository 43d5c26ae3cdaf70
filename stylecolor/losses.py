"""The losses of the three stages, computed in float32 outside autocast."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from stylecolor.ab_bins import nearest_bins
from stylecolor.encoder import VGG19Encoder
from stylecolor.errors import check_range
from stylecolor.randomness import make_key, normal

STYLE_LAYER_WEIGHTS = (1.0, 0.75, 0.2, 0.2, 0.2)
"""relu1_1 ... relu5_1 (the project report, section 6.1.3)."""


def gram_matrix(features: Float[Tensor, "batch channels height width"]) -> Float[Tensor, "batch channels channels"]:
    """`phi phi^T / (C H W)` (Johnson et al., ECCV 2016, equation 3), in float32: with 1e6 in front of it half precision overflows."""
    with torch.autocast(features.device.type, enabled=False):
        flat = (features if features.dtype == torch.float64 else features.float()).flatten(2)
        return flat @ flat.transpose(1, 2) / (flat.shape[1] * flat.shape[2])


class PerceptualTerms(NamedTuple):
    """The two perceptual losses, not yet multiplied by their coefficients."""

    content: Float[Tensor, ""]
    style: Float[Tensor, ""]


class PerceptualLoss(nn.Module):
    """Content and style losses on the features of a frozen, average-pooled VGG19 (Johnson et al., ECCV 2016, equations 2 to 4).

    content: `||phi_j(out) - phi_j(content)||^2 / (C_j H_j W_j)` at one layer; style: the weighted sum over relu1_1 ... relu5_1 of
    `||G_j(out) - G_j(style)||_F^2`. Both are means over the batch. The network's weights are in no state dict: they are the encoder's,
    rebuilt from the same source.

    Args:
        network: a `VGG19Encoder` of depth 5.
        content_layer: 1 to 5, for relu{i}_1.
        style_weights: of relu1_1 ... relu5_1.
        normalize: rescale each layer to unit mean square on pictures with natural statistics, as normalised VGG does (Gatys et al.,
            CVPR 2016, section 2), so that no layer, and no weight file with activations on another scale, drowns the rest.
    """

    scales: Tensor

    def __init__(
        self,
        network: VGG19Encoder,
        content_layer: int = 4,
        style_weights: Sequence[float] = STYLE_LAYER_WEIGHTS,
        normalize: bool = True,
    ) -> None:
        super().__init__()
        check_range("stage.loss.content_layer", content_layer, low=1, high=network.depth)
        if len(style_weights) != network.depth:
            raise ValueError(f"stage.loss.style_weights: expected {network.depth} numbers, one a layer, got {len(style_weights)}")
        self.network = network
        self.content_layer = content_layer
        self.style_weights = tuple(style_weights)
        scales = _unit_activation_scales(network) if normalize else torch.ones(network.depth)
        self.register_buffer("scales", scales, persistent=False)
        self.register_state_dict_post_hook(_leave_out_of_state_dict)
        self.register_load_state_dict_post_hook(_do_not_miss)

    def _features(self, rgb: Tensor) -> list[Tensor]:
        return [features.float() * scale for features, scale in zip(self.network(rgb), self.scales, strict=True)]

    def forward(
        self,
        output: Float[Tensor, "batch 3 height width"],
        content: Float[Tensor, "batch 3 height width"],
        style: Float[Tensor, "batch 3 style_height style_width"],
    ) -> PerceptualTerms:
        """Compare an output with the picture whose content and the picture whose style it should have, all sRGB in about [0, 1]."""
        with torch.no_grad():
            # the network is the same for both pictures, so equal sizes go through it together
            if content.shape == style.shape:
                both = [features.chunk(2) for features in self._features(torch.cat((content, style)))]
                wanted_content = both[self.content_layer - 1][0]
                wanted_grams = [gram_matrix(features) for _, features in both]
            else:
                wanted_content = self._features(content)[self.content_layer - 1]
                wanted_grams = [gram_matrix(features) for features in self._features(style)]
        features = self._features(output)
        content_loss = F.mse_loss(features[self.content_layer - 1], wanted_content)
        style_loss = output.new_zeros((), dtype=torch.float32)
        for weight, own, wanted in zip(self.style_weights, features, wanted_grams, strict=True):
            style_loss = style_loss + weight * (gram_matrix(own) - wanted).square().sum(dim=(1, 2)).mean()
        return PerceptualTerms(content_loss, style_loss)


@torch.no_grad()
def _unit_activation_scales(network: VGG19Encoder) -> Float[Tensor, " depth"]:
    """For each layer, 1 / root mean square of its activations on pictures of coloured 1/f noise, the spectrum of photographs."""
    keys = torch.tensor([make_key("calibration", index) for index in range(4)])
    spectrum = torch.fft.rfft2(normal(keys, "calibration", (3, 64, 64)))
    rows, columns = torch.fft.fftfreq(64).unsqueeze(1), torch.fft.rfftfreq(64)
    noise = torch.fft.irfft2(spectrum / torch.hypot(rows, columns).clamp(min=1 / 64))
    noise = noise / noise.std(dim=(1, 2, 3), keepdim=True)
    pictures = (0.45 + 0.25 * noise).clamp(0, 1)
    return torch.stack([1 / features.square().mean().sqrt().clamp(min=1e-6) for features in network(pictures)])


def _leave_out_of_state_dict(module: nn.Module, state: dict[str, Tensor], prefix: str, metadata: object) -> None:
    for name in [name for name in state if name.startswith(prefix)]:
        del state[name]


def _do_not_miss(module: nn.Module, incompatible_keys: object) -> None:
    missing: list[str] = incompatible_keys.missing_keys  # pyright: ignore[reportAttributeAccessIssue]
    own = {name for name, _ in module.named_parameters()}
    missing[:] = [name for name in missing if not any(name.endswith(f".{key}") or name == key for key in own)]


class MaskedHuberLoss(nn.Module):
    """`Huber((1 + lambda M) * prediction, (1 + lambda M) * target)`: the weighting stands inside, on both arguments.

    Source: Xu et al., CVPR 2020, section 3.2; the project report, section 5.3. On ab in Lab units, mean over every element: `delta` 1
    there is what the SIGGRAPH'17 training code uses.

    Args:
        lambda_: extra weight of the pixels whose colour was shown.
        delta: where the Huber loss turns from squared to linear, in Lab units.
    """

    def __init__(self, lambda_: float = 10.0, delta: float = 1.0) -> None:
        super().__init__()
        check_range("stage.lambda_", lambda_, low=0)
        check_range("stage.delta", delta, above=0)
        self.lambda_ = lambda_
        self.delta = delta

    def forward(
        self,
        prediction: Float[Tensor, "batch 2 height width"],
        target: Float[Tensor, "batch 2 height width"],
        mask: Float[Tensor, "batch 1 height width"],
    ) -> Float[Tensor, ""]:
        """Compare predicted with true ab in Lab units; `mask` is 1 where the colour was shown."""
        weight = 1 + self.lambda_ * mask.float()
        return F.huber_loss(weight * prediction.float(), weight * target.float(), delta=self.delta)


TRUTH_STEP = 4
"""The classes are predicted at a quarter of the resolution, where every fourth pixel of the truth stands for its neighbours."""


class RebalancedCrossEntropyLoss(nn.Module):
    """Cross-entropy against softly encoded ab, each pixel weighted by its class (Zhang et al., ECCV 2016, section 2.2, equations 2 to 4).

    `-v(Z) sum_q Z_q log softmax(logits)_q`, mean over the pixels; v is the weight of the strongest bin of the truth Z.

    Args:
        bins: ab of each class, Lab units.
        weights: of each class, see `stylecolor.ab_bins.rebalancing_weights`; None weighs all alike. They are kept in the state dict.
        neighbours: bins over which the truth is spread.
        sigma: of the Gaussian that spreads it, Lab units.
    """

    bins: Tensor
    weights: Tensor

    def __init__(
        self, bins: Float[Tensor, "bins 2"], weights: Float[Tensor, " bins"] | None = None, neighbours: int = 5, sigma: float = 5.0
    ) -> None:
        super().__init__()
        self.neighbours = neighbours
        self.sigma = sigma
        # the network keeps the bins, so they are in no state dict a second time
        self.register_buffer("bins", bins.detach().float().clone(), persistent=False)
        self.register_buffer("weights", torch.ones(len(bins)))
        if weights is not None:
            self.set_weights(weights)

    def set_weights(self, weights: Float[Tensor, " bins"]) -> None:
        """Weigh the classes otherwise."""
        self.weights.copy_(weights)

    def forward(
        self, logits: Float[Tensor, "batch bins quarter_height quarter_width"], ab: Float[Tensor, "batch 2 height width"]
    ) -> Float[Tensor, ""]:
        """Compare predicted classes with the true ab at full resolution, in Lab units."""
        with torch.autocast(logits.device.type, enabled=False):
            logits = logits if logits.dtype == torch.float64 else logits.float()
            indices, shares = nearest_bins(_truth(ab), self.bins, self.neighbours, self.sigma)
            # only the few bins that are not zero in the truth are looked up
            losses = -(shares * logits.log_softmax(dim=1).gather(1, indices)).sum(dim=1)
            return (self.weights[indices[:, 0]] * losses).mean()


@torch.no_grad()
def top_bin_accuracy(
    logits: Float[Tensor, "batch bins quarter_height quarter_width"],
    ab: Float[Tensor, "batch 2 height width"],
    bins: Float[Tensor, "bins 2"],
) -> Float[Tensor, ""]:
    """The share of pixels, in [0, 1], whose likeliest bin is the nearest one to the true ab (at full resolution, Lab units)."""
    nearest, _ = nearest_bins(_truth(ab), bins, neighbours=1)
    return (logits.argmax(dim=1, keepdim=True) == nearest).float().mean()


def _truth(ab: Tensor) -> Tensor:
    return ab[:, :, ::TRUTH_STEP, ::TRUTH_STEP]
