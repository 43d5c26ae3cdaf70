"""The ECCV'16 classification network, which colorizes L alone."""

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from jaxtyping import Float, Float32
from torch import Tensor, nn

from stylecolor.ab_bins import gamut_bins
from stylecolor.color import AB_SCALE, L_CENTER, L_SCALE
from stylecolor.encoder import scale_channels, weight_dtype
from stylecolor.errors import check_range


def _convolutions(channels_in: int, channels_out: int, count: int, stride: int = 1, dilation: int = 1) -> list[nn.Module]:
    """So many of 3x3, each with its ReLU; the last one has the stride."""
    layers: list[nn.Module] = []
    for index in range(count):
        layers.append(
            nn.Conv2d(
                channels_in if index == 0 else channels_out,
                channels_out,
                kernel_size=3,
                stride=stride if index == count - 1 else 1,
                padding=dilation,
                dilation=dilation,
            )
        )
        layers.append(nn.ReLU())
    return layers


def _block(channels_in: int, channels_out: int, convolutions: int, stride: int = 1, dilation: int = 1) -> nn.Sequential:
    return nn.Sequential(*_convolutions(channels_in, channels_out, convolutions, stride, dilation), nn.BatchNorm2d(channels_out))


class ClassificationNet(nn.Module):
    """Eight blocks from L to a distribution over ab bins at a quarter of the resolution, and from it to ab (Zhang et al., ECCV 2016).

    No pooling: the last convolution of blocks 1, 2 and 3 has stride 2, blocks 5 and 6 are dilated by 2. Attribute names follow the authors'
    released file (`model1.0.weight` ... `model8.6.bias`, `model_out.weight`), which loads directly into a network of 313 bins. `model_out`
    holds the bins divided by 110; it does not train.

    Args:
        width: multiplies every channel count but those of the input and the bins.
        bins: how many there are in weights that are loaded next; until then they are all grey. None takes `gamut_bins()`.
        temperature: of the annealed mean (section 2.3, equation 5), above 0; with 1 it is the mean, and the forward is that of the released
            network.

    Raises:
        ValueError: for a temperature that is not above 0.
    """

    def __init__(self, width: float = 1.0, bins: int | None = None, temperature: float = 0.38) -> None:
        super().__init__()
        check_range("stage.temperature", temperature, above=0)
        values = gamut_bins() if bins is None else torch.zeros(bins, 2)
        self.settings = {"width": width, "bins": len(values), "temperature": temperature}
        self.temperature = temperature
        c64, c128, c256, c512 = (scale_channels(channels, width) for channels in (64, 128, 256, 512))
        self.model1 = _block(1, c64, 2, stride=2)
        self.model2 = _block(c64, c128, 2, stride=2)
        self.model3 = _block(c128, c256, 3, stride=2)
        self.model4 = _block(c256, c512, 3)
        self.model5 = _block(c512, c512, 3, dilation=2)
        self.model6 = _block(c512, c512, 3, dilation=2)
        self.model7 = _block(c512, c512, 3)
        self.model8 = nn.Sequential(
            nn.ConvTranspose2d(c512, c256, kernel_size=4, stride=2, padding=1),
            nn.ReLU(),
            *_convolutions(c256, c256, 2),
            nn.Conv2d(c256, len(values), kernel_size=1),
        )
        self.model_out = nn.Conv2d(len(values), 2, kernel_size=1, bias=False)
        self.model_out.weight = nn.Parameter((values.T / AB_SCALE)[:, :, None, None].contiguous(), requires_grad=False)

    @property
    def full_precision(self) -> tuple[nn.Module, ...]:
        """The layers that stay float32 when all others are bf16, see `logits`."""
        return (self.model8[-1], self.model_out)

    @classmethod
    def from_settings(cls, settings: Mapping[str, object]) -> "ClassificationNet":
        """A network of the architecture that a checkpoint records; its bins come with the weights."""
        return cls(**settings)  # pyright: ignore[reportArgumentType]

    @property
    def bins(self) -> Float32[Tensor, "bins 2"]:
        """The ab of each class, Lab units."""
        return self.model_out.weight.detach()[:, :, 0, 0].T.float() * AB_SCALE

    def logits(self, l: Float[Tensor, "batch 1 height width"]) -> Float32[Tensor, "batch bins quarter_height quarter_width"]:
        """The unnormalised log-probability of each bin, float32, from L in [0, 100]. Height and width must be multiples of 8.

        Raises:
            ValueError: for sides that are no multiple of 8.
        """
        if l.shape[-2] % 8 or l.shape[-1] % 8:
            raise ValueError(f"ClassificationNet: height and width must be multiples of 8, got {l.shape[-2]} x {l.shape[-1]}")
        inputs = ((l - L_CENTER) / L_SCALE).to(weight_dtype(self.model1))
        block3 = self.model3(self.model2(self.model1(inputs)))
        block7 = self.model7(self.model6(self.model5(self.model4(block3))))
        features = self.model8[:-1](block7)
        # in full precision, since the annealed mean multiplies the rounding of bf16
        with torch.autocast(l.device.type, enabled=False):
            return self.model8[-1](features.to(self.model_out.weight.dtype)).float()

    def decode(self, logits: Float[Tensor, "batch bins quarter_height quarter_width"]) -> Float32[Tensor, "batch 2 height width"]:
        """The annealed mean of the bins, upsampled bilinearly by 4: ab in Lab units, float32."""
        with torch.autocast(logits.device.type, enabled=False):
            probabilities = (logits.float() / self.temperature).softmax(dim=1)
            ab = self.model_out(probabilities.to(self.model_out.weight.dtype)).float()
            return F.interpolate(ab, scale_factor=4, mode="bilinear", align_corners=False) * AB_SCALE

    def forward(
        self,
        l: Float[Tensor, "batch 1 height width"],
        hint_ab: Float[Tensor, "batch 2 height width"] | None = None,
        mask: Float[Tensor, "batch 1 height width"] | None = None,
    ) -> Float32[Tensor, "batch 2 height width"]:
        """Predict ab in Lab units, float32, from L in [0, 100]; see `logits`.

        This network takes no hints: `hint_ab` and `mask` stand here so that every colorizer is called alike.

        Raises:
            ValueError: for sides that are no multiple of 8.
        """
        return self.decode(self.logits(l))
