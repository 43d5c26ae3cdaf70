import csv
import json
from pathlib import Path
from typing import Any

import pytest

from stylecolor.reports import render_report
from tests.stylecolor.reports.directories import REVISION, make_training_run, write_config, write_csv, write_metrics
from tests.stylecolor.reports.pages import Element, assert_no_place_twice, assert_self_contained, read_page

FINISHED = "best val/psnr: 23.9 (checkpoints/best.ckpt)"


def tiles(page: Element) -> dict[str, str]:
    """The number of each tile by what stands above it."""
    return {tile.children[0].text: tile.find("b")[0].text for tile in page.find("div", class_="card tile")}


def lines(page: Element, title: str) -> list[dict[str, Any]]:
    """What a chart draws."""
    (plot,) = [plot for plot in page.find("div", class_="plot") if plot.attributes["aria-label"].startswith(f"{title}. ")]
    return json.loads(plot.attributes["data-lines"])


def test_a_finished_run_is_shown_whole(tmp_path: Path) -> None:
    page = read_page(render_report(make_training_run(tmp_path / "first", log=[FINISHED])))
    assert_self_contained(tmp_path / "first" / "report.html")
    assert_no_place_twice(tmp_path / "first" / "report.html")
    assert page.find("h1")[0].text == "colorizer: first"
    assert REVISION in page.text
    shown = tiles(page)
    assert {name: shown[name] for name in ("state", "step", "epoch", "best val/psnr")} == {
        "state": "finished",
        "step": "400",
        "epoch": "2",
        "best val/psnr": "23.9",
    }
    assert "python train.py resume=" not in page.text
    assert ["trainer.max_epochs", "3"] in [row for table in page.find("table") for row in table.rows()]
    assert ["checkpoints/best.ckpt", "0.0"] in [row[:2] for table in page.find("table") for row in table.rows()]
    assert ["train", "nearly grey", "1", "a.jpg"] in [row for table in page.find("table") for row in table.rows()]


def test_curves_show_what_the_metrics_say(tmp_path: Path) -> None:
    directory = make_training_run(tmp_path)
    page = read_page(render_report(directory))
    with (directory / "metrics.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    train, val = lines(page, "Loss")
    for line, column in ((train, "train/loss"), (val, "val/loss")):
        expected = [f"step {row['step']}: {float(row[column]):.4g}" for row in rows if row[column]]
        assert [reading[2] for reading in line["readings"]] == expected
    assert train["readings"][0][1] < train["readings"][-1][1], "a high loss stands above a low one"
    (psnr,) = lines(page, "PSNR")
    assert [reading[2] for reading in psnr["readings"]] == ["step 99: 20.9", "step 199: 21.9", "step 299: 22.9", "step 399: 23.9"]
    assert [line["name"] for line in lines(page, "Memory")] == ["host"]


def test_the_only_part_of_a_loss_is_not_drawn_twice(tmp_path: Path) -> None:
    directory = make_training_run(tmp_path)
    metrics = directory / "metrics.csv"
    text = metrics.read_text().replace("learning_rate", "val/huber")
    rows = list(csv.DictReader(text.splitlines()))
    for row in rows:
        row["val/huber"] = row["val/loss"]
    write_csv(metrics, list(rows[0]), [list(row.values()) for row in rows])
    page = read_page(render_report(directory))
    titles = [caption.find("b")[0].text for caption in page.find("figcaption")]
    assert titles.count("Loss") == 1
    assert "Huber loss" not in titles
    assert "here the same as huber loss" in page.text


def test_long_curves_are_drawn_with_few_points(tmp_path: Path) -> None:
    directory = make_training_run(tmp_path, rows=5000)
    page = read_page(render_report(directory))
    assert len(lines(page, "Loss")[0]["readings"]) == 120
    assert page.find("path", class_="band")
    assert (directory / "report.html").stat().st_size < 300_000


def test_first_middle_and_last_samples_are_shown(tmp_path: Path) -> None:
    directory = make_training_run(tmp_path, samples=7)
    (directory / "samples" / "step_00000100.png").rename(directory / "samples" / "psnr_points_step_00000100.png")
    alts = [picture.attributes["alt"] for picture in read_page(render_report(directory)).find("img")]
    assert alts == [f"sample pictures after step {step}" for step in (200, 500, 700)] + ["psnr points after step 100"]


@pytest.mark.parametrize(
    ("log", "state", "reason"),
    [
        ([FINISHED], "finished", ""),
        ([], "unfinished", ""),
        (["stopped by SIGINT; continue with: python train.py resume=here"], "stopped", ""),
        (["stopped by SIGINT; continue with: x", "run directory: outputs/here"], "unfinished", ""),
        (["the run failed"], "failed", "ValueError: data.root=nowhere: there is no such directory"),
    ],
)
def test_the_state_is_what_the_log_says_last(tmp_path: Path, log: list[str], state: str, reason: str) -> None:
    directory = make_training_run(tmp_path, log=log)
    if reason:
        with (directory / "train.log").open("a") as file:
            file.write(f"Traceback (most recent call last):\n  somewhere\n{reason}\n")
    page = read_page(render_report(directory))
    assert tiles(page)["state"] == state
    assert reason in page.text
    assert ("python train.py resume=" in page.text) == (state != "finished")


def test_a_run_that_goes_on_may_have_a_row_cut_short(tmp_path: Path) -> None:
    directory = make_training_run(tmp_path)
    metrics = directory / "metrics.csv"
    metrics.write_text(metrics.read_text() + "9,4000,0.12")
    page = read_page(render_report(directory))
    assert tiles(page)["step"] == "400"


@pytest.mark.parametrize("left", ["nothing", "an empty file", "the header"])
def test_a_run_that_has_just_begun_has_a_page(tmp_path: Path, left: str) -> None:
    directory = make_training_run(tmp_path, rows=0, samples=0)
    if left == "nothing":
        for name in ("metrics.csv", "train.log", "skipped.csv", "checkpoints/best.ckpt"):
            (directory / name).unlink()
    elif left == "an empty file":
        (directory / "metrics.csv").write_text("")
    page = read_page(render_report(directory))
    assert "Nothing has been measured yet." in page.text
    assert tiles(page)["step"] == "0"


def test_values_that_are_not_finite_leave_gaps(tmp_path: Path) -> None:
    directory = make_training_run(tmp_path)
    rows = list(csv.DictReader((directory / "metrics.csv").read_text().splitlines()))
    rows[1]["train/loss"], rows[3]["train/loss"] = "nan", "inf"
    write_csv(directory / "metrics.csv", list(rows[0]), [list(row.values()) for row in rows])
    page = read_page(render_report(directory))
    steps = [reading[2].split(":")[0] for reading in lines(page, "Loss")[0]["readings"]]
    assert steps[:3] == ["step 9", "step 29", "step 49"]
    assert "infinite values left out: 1" in page.text


def test_results_of_a_test_are_numbers_of_the_header(tmp_path: Path) -> None:
    directory = make_training_run(tmp_path, log=[FINISHED])
    rows = list(csv.DictReader((directory / "metrics.csv").read_text().splitlines()))
    write_csv(directory / "metrics.csv", [*rows[0], "test/psnr"], [[*row.values(), "21.2345" if row is rows[-1] else ""] for row in rows])
    assert tiles(read_page(render_report(directory)))["test psnr"] == "21.23"


def test_text_from_files_is_escaped(tmp_path: Path) -> None:
    directory = make_training_run(tmp_path)
    write_csv(directory / "skipped.csv", ("split", "name", "reason"), [("train", "<img src=x>.jpg", "<script>alert(1)</script>")])
    (directory / "train.log").write_text(
        "2026-01-02 03:04:05,678 [0] ERROR training.job: the run failed\nValueError: <script>alert(2)</script>\n"
    )
    path = render_report(directory)
    assert "<script>alert" not in path.read_text()
    assert "<img src=x" not in path.read_text()
    page = read_page(path)
    assert "ValueError: <script>alert(2)</script>" in page.text
    assert_self_contained(path)


def test_file_names_that_are_no_text_do_not_stop_it(tmp_path: Path) -> None:
    directory = make_training_run(tmp_path)
    (directory / "skipped.csv").write_bytes(b"split,name,reason\ntrain,\xff\xfe.jpg,nearly grey\n")
    assert "\\xff\\xfe.jpg" in read_page(render_report(directory)).text


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ("stage: [", "config.yaml: is no YAML file"),
        ("- a list", "config.yaml: holds no settings"),
        ("", "config.yaml: holds no settings"),
        ("stage: transfer", "config.yaml: has no stage.name"),
    ],
)
def test_damaged_settings_are_named(tmp_path: Path, config: str, message: str) -> None:
    directory = make_training_run(tmp_path)
    (directory / "config.yaml").write_text(config)
    with pytest.raises(ValueError, match=message):
        render_report(directory)
    assert not (directory / "report.html").exists()


def test_a_page_that_is_there_stays_when_a_new_one_cannot_be_made(tmp_path: Path) -> None:
    directory = make_training_run(tmp_path)
    before = render_report(directory).read_bytes()
    write_csv(directory / "metrics.csv", ("epoch", "step", "val/psnr"), [(0, 9, "twenty")])
    with pytest.raises(ValueError, match=r"metrics\.csv: row 1: val/psnr=twenty is no number"):
        render_report(directory)
    assert (directory / "report.html").read_bytes() == before
    assert {path.name for path in directory.iterdir()} == {
        "config.yaml",
        "metrics.csv",
        "train.log",
        "skipped.csv",
        "samples",
        "checkpoints",
        "report.html",
    }


def test_a_transfer_run_is_judged_by_its_loss(tmp_path: Path) -> None:
    shown = tiles(read_page(render_report(make_training_run(tmp_path, stage="transfer"))))
    assert shown["best val/loss"] == "0.825"


def test_settings_may_be_of_any_kind(tmp_path: Path) -> None:
    directory = make_training_run(tmp_path)
    write_config(directory, {"stage": {"name": "joint", "sites": ["encoder", "skips"], "checkpoint": None, "regions": True}, "data": {}})
    write_metrics(directory / "metrics.csv", "joint", 3)
    rows = [row for table in read_page(render_report(directory)).find("table") for row in table.rows()]
    assert ["stage.sites", "[encoder,skips]"] in rows
    assert ["stage.checkpoint", "null"] in rows
    assert ["stage.regions", "true"] in rows
