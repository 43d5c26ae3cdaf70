"""The settings of every data source.

They stand apart from the modules they configure because those import torch, and a typo must be refused before that takes its seconds.
"""

from dataclasses import dataclass, field
from typing import Any

from stylecolor.errors import check_choice, check_range

RESIZES = ("crop", "squash")
REFERENCES = ("palette", "random", "same_category")


@dataclass
class DataConfig:
    """What every data source has."""

    name: str = "coco"
    """The data source, as in `data=`."""
    root: str | None = None
    """Directory of the data set."""
    image_size: int = 256
    """Side of the square pictures that the networks see, px; a multiple of 8."""
    resize: str = "crop"
    """`crop`: shorter side to image_size, then a square crop; `squash`: both sides to image_size, whatever the aspect."""
    batch_size: int = 4
    """Pictures in a step of one process; with N devices a step takes N times as many."""
    num_workers: int = -1
    """Processes that decode pictures, for each training process; 0 decodes in the training process, -1 chooses by the cores, at most 8."""
    references: str = "palette"
    """Which picture lends its colours: `palette` (nearest ab histogram), `random`, or `same_category`; never the target itself."""

    def __post_init__(self) -> None:
        check_range("data.image_size", self.image_size, low=16)
        if self.image_size % 8:
            raise ValueError(f"data.image_size={self.image_size} is no multiple of 8; use {round(self.image_size / 8) * 8}")
        check_choice("data.resize", self.resize, RESIZES)
        check_range("data.batch_size", self.batch_size, low=1)
        check_range("data.num_workers", self.num_workers, low=-1)
        check_choice("data.references", self.references, REFERENCES)


@dataclass
class CocoConfig(DataConfig):
    """COCO 2017's layout: `{train,val}2017/*.jpg` and `annotations/instances_{train,val}2017.json`.

    A test split of the same form is used if there is one.
    """

    categories: Any = field(default_factory=lambda: ["giraffe", "zebra", "snowboard", "surfboard"])
    """Names of the categories whose pictures are taken, or `all` for every picture."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if isinstance(self.categories, str) and self.categories != "all":
            self.categories = [self.categories]
        names = self.categories if isinstance(self.categories, list) else []
        if self.categories != "all" and (not names or not all(isinstance(name, str) for name in names)):
            raise ValueError(f"data.categories={self.categories} must be `all` or a list of names, such as [giraffe,zebra]")


@dataclass
class SampleConfig(CocoConfig):
    """The sample data set, made on first use from photographs inside scikit-image and scikit-learn; `root` may be left out."""

    name: str = "sample"
    categories: Any = "all"
