"""One target with several references."""

import torch
from torch import Tensor

from datamodules.references import References
from evaluation.figures.context import Figure, FigureContext
from evaluation.figures.results import colorize
from evaluation.figures.sheet import draw_sheet
from evaluation.pairs import Pair
from stylecolor.cache_directory import cache_directory
from stylecolor.color import gray_rgb

TARGETS = 2
_NEAREST = 2


def draw_references(figure: str, context: FigureContext) -> Figure:
    """Two targets, each with itself, near palettes and other pictures as its reference, the results below them (Xu et al., CVPR 2020; the
    project report, figure 2.6).

    Raises:
        ValueError: without a transfer sub-net, or where a target has too few references.
    """
    networks = context.of_stages(figure)[0].networks
    method = "transfer" if networks.colorizer is None else "both"
    cells: dict[str, list[Tensor]] = {}
    for target in list(dict.fromkeys(pair.target for pair in context.pairs))[:TARGETS]:
        for name, pair in _choose(figure, context, target).items():
            pictures = context.pictures([pair])
            assert pictures.reference_rgb is not None
            if name == "itself":
                cells.setdefault("target, truth", []).extend((gray_rgb(pictures.l), pictures.truth_rgb))
            cells.setdefault(name, []).extend((pictures.reference_rgb, colorize(networks, method, pictures)))
    sheet = draw_sheet({name: torch.cat(column) for name, column in cells.items()})
    caption = (
        "References above, results below: the target's own colours, flipped and cropped; the two pictures of the nearest palettes; one "
        "drawn at random; and an unrelated one, whose palette is the farthest of 16 drawn at random."
    )
    return Figure(sheet, "One target with several references", caption)


def _choose(figure: str, context: FigureContext, target: str) -> dict[str, Pair]:
    """The references of a target, by their names."""
    part, index = context.batches.table.place(target)
    cache = cache_directory(context.config.data.cache_dir)
    near, any_other, far = (
        References(part.prepared, {kind: 1.0}, _NEAREST, context.config.seed, cache) for kind in ("palette_top_k", "random", "unrelated")
    )
    assert near.nearest is not None
    nearest, second = map(int, near.nearest[index])
    if second < 0:
        raise ValueError(f"figures={figure}: {target} has fewer than {_NEAREST} possible references; take more pictures")
    chosen = {
        "nearest": nearest,
        "second nearest": second,
        "random": any_other.draw(0, index)[0],
        "unrelated": far.draw(0, index)[0],
    }
    paths = part.prepared.pictures.paths
    pairs = {name: Pair("palette", target, part.prefix + str(paths[other])) for name, other in chosen.items()}
    return {"itself": Pair("self", target, target), **pairs}
