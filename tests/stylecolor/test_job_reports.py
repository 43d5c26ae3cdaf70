import json
from pathlib import Path

import pytest
import typer

from stylecolor.job_reports import JobReports, to_json
from stylecolor.picture_jobs import Outcome
from stylecolor.targets import Job

JOB = Job(Path("a.png"), Path("out/a.png"))
REFERENCES = (Path("r.png"), Path("s.png"))


def report(*outcomes: Outcome, as_json: bool = False, name_each: bool = False) -> None:
    with JobReports(len(outcomes), as_json, name_each) as reports:
        for outcome in outcomes:
            reports(outcome)
    reports.finish("out")


def test_a_json_line_has_all_fields() -> None:
    line = to_json(Outcome(JOB, "done", 1.23456, REFERENCES[:1], 0.87654321))
    assert json.loads(line) == {
        "target": "a.png",
        "output": "out/a.png",
        "reference": "r.png",
        "similarity": 0.8765,
        "seconds": 1.235,
        "status": "done",
        "error": None,
    }
    assert json.loads(to_json(Outcome(JOB, "done", references=REFERENCES)))["reference"] == ["r.png", "s.png"]
    assert json.loads(to_json(Outcome(JOB, "failed", error="no")))["reference"] is None
    assert "\n" not in to_json(Outcome(Job(Path("line\nbreak.png"), Path("o.png")), "skipped"))


def test_several_pictures_are_counted(capsys: pytest.CaptureFixture[str]) -> None:
    report(Outcome(JOB, "done"), Outcome(JOB, "skipped"), Outcome(JOB, "done"))
    assert capsys.readouterr() == ("2 of 3 pictures done, 1 were there: out\n", "")
    with pytest.raises(ValueError, match=r"^2 of 3 pictures failed$"):
        report(Outcome(JOB, "failed", error="a.png: one"), Outcome(JOB, "done"), Outcome(JOB, "failed", error="a.png: two"))
    assert capsys.readouterr() == ("1 of 3 pictures done: out\n", "error: a.png: one\nerror: a.png: two\n")


def test_a_single_picture_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    report(Outcome(JOB, "done"))
    report(Outcome(JOB, "skipped"))
    assert capsys.readouterr() == ("a.png -> out/a.png\na.png -> out/a.png (was there)\n", "")
    with pytest.raises(typer.Exit):
        report(Outcome(JOB, "failed", error="a.png: no"))
    assert capsys.readouterr() == ("", "error: a.png: no\n")


def test_references_that_were_searched_for_are_named(capsys: pytest.CaptureFixture[str]) -> None:
    report(Outcome(JOB, "done", 1, REFERENCES[:1], 0.876), Outcome(JOB, "skipped"), name_each=True)
    first, second, _ = capsys.readouterr().out.splitlines()
    assert first == "a.png -> out/a.png, in the colours of r.png (similarity 0.88)"
    assert second == "a.png -> out/a.png (was there)"


def test_json_stands_alone_on_stdout(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ValueError, match="1 of 2 pictures failed"):
        report(Outcome(JOB, "done"), Outcome(JOB, "failed", error="a.png: no"), as_json=True, name_each=True)
    printed, errors = capsys.readouterr()
    assert [json.loads(line)["status"] for line in printed.splitlines()] == ["done", "failed"]
    assert errors == "error: a.png: no\n"
