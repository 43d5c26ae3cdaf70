"""What a figure is drawn from, and what it is."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import torch
from PIL import Image

from evaluation.batches import PairBatches, to_pictures
from evaluation.config import EvaluationConfig
from evaluation.curves import find_runs
from evaluation.figures import FIGURES
from evaluation.methods import Pictures
from evaluation.networks import LoadedCheckpoint
from evaluation.pairs import Pair
from stylecolor.errors import name_few
from stylecolor.pipeline import ExemplarNetworks
from stylecolor.regions import LabelMap
from stylecolor.whole_file import written_whole

DIRECTORY = "figures"


@dataclass(frozen=True)
class Figure:
    """A drawn figure and its words."""

    picture: Image.Image
    title: str
    caption: str


@dataclass(frozen=True)
class FigureContext:
    """What figures may look at.

    `checkpoints` are those of the evaluation, `runs` the directories of the runs that wrote them (None where there is none), by the
    checkpoints' names; `pairs` is the pair list; `points` the table of PSNR by the number of revealed patches, once it is measured.
    """

    config: EvaluationConfig
    checkpoints: Sequence[LoadedCheckpoint]
    runs: dict[str, Path | None]
    pairs: Sequence[Pair]
    batches: PairBatches
    device: torch.device
    points: pd.DataFrame | None = None

    @property
    def networks(self) -> dict[str, ExemplarNetworks]:
        """The checkpoints' networks on the device, by name."""
        return {checkpoint.name: checkpoint.networks for checkpoint in self.checkpoints}

    def of_protocol(self, figure: str, count: int = 6) -> list[Pair]:
        """A few pairs of the protocol that a figure shows, spread over the pair list: neighbours in it may be frames of one film.

        Raises:
            ValueError: when the pair list has none.
        """
        protocol = FIGURES[figure].protocol
        found = [pair for pair in self.pairs if pair.protocol == protocol]
        if not found:
            raise ValueError(f"figures={figure}: the pair list has no pair of protocol {protocol}, which it shows; add it to protocols")
        count = min(count, len(found))
        return [found[place * len(found) // count] for place in range(count)]

    def of_stages(self, figure: str) -> list[LoadedCheckpoint]:
        """The checkpoints that a figure can show.

        Raises:
            ValueError: when there is none.
        """
        stages = FIGURES[figure].stages
        found = [checkpoint for checkpoint in self.checkpoints if checkpoint.stage in stages]
        if not found:
            raise ValueError(f"figures={figure}: needs a checkpoint of stage={' or '.join(stages)}; name one with checkpoint=FILE")
        return found

    def curves(self, figure: str) -> tuple[str, dict[str, Path]]:
        """The first checkpoint that has a run, and the runs that made it, by stage; see `evaluation.curves.find_runs`.

        Raises:
            ValueError: when there is none.
        """
        for name, run in self.runs.items():
            if runs := find_runs(run):
                return name, runs
        raise ValueError(
            f"figures={figure}: {name_few(self.runs)} lies in no run directory, whose metrics.csv has the curves; "
            "name a checkpoint where train.py left it"
        )

    def pictures(self, pairs: Sequence[Pair]) -> Pictures:
        """Targets, their true colours and their references, on the device; the pairs are of one protocol."""
        (protocol,) = {pair.protocol for pair in pairs}
        return to_pictures(self.batches.collate(pairs), protocol, self.config.data.image_size, self.device)[1]

    def label_maps(self, pairs: Sequence[Pair]) -> tuple[LabelMap, LabelMap] | None:
        """Of the same targets and references; None where `data.label_maps` asks for none."""
        if self.config.data.label_maps == "none":
            return None
        (protocol,) = {pair.protocol for pair in pairs}
        return to_pictures(self.batches.collate(pairs), protocol, self.config.data.image_size, self.device)[0].label_maps()


def check_figures(context: FigureContext) -> None:
    """Refuse figures whose needs are not met, before anything is measured.

    Raises:
        ValueError: naming the figure and what it needs.
    """
    for name in context.config.figures:
        kind = FIGURES[name]
        if kind.data not in (None, context.config.data.name):
            raise ValueError(f"figures={name}: shows data={kind.data}, and this is data={context.config.data.name}")
        if kind.stages:
            context.of_stages(name)
        if kind.protocol is not None:
            context.of_protocol(name)
        if kind.needs_runs:
            context.curves(name)
        if kind.needs_points and not context.config.points:
            raise ValueError(f"figures={name}: needs numbers of revealed patches, such as points=[0,1,2,5,10,20,50]")
        if kind.needs_points and not any(checkpoint.takes_hints for checkpoint in context.checkpoints):
            raise ValueError(f"figures={name}: needs a checkpoint of stage=joint or colorizer whose network takes hints")


def save_figure(name: str, figure: Figure, directory: Path) -> Path:
    """Write figures/<name>.png and, with its words and its recipe, figures/<name>.json."""
    (directory / DIRECTORY).mkdir(exist_ok=True)
    path = directory / DIRECTORY / f"{name}.png"
    with written_whole(path) as aside:
        figure.picture.save(aside, format="PNG")
    recipe = f"python evaluate.py experiment=figure_{name} checkpoint=CKPT"
    with written_whole(path.with_suffix(".json")) as aside:
        aside.write_text(json.dumps({"title": figure.title, "caption": figure.caption, "recipe": recipe}, indent=2))
    return path
