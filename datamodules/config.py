"""The settings of every data source.

They stand apart from the modules they configure because those import torch, and a typo must be refused before that takes its seconds.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, ClassVar

from stylecolor.errors import check_choice, check_range, did_you_mean

RESIZES = ("crop", "squash")
REFERENCES = ("palette", "palette_top_k", "same_category", "random", "self", "unrelated")
DEFAULT_VAL_FRACTION = 0.1


@dataclass
class DataConfig:
    """What every data source has."""

    LABEL_MAPS: ClassVar[tuple[str, ...]] = ("none",)
    """What `label_maps` can be."""

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
    """Processes that load pictures, for each training process; 0 loads in the training process, -1 chooses by the cores, at most 8."""
    references: Any = "palette"
    """Which picture lends its colours: `palette` (nearest ab histogram), `palette_top_k` (one of the top_k nearest, another each epoch),
    `same_category`, `random`, `self` (the target, warped), `unrelated` (a far palette), or a mix such as {palette: 0.7, self: 0.3}."""
    top_k: int = 5
    """How many nearest palettes `references=palette_top_k` draws among."""
    val_fraction: float | None = None
    """Share of the pictures that are for validation, chosen by their file names; null is the data set's own split, or 0.1 without one."""
    min_color_range: float = 5.0
    """Pictures whose range of a plus range of b, in Lab units, is smaller are nearly grey and left out; 0 keeps all."""
    label_maps: str = "none"
    """Label maps that come with the pictures: `none`, or what the data set has."""
    cache: bool = True
    """Keep the decoded, resized pictures in cache_dir; false decodes them in every epoch."""
    cache_dir: str | None = None
    """Where prepared data is kept; null is STYLECOLOR_CACHE, or the platform's cache directory."""

    def __post_init__(self) -> None:
        check_range("data.image_size", self.image_size, low=16)
        if self.image_size % 8:
            raise ValueError(f"data.image_size={self.image_size} is no multiple of 8; use {round(self.image_size / 8) * 8}")
        check_choice("data.resize", self.resize, RESIZES)
        check_range("data.batch_size", self.batch_size, low=1)
        check_range("data.num_workers", self.num_workers, low=-1)
        for kind, weight in self.reference_weights().items():
            check_choice("data.references", kind, REFERENCES)
            if isinstance(weight, bool) or not isinstance(weight, int | float):
                raise ValueError(f"data.references: the weight of {kind} must be a number, got {weight}")
            check_range(f"data.references: the weight of {kind}", weight, above=0)
        check_range("data.top_k", self.top_k, low=1, high=100)
        if self.val_fraction is not None:
            check_range("data.val_fraction", self.val_fraction, above=0)
            check_range("data.val_fraction", self.val_fraction, low=0, high=0.9)
        check_range("data.min_color_range", self.min_color_range, low=0)
        check_choice("data.label_maps", self.label_maps, self.LABEL_MAPS)

    def reference_weights(self) -> dict[str, float]:
        """How often each kind of reference is drawn, relative to the others."""
        if isinstance(self.references, dict) and self.references:
            return {str(kind): weight for kind, weight in self.references.items()}
        return {self.references if isinstance(self.references, str) else str(self.references): 1.0}

    def check_root(self) -> None:
        """Refuse a missing directory.

        Raises:
            ValueError: when `data.root` is not given or no directory.
        """
        if self.root is None:
            raise ValueError(f"data.root: data={self.name} needs the directory of the data set, such as data.root=DIR")
        if not Path(self.root).is_dir():
            raise ValueError(f"data.root={self.root}: no such directory")


@dataclass
class CocoConfig(DataConfig):
    """COCO 2017's layout: `{train,val}2017/*.jpg` and `annotations/instances_{train,val}2017.json`.

    A test split of the same form is used if there is one. Label maps, in COCO's category numbers: `instances` are painted from the
    annotations, `stuff` reads `annotations/stuff_{split}2017_pixelmaps/*.png`, `panoptic` reads `annotations/panoptic_{split}2017/*.png`
    and `annotations/panoptic_{split}2017.json`.
    """

    LABEL_MAPS: ClassVar[tuple[str, ...]] = ("none", "instances", "stuff", "panoptic")

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

    LABEL_MAPS: ClassVar[tuple[str, ...]] = ("none", "instances")

    name: str = "sample"
    categories: Any = "all"

    def check_root(self) -> None:
        """Nothing to refuse: the directory is made."""


@dataclass
class CamvidConfig(DataConfig):
    """CamVid: `{train,val,test}/*.png` and, for `label_maps=classes`, `{train,val,test}annot/*.png` with classes 0..10, 11 being void."""

    LABEL_MAPS: ClassVar[tuple[str, ...]] = ("none", "classes")

    name: str = "camvid"


@dataclass
class ImageNetConfig(DataConfig):
    """An ImageFolder tree, `{train,val,test}/<class>/*.jpg`, or `<class>/*.jpg` with a part held out for validation."""

    name: str = "imagenet"


@dataclass
class FolderConfig(DataConfig):
    """Any directory of pictures, with all below it; `train`, `val` and `test` in it are the splits, if there are the first two."""

    name: str = "folder"


@dataclass
class MixConfig(DataConfig):
    """Several data sets at once: `data.sources=[{name: coco, root: DIR}, {name: folder, root: DIR}]`.

    A source takes any setting of its own kind and, for the rest, what stands beside `sources`. References come from the target's source.
    """

    name: str = "mix"
    sources: Any = field(default_factory=list)
    """The data sets, each with its `name`, its `root` and what it wants to have otherwise."""
    weights: Any = None
    """Shares of the sources in an epoch, such as [0.7, 0.3], as many pictures as the scarcest source allows; null takes every picture."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if not isinstance(self.sources, list) or not all(isinstance(source, dict) for source in self.sources):
            raise ValueError(f"data.sources={self.sources} must be a list such as [{{name: coco, root: DIR}}, {{name: folder, root: DIR}}]")
        list(self.source_configs())
        if self.weights is None:
            return
        if not isinstance(self.weights, list) or len(self.weights) != len(self.sources):
            raise ValueError(f"data.weights={self.weights} must be a list of {len(self.sources)} numbers, one for each of data.sources")
        for weight in self.weights:
            if isinstance(weight, bool) or not isinstance(weight, int | float):
                raise ValueError(f"data.weights={self.weights} must be a list of numbers")
            check_range("data.weights", weight, above=0)

    def source_configs(self) -> Iterator[DataConfig]:
        """The settings of each source.

        Raises:
            ValueError: for an unknown source or setting, with the nearest valid one.
        """
        shared = {item.name: getattr(self, item.name) for item in fields(DataConfig) if item.name not in ("name", "root", "label_maps")}
        for source in self.sources:
            name = source.get("name")
            if name not in SOURCES:
                raise ValueError(f"data.sources: {name} is not one of {', '.join(SOURCES)}{did_you_mean(str(name), SOURCES)}")
            valid = {item.name for item in fields(SOURCES[name])}
            for setting in source:
                if setting not in valid:
                    raise ValueError(f"data.sources: {name} has no setting {setting}{did_you_mean(str(setting), valid)}")
            for item in fields(SOURCES[name]):
                if item.name in source:
                    _check_type(name, item.name, source[item.name], str(item.type))
            fixed = {"image_size", "batch_size", "num_workers"} & set(source)
            if fixed:
                raise ValueError(f"data.sources: {', '.join(sorted(fixed))} must be the same for all sources; set data.{min(fixed)}")
            yield SOURCES[name](**{**shared, **source})

    def check_root(self) -> None:
        """Refuse a missing directory of any source.

        Raises:
            ValueError: naming it, or when there is no source.
        """
        if not self.sources:
            raise ValueError("data.sources: data=mix needs data.sources=[{name: coco, root: DIR}, {name: folder, root: DIR}]")
        for source in self.source_configs():
            source.check_root()


def _check_type(source: str, setting: str, value: Any, declared: str) -> None:
    """What OmegaConf checks of settings that are no part of a list."""
    kinds = {"str": (str,), "str | None": (str, type(None)), "int": (int,), "float": (int, float), "bool": (bool,)}
    kinds["float | None"] = (int, float, type(None))
    expected = kinds.get(declared.removeprefix("<class '").removesuffix("'>"))
    if expected is not None and (not isinstance(value, expected) or (isinstance(value, bool) and bool not in expected)):
        raise ValueError(f"data.sources: {setting} of {source} must be {declared.replace('None', 'null')}, got {value!r}")


SOURCES: dict[str, type[DataConfig]] = {
    "coco": CocoConfig,
    "camvid": CamvidConfig,
    "imagenet": ImageNetConfig,
    "folder": FolderConfig,
    "sample": SampleConfig,
}
"""What a mix can be made of."""
