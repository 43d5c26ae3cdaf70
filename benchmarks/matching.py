"""What feature matching costs: `python -m benchmarks.matching`.

The matching alone at every encoder site and whole transfers, full width, 256 px, one picture, float32, on the CPU or the GPU that is there:
AdaIN and WCT over the whole picture, region by region with 20 labels, and with statistics that were computed before. Global and region-wise
forms are timed in turn and compared pair by pair, since machines drift.
"""

import statistics
import time
from collections.abc import Callable

import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor

from stylecolor.encoder import VGG19Encoder, slice_channels
from stylecolor.matching import MATCHINGS
from stylecolor.regions import LabelMap, RegionPyramid
from stylecolor.transfer import TransferNet

SIZE = 256
LABELS = 20
PAIRS = 9
SITES = {"bottleneck": ["bottleneck"], "all sites": ["encoder", "skips", "decoder"]}


def main() -> None:
    """Measure and print."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    torch.manual_seed(0)
    console = Console()
    console.print(f"torch {torch.__version__}, {device}, {torch.get_num_threads()} threads, {SIZE} px, {LABELS} labels")
    with torch.inference_mode():
        console.print(measure_matching(device))
        console.print(measure_transfer(device))


def make_labels(device: torch.device) -> LabelMap:
    """As many regions as labels, each around a random point."""
    points = torch.rand(LABELS, 2) * SIZE
    grid = torch.stack(torch.meshgrid(torch.arange(SIZE), torch.arange(SIZE), indexing="ij"), dim=-1).float()
    nearest = torch.cdist(grid.view(-1, 2), points).argmin(dim=1).view(1, SIZE, SIZE)
    return LabelMap(nearest.to(torch.uint8).to(device), tuple(range(LABELS)))


def measure_matching(device: torch.device) -> Table:
    """Content features of each encoder level against statistics that were computed before."""
    table = Table("matching alone", "features", "global, ms", "regions, ms", "regions / global")
    labels = make_labels(device)
    for name, matching in MATCHINGS.items():
        for level, channels in enumerate(slice_channels(1.0, 4)):
            side = SIZE >> level
            content, style = (torch.randn(1, channels, side, side, device=device).to(memory_format=torch.channels_last) for _ in range(2))
            regions = RegionPyramid(labels, labels.values).at(content.shape[-2:])
            whole, by_region = matching.measure(style), matching.measure(style, regions)
            pair = compare(
                lambda m=matching, c=content, s=whole: m.match(c, s),
                lambda m=matching, c=content, s=by_region, r=regions: m.match(c, s, 1.0, r),
            )
            table.add_row(name, f"{channels} x {side} x {side}", *pair)
    return table


def measure_transfer(device: torch.device) -> Table:
    """Whole pictures: the reference encoded too, and with its statistics given."""
    table = Table("whole transfer", "sites", "reference", "global, ms", "regions, ms", "regions / global")
    encoder = VGG19Encoder("random")
    labels = make_labels(device)
    content, reference = (torch.rand(1, 3, SIZE, SIZE, device=device) for _ in range(2))
    for name in MATCHINGS:
        for sites, chosen in SITES.items():
            transfer = TransferNet(encoder, name, chosen, skips="pre_pool", norm="none", padding="reflect").eval().to(device)
            transfer.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
            pair = compare(lambda t=transfer: t(content, reference), lambda t=transfer: t(content, reference, labels, labels))
            table.add_row(name, sites, "encoded", *pair)
            whole, by_region = transfer.encode_reference(reference), transfer.encode_reference(reference, labels)
            pair = compare(lambda t=transfer, s=whole: t(content, s), lambda t=transfer, s=by_region: t(content, s, labels))
            table.add_row(name, sites, f"given, {whole.nbytes / 1e3:.0f} kB a region", *pair)
    return table


def compare(whole: Callable[[], Tensor], by_region: Callable[[], Tensor]) -> tuple[str, str, str]:
    """Median milliseconds of both, and the median of their ratio, pair by pair."""
    pairs = [(seconds(whole), seconds(by_region)) for _ in range(PAIRS + 1)][1:]
    first, second = (statistics.median(values) * 1e3 for values in zip(*pairs, strict=True))
    return f"{first:.1f}", f"{second:.1f}", f"{statistics.median(b / a for a, b in pairs):.2f}"


def seconds(function: Callable[[], Tensor]) -> float:
    """The time of one call, a GPU's work included."""
    start = time.perf_counter()
    result = function()
    if result.is_cuda:
        torch.cuda.synchronize()
    return time.perf_counter() - start


if __name__ == "__main__":
    main()
