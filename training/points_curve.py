"""The curve of PSNR against the number of shown pixels, after each validation that measured it."""

import io
from pathlib import Path

from lightning.pytorch import Callback, LightningModule, Trainer
from PIL import Image

from training.samples import publish

METRIC = "val/psnr_points/"


def draw_curve(psnr: dict[str, float]) -> Image.Image:
    """PSNR in dB by the number of shown pixels, `all` standing to the right of every number."""
    # imported late, as it takes long and few runs draw
    from matplotlib.figure import Figure

    numbers = sorted(int(points) for points in psnr if points != "all")
    places = {str(number): float(number) for number in numbers}
    if "all" in psnr:
        places["all"] = 10 * max(numbers[-1] if numbers else 1, 1)
    figure = Figure(figsize=(5, 3.5), layout="constrained")
    axis = figure.subplots()
    axis.plot(list(places.values()), [psnr[points] for points in places], marker="o")
    # linear from 0 to 1, for the picture without any hint
    axis.set_xscale("symlog", linthresh=1)
    axis.set_xticks(list(places.values()), list(places))
    axis.minorticks_off()
    axis.set(xlabel="shown pixels", ylabel="PSNR, dB")
    axis.grid(alpha=0.3)
    encoded = io.BytesIO()
    figure.savefig(encoded, format="png", dpi=100)
    return Image.open(encoded).convert("RGB")


class RevealedPointsCurve(Callback):
    """Draws the PSNR that a validation measured at several numbers of shown pixels into samples/ and onto the dashboards."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory / "samples"

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Draw in the first process alone."""
        if not trainer.is_global_zero or trainer.sanity_checking or trainer.fast_dev_run:  # pyright: ignore[reportAttributeAccessIssue]
            return
        psnr = {name.removeprefix(METRIC): float(value) for name, value in trainer.callback_metrics.items() if name.startswith(METRIC)}
        if psnr:
            publish(draw_curve(psnr), "psnr_points", self.directory / f"psnr_points_step_{trainer.global_step:08d}.png", trainer)
