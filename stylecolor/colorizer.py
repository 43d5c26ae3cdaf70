"""The colorization sub-net: the SIGGRAPH'17 user-guided U-Net."""

from collections.abc import Mapping

import torch
from jaxtyping import Float
from torch import Tensor, nn

from stylecolor.color import AB_SCALE, L_CENTER, L_SCALE
from stylecolor.encoder import scale_channels


def _block(channels_in: int, channels_out: int, convolutions: int, dilation: int = 1, relu_first: bool = False) -> nn.Sequential:
    layers: list[nn.Module] = [nn.ReLU()] if relu_first else []
    for index in range(convolutions):
        layers.append(
            nn.Conv2d(channels_in if index == 0 else channels_out, channels_out, kernel_size=3, padding=dilation, dilation=dilation)
        )
        layers.append(nn.ReLU())
    return nn.Sequential(*layers, nn.BatchNorm2d(channels_out))


class ColorizationNet(nn.Module):
    """Ten blocks from (L, hinted ab, mask) to ab (Zhang et al., SIGGRAPH 2017, section 3.3, and the authors' released weights).

    Resolution halves after blocks 1, 2 and 3 by taking every second pixel, blocks 5 and 6 are dilated by 2, and blocks 8, 9, 10 come back
    up with shortcuts from blocks 3, 2, 1. Attribute names follow the released file (`model1.0.weight` ... `model_out.0.bias`), which
    `load_colorizer_state` therefore loads directly.

    Args:
        width: multiplies every channel count but those of the input and the output.
    """

    def __init__(self, width: float = 1.0) -> None:
        super().__init__()
        self.settings = {"width": width}
        c64, c128, c256, c512 = (scale_channels(channels, width) for channels in (64, 128, 256, 512))
        self.model1 = _block(4, c64, 2)
        self.model2 = _block(c64, c128, 2)
        self.model3 = _block(c128, c256, 3)
        self.model4 = _block(c256, c512, 3)
        self.model5 = _block(c512, c512, 3, dilation=2)
        self.model6 = _block(c512, c512, 3, dilation=2)
        self.model7 = _block(c512, c512, 3)
        self.model8up = nn.Sequential(nn.ConvTranspose2d(c512, c256, kernel_size=4, stride=2, padding=1))
        self.model3short8 = nn.Sequential(nn.Conv2d(c256, c256, kernel_size=3, padding=1))
        self.model8 = _block(c256, c256, 2, relu_first=True)
        self.model9up = nn.Sequential(nn.ConvTranspose2d(c256, c128, kernel_size=4, stride=2, padding=1))
        self.model2short9 = nn.Sequential(nn.Conv2d(c128, c128, kernel_size=3, padding=1))
        self.model9 = _block(c128, c128, 1, relu_first=True)
        self.model10up = nn.Sequential(nn.ConvTranspose2d(c128, c128, kernel_size=4, stride=2, padding=1))
        self.model1short10 = nn.Sequential(nn.Conv2d(c64, c128, kernel_size=3, padding=1))
        self.model10 = nn.Sequential(nn.ReLU(), nn.Conv2d(c128, c128, kernel_size=3, padding=1), nn.LeakyReLU(0.2))
        self.model_out = nn.Sequential(nn.Conv2d(c128, 2, kernel_size=1), nn.Tanh())

    @classmethod
    def from_settings(cls, settings: Mapping[str, object]) -> "ColorizationNet":
        """A network of the architecture that a checkpoint records."""
        return cls(**settings)  # pyright: ignore[reportArgumentType]

    def forward(
        self,
        l: Float[Tensor, "batch 1 height width"],
        hint_ab: Float[Tensor, "batch 2 height width"],
        mask: Float[Tensor, "batch 1 height width"],
    ) -> Float[Tensor, "batch 2 height width"]:
        """Predict ab in Lab units, float32, from L in [0, 100], hinted ab in Lab units and the mask (1 where ab is a hint).

        Height and width must be multiples of 8. Hinted ab is multiplied by the mask here, so that hidden colours never leak.

        Raises:
            ValueError: for sides that are no multiple of 8.
        """
        if l.shape[-2] % 8 or l.shape[-1] % 8:
            raise ValueError(f"ColorizationNet: height and width must be multiples of 8, got {l.shape[-2]} x {l.shape[-1]}")
        block1 = self.model1(torch.cat(((l - L_CENTER) / L_SCALE, hint_ab / AB_SCALE * mask, mask), dim=1))
        block2 = self.model2(block1[:, :, ::2, ::2])
        block3 = self.model3(block2[:, :, ::2, ::2])
        block4 = self.model4(block3[:, :, ::2, ::2])
        block7 = self.model7(self.model6(self.model5(block4)))
        block8 = self.model8(self.model8up(block7) + self.model3short8(block3))
        block9 = self.model9(self.model9up(block8) + self.model2short9(block2))
        block10 = self.model10(self.model10up(block9) + self.model1short10(block1))
        # in full precision, since bf16 would leave steps of half a Lab unit
        with torch.autocast(l.device.type, enabled=False):
            return self.model_out(block10.to(self.model10[1].weight.dtype)).float() * AB_SCALE
