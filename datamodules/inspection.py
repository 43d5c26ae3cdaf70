"""The page that shows a data set: one HTML file with everything in it."""

import colorsys
import io
from base64 import b64encode
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from datamodules.config import DataConfig
from datamodules.labels import VOID
from datamodules.survey import Pair, SplitSurvey
from stylecolor.errors import name_few
from stylecolor.reports.templating import make_environment

TOP_CATEGORIES = 40
"""The others are summed up."""
THUMBNAIL = 224
"""Side of the embedded pictures, px."""
LARGEST_DISTANCE = 1.4143
"""Of disjoint palettes."""
_BINS = 28
_ASPECTS = (1 / 4, 1 / 3, 1 / 2, 2 / 3, 1.0, 3 / 2, 2.0, 3.0, 4.0)
_ASPECT_NAMES = ("1:4", "1:3", "1:2", "2:3", "1:1", "3:2", "2:1", "3:1", "4:1")
_LABEL_COLORS = (
    (78, 121, 167),
    (242, 142, 43),
    (89, 161, 79),
    (225, 87, 89),
    (237, 201, 72),
    (176, 122, 161),
    (118, 183, 178),
    (156, 117, 95),
    (255, 157, 167),
    (196, 63, 190),
    (73, 82, 178),
    (188, 189, 34),
)
_VOID_COLOR = (128, 128, 128)


@dataclass
class Bar:
    """Of a histogram: place and size in percent of the chart, and what it stands for."""

    left: float
    width: float
    height: float
    label: str


@dataclass
class Dot:
    """Of the chart of sizes: place and radius in percent of the chart, and what it stands for."""

    x: float
    y: float
    radius: float
    label: str


@dataclass
class Chart:
    """Bars or dots over an axis; `ticks` are (place in percent, text)."""

    title: str
    caption: str
    bars: Sequence[Bar]
    dots: Sequence[Dot]
    ticks: Sequence[tuple[float, str]]
    limit: float | None = None


@dataclass
class CategoryRow:
    """Of the table of categories: (instances, pictures) for each split, and the width of the bars in percent."""

    name: str
    counts: list[tuple[int, int]]
    shares: list[float]


def write_page(path: Path, config: DataConfig, seed: int, splits: Sequence[SplitSurvey]) -> None:
    """Write the page, whole or not at all.

    Raises:
        OSError: when it cannot be written.
    """
    aside = path.with_name(f"{path.name}.new")
    try:
        aside.write_text(make_page(config, seed, splits), encoding="utf-8")
        aside.replace(path)
    finally:
        aside.unlink(missing_ok=True)


def make_page(config: DataConfig, seed: int, splits: Sequence[SplitSurvey]) -> str:
    """The page as HTML."""
    environment = make_environment(Path(__file__).parent)
    environment.filters |= {
        "jpeg": _jpeg,
        "few": lambda names: name_few(names, limit=8),
    }
    labels = LabelColors(pair for split in splits for pair in split.pairs)
    rows, rest = category_rows(splits)
    distances = [(split.name, split.all_distances) for split in splits if len(split.all_distances)]
    return environment.get_template("inspect.html.jinja").render(
        config=config,
        seed=seed,
        splits=splits,
        rows=rows,
        rest=rest,
        counts_instances=any(instances != pictures for row in rows for instances, pictures in row.counts),
        shows_bars=any(0 < share < 100 for row in rows for share in row.shares),
        sizes=_chart_sizes(splits, config.image_size),
        common_sizes=[common_sizes(split) for split in splits],
        aspects=_histograms(
            [(split.name, np.log2(split.sizes[:, 0] / split.sizes[:, 1])) for split in splits],
            edges=np.arange(-2.125, 2.2, 0.25),
            ticks=list(zip(np.log2(_ASPECTS), _ASPECT_NAMES, strict=True)),
            describe=lambda value: f"{2**value:.2f}",
        ),
        color_ranges=_histograms([(split.name, split.color_ranges) for split in splits]),
        chroma=_histograms([(split.name, split.chroma) for split in splits]),
        distances=_histograms(distances, edges=np.linspace(0, LARGEST_DISTANCE, _BINS + 1), describe=lambda value: f"{value:.2f}"),
        labels=labels,
        percentile=np.percentile,
    )


def category_rows(splits: Sequence[SplitSurvey]) -> tuple[list[CategoryRow], CategoryRow | None]:
    """The categories that most pictures show, and the sum of the others (whose pictures may be counted several times)."""
    names = {name for split in splits for name in split.categories}
    counts = {name: [split.categories.get(name, (0, 0)) for split in splits] for name in names}
    order = sorted(names, key=lambda name: (-sum(pictures for _, pictures in counts[name]), name))
    largest = [max((pictures for _, pictures in split.categories.values()), default=1) for split in splits]
    rows = [
        CategoryRow(name, counts[name], [100 * pictures / most for (_, pictures), most in zip(counts[name], largest, strict=True)])
        for name in order[:TOP_CATEGORIES]
    ]
    others = order[TOP_CATEGORIES:]
    if not others:
        return rows, None
    sums = [
        (sum(counts[name][split][0] for name in others), sum(counts[name][split][1] for name in others)) for split in range(len(splits))
    ]
    return rows, CategoryRow(f"{len(others)} more", sums, [0.0] * len(splits))


def common_sizes(split: SplitSurvey, limit: int = 6) -> list[tuple[str, float]]:
    """The most frequent sizes, such as 640 x 480, and their shares in percent."""
    sizes, counts = np.unique(split.sizes, axis=0, return_counts=True)
    order = np.argsort(-counts, kind="stable")[:limit]
    return [(f"{sizes[place][0]} x {sizes[place][1]}", float(100 * counts[place] / len(split.sizes))) for place in order]


class LabelColors:
    """A colour for each class that the contact sheets show, the most frequent ones first, and the label maps in them."""

    def __init__(self, pairs: Iterable[Pair]) -> None:
        found: dict[str, int] = {}
        for pair in pairs:
            for labels in (pair.target_labels, pair.reference_labels):
                if labels is not None:
                    for number, count in zip(*np.unique(labels, return_counts=True), strict=True):
                        if number != VOID:
                            name = _label_name(int(number), pair.label_names)
                            found[name] = found.get(name, 0) + int(count)
        order = sorted(found, key=lambda name: (-found[name], name))
        self.colors: Mapping[str, tuple[int, int, int]] = {name: _label_color(place) for place, name in enumerate(order)}

    def png(self, labels: UInt8[np.ndarray, "size size"], names: dict[int, str]) -> str:
        """A label map in colours, as the address of an embedded picture."""
        table = np.full((256, 3), _VOID_COLOR, dtype=np.uint8)
        for number in np.unique(labels):
            if number != VOID:
                table[number] = self.colors[_label_name(int(number), names)]
        picture = Image.fromarray(labels).resize(_thumbnail_size(labels), Image.Resampling.NEAREST)
        picture = Image.fromarray(np.asarray(picture), mode="P")
        picture.putpalette(table.tobytes())
        return _address(picture, "PNG", optimize=True)

    def legend(self, pair: Pair) -> list[tuple[str, str]]:
        """(class, CSS colour) of those that target or reference show, largest first; the last one is void, if there is any."""
        both = [labels for labels in (pair.target_labels, pair.reference_labels) if labels is not None]
        numbers, counts = np.unique(np.stack(both), return_counts=True)
        order = sorted(zip(numbers.tolist(), counts.tolist(), strict=True), key=lambda item: (item[0] == VOID, -item[1]))
        return [
            ("no class", _css(_VOID_COLOR)) if number == VOID else (name, _css(self.colors[name]))
            for number, _ in order
            for name in [_label_name(number, pair.label_names)]
        ]


def _label_name(number: int, names: dict[int, str]) -> str:
    return names.get(number, f"class {number}")


def _label_color(place: int) -> tuple[int, int, int]:
    if place < len(_LABEL_COLORS):
        return _LABEL_COLORS[place]
    # the golden angle keeps neighbours apart
    red, green, blue = colorsys.hls_to_rgb(place * 0.381966 % 1, (0.45, 0.65, 0.55)[place % 3], 0.6)
    return round(255 * red), round(255 * green), round(255 * blue)


def _css(color: tuple[int, int, int]) -> str:
    return "rgb({} {} {})".format(*color)


def _thumbnail_size(pixels: np.ndarray) -> tuple[int, int]:
    scale = min(1.0, THUMBNAIL / max(pixels.shape[:2]))
    return round(pixels.shape[1] * scale), round(pixels.shape[0] * scale)


def _jpeg(pixels: UInt8[np.ndarray, "height width 3"], largest: int = THUMBNAIL) -> str:
    picture = Image.fromarray(pixels)
    picture.thumbnail((largest, largest), Image.Resampling.LANCZOS)
    return _address(picture, "JPEG", quality=82, optimize=True)


def _address(picture: Image.Image, form: str, **options: object) -> str:
    file = io.BytesIO()
    picture.save(file, form, **options)
    return f"data:image/{form.lower()};base64,{b64encode(file.getvalue()).decode()}"


def _histograms(
    series: Sequence[tuple[str, np.ndarray]],
    edges: np.ndarray | None = None,
    ticks: Sequence[tuple[float, str]] | None = None,
    describe=lambda value: f"{value:.0f}",
) -> list[Chart]:
    """A histogram for each split, all over the same axis."""
    if edges is None:
        edges = _nice_edges(np.concatenate([values for _, values in series]))
    low, high = float(edges[0]), float(edges[-1])

    def place(value: float) -> float:
        return 100 * (value - low) / (high - low)

    charts = []
    for name, values in series:
        counts, _ = np.histogram(np.clip(values, low, high), bins=edges)
        most = max(1, counts.max())
        bars = [
            Bar(
                place(start),
                place(end) - place(start),
                100 * count / most,
                f"{describe(start)} to {describe(end)}: {count} ({count / len(values):.1%})",
            )
            for start, end, count in zip(edges, edges[1:], counts, strict=False)
            if count
        ]
        marks = ticks or [(float(value), describe(value)) for value in _nice_ticks(low, high)]
        tenth, middle, ninetieth = (describe(value) for value in np.percentile(values, (10, 50, 90)))
        caption = f"median {middle}, 80 % between {tenth} and {ninetieth}"
        charts.append(Chart(name, caption, bars, (), [(place(value), text) for value, text in marks]))
    return charts


def _step(span: float, parts: int) -> float:
    """The 1, 2 or 5 times a power of ten that divides a span into at most so many parts."""
    power = 10 ** np.floor(np.log10(span / parts))
    return float(next(factor * power for factor in (1, 2, 5, 10) if span / (factor * power) <= parts))


def _nice_edges(values: np.ndarray) -> np.ndarray:
    high = max(1.0, float(values.max(initial=0)))
    step = _step(high, _BINS)
    return np.arange(0, np.ceil(high / step) + 1) * step


def _nice_ticks(low: float, high: float) -> np.ndarray:
    step = _step(high - low, 6)
    return np.arange(np.ceil(low / step), np.floor(high / step) + 1) * step


def _chart_sizes(splits: Sequence[SplitSurvey], image_size: int) -> list[Chart]:
    """Width to the right and height upwards, on logarithmic axes."""
    sides = np.concatenate([np.array([[image_size, image_size]]), *(split.sizes for split in splits)])
    low, high = np.log2(sides.min() / 1.2), np.log2(sides.max() * 1.2)

    def place(side: float) -> float:
        return float(100 * (np.log2(side) - low) / (high - low))

    # powers of two, or the steps between them too where there are few
    ticks = [side for power in 2 ** np.arange(3, 17) for side in (power, power * 3 // 2) if low <= np.log2(side) <= high]
    ticks = ticks if len(ticks) <= 5 else [side for side in ticks if side & (side - 1) == 0]
    charts = []
    for split in splits:
        sizes, counts = np.unique(split.sizes, axis=0, return_counts=True)
        dots = [
            Dot(place(width), 100 - place(height), 0.8 + 9 * float(np.sqrt(share)), f"{width} x {height}: {count} ({share:.1%})")
            for (width, height), count, share in zip(sizes, counts, counts / counts.sum(), strict=True)
        ]
        small = int((split.sizes.min(axis=1) < image_size).sum())
        width, height = np.median(split.sizes, axis=0)
        caption = f"median {width:.0f} x {height:.0f} px; {small} ({small / len(split.sizes):.1%}) are enlarged"
        charts.append(Chart(split.name, caption, (), dots, [(place(float(side)), str(side)) for side in ticks], place(image_size)))
    return charts
