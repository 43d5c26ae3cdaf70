"""The names that settings may take. Imports nothing heavy, so that a wrong one is refused at once."""

from collections.abc import Sequence

from stylecolor.errors import check_choice

STAGES = ("transfer", "colorizer", "joint")
"""What checkpoints come from."""
SITES = ("bottleneck", "encoder", "skips", "decoder")
"""Where the transfer sub-net may match features, see `stylecolor.transfer.TransferNet`."""
SKIPS = ("slices", "pre_pool")
"""What the decoder may get from the encoder, see `stylecolor.transfer.Decoder`."""
MATCHINGS = ("adain", "wct", "none")
"""How features are matched there, see `stylecolor.matching`."""
PRECOLORS = ("network", "eccv16", "siggraph17", "gray", "gray_encoder")
"""What the transfer sub-net sees of the target, see `stylecolor.precolor`."""
PRECOLOR_NETWORKS = ("eccv16", "siggraph17")
"""Of them, the networks of their own."""
PIPELINES = ("both", "transfer", "precolor")
"""Which parts make the result, see `stylecolor.pipeline.colorize_exemplar`."""
PRECISIONS = ("auto", "float32", "bf16")
"""In which convolutions are computed, see `stylecolor.fast_inference`."""
NORMS = ("batch", "none")
PADDINGS = ("zeros", "reflect")
HINT_SAMPLERS = ("bernoulli", "patches", "points", "all", "none")
"""The keys of `stylecolor.hints.SAMPLERS`."""
COLORIZER_NETWORKS = ("siggraph17", "siggraph17_global", "eccv16")
"""The keys of `stylecolor.colorizers.NETWORKS`."""
HINTED_NETWORKS = ("siggraph17", "siggraph17_global")
"""Those that take hints."""


def colorizer_blocks(network: str, distribution: bool = False) -> tuple[str, ...]:
    """The blocks of a colorizer network, as settings name them: numbers, and `out`, `class` and `global` where there are such parts.

    Shortcuts and up-convolutions belong to the block that they lead into. The last layer of eccv16 holds its bins and is no block.
    """
    if network == "eccv16":
        return tuple(map(str, range(1, 9)))
    extras = ("class",) * distribution + ("global",) * (network == "siggraph17_global")
    return (*map(str, range(1, 11)), "out", *extras)


def check_site_names(setting: str, sites: Sequence[str]) -> None:
    """Refuse names that are no site, and a site that is named twice.

    Raises:
        ValueError: naming the setting and the site.
    """
    for site in sites:
        check_choice(setting, site, SITES)
    if len(set(sites)) != len(sites):
        raise ValueError(f"{setting}={','.join(sites)} names a site twice")


def check_sites(sites: Sequence[str], skips: str) -> None:
    """Refuse names that are no site, and sites that the chosen skips do not have.

    Raises:
        ValueError: naming the site and the remedy.
    """
    check_site_names("stage.sites", sites)
    check_choice("stage.skips", skips, SKIPS)
    if "skips" in sites and skips != "pre_pool":
        raise ValueError(
            f"stage.sites: the site 'skips' needs the pooled skips, which stage.skips={skips} does not have; use stage.skips=pre_pool"
        )
