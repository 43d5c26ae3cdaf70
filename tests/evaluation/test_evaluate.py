"""evaluate.py through its own main function: what it leaves, that it can be repeated, interrupted and shared, and what it refuses."""

import json
import multiprocessing
import os
import signal
import statistics
import subprocess
import sys
from multiprocessing.context import SpawnProcess
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from PIL import Image
from skimage.color import lab2rgb, rgb2lab
from skimage.metrics import peak_signal_noise_ratio

import evaluation.runner
from evaluation.choices import METHODS, PROTOCOLS, TRAINING_FREE
from evaluation.statistics import bootstrap_interval
from tests.data import photograph
from tests.evaluation.runs import mean_of, read_rows, refusal, run_main, tiny
from tests.training.runs import refusal as training_refusal
from tests.training.runs import tiny as tiny_training
from tests.training.test_bad_input import damage_unnoticed

TABLES = ("pairs.csv", "pictures.csv", "pictures.parquet", "summary.csv", "points.csv")
FREE = ("methods=[gray,reference_mean]", "protocols=[palette,auto]", "gallery=0")
"""Without any network."""


def assert_equal_tables(first: Path, second: Path) -> None:
    """Byte for byte."""
    for name in TABLES:
        assert (first / name).read_bytes() == (second / name).read_bytes(), name


def test_an_evaluation_leaves_tables_pictures_and_a_page(evaluated: Path) -> None:
    assert {path.name for path in evaluated.iterdir()} == {
        *TABLES,
        *("config.yaml", "evaluate.log", "checkpoints.json", "costs.csv", "notes.json", "gallery", "report.html"),
    }
    assert (evaluated / "config.yaml").read_text().startswith("# git revision: ")
    assert yaml.safe_load((evaluated / "config.yaml").read_text())["data"]["image_size"] == 32
    assert "<html" in (evaluated / "report.html").read_text()


def test_every_method_is_measured_in_the_protocols_that_it_takes_part_in(evaluated: Path) -> None:
    rows = read_rows(evaluated / "pictures.csv")
    targets = [row["target"] for row in rows if (row["protocol"], row["method"]) == ("self", "gray")]
    assert len(targets) == 3
    for protocol in PROTOCOLS:
        expected = ["gray", "colorizer"] if protocol == "auto" else [name for name in METHODS if name != "reconstruction"]
        expected += ["reconstruction"] * (protocol == "self")
        found = [row for row in rows if row["protocol"] == protocol]
        assert [(row["method"], row["target"]) for row in found] == [(method, target) for method in expected for target in targets]
        for row in found:
            assert (row["reference"] == "") == (protocol == "auto")
            assert (row["reference"] == row["target"]) == (protocol == "self")
            assert (row["histogram_intersection"] == "") == (protocol == "auto")


def test_methods_without_a_reference_are_the_same_in_all_protocols_and_others_are_not(evaluated: Path) -> None:
    rows = read_rows(evaluated / "summary.csv")
    for method in ("gray", "colorizer"):
        assert len({mean_of(rows, protocol, method, "ciede2000") for protocol in PROTOCOLS}) == 1
    for method in ("reinhard", "transfer", "both"):
        assert len({mean_of(rows, protocol, method, "ciede2000") for protocol in PROTOCOLS[:3]}) == 3


def test_the_summary_is_the_mean_of_the_pictures_with_its_interval(evaluated: Path) -> None:
    pictures, summary = read_rows(evaluated / "pictures.csv"), read_rows(evaluated / "summary.csv")
    for protocol, method, metric in (("palette", "welsh", "psnr"), ("self", "both", "colorfulness_difference")):
        values = [float(row[metric]) for row in pictures if (row["protocol"], row["method"]) == (protocol, method)]
        (row,) = (row for row in summary if (row["protocol"], row["method"], row["metric"]) == (protocol, method, metric))
        expected = bootstrap_interval(np.array(values), 0)
        assert [float(row[name]) for name in ("mean", "low", "high")] == pytest.approx(list(expected), rel=1e-5)
        assert row["pictures"] == "3"
    absolute = [abs(float(row["colorfulness_difference"])) for row in pictures if (row["protocol"], row["method"]) == ("self", "gray")]
    assert mean_of(summary, "self", "gray", "colorfulness_difference_absolute") == pytest.approx(statistics.mean(absolute), rel=1e-5)


def test_the_parquet_table_holds_what_the_csv_table_holds(evaluated: Path) -> None:
    text, parquet = (
        pd.read_csv(evaluated / "pictures.csv", keep_default_na=False, na_values=[""]),
        pd.read_parquet(evaluated / "pictures.parquet"),
    )
    assert list(parquet.columns) == list(text.columns)
    np.testing.assert_allclose(parquet.psnr, text.psnr, rtol=1e-6)
    assert list(parquet.target) == list(text.target)


def test_costs_stand_apart(evaluated: Path) -> None:
    rows = read_rows(evaluated / "costs.csv")
    assert [row["method"] for row in rows] == list(METHODS)
    assert all(float(row["seconds_per_picture"]) > 0 and float(row["peak_memory_gib"]) > 0 for row in rows)
    assert "seconds" not in (evaluated / "summary.csv").read_text()


def test_notes_say_what_is_not_available(evaluated: Path) -> None:
    notes = json.loads((evaluated / "notes.json").read_text())
    assert all(notes[name].startswith("not available: ") for name in ("lpips", "fid"))
    assert "lpips" not in read_rows(evaluated / "pictures.csv")[0]


def test_psnr_is_measured_against_revealed_patches(evaluated: Path) -> None:
    points = read_rows(evaluated / "points.csv")
    assert [(row["checkpoint"], row["points"]) for row in points] == [("joint", "0"), ("joint", "1"), ("joint", "40")]
    assert float(points[0]["psnr"]) == pytest.approx(mean_of(read_rows(evaluated / "summary.csv"), "auto", "colorizer", "psnr"), rel=1e-5)
    assert points[0]["mean_ab_error"] == ""
    assert len({row["psnr"] for row in points}) == 3
    assert all(float(row["low"]) <= float(row["psnr"]) <= float(row["high"]) for row in points)


def test_the_gallery_shows_the_best_the_median_and_the_worst_picture(evaluated: Path) -> None:
    pictures = read_rows(evaluated / "pictures.csv")
    index = read_rows(evaluated / "gallery" / "index.csv")
    assert [(row["protocol"], row["order"]) for row in index] == [
        (name, order) for name in PROTOCOLS for order in ("best", "median", "worst")
    ]
    for protocol in PROTOCOLS:
        method = "colorizer" if protocol == "auto" else "both"
        scores = {row["target"]: float(row["ciede2000"]) for row in pictures if (row["protocol"], row["method"]) == (protocol, method)}
        shown = [row for row in index if row["protocol"] == protocol]
        assert [row["target"] for row in shown] == sorted(scores, key=lambda target: scores[target])
        assert all(row["method"] == method and float(row["score"]) == scores[row["target"]] for row in shown)
    for row in index:
        columns = row["columns"].split("|")
        assert columns[0] == "target"
        assert columns[-1] == "truth"
        assert ("reference" in columns) == (row["protocol"] != "auto")
        with Image.open(evaluated / "gallery" / row["file"]) as strip:
            assert strip.width % len(columns) == 0
            assert strip.height == 32


def test_grey_has_the_psnr_of_an_independent_computation(tmp_path: Path, cache_directory: Path) -> None:
    """From the file to the number, at the pictures' own size, so that nothing is resized."""
    run_main(tmp_path, *tiny("methods=[gray]", "protocols=[auto]", "data.image_size=192", "gallery=0", "limit=2"), "hydra.run.dir=run")
    for row in read_rows(tmp_path / "run" / "pictures.csv"):
        (file,) = cache_directory.glob(f"sample-*/{row['target']}")
        truth = np.asarray(Image.open(file))
        lab = rgb2lab(truth)
        lab[..., 1:] = 0
        gray = (lab2rgb(lab) * 255).round()
        expected = peak_signal_noise_ratio(truth.astype(float), gray, data_range=255)
        assert float(row["psnr"]) == pytest.approx(expected, abs=0.01)


def test_evaluating_twice_gives_the_same_tables_with_the_pair_list_too(tmp_path: Path) -> None:
    for name in ("first", "second"):
        run_main(tmp_path, *tiny(*FREE), f"hydra.run.dir={name}")
    run_main(tmp_path, *tiny(*FREE[::2]), "pairs=first/pairs.csv", "seed=1", "hydra.run.dir=third")
    for name in TABLES[:4]:
        assert (tmp_path / "first" / name).read_bytes() == (tmp_path / "second" / name).read_bytes()
    assert (tmp_path / "first" / "pairs.csv").read_bytes() == (tmp_path / "third" / "pairs.csv").read_bytes()
    assert (tmp_path / "first" / "pictures.csv").read_bytes() == (tmp_path / "third" / "pictures.csv").read_bytes()


def test_two_processes_give_the_tables_of_one(tmp_path: Path, evaluated: Path, checkpoint: Path) -> None:
    run_main(tmp_path, *tiny(f"checkpoint={checkpoint}", "points=[0,1,40]", "gallery=0", "trainer.devices=2"), "hydra.run.dir=run")
    assert_equal_tables(tmp_path / "run", evaluated)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_evaluation_goes_on_where_it_stood(
    number: int, tmp_path: Path, evaluated: Path, checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    measured: list[int] = []
    write = evaluation.runner.write_part

    def write_and_stop(directory: Path, batch: int, part: evaluation.runner.Part) -> None:
        write(directory, batch, part)
        measured.append(batch)
        if len(measured) == 1:
            os.kill(os.getpid(), number)

    monkeypatch.setattr(evaluation.runner, "write_part", write_and_stop)
    arguments = tiny(f"checkpoint={checkpoint}", "points=[0,1,40]", "gallery=0")
    with pytest.raises(SystemExit) as stopped:
        run_main(tmp_path, *arguments, "hydra.run.dir=run")
    assert stopped.value.code == 128 + number
    assert not (tmp_path / "run" / "summary.csv").exists()
    assert "go on with: python evaluate.py resume=run" in (tmp_path / "run" / "evaluate.log").read_text()
    # what a process that was killed left half-written
    killed = subprocess.Popen([sys.executable, "-c", ""])
    killed.wait()
    part = tmp_path / "run" / "gallery" / f".{killed.pid}-{'0' * 16}.part.png"
    part.parent.mkdir()
    part.touch()

    run_main(tmp_path, "resume=run")
    assert not part.exists()
    assert measured == [0, 1]
    assert_equal_tables(tmp_path / "run", evaluated)
    assert not (tmp_path / "run" / "parts").exists()
    # and once more does nothing
    before = (tmp_path / "run" / "report.html").stat().st_mtime_ns
    run_main(tmp_path, "resume=run")
    assert measured == [0, 1]
    assert (tmp_path / "run" / "report.html").stat().st_mtime_ns == before


def test_an_evaluation_does_not_go_on_with_another_checkpoint(tmp_path: Path, checkpoint: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own = tmp_path / "own.ckpt"
    own.write_bytes(checkpoint.read_bytes())
    monkeypatch.setattr(evaluation.runner, "write_part", lambda *arguments: os.kill(os.getpid(), signal.SIGTERM))
    with pytest.raises(SystemExit):
        run_main(tmp_path, *tiny(f"checkpoint={own}"), "hydra.run.dir=run")
    contents = torch.load(own, weights_only=True)
    contents["global_step"] += 1
    torch.save(contents, own)
    assert "changed since" in refusal(tmp_path, "resume=run")
    assert "seed cannot change" in refusal(tmp_path, "resume=run", "seed=3")
    assert "holds a run already" in refusal(tmp_path, *tiny(f"checkpoint={own}"), "hydra.run.dir=run")


def test_an_evaluation_that_was_refused_does_not_block_its_directory(checkpoint: Path, tmp_path: Path) -> None:
    (tmp_path / "bad.csv").write_text("no pair list")
    refusal(tmp_path, *tiny(f"checkpoint={checkpoint}"), "pairs=bad.csv", "hydra.run.dir=run")
    run_main(tmp_path, *tiny(f"checkpoint={checkpoint}"), "hydra.run.dir=run")
    assert (tmp_path / "run" / "report.html").is_file()


def test_fid_and_lpips_come_from_local_weights(tmp_path: Path, alexnet_file: Path, inception_file: Path) -> None:
    weights = [f"lpips_weights={alexnet_file}", f"fid_weights={inception_file}"]
    run_main(tmp_path, *tiny(*FREE, *weights, "metrics=[lpips,fid,psnr]"), "hydra.run.dir=run")
    rows = read_rows(tmp_path / "run" / "summary.csv")
    assert {row["metric"] for row in rows} == {"psnr", "lpips", "fid"}
    distances = {(row["protocol"], row["method"]): row for row in rows if row["metric"] == "fid"}
    assert set(distances) == {("palette", "gray"), ("palette", "reference_mean"), ("auto", "gray")}
    assert distances["palette", "gray"]["mean"] == distances["auto", "gray"]["mean"] != distances["palette", "reference_mean"]["mean"]
    assert all(float(row["mean"]) > 0 and row["low"] == row["high"] == "" for row in distances.values())
    notes = json.loads((tmp_path / "run" / "notes.json").read_text())
    assert str(inception_file) in notes["feature_extractors"]["fid"]
    assert "biased" in notes["fid_caution"]


def test_pictures_that_are_too_small_for_lpips_are_refused(tmp_path: Path, alexnet_file: Path) -> None:
    message = refusal(tmp_path, *tiny(*FREE, f"lpips_weights={alexnet_file}", "data.image_size=24"))
    assert "data.image_size=24: LPIPS needs pictures of 32 px" in message


def test_several_checkpoints_are_compared_under_their_names(tmp_path: Path, checkpoint: Path) -> None:
    colorizer, transfer = (checkpoint.with_name(f"{stage}.ckpt") for stage in ("colorizer", "transfer"))
    chosen = f"checkpoint={{small: {checkpoint}, alone: {colorizer}, styled: {transfer}}}"
    run_main(tmp_path, *tiny(chosen, "protocols=[self]", "gallery=0", "limit=2", "points=[1]"), "hydra.run.dir=run")
    methods = list(dict.fromkeys(row["method"] for row in read_rows(tmp_path / "run" / "pictures.csv")))
    assert methods == [
        *TRAINING_FREE,
        *(f"small/{name}" for name in ("transfer", "colorizer", "both", "reconstruction")),
        "alone/colorizer",
        *("styled/transfer", "styled/reconstruction"),
    ]
    assert [row["checkpoint"] for row in read_rows(tmp_path / "run" / "points.csv")] == ["small", "alone"]
    assert json.loads((tmp_path / "run" / "checkpoints.json").read_text())["alone"]["source"] == str(colorizer)


def test_a_figure_is_drawn_by_its_recipe(tmp_path: Path, checkpoint: Path) -> None:
    arguments = [argument for argument in tiny("limit=2") if not argument.startswith("gallery")]
    run_main(tmp_path, *arguments, "experiment=figure_pipeline", f"checkpoint={checkpoint}", "hydra.run.dir=run")
    words = json.loads((tmp_path / "run" / "figures" / "pipeline.json").read_text())
    assert words["recipe"] == "python evaluate.py experiment=figure_pipeline checkpoint=CKPT"
    assert words["title"]
    with Image.open(tmp_path / "run" / "figures" / "pipeline.png") as picture:
        assert picture.width > 6 * 32
    assert words["title"] in (tmp_path / "run" / "report.html").read_text()
    message = refusal(tmp_path, *tiny("figures=[pipeline]", f"checkpoint={checkpoint.with_name('colorizer.ckpt')}", "protocols=[palette]"))
    assert "stage=joint" in message


def test_recipes_know_whose_they_are(tmp_path: Path) -> None:
    assert "python train.py experiment=demo" in refusal(tmp_path, *tiny(), "experiment=demo")
    assert "python evaluate.py experiment=figure_pipeline" in training_refusal(tmp_path, *tiny_training(), "experiment=figure_pipeline")
    assert "one recipe" in refusal(tmp_path, *tiny(), "experiment=[figure_losses,figure_pipeline]")
    assert not (tmp_path / "outputs").exists()


def test_wandb_gets_tables_and_pictures_offline(tmp_path: Path) -> None:
    run_main(tmp_path, *tiny(*FREE[:2], "logger=wandb"), "hydra.run.dir=run")
    (media,) = (tmp_path / "run").glob("wandb/offline-run-*/files/media")
    tables = sorted(path.name.split("_")[0] for path in (media / "table").glob("*.json"))
    assert tables == ["costs", "pictures", "summary"]
    assert len(list((media / "images").glob("gallery*.png"))) == 6


def test_tensorboard_gets_means_and_pictures(tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    run_main(tmp_path, *tiny(*FREE[:2], "logger=tensorboard"), "hydra.run.dir=run")
    events = EventAccumulator(str(tmp_path / "run" / "tensorboard")).Reload()
    (scalar,) = events.Scalars("palette/gray/psnr")
    assert scalar.value == pytest.approx(mean_of(read_rows(tmp_path / "run" / "summary.csv"), "palette", "gray", "psnr"), rel=1e-5)
    assert "gallery/palette-best-1" in events.Tags()["images"]


def test_ignored_settings_are_named(tmp_path: Path) -> None:
    run_main(tmp_path, *tiny("methods=[gray]", "protocols=[auto]", "gallery=0", "data.references=random"), "hydra.run.dir=run")
    assert "data.references is ignored: protocols say which references are used" in (tmp_path / "run" / "evaluate.log").read_text()
    assert yaml.safe_load((tmp_path / "run" / "config.yaml").read_text())["data"]["references"] == "random"


# (arguments, what the refusal must name)
REFUSED = [
    (["lmit=3"], "limit"),
    (["+chekpoint=a"], "checkpoint"),
    (["trainer.max_steps=3"], "trainer.max_steps"),
    (["data.imagesize=64"], "data.image_size"),
    (["stage=joint"], "stage"),
    (["limit=1"], "at least 2 pictures"),
    (["limit=0"], "at least 2 pictures"),
    (["protocols=[palete]"], "did you mean palette"),
    (["protocols=[]"], "protocols"),
    (["methods=[both,both]"], "twice"),
    (["methods=bth"], "did you mean both"),
    (["metrics=[snr]"], "did you mean psnr"),
    (["split=validation"], "val"),
    (["points=[5,1]"], "rising order"),
    (["points=[-1]"], "points=-1"),
    (["gallery=-1"], "gallery"),
    (["figures=[pipelin]"], "did you mean pipeline"),
    (["trainer.devices=0"], "trainer.devices"),
    (["trainer.precision=16-mixed"], "bf16-mixed"),
    (["trainer.accelerator=tpu"], "trainer.accelerator"),
    (["checkpoint=nowhere.ckpt"], "checkpoint=nowhere.ckpt: no such file"),
    (["checkpoint=[]"], "checkpoint=[]"),
    (["checkpoint={a/b: x}"], "names without / = |"),
    (["checkpoint=sigraph17"], "did you mean siggraph17"),
    (["checkpoint=."], "holds no checkpoints/best.ckpt"),
    ([], "checkpoint=FILE"),
    (["methods=gray", "data=coco"], "data.root=DIR"),
    (["methods=gray", "data=folder", "data.root=nowhere"], "data.root=nowhere"),
    (["methods=gray", "pairs=nowhere.csv"], "pairs=nowhere.csv: no such file"),
    (["methods=gray", "fid_weights=nowhere.pth"], "fid_weights=nowhere.pth: no such file"),
    (["resume=nowhere"], "resume=nowhere"),
    (["-m", "seed=1,2"], "checkpoint=[A,B]"),
    (["methods=gray", "split=test"], "split=test"),
]  # fmt: skip


@pytest.mark.parametrize(("arguments", "named"), REFUSED, ids=[" ".join(arguments) or "nothing" for arguments, _ in REFUSED])
def test_what_does_not_fit_is_refused_in_one_line(arguments: list[str], named: str, tmp_path: Path) -> None:
    settings = [] if {"-m", "resume=nowhere"} & set(arguments) else tiny(*(argument for argument in arguments if argument[0] != "+"))
    assert named in refusal(tmp_path, *settings, *(argument for argument in arguments if argument not in settings))
    if "split=test" not in arguments:
        assert not list(tmp_path.rglob("config.yaml"))


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["methods=[reinhard]", "protocols=[auto]"], "methods=reinhard: not measured in protocols=auto"),
        (["methods=[gray]", "metrics=[fid]"], "metrics: none of them is available here (fid: fid_weights=none"),
        (["methods=[gray]", "points=[1]", "checkpoint=transfer"], "points: needs a checkpoint"),
    ],
)  # fmt: skip
def test_an_evaluation_that_would_measure_nothing_is_refused(arguments: list[str], named: str, tmp_path: Path, checkpoint: Path) -> None:
    chosen = [argument.replace("=transfer", f"={checkpoint.with_name('transfer.ckpt')}") for argument in arguments]
    assert named in refusal(tmp_path, *tiny(*chosen), "hydra.run.dir=run")
    assert not (tmp_path / "run" / "parts").exists()


def test_a_gallery_without_the_metric_that_orders_it_is_left_out(tmp_path: Path) -> None:
    run_main(tmp_path, *tiny("methods=[gray,reinhard]", "protocols=[auto]", "metrics=[colorfulness]"), "hydra.run.dir=run")
    log = (tmp_path / "run" / "evaluate.log").read_text()
    assert "gallery is ignored: its pictures are ordered by ciede2000" in log
    assert "reinhard: not measured in protocols=auto" in log
    assert not (tmp_path / "run" / "gallery").exists()


@pytest.mark.parametrize("damage", ["cut", "foreign", "picture", "another format"])
def test_a_damaged_or_foreign_checkpoint(damage: str, tmp_path: Path, checkpoint: Path) -> None:
    path = tmp_path / "bad.ckpt"
    if damage == "cut":
        path.write_bytes(checkpoint.read_bytes()[:1000])
    elif damage == "foreign":
        torch.save({"weight": torch.zeros(3)}, path)
    elif damage == "picture":
        photograph(0, 0).save(path, format="PNG")
    else:
        contents = torch.load(checkpoint, weights_only=True)
        contents["stylecolor"]["format"] = 1
        torch.save(contents, path)
    assert f"checkpoint={path}" in refusal(tmp_path, *tiny(f"checkpoint={path}"))


@pytest.mark.parametrize(
    ("line", "named"),
    [
        ("palette,val2017/000000000001.jpg,val2017/missing.jpg", "val2017/missing.jpg"),
        ("palette,../../etc/passwd,val2017/000000000001.jpg", "outside"),
        ("palete,val2017/000000000001.jpg,val2017/000000000002.jpg", "palete"),
        ("", "names no pairs"),
        ("auto,val2017/000000000001.jpg,", "at least 2"),
    ],
)  # fmt: skip
def test_a_pair_list_that_does_not_fit(line: str, named: str, tmp_path: Path) -> None:
    (tmp_path / "pairs.csv").write_text(f"protocol,target,reference\n{line}\n".replace("\n\n", "\n"))
    assert named in refusal(tmp_path, *tiny("methods=[gray]", "pairs=pairs.csv"))


def test_one_picture_is_no_evaluation(tmp_path: Path) -> None:
    for split, count in (("train", 2), ("val", 1)):
        (tmp_path / "data" / split).mkdir(parents=True)
        for number in range(count):
            photograph(number, number).save(tmp_path / "data" / split / f"{number}.png")
    message = refusal(tmp_path, *tiny("methods=[gray]", "protocols=[auto]", "data=folder"), f"data.root={tmp_path / 'data'}")
    assert "at least 2" in message


def breaking_pictures(tmp_path: Path) -> list[str]:
    """An evaluation of three pictures, the last of which breaks in a way that its size and time do not show."""
    for split in ("train", "val"):
        (tmp_path / "data" / split).mkdir(parents=True)
        for number in range(3):
            photograph(number, number).save(tmp_path / "data" / split / f"{number}.png")
    arguments = tiny("methods=[gray]", "protocols=[auto]", "gallery=0", "data=folder", f"data.root={tmp_path / 'data'}", "data.cache=false")
    run_main(tmp_path, *arguments)
    damage_unnoticed(tmp_path / "data" / "val" / "2.png")
    return arguments


@pytest.mark.parametrize("workers", [0, 1])
def test_a_picture_that_breaks_on_the_way(workers: int, tmp_path: Path) -> None:
    arguments = [argument for argument in breaking_pictures(tmp_path) if "num_workers" not in argument]
    message = refusal(tmp_path, *arguments, f"data.num_workers={workers}", "hydra.run.dir=run")
    assert message.startswith("error: ")
    assert "2.png" in message
    assert "Traceback" not in message
    # what was measured before is kept
    assert [path.name for path in (tmp_path / "run" / "parts").iterdir()] == ["000000.json"]


@pytest.mark.slow
def test_a_mistake_that_only_the_second_process_meets_ends_both(tmp_path: Path) -> None:
    message = refusal(tmp_path, *breaking_pictures(tmp_path), "trainer.devices=2", "hydra.run.dir=run")
    assert "2.png" in message
    assert "Traceback" not in message
    assert not [process for process in multiprocessing.active_children() if isinstance(process, SpawnProcess)]
