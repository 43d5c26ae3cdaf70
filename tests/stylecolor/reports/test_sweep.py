import json
import os
import re
import shlex
from pathlib import Path

import numpy as np
import pytest

from stylecolor.reports import render_report
from stylecolor.reports.tables import read_table
from tests.stylecolor.reports.directories import make_sweep, make_training_run, write_csv
from tests.stylecolor.reports.pages import Element, assert_no_place_twice, assert_self_contained, read_page

COLUMNS = ("number", "status", "value", "seconds", "overrides", "directory", "error")


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_sweep(tmp_path_factory.mktemp("sweep"))


@pytest.fixture(scope="module")
def page(directory: Path) -> Element:
    return read_page(render_report(directory))


def jobs(page: Element) -> list[list[str]]:
    (table,) = page.find("table", class_="card jobs")
    return table.rows()


def test_the_page_fetches_nothing(directory: Path, page: Element) -> None:
    assert_self_contained(directory / "report.html")
    assert_no_place_twice(directory / "report.html")


def test_jobs_come_best_first_with_their_states_and_errors(directory: Path, page: Element) -> None:
    head, *rows = jobs(page)
    assert head == ["job", "status", "val/psnr", "stage.optimizer.lr", "stage.optimizer.weight_decay", "stage.sites", "time", "error"]
    table = read_table(directory / "jobs.csv", COLUMNS)
    values = table.numbers("value")
    measured = [int(number) for number in np.argsort(-values) if np.isfinite(values[number])]
    assert [int(row[0]) for row in rows] == [*measured, 3, 10, 11]
    for row in rows[: len(measured)]:
        assert float(row[2]) == pytest.approx(values[int(row[0])], abs=0.0051)
    states = dict(zip(table.text("number"), table.text("status"), strict=True))
    assert {row[0]: row[1] for row in rows} == states
    assert [row[7] for row in rows if row[1] == "failed"] == ["stage.optimizer.lr=<b>0</b> must be > 0"]
    assert "<b>0</b>" not in (directory / "report.html").read_text()


def test_the_best_overrides_are_ready_to_paste(directory: Path, page: Element) -> None:
    table = read_table(directory / "jobs.csv", COLUMNS)
    completed = [index for index, status in enumerate(table.text("status")) if status == "completed"]
    best = max(completed, key=lambda index: table.numbers("value")[index])
    (command,) = [pre.text for pre in page.find("pre")]
    assert shlex.split(command) == ["python", "train.py", *json.loads(table.text("overrides")[best])]
    assert "'stage.sites=[" in command


def test_parallel_coordinates_lead_each_job_to_its_value(directory: Path, page: Element) -> None:
    table = read_table(directory / "jobs.csv", COLUMNS)
    strands = page.find("path", class_="strand") + page.find("path", class_="strand without")
    assert sorted(int(strand.attributes["data-job"]) for strand in strands) == list(range(12))
    points = {int(strand.attributes["data-job"]): re.findall(r"([\d.]+) ([\d.]+)", strand.attributes["d"]) for strand in strands}
    values, states = table.numbers("value"), table.text("status")
    measured = [number for number in points if np.isfinite(values[number])]
    assert all(len(points[number]) == (4 if number in measured else 3) for number in points), states
    # a better value ends higher; the y axis of SVG points down
    assert sorted(measured, key=lambda number: values[number]) == sorted(measured, key=lambda number: -float(points[number][-1][1]))
    rates = {number: float(json.loads(text)[2].partition("=")[2]) for number, text in enumerate(table.text("overrides"))}
    logs = np.log([rates[number] for number in points])
    heights = [100 - float(points[number][0][1]) for number in points]
    assert np.corrcoef(logs, heights)[0, 1] == pytest.approx(1, abs=1e-6)


def test_each_hyperparameter_is_shown_by_itself(page: Element) -> None:
    said = [plot.attributes["aria-label"].split(". ")[0] for plot in page.find("div", class_="plot")]
    assert said == [*(f"val/psnr by {name}" for name in ("stage.optimizer.lr", "stage.optimizer.weight_decay", "stage.sites")), "val/psnr"]
    sites = page.find("div", class_="plot")[2].find("div", class_="columns")[0]
    assert [tick.text for tick in sites.find("span")] == ["[bottleneck]", "[encoder]"]


def test_jobs_lead_to_their_own_pages(tmp_path: Path) -> None:
    directory = make_sweep(tmp_path / "a sweep", jobs=7)
    render_report(directory / "1")
    for output in (None, tmp_path / "elsewhere" / "page.html"):
        path = render_report(directory, output)
        (link,) = read_page(path).find("table", class_="card jobs")[0].find("a")
        assert link.text == "1"
        assert os.path.samefile(path.parent / link.attributes["href"].replace("%20", " "), directory / "1" / "report.html")


def test_directories_outside_the_sweep_are_not_looked_at(tmp_path: Path) -> None:
    directory = make_sweep(tmp_path / "sweep", jobs=6)
    (tmp_path / "report.html").write_text("a page that is not of the sweep")
    (directory / "outside").symlink_to(tmp_path, target_is_directory=True)
    table = read_table(directory / "jobs.csv", COLUMNS)
    rows = [list(row) for row in table.rows]
    rows[0][5], rows[1][5], rows[4][5] = "..", "/", "outside"
    write_csv(directory / "jobs.csv", COLUMNS, rows)
    page = read_page(render_report(directory))
    assert [link.text for link in page.find("table", class_="card jobs")[0].find("a")] == []


def test_an_older_sweep_without_a_table_is_read_from_its_jobs(tmp_path: Path) -> None:
    directory = make_sweep(tmp_path, jobs=6, table=False)
    page = read_page(render_report(directory))
    head, *rows = jobs(page)
    assert head == ["job", "status", "val/psnr", "trainer.max_epochs", "time", "error"]
    assert [row[:4] for row in rows] == [
        ["4", "unfinished", "24.90", "2"],
        ["2", "completed", "22.90", "3"],
        ["1", "completed", "21.90", "2"],
        ["0", "completed", "20.90", "1"],
        ["3", "failed", "\N{EN DASH}", "1"],
    ]
    assert rows[4][5] == "stage.optimizer.lr=<b>0</b> must be > 0"
    (command,) = [pre.text for pre in page.find("pre")]
    assert shlex.split(command) == ["python", "train.py", "stage=colorizer", "data=sample", "trainer.max_epochs=2"]


def test_a_sweep_that_has_just_begun_has_a_page(tmp_path: Path) -> None:
    write_csv(tmp_path / "jobs.csv", COLUMNS, [])
    (tmp_path / "sweep.json").write_text(json.dumps({"monitor": "val/loss", "mode": "min", "sweeper": "grid", "overrides": []}))
    page = read_page(render_report(tmp_path))
    assert "No job has been started yet." in page.text
    assert "Lowest val/loss wins" in page.text


def test_lower_values_win_where_the_sweep_says_so(tmp_path: Path) -> None:
    overrides = [json.dumps([f"stage.optimizer.lr={rate}"]) for rate in (0.1, 0.01, 0.001)]
    rows = [
        (number, status, value, 3, overrides[number], str(number), "")
        for number, status, value in ((0, "completed", 0.3), (1, "pruned", 0.1), (2, "completed", 0.2))
    ]
    write_csv(tmp_path / "jobs.csv", COLUMNS, rows)
    (tmp_path / "sweep.json").write_text(json.dumps({"monitor": "val/loss", "mode": "min", "sweeper": "optuna", "overrides": []}))
    page = read_page(render_report(tmp_path))
    assert [row[0] for row in jobs(page)[1:]] == ["1", "2", "0"]
    # a pruned job has not shown what it comes to
    assert page.find("pre")[0].text == "python train.py stage.optimizer.lr=0.001"


@pytest.mark.parametrize("table", [True, False])
def test_jobs_of_different_metrics_are_not_ranked_against_each_other(tmp_path: Path, table: bool) -> None:
    rows = []
    for number, (stage, epochs) in enumerate((stage, epochs) for stage in ("transfer", "colorizer") for epochs in (1, 2)):
        make_training_run(tmp_path / str(number), stage, rows=10 * (number + 1), samples=0, epochs=epochs)
        value = {"transfer": 1 / epochs, "colorizer": 20 + epochs}[stage]
        rows.append((number, "completed", value, 3, json.dumps([f"stage={stage}", f"trainer.max_epochs={epochs}"]), str(number), ""))
    if table:
        write_csv(tmp_path / "jobs.csv", COLUMNS, rows)
        (tmp_path / "sweep.json").write_text(json.dumps({"monitor": "val/loss", "mode": "min", "sweeper": "grid", "overrides": []}))
    page = read_page(render_report(tmp_path))
    assert "Lowest val/loss wins; highest val/psnr wins" in page.text
    assert "cannot be compared" in page.text
    tables = [one.rows() for one in page.find("table", class_="card jobs")]
    assert [(rows[0][2], [row[0] for row in rows[1:]]) for rows in tables] == [("val/loss", ["1", "0"]), ("val/psnr", ["3", "2"])]
    assert [re.findall(r"stage=(\w+)", pre.text) for pre in page.find("pre")] == [["transfer"], ["colorizer"]]
    assert len({heading.attributes["id"] for heading in page.find("h2")}) == len(page.find("h2"))


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("status,", "state,", "jobs.csv: has no column status"),
        ("completed,2", "completed,x2", "jobs.csv: row 1: value=x2.* is no number"),
        ('"[""stage', '"[stage', "jobs.csv: job 0: overrides=.* is no JSON list"),
        ('"[""stage=colorizer"", ""', '"{""stage=colorizer"": ""', "jobs.csv: job 0: overrides=.* is no JSON list"),
    ],
)
def test_a_damaged_table_is_named(tmp_path: Path, old: str, new: str, message: str) -> None:
    directory = make_sweep(tmp_path, jobs=6)
    text = (directory / "jobs.csv").read_text()
    assert old in text
    (directory / "jobs.csv").write_text(text.replace(old, new, 1))
    with pytest.raises(ValueError, match=message):
        render_report(directory)
