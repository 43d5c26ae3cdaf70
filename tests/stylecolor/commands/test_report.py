import importlib.util
from importlib.machinery import ModuleSpec
from pathlib import Path

import pytest

from tests.stylecolor.commands.running import assert_done, assert_refused, run
from tests.stylecolor.reports.directories import make_evaluation, make_sweep, make_training_run
from tests.stylecolor.reports.pages import read_page


def test_the_kind_of_a_directory_is_found(tmp_path: Path) -> None:
    for make, title in (
        (make_training_run, "colorizer: here"),
        (make_evaluation, "Evaluation of best"),
        (make_sweep, "Sweep here"),
    ):
        directory = make(tmp_path / make.__name__ / "here")
        result = run("report", directory)
        assert_done(result)
        assert result.stdout == f"{directory / 'report.html'}\n"
        assert read_page(directory / "report.html").find("title")[0].text == title


def test_the_page_goes_where_it_is_wanted(tmp_path: Path) -> None:
    directory = make_training_run(tmp_path / "run")
    before = {path.name for path in directory.iterdir()}
    output = tmp_path / "pages" / "mine.html"
    result = run("report", directory, "-o", output)
    assert_done(result)
    assert result.stdout == f"{output}\n"
    assert read_page(output).find("h1")[0].text == "colorizer: run"
    assert {path.name for path in directory.iterdir()} == before


def test_directories_that_are_none_of_them_are_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    assert_refused(run("report", tmp_path), str(tmp_path), "is the directory of no training run (config.yaml), evaluation (pairs.csv) or")
    assert_refused(run("report", tmp_path / "nowhere"), "there is no such directory")
    assert_refused(run("report", tmp_path / "file"), "is no directory")
    assert {path.name for path in tmp_path.iterdir()} == {"file"}


def test_an_output_that_is_a_directory_is_refused(tmp_path: Path) -> None:
    assert_refused(run("report", make_training_run(tmp_path / "run"), "-o", tmp_path), f"--output={tmp_path}: is a directory")


def test_one_picture_is_refused(tmp_path: Path) -> None:
    directory = make_evaluation(tmp_path, pictures=1)
    assert_refused(run("report", directory), "at least 2 pictures, and this evaluation has 1")
    assert not (directory / "report.html").exists()


def test_damaged_files_are_refused_in_one_line(tmp_path: Path) -> None:
    directory = make_training_run(tmp_path)
    (directory / "config.yaml").write_text("stage:\n  - a\n b: [")
    assert_refused(run("report", directory), "config.yaml: is no YAML file: ")


def test_a_missing_package_is_named_with_the_extra_that_brings_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    directory = make_training_run(tmp_path)
    find_spec = importlib.util.find_spec

    def without_jinja(name: str, package: str | None = None) -> ModuleSpec | None:
        return None if name == "jinja2" else find_spec(name, package)

    monkeypatch.setattr(importlib.util, "find_spec", without_jinja)
    assert_refused(run("report", directory), "a report needs jinja2; install stylecolor with its extra, stylecolor[train]")
