"""The names that settings may take. Imports nothing heavy, so that a wrong one is refused at once."""

from collections.abc import Sequence

from stylecolor.errors import check_choice

SITES = ("bottleneck", "encoder", "skips", "decoder")
"""Where the transfer sub-net may apply AdaIN, see `stylecolor.transfer.TransferNet`."""
SKIPS = ("slices", "pre_pool")
"""What the decoder may get from the encoder, see `stylecolor.transfer.Decoder`."""
NORMS = ("batch", "none")
PADDINGS = ("zeros", "reflect")
HINT_SAMPLERS = ("bernoulli", "patches", "all", "none")
"""The keys of `stylecolor.hints.SAMPLERS`."""


def check_sites(sites: Sequence[str], skips: str) -> None:
    """Refuse names that are no AdaIN site, and sites that the chosen skips do not have.

    Raises:
        ValueError: naming the site and the remedy.
    """
    for site in sites:
        check_choice("stage.sites", site, SITES)
    if len(set(sites)) != len(sites):
        raise ValueError(f"stage.sites={','.join(sites)} names a site twice")
    check_choice("stage.skips", skips, SKIPS)
    if "skips" in sites and skips != "pre_pool":
        raise ValueError(
            f"stage.sites: the site 'skips' needs the pooled skips, which stage.skips={skips} does not have; use stage.skips=pre_pool"
        )
