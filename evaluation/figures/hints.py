"""PSNR against the number of hints."""

from evaluation.figures.context import Figure, FigureContext
from evaluation.figures.plots import to_picture
from stylecolor.reports.published_curve import POINTS_PSNR, POINTS_SOURCE


def draw_hints(figure: str, context: FigureContext) -> Figure:
    """PSNR by the number of revealed 6 x 6 px patches, beside the authors' curve (Zhang et al., SIGGRAPH 2017)."""
    # imported late, as it takes long and few runs draw
    from matplotlib.figure import Figure as Plot

    assert context.points is not None
    plot = Plot(figsize=(6, 4), layout="constrained")
    axis = plot.subplots()
    for name, rows in context.points.groupby("checkpoint", sort=False):
        axis.plot(rows["points"], rows["psnr"], marker="o", label=str(name))
        axis.fill_between(rows["points"], rows["low"], rows["high"], alpha=0.2)
    axis.plot(list(POINTS_PSNR), list(POINTS_PSNR.values()), color="gray", linestyle="--", marker=".", label="published")
    # linear from 0 to 1, for the picture without any hint
    axis.set_xscale("symlog", linthresh=1)
    ticks = sorted({*POINTS_PSNR, *context.config.points})
    axis.set_xticks(ticks, list(map(str, ticks)))
    axis.minorticks_off()
    axis.set(xlabel="revealed patches of 6 x 6 px", ylabel="PSNR, dB")
    axis.grid(alpha=0.3)
    axis.legend()
    pictures = len({pair.target for pair in context.pairs})
    size = context.config.data.image_size
    caption = f"Mean over {pictures} pictures at {size} x {size} px, with 95 % bootstrap intervals. Published: {POINTS_SOURCE}."
    return Figure(to_picture(plot), "Quality by the number of hints", caption)
