"""The sample picture of a validation: grey target, reference, coarse ab, result, truth."""

from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.loggers import TensorBoardLogger
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from datamodules.batch import Batch
from lightning_modules.base import StepOutput
from stylecolor.color import gray_rgb, join_lab

COLUMNS = ("target", "reference", "coarse ab", "result", "truth")
COARSE_L = 65.0
"""The coarse ab map is shown at this L, where most of it fits the gamut."""
ROWS = 8
MARGIN = 4
FONT_SIZE = 11
LINE_HEIGHT = 1.6
"""Of a line of text, as a multiple of its font size."""


def draw_grid(batch: Batch, output: StepOutput) -> Image.Image:
    """One row for each of the first pictures of the batch, with the columns' names above."""
    l = batch.target_l[:ROWS]
    coarse = join_lab(torch.full_like(l, COARSE_L), output.coarse_ab[:ROWS])
    columns = (gray_rgb(l), batch.reference_rgb[:ROWS], coarse, join_lab(l, output.ab[:ROWS]), batch.target_rgb[:ROWS])
    return label_columns(torch.stack(columns, dim=1), COLUMNS)


def label_columns(pictures: Tensor, names: tuple[str, ...], caption: tuple[str, ...] = (), font_size: float = FONT_SIZE) -> Image.Image:
    """A sheet of sRGB pictures in [0, 1], shape (rows, columns, 3, height, width), under the columns' names and above a caption's lines."""
    header = round(LINE_HEIGHT * font_size)
    rows, columns, _, height, width = pictures.shape
    pixels = (pictures.clamp(0, 1) * 255).round().to(torch.uint8).permute(0, 1, 3, 4, 2).cpu().numpy()
    sheet = Image.new(
        "RGB", (columns * (width + MARGIN) + MARGIN, rows * (height + MARGIN) + header * (1 + len(caption)) + MARGIN), "white"
    )
    draw = ImageDraw.Draw(sheet)
    font = ImageFont.load_default(size=font_size)
    for column, name in enumerate(names):
        left = MARGIN + column * (width + MARGIN)
        draw.text((left + width / 2, header / 2), name, fill="black", anchor="mm", font=font)
        for row in range(rows):
            sheet.paste(Image.fromarray(pixels[row, column]), (left, header + row * (height + MARGIN)))
    for index, line in enumerate(caption):
        top = header + rows * (height + MARGIN) + index * header
        draw.text((MARGIN, top + header / 2), line, fill="black", anchor="lm", font=font)
    return sheet


class SamplePictures(Callback):
    """Draws the first batch of each validation into samples/ and onto the dashboards."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory / "samples"

    def on_validation_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        """Draw in the first process alone."""
        if batch_idx or not trainer.is_global_zero or trainer.sanity_checking or trainer.fast_dev_run:  # pyright: ignore[reportAttributeAccessIssue]
            return
        publish(draw_grid(batch, outputs), "samples", self.directory / f"step_{trainer.global_step:08d}.png", trainer)


def publish(picture: Image.Image, name: str, path: Path, trainer: Trainer) -> None:
    """Save a picture, whole or not at all, and show it on the dashboards by its name."""
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_suffix(".new")
    picture.save(aside, format="PNG")
    aside.replace(path)
    for logger in trainer.loggers:
        if hasattr(logger, "log_image"):
            logger.log_image(name, [picture], step=trainer.global_step)  # pyright: ignore[reportAttributeAccessIssue]
        elif isinstance(logger, TensorBoardLogger):
            from torchvision.transforms.functional import pil_to_tensor

            logger.experiment.add_image(name, pil_to_tensor(picture), trainer.global_step)
