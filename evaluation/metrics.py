"""Measures of a colorized picture, one number for each picture; all on the device that holds the pictures.

Each picture is measured by itself: on how pictures are batched, and so on the number of processes, no number depends.
"""

import math
from collections.abc import Callable
from functools import partial

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torchmetrics.functional.image import peak_signal_noise_ratio, structural_similarity_index_measure

from evaluation.feature_extractors import LPIPS_EXTRACTOR, make_lpips
from stylecolor.color import rgb_to_lab
from stylecolor.hints import Hints
from stylecolor.palette import palette_descriptor

Pictures = Float[Tensor, "batch 3 height width"]
PerPicture = Float[Tensor, " batch"]

_CHROMA_25_TO_7 = 25.0**7


def psnr(result_rgb: Pictures, truth_rgb: Pictures) -> PerPicture:
    """Peak signal-to-noise ratio in dB of sRGB in [0, 1]; infinite for equal pictures."""
    return peak_signal_noise_ratio(result_rgb, truth_rgb, data_range=1.0, dim=(1, 2, 3), reduction="none")


def ssim(result_rgb: Pictures, truth_rgb: Pictures) -> PerPicture:
    """Structural similarity of sRGB in [0, 1], in [-1, 1] (Wang et al., "Image quality assessment", 2004): Gaussian window of sigma 1.5."""
    similarity = structural_similarity_index_measure(result_rgb, truth_rgb, data_range=1.0, reduction="none")
    assert isinstance(similarity, Tensor)
    return similarity.reshape(len(result_rgb))


def colorfulness(rgb: Pictures) -> PerPicture:
    """M(3) of Hasler and Suesstrunk, "Measuring colourfulness in natural images", 2003: of sRGB in [0, 1], on its scale of 0 to 255.

    0 is grey, 109 extremely colourful. rg and yb are signed: their absolute values, which some programs take, measure something else.
    """
    red, green, blue = (255 * rgb.double()).unbind(dim=1)
    opponents = torch.stack((red - green, 0.5 * (red + green) - blue), dim=1).flatten(2)
    deviation = opponents.var(dim=2, correction=0).sum(dim=1).sqrt()
    return (deviation + 0.3 * opponents.mean(dim=2).square().sum(dim=1).sqrt()).float()


def delta_e_2000(first: Pictures, second: Pictures) -> Float[Tensor, "batch height width"]:
    """The CIEDE2000 colour difference of each pixel of two Lab pictures, with kL = kC = kH = 1.

    Written after Sharma, Wu and Dalal, "The CIEDE2000 color-difference formula: implementation notes, supplementary test data, and
    mathematical observations", 2005, whose equations the comments number.
    """
    l1, a1, b1 = first.unbind(dim=1)
    l2, a2, b2 = second.unbind(dim=1)
    # 2 to 7: chroma and hue in degrees, with a stretched so that greys count more
    mean_chroma = (torch.hypot(a1, b1) + torch.hypot(a2, b2)) / 2
    stretch = 1.5 - 0.5 * _saturation(mean_chroma)
    a1, a2 = stretch * a1, stretch * a2
    c1, c2 = torch.hypot(a1, b1), torch.hypot(a2, b2)
    h1, h2 = (torch.rad2deg(torch.atan2(b, a)) % 360 for a, b in ((a1, b1), (a2, b2)))
    # 8 to 11: differences; where one colour is a grey, which has no hue, the product of the chromas leaves no difference of hue
    turn = h2 - h1
    turn = torch.where(turn > 180, turn - 360, torch.where(turn < -180, turn + 360, turn))
    hue_difference = 2 * (c1 * c2).sqrt() * torch.sin(torch.deg2rad(turn / 2))
    # 12 to 14: means; that of the hues counts only where there is a difference of hue
    l, c = (l1 + l2) / 2, (c1 + c2) / 2
    hues = h1 + h2
    h = torch.where((h1 - h2).abs() <= 180, hues, torch.where(hues < 360, hues + 360, hues - 360)) / 2
    # 15 to 21: weights
    cosines = ((-0.17, 1, -30), (0.24, 2, 0), (0.32, 3, 6), (-0.20, 4, -63))
    t = 1 + sum(weight * torch.cos(torch.deg2rad(times * h + shift)) for weight, times, shift in cosines)
    from_middle = (l - 50).square()
    l_weight = 1 + 0.015 * from_middle / (20 + from_middle).sqrt()
    c_weight, h_weight = 1 + 0.045 * c, 1 + 0.015 * c * t
    rotation = -2 * _saturation(c) * torch.sin(torch.deg2rad(60 * torch.exp(-((h - 275) / 25).square())))
    # 22
    light, chroma, hue = (l2 - l1) / l_weight, (c2 - c1) / c_weight, hue_difference / h_weight
    squared = light.square() + chroma.square() + hue.square() + rotation * chroma * hue
    return squared.clamp(min=0).sqrt()


def _saturation(chroma: Tensor) -> Tensor:
    power = chroma**7
    return (power / (power + _CHROMA_25_TO_7)).sqrt()


def ciede2000(result_rgb: Pictures, truth_rgb: Pictures) -> PerPicture:
    """The mean CIEDE2000 colour difference of the pixels of sRGB pictures in [0, 1], see `delta_e_2000`."""
    return delta_e_2000(rgb_to_lab(result_rgb), rgb_to_lab(truth_rgb)).flatten(1).mean(dim=1, dtype=torch.float64).float()


def histogram_intersection(first_ab: Float[Tensor, "batch 2 height width"], second_ab: Float[Tensor, "batch 2 h2 w2"]) -> PerPicture:
    """The share that two pictures' ab histograms have in common, in [0, 1] (Swain and Ballard, "Color indexing", 1991).

    The histograms are those of `stylecolor.palette.palette_descriptor`: 23 x 23 bins of 10 Lab units, each pixel shared bilinearly among
    four of them and weighted by its chroma + 2, so that large grey areas do not hide the colours. The pictures may differ in size.
    """
    # the descriptor is the square root of the histogram
    first, second = palette_descriptor(first_ab).square(), palette_descriptor(second_ab).square()
    return torch.minimum(first, second).sum(dim=1)


def mean_ab_error(ab: Float[Tensor, "batch 2 height width"], hints: Hints) -> PerPicture:
    """The mean Euclidean distance, in Lab units, of an ab map from the revealed colours, where they are revealed; NaN where none is."""
    distance = (ab - hints.ab).square().sum(dim=1, keepdim=True).sqrt()
    return (distance * hints.mask).flatten(1).sum(dim=1) / hints.mask.flatten(1).sum(dim=1)


class PictureMetrics:
    """The measures of results against the truth and the reference, for each picture.

    `names` are those that are measured, in order; `unavailable` says of the others why and what helps.

    Args:
        device: where pictures are measured.
        lpips_weights: a file with torchvision's AlexNet; None takes the published one, `none` leaves the measure out.
        mirror: of published weights, see `stylecolor.published_weights.obtain`.

    Raises:
        ValueError: when `lpips_weights` names a file that is missing or not of AlexNet.
    """

    def __init__(self, device: torch.device | str, lpips_weights: str | None = None, mirror: str | None = None) -> None:
        self.unavailable: dict[str, str] = {}
        self.feature_extractors: dict[str, str] = {}
        self._against_truth: dict[str, Callable[[Tensor, Tensor], Tensor]] = {"psnr": psnr, "ssim": ssim}
        lpips = make_lpips(lpips_weights, mirror)
        if isinstance(lpips, nn.Module):
            self._against_truth["lpips"] = partial(_lpips, lpips.to(device))
            self.feature_extractors["lpips"] = LPIPS_EXTRACTOR if lpips_weights is None else f"{LPIPS_EXTRACTOR}; {lpips_weights}"
        else:
            self.unavailable["lpips"] = lpips.reason
        self._against_truth["ciede2000"] = ciede2000

    @property
    def names(self) -> tuple[str, ...]:
        """Of the measures, in the order of tables."""
        return (*self._against_truth, "colorfulness", "colorfulness_difference", "histogram_intersection")

    @torch.no_grad()
    def measure(self, result_rgb: Pictures, truth_rgb: Pictures, reference_rgb: Pictures | None) -> dict[str, PerPicture]:
        """All measures of sRGB pictures in [0, 1], float32; without a reference, `histogram_intersection` is NaN.

        The reference may have another size. Nothing is read back from the device.
        """
        references = [None] * len(result_rgb) if reference_rgb is None else reference_rgb.split(1)
        rows = [self._measure(*row) for row in zip(result_rgb.split(1), truth_rgb.split(1), references, strict=True)]
        return {name: torch.cat([row[name] for row in rows]) for name in self.names}

    def _measure(self, result: Tensor, truth: Tensor, reference: Tensor | None) -> dict[str, Tensor]:
        found = {name: metric(result, truth) for name, metric in self._against_truth.items()}
        found["colorfulness"] = colorfulness(result)
        found["colorfulness_difference"] = found["colorfulness"] - colorfulness(truth)
        if reference is None:
            found["histogram_intersection"] = torch.full_like(found["psnr"], math.nan)
        else:
            found["histogram_intersection"] = histogram_intersection(rgb_to_lab(result)[:, 1:], rgb_to_lab(reference)[:, 1:])
        return found


def _lpips(network: nn.Module, result: Tensor, truth: Tensor) -> Tensor:
    return network(result, truth, normalize=True).reshape(1)
