"""What colorizing costs, and what the fast form changes: `python -m benchmarks.colorize`.

The yardstick is the published form, built from our own modules: float32, NCHW, one pair at a time of 256 x 256 px, in which pre-colorizing,
encoding and decoding the reference, transfer at all sites and colorizing are done anew for each pair. Times are of full width and random
weights. How far the fast form's colours are from float32 depends on the weights, so a checkpoint can be named for that: random networks,
which nothing taught to be smooth, magnify every rounding. Forms are timed in turn and compared pair by pair, since machines drift. On a
GPU its throughput is measured besides.
"""

import argparse
import copy
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import torch
import torch.nn.functional as F
from rich.console import Console
from rich.table import Table
from skimage import data as samples
from skimage.color import deltaE_ciede2000
from sklearn.datasets import load_sample_images
from torch import Tensor, nn

from stylecolor.color import join_lab, rgb_to_lab
from stylecolor.colorizer import ColorizationNet
from stylecolor.encoder import VGG19Encoder
from stylecolor.exemplar_colorizer import ExemplarColorizer
from stylecolor.export import PipelineGraph, draw_mask, export_onnx
from stylecolor.fast_inference import choose_device, choose_precision, prepare
from stylecolor.hints import target_keys
from stylecolor.painting import to_unit_range
from stylecolor.pictures.files import PICTURE_SUFFIXES, Picture, read_picture
from stylecolor.pipeline import Colorization, ExemplarNetworks, colorize_exemplar
from stylecolor.precolor import Precolored
from stylecolor.pretrained import read_networks
from stylecolor.reference_style import ReferenceStyle
from stylecolor.transfer import TransferNet
from stylecolor.upsampling import guide
from stylecolor.working_size import resize_pixels, working_size

SIZE = 256
ROUNDS = 9
BATCH = 8
PICTURES = 100
SIZES = (64, 128, 192, 256, 384, 512)
MEGAPIXELS = (3000, 4000)


def main() -> None:
    """Measure and print."""
    arguments = parse()
    console = Console(width=150)
    device = choose_device("auto")
    console.print(f"torch {torch.__version__}, {device}, {torch.get_num_threads()} threads, precision {choose_precision('auto', device)}")
    pictures = load_pictures(arguments.root, arguments.pictures)
    networks = make_networks(pictures[:BATCH])
    trained = read_networks(arguments.checkpoint) if arguments.checkpoint else networks
    with torch.inference_mode():
        console.print(measure_forms(networks, pictures))
        console.print(measure_differences(trained, pictures, "trained" if arguments.checkpoint else "random"))
        console.print(measure_sizes(networks, pictures))
        if device.type == "cuda":
            console.print(measure_gpu(networks, device))
        console.print(measure_onnx(trained, pictures))
        console.print(measure_large(trained))
        console.print(measure_command(networks, pictures))


def parse() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--root", type=Path, help="a directory of photographs; else the few that scikit-image and scikit-learn carry, cut up"
    )
    parser.add_argument("--checkpoint", type=Path, help="of trained networks, to compare colours with")
    parser.add_argument("--pictures", type=int, default=PICTURES, help="that the fast form is compared on")
    return parser.parse_args()


def load_pictures(root: Path | None, count: int) -> list[Picture]:
    """Photographs in colour; without a directory, squares cut from the samples."""
    if root is not None:
        files = [path for path in sorted(root.rglob("*")) if path.suffix.lower() in PICTURE_SUFFIXES]
        pictures = map(read_picture, files)
        return [picture for picture in pictures if picture.pixels.shape[2] == 3][:count]
    photographs = sample_photographs()
    random = np.random.default_rng(0)
    pictures = []
    for index in range(count):
        photograph = photographs[index % len(photographs)]
        side = int(random.integers(SIZE // 2, min(photograph.shape[:2]) + 1))
        top, left = (int(random.integers(0, extent - side + 1)) for extent in photograph.shape[:2])
        pictures.append(Picture(np.ascontiguousarray(photograph[top : top + side, left : left + side])))
    return pictures


def sample_photographs() -> list[np.ndarray]:
    """Those that scikit-image and scikit-learn carry; most were never stored with fewer pixels of colour than of L, as JPEG does."""
    return [samples.astronaut(), samples.coffee(), samples.chelsea(), samples.rocket(), *load_sample_images().images]


def make_networks(pictures: list[Picture]) -> ExemplarNetworks:
    """Random networks that answer as strongly as trained ones: batch norms know photographs, colours have a chroma of about 20."""
    torch.manual_seed(0)
    transfer = TransferNet(VGG19Encoder("random"), "adain", ["encoder", "skips", "decoder"], skips="pre_pool")
    networks = ExemplarNetworks(transfer, ColorizationNet())
    rgb = torch.cat([working_rgb(picture) for picture in pictures])
    l = rgb_to_lab(rgb)[:, :1]
    shown = (torch.rand(len(l), 1, SIZE, SIZE) < 0.01).float()
    last = [module for module in transfer.decoder.modules() if isinstance(module, nn.Conv2d)][-1]
    for norm in (module for module in networks.modules() if isinstance(module, nn.BatchNorm2d)):
        norm.momentum = None
    with torch.no_grad():
        transfer.decoder.train()
        output = transfer.train()(rgb, rgb.flip(0))
        last.weight *= 0.2 / output.std()
        assert last.bias is not None
        last.bias.fill_(0.5)
        colorizer = networks.colorizer
        assert isinstance(colorizer, ColorizationNet)
        colorizer.train()(l, rgb_to_lab(rgb)[:, 1:], shown)
        networks.eval()
        head = colorizer.model_out[0]
        assert isinstance(head, nn.Conv2d)
        head.weight *= 20 / colorizer(l, rgb_to_lab(rgb)[:, 1:], shown).std()
    return networks


def working_rgb(picture: Picture, side: int = SIZE) -> Tensor:
    """A square of it, as the yardstick wants it."""
    return to_unit_range(resize_pixels(picture.pixels, (side, side)))


def measure_forms(networks: ExemplarNetworks, pictures: list[Picture]) -> Table:
    """Each step from the published form to the fast one, for one pair, for a further target of the same reference, and for a batch."""
    table = Table("256 x 256 px", "step", "ms a picture", "published / this", title="forms")
    pairs = [(rgb_to_lab(working_rgb(pictures[i]))[:, :1], working_rgb(pictures[i + BATCH])) for i in range(BATCH)]
    l, reference = pairs[0]
    batch_l = torch.cat([one for one, _ in pairs])
    published = lambda: networks.predict(l, networks.encode_reference(reference))  # noqa: E731
    style = networks.encode_reference(reference)
    channels_last = prepare_channels_last(networks)
    folded = prepare(networks, torch.device("cpu"), "float32")
    fast = prepare(networks, torch.device("cpu"), "bf16")
    precolored = fast.precolor(l)
    steps: list[tuple[str, str, Callable[[], Any], int]] = [
        ("one pair", "channels last", lambda: channels_last.predict(l, channels_last.encode_reference(reference)), 1),
        ("one pair", "+ batch norms folded", lambda: folded.predict(l, folded.encode_reference(reference)), 1),
        ("one pair", "+ bf16 convolutions (the fast form)", lambda: fast.predict(l, fast.encode_reference(reference)), 1),
        ("further target", "reference's statistics kept, float32 NCHW", lambda: networks.predict(l, style), 1),
        ("further target", "the fast form", lambda: fast.predict(l, style), 1),
        ("further target", "tried: pre-colorized at half size", lambda: predict_half(fast, l, style), 1),
        ("batch of 8", "the fast form", lambda: fast.predict(batch_l, style), BATCH),
        ("parts", "bf16: pre-colorize", lambda: fast.precolor(l), 1),
        ("parts", "bf16: encode and decode the reference", lambda: fast.encode_reference(reference), 1),
        ("parts", "bf16: transfer", lambda: run_transfer(fast, precolored.picture, style), 1),
    ]
    baseline: list[float] = []
    for subject, name, run, count in steps:
        times = [(seconds(published), seconds(run) / count) for _ in range(ROUNDS + 1)][1:]
        baseline += [first for first, _ in times]
        own = statistics.median(second for _, second in times)
        table.add_row(subject, name, f"{own * 1e3:.0f}", f"{statistics.median(a / b for a, b in times):.2f}")
    table.add_row("one pair", "published form", f"{statistics.median(baseline) * 1e3:.0f}", "1")
    return table


def run_transfer(networks: ExemplarNetworks, picture: Tensor, style: Any) -> Tensor:
    """The transfer sub-net alone."""
    assert networks.transfer is not None
    return networks.transfer(picture, style)


def prepare_channels_last(networks: ExemplarNetworks) -> ExemplarNetworks:
    """Nothing but another memory order."""
    return copy.deepcopy(networks).to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]


def predict_half(networks: ExemplarNetworks, l: Tensor, style: ReferenceStyle) -> Colorization:
    """What was tried: the pre-colorization at half size, a quarter of its work."""

    def precolor(l: Tensor) -> Precolored:
        small = networks.precolor(F.interpolate(l, scale_factor=0.5, mode="area"))
        ab = F.interpolate(small.ab, size=l.shape[-2:], mode="bilinear")
        return Precolored(join_lab(l, ab), ab)

    with torch.inference_mode():
        return colorize_exemplar(
            networks.transfer, networks.colorizer, l, style, target_keys(l), networks.sampler, precolor, networks.pipeline
        )


def measure_differences(networks: ExemplarNetworks, pictures: list[Picture], kind: str) -> Table:
    """CIEDE2000 between a form and the float32 one: the mean and the 95th percentile of all pixels, and the worst picture."""
    table = Table(
        "form", "mean", "95th percentile", "worst picture's mean", title=f"CIEDE2000 from float32, {len(pictures)} pictures, {kind} weights"
    )
    fast = prepare(networks, torch.device("cpu"), "bf16")
    forms = {"the fast form": fast.predict, "tried: pre-colorized at half size": partial(predict_half, fast)}
    found: dict[str, list[np.ndarray]] = {name: [] for name in forms}
    for index, picture in enumerate(pictures):
        l = rgb_to_lab(working_rgb(picture))[:, :1]
        reference = working_rgb(pictures[index - 1])
        exact = networks.predict(l, networks.encode_reference(reference)).ab
        style = fast.encode_reference(reference)
        for name, predict in forms.items():
            found[name].append(color_difference(l, exact, predict(l, style).ab))
    for name, maps in found.items():
        pixels = np.stack(maps)
        worst = pixels.mean(axis=(1, 2)).max()
        table.add_row(name, f"{pixels.mean():.3f}", f"{np.percentile(pixels, 95):.3f}", f"{worst:.3f}")
    return table


def color_difference(l: Tensor, ab: Tensor, other: Tensor) -> np.ndarray:
    """CIEDE2000 of two sRGB pictures with this L."""
    first, second = (rgb_to_lab(join_lab(l, values))[0].permute(1, 2, 0).numpy() for values in (ab, other))
    return deltaE_ciede2000(first, second)


def measure_sizes(networks: ExemplarNetworks, pictures: list[Picture]) -> Table:
    """What a size costs, and how far from the truth even true colours come back from it, guided and bilinearly, on sample photographs."""
    title = "size of work: ms of a further target; CIEDE2000 of true ab, shrunk to the size and brought back"
    photographs = [Picture(pixels) for pixels in sample_photographs()]
    table = Table("size", "ms", "guided", "bilinear", title=title)
    fast = prepare(networks, torch.device("cpu"), choose_precision("auto", torch.device("cpu")))
    style = fast.encode_reference(working_rgb(pictures[0]))
    for size in SIZES:
        l = rgb_to_lab(working_rgb(pictures[1], size))[:, :1]
        run = lambda l=l: fast.predict(l, style)  # noqa: E731
        times = [seconds(run) for _ in range(4)][1:]
        differences = [upsampling_difference(picture, size) for picture in photographs]
        guided, bilinear = np.mean(differences, axis=0)
        table.add_row(str(size), f"{statistics.median(times) * 1e3:.0f}", f"{guided:.2f}", f"{bilinear:.2f}")
    return table


def upsampling_difference(picture: Picture, size: int) -> tuple[float, float]:
    """Mean CIEDE2000 of true colours that went through maps of this size."""
    lab = rgb_to_lab(to_unit_range(picture.pixels))
    height, width = picture.size
    small = rgb_to_lab(to_unit_range(resize_pixels(picture.pixels, working_size(height, width, size))))
    guided = guide(small[:, 1:], small[:, :1]).rows(0, lab[:, :1], height)
    bilinear = F.interpolate(small[:, 1:], size=(height, width), mode="bilinear")
    true = lab[0].permute(1, 2, 0).numpy()
    first, second = (torch.cat((lab[:, :1], ab), dim=1)[0].permute(1, 2, 0).numpy() for ab in (guided, bilinear))
    return float(deltaE_ciede2000(true, first).mean()), float(deltaE_ciede2000(true, second).mean())


def measure_onnx(networks: ExemplarNetworks, pictures: list[Picture]) -> Table:
    """onnxruntime against PyTorch, both in float32 on the CPU, the reference encoded anew."""
    table = Table("batch", "target", "largest difference", "PyTorch, ms", "onnxruntime, ms", title="exported to ONNX, ab in Lab units")
    graph = PipelineGraph(networks)
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "networks.onnx"
        with torch.inference_mode(False):
            export_onnx(networks, path)
        session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    for batch, height, width in ((1, SIZE, SIZE), (4, SIZE, SIZE), (1, SIZE, 384)):
        rgb = torch.cat([to_unit_range(resize_pixels(picture.pixels, (height, width))) for picture in pictures[:batch]])
        l = rgb_to_lab(rgb)[:, :1]
        inputs = (l, torch.cat([working_rgb(picture) for picture in pictures[batch : 2 * batch]]), draw_mask(networks, l))
        feed = dict(zip(graph.inputs, (tensor.numpy() for tensor in inputs), strict=True))
        difference = np.abs(session.run(None, feed)[0] - graph(*inputs).numpy()).max()
        forms = (partial(graph, *inputs), partial(session.run, None, feed))
        own, other = zip(*[tuple(map(seconds, forms)) for _ in range(4)][1:], strict=True)
        times = (f"{statistics.median(values) * 1e3:.0f}" for values in (own, other))
        table.add_row(str(batch), f"{width} x {height}", f"{difference:.1e}", *times)
    return table


def measure_large(networks: ExemplarNetworks) -> Table:
    """From file to file: 12 megapixels against 256 x 256, and the memory of a process that does it."""
    table = Table(
        "JPEG to JPEG", "s", "12 megapixels / 256 x 256", "peak memory, GB", title="a large photograph, with a reference that is kept"
    )
    with tempfile.TemporaryDirectory() as directory:
        folder = Path(directory)
        small, large = (folder / f"{name}.jpg" for name in ("small", "large"))
        photograph = samples.astronaut()
        for path, size in ((small, (SIZE, SIZE)), (large, MEGAPIXELS)):
            Picture(resize_pixels(photograph, size)).save(path)
        save(networks, folder)
        colorizer = ExemplarColorizer.from_pretrained(folder / "networks", device="cpu")
        style = colorizer.encode_reference(small)
        pairs = [
            tuple(seconds(lambda path=path: colorizer.colorize(path, style).save(folder / "out.jpg")) for path in (small, large))
            for _ in range(4)
        ][1:]
        first, second = (statistics.median(times) for times in zip(*pairs, strict=True))
        program = (
            "import re, sys; from stylecolor import ExemplarColorizer\n"
            "c = ExemplarColorizer.from_pretrained(sys.argv[1], device='cpu'); c.colorize(sys.argv[2], sys.argv[3]).save(sys.argv[4])\n"
            # not getrusage, which begins with what this process has
            "print(re.search(r'VmHWM:\\s+(\\d+)', open('/proc/self/status').read())[1])"
        )
        command = [sys.executable, "-c", program, folder / "networks", large, small, folder / "out.jpg"]
        peak = int(subprocess.run(command, capture_output=True, check=True).stdout) / 1e6
        ratio = statistics.median(b / a for a, b in pairs)
        table.add_row("256 x 256", f"{first:.2f}", "", "")
        table.add_row("4000 x 3000", f"{second:.2f}", f"{ratio:.2f}", f"{peak:.2f}")
    return table


def save(networks: ExemplarNetworks, folder: Path) -> None:
    """For processes of their own."""
    ExemplarColorizer(networks, device="cpu", precision="float32").save_pretrained(folder / "networks")


def measure_command(networks: ExemplarNetworks, pictures: list[Picture]) -> Table:
    """Whole processes: help, and one picture beside the networks' own time."""
    table = Table("command", "s", "of which networks, s", title="the command line, whole processes")
    with tempfile.TemporaryDirectory() as directory:
        folder = Path(directory)
        save(networks, folder)
        pictures[0].save(folder / "grey.png")
        pictures[1].save(folder / "reference.png")
        colorizer = ExemplarColorizer.from_pretrained(folder / "networks", device="cpu")
        l = colorizer.working_l(pictures[0])
        own = statistics.median(seconds(lambda: colorizer.predict_ab(l, colorizer.encode_reference(pictures[1]))) for _ in range(5))
        program = [sys.executable, "-m", "stylecolor.cli"]
        colorize = [*program, "colorize", folder / "grey.png", "--reference", folder / "reference.png", "-o", folder / "out.png"]
        for name, command, part in (
            ("stylecolor --help", [*program, "--help"], ""),
            ("stylecolor colorize grey.png --reference reference.png", [*colorize, "--checkpoint", folder / "networks"], f"{own:.2f}"),
        ):
            times = [seconds(lambda command=command: subprocess.run(command, capture_output=True, check=True)) for _ in range(6)][1:]
            table.add_row(name, f"{statistics.median(times):.2f}", part)
    return table


def measure_gpu(networks: ExemplarNetworks, device: torch.device) -> Table:
    """Pictures a second in bf16, and what share of the measured matrix rate their convolutions reach."""
    table = Table("px", "batch", "pictures/s", "share of the matrix rate", title="GPU, bf16, a reference that is kept")
    rate = matrix_rate(device)
    fast = prepare(networks, device, "bf16")
    for size in (256, 512):
        for batch in (1, 32):
            l = torch.rand(batch, 1, size, size, device=device) * 100
            style = fast.encode_reference(torch.rand(1, 3, size, size, device=device))
            run = lambda l=l, style=style: fast.predict(l, style).ab  # noqa: E731
            own = statistics.median([seconds(run) for _ in range(12)][2:])
            table.add_row(str(size), str(batch), f"{batch / own:.1f}", f"{count_operations(run) / own / rate:.2f}")
    return table


def matrix_rate(device: torch.device) -> float:
    """Operations a second of a large product in bf16."""
    matrix = torch.randn(8192, 8192, device=device, dtype=torch.bfloat16)
    return 2 * 8192**3 / min(seconds(lambda: matrix @ matrix) for _ in range(10))


def count_operations(run: Callable[[], Any]) -> float:
    """Of one call, by torch's counter."""
    from torch.utils.flop_counter import FlopCounterMode

    with FlopCounterMode(display=False) as counter:
        run()
    return counter.get_total_flops()


def seconds(function: Callable[[], Any]) -> float:
    """The time of one call, a GPU's work included."""
    start = time.perf_counter()
    function()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter() - start


if __name__ == "__main__":
    main()
