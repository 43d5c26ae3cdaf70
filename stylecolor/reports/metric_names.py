"""What the measures of an evaluation are called, their units and which way is better. Imports nothing heavy."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class MetricName:
    """A column of an evaluation's tables, for people."""

    name: str
    """In files."""
    title: str
    """In tables and plots."""
    unit: str
    """Empty for pure numbers."""
    better: Literal["higher", "lower", "nearest"]
    """`nearest` is nearest to that of the true pictures: to 0 for differences, to the truth's own value for other measures."""
    description: str
    """What is measured, of what, and its source."""


METRICS = {
    metric.name: metric
    for metric in (
        MetricName("psnr", "PSNR", "dB", "higher", "Peak signal-to-noise ratio of the result's sRGB to the truth's."),
        MetricName(
            "ssim",
            "SSIM",
            "",
            "higher",
            "Structural similarity of the result's sRGB with the truth's, 11 px Gaussian window, mean of the channels (Wang et al. 2004).",
        ),
        MetricName(
            "lpips",
            "LPIPS",
            "",
            "lower",
            "Learned perceptual distance of the result from the truth: AlexNet features with the linear weights of version 0.1 "
            "(Zhang et al. 2018).",
        ),
        MetricName(
            "fid", "FID", "", "lower", "Fréchet distance of the results' InceptionV3 features from the truths' (Heusel et al. 2017)."
        ),
        MetricName(
            "ciede2000",
            "CIEDE2000",
            "",
            "lower",
            "Mean colour difference of the pixels from the truth's; about 1 is just noticeable (Sharma et al. 2005).",
        ),
        MetricName("colorfulness", "Colourfulness", "", "nearest", "Colourfulness of the result (Hasler and Suesstrunk 2003, M(3))."),
        MetricName(
            "colorfulness_difference",
            "Colourfulness difference",
            "",
            "nearest",
            "The result's colourfulness minus the truth's: below 0 it is duller, above 0 more colourful than the truth.",
        ),
        MetricName(
            "histogram_intersection",
            "Histogram intersection",
            "",
            "higher",
            "Share of their ab histograms that result and reference have in common: bins of 10 Lab units, pixels weighted by chroma + 2.",
        ),
        MetricName(
            "mean_ab_error", "Mean ab error", "Lab", "lower", "Mean Euclidean ab distance of the result from the truth at revealed points."
        ),
        MetricName("seconds_per_picture", "Time", "s/picture", "lower", "Time to colorize a picture, without reading it."),
        MetricName(
            "peak_memory_gib", "Peak memory", "GiB", "lower", "Most memory that the method held: of the device, or on a CPU of the process."
        ),
    )
}
"""All measures, by name, in the order of tables."""
