"""Train the three stages on the sample data set, colorize pictures of scenes that training never saw, and draw the losses; then colorize
a photograph, a folder and a clip by the command line, and measure it all beside methods that need no training.

`make demo` runs this. Everything it writes is in one directory under outputs/demo/.
"""

import csv
import subprocess
import sys
import time
from datetime import datetime
from pathlib import Path

import matplotlib
import torch
import yaml

from datamodules import SampleConfig, make_data_module
from datamodules.batch import Batch, collate
from examples.own_pictures import make_pictures
from lightning_modules import STAGES
from stylecolor.color import gray_rgb, join_lab, rgb_to_lab
from stylecolor.pipeline import ExemplarNetworks
from training.samples import label_columns

matplotlib.use("Agg")

REPOSITORY = Path(__file__).resolve().parent.parent
PICTURES = 8
EVALUATED = 16


def main() -> None:
    """Train, colorize, draw, and say where to look."""
    start = time.perf_counter()
    directory = Path("outputs") / "demo" / datetime.now().strftime("%Y-%m-%d_%H-%M-%S")
    runs = {stage: directory / stage for stage in STAGES}
    train("transfer", runs["transfer"])
    train("colorizer", runs["colorizer"])
    checkpoints = [f"stage.{stage}_checkpoint={runs[stage] / 'checkpoints' / 'best.ckpt'}" for stage in ("transfer", "colorizer")]
    train("joint", runs["joint"], *checkpoints)

    results = directory / "results.png"
    colorize(runs, results)
    curves = directory / "losses.png"
    draw_losses(runs, curves)
    commands = try_command_line(directory)
    report = evaluate(runs, directory / "evaluation")
    print(f"\nDone in {time.perf_counter() - start:.0f} s. Look at")
    print(f"  {results}   grey pictures of unseen scenes in the colours of their references")
    print(f"  {curves}    what each stage learned")
    print(f"  {report}   the page that compares it with other methods, with figures: open it in a browser")
    print(f"  {directory}/*/samples/   the validation pictures on the way")
    print("These commands made the pictures in own/; give them yours, and the newest checkpoint is found without --checkpoint:")
    for command in commands:
        print(f"  stylecolor {' '.join(command)}")


def try_command_line(directory: Path) -> list[list[str]]:
    """Colorize a photograph, a folder and a clip as a user would."""
    gray, reference, clip = make_pictures(directory / "own")
    networks = ["--reference", str(reference), "--checkpoint", str(directory / "joint" / "checkpoints" / "best.ckpt")]
    commands = [
        ["colorize", str(gray / "chelsea.jpg"), *networks, "-o", str(directory / "own" / "chelsea.jpg")],
        ["colorize", str(gray), *networks, "-o", str(directory / "own" / "colorized"), "--sheet", str(directory / "own" / "sheet.png")],
        ["video", str(clip), *networks, "-o", str(directory / "own" / "clip_colorized.mp4")],
    ]
    for command in commands:
        run([sys.executable, "-m", "stylecolor.cli", *command])
    return commands


def evaluate(runs: dict[str, Path], directory: Path) -> Path:
    """Compare the joint checkpoint with the methods that need no training, on the unseen scenes."""
    print("\n== evaluation ==", flush=True)
    settings = [
        f"checkpoint={runs['joint'] / 'checkpoints' / 'best.ckpt'}",
        "data=sample",
        "data.image_size=128",
        f"limit={EVALUATED}",
        "points=[0,1,2,5,10,20,50,100,200,501]",
        "figures=[losses,total,pipeline,precolorization,sites,references,hints]",
        # their networks would have to be fetched
        "lpips_weights=none",
        "fid_weights=none",
        "logger=csv",
        f"hydra.run.dir={directory}",
    ]
    run([sys.executable, str(REPOSITORY / "evaluate.py"), *settings])
    return directory / "report.html"


def train(stage: str, directory: Path, *settings: str) -> None:
    """Run train.py with the demo's recipe; its progress bar goes to the terminal."""
    print(f"\n== {stage} ==", flush=True)
    run([sys.executable, str(REPOSITORY / "train.py"), f"stage={stage}", "experiment=demo", f"hydra.run.dir={directory}", *settings])


def run(command: list[str]) -> None:
    """Run a command, and end with it if it fails."""
    process = subprocess.Popen(command)
    try:
        status = process.wait()
    except KeyboardInterrupt:
        # the terminal has told the training too: it saves its checkpoint and ends
        status = process.wait()
    if status:
        sys.exit(status)


def describe_encoder(runs: dict[str, Path]) -> str:
    """What the pictures have to say of the encoder."""
    weights = yaml.safe_load((runs["transfer"] / "config.yaml").read_text())["stage"]["encoder"]["weights"]
    return "encoder: random weights, never trained" if weights == "random" else f"encoder: {weights}"


def colorize(runs: dict[str, Path], path: Path) -> None:
    """Colorize validation pictures with the joint checkpoint, beside reference and truth."""
    settings = yaml.safe_load((runs["joint"] / "config.yaml").read_text())
    data = make_data_module(SampleConfig(image_size=settings["data"]["image_size"]), settings["seed"])
    data.setup("validate")
    dataset = data.datasets["val"]
    chosen = range(0, len(dataset), max(1, len(dataset) // PICTURES))
    batch = Batch.from_pictures(collate([dataset[(0, index)] for index in chosen], random_crops=False), data.config.image_size)
    colorizer = ExemplarNetworks.from_checkpoint(runs["joint"] / "checkpoints" / "best.ckpt")
    gray = gray_rgb(batch.target_l)
    result = colorizer.colorize(gray, batch.reference_rgb)
    transfer = colorizer.transfer
    assert transfer is not None
    with torch.inference_mode():
        styled = rgb_to_lab(transfer(gray, batch.reference_rgb))
        transferred = join_lab(batch.target_l, styled[:, 1:])
    columns = (gray, batch.reference_rgb, transferred, result, batch.target_rgb)
    names = ("target", "reference", "transfer alone", "result", "truth")
    caption = ("Two scenes that training never saw, after minutes on five others: the machinery, not quality.", describe_encoder(runs))
    label_columns(torch.stack(columns, dim=1), names, caption).save(path)


def draw_losses(runs: dict[str, Path], path: Path) -> None:
    """Training and validation loss of each stage, from its metrics.csv."""
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(1, len(runs), figsize=(4 * len(runs), 3), layout="constrained")
    for axis, (stage, directory) in zip(axes, runs.items(), strict=True):
        with (directory / "metrics.csv").open(newline="") as file:
            rows = list(csv.DictReader(file))
        for split in ("train", "val"):
            points = [(int(row["step"]) + 1, float(row[f"{split}/loss"])) for row in rows if row.get(f"{split}/loss")]
            axis.plot(*zip(*points, strict=True), label=split, marker="o" if split == "val" else None, markersize=3)
        axis.set(title=stage, xlabel="step", ylabel="loss", yscale="log")
        axis.legend()
    figure.suptitle(f"Sample data; {describe_encoder(runs)}", fontsize="medium")
    figure.savefig(path, dpi=100)


if __name__ == "__main__":
    main()
