import logging
from pathlib import Path

import pytest

from stylecolor.targets import Job, plan_jobs


@pytest.fixture
def folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """The working directory, with some files; what is in them is not looked at."""
    monkeypatch.chdir(tmp_path)
    for name in (
        "a.jpg",
        "scans/b.PNG",
        "scans/sub/c.tif",
        "scans/notes.txt",
        "scans/.hidden.png",
        "scans/.cache/d.png",
        "scans/e[1].webp",
    ):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return tmp_path


def planned(*targets: str, output: str | None = None, sheet: str | None = None) -> dict[str, str]:
    jobs = plan_jobs(targets, None if output is None else Path(output), "colorized", None if sheet is None else Path(sheet))
    return {job.target.as_posix(): job.output.as_posix() for job in jobs}


@pytest.mark.usefixtures("folder")
def test_a_files_output_is_beside_it_or_where_it_is_told() -> None:
    assert planned("a.jpg") == {"a.jpg": "a_colorized.jpg"}
    assert planned("scans/b.PNG") == {"scans/b.PNG": "scans/b_colorized.PNG"}
    assert planned("a.jpg", output="x/y.png") == {"a.jpg": "x/y.png"}
    assert planned("a.jpg", output="scans") == {"a.jpg": "scans/a.jpg"}
    assert planned("scans/e[1].webp") == {"scans/e[1].webp": "scans/e[1]_colorized.webp"}, "a name, and no pattern"


@pytest.mark.usefixtures("folder")
def test_a_folders_outputs_have_the_names_below_it() -> None:
    expected = {"scans/b.PNG": "b.PNG", "scans/e[1].webp": "e[1].webp", "scans/sub/c.tif": "sub/c.tif"}
    assert planned("scans") == {target: f"scans_colorized/{name}" for target, name in expected.items()}
    assert planned("scans/", output="out") == {target: f"out/{name}" for target, name in expected.items()}


def test_the_working_directory_and_the_one_above_have_names(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder / "scans" / "sub")
    assert planned(".") == {"c.tif": str(folder / "scans" / "sub_colorized" / "c.tif")}
    assert planned("..")["../b.PNG"] == str(folder / "scans_colorized" / "b.PNG")


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("scans/**/*.*", {"scans/b.PNG": "b.PNG", "scans/e[1].webp": "e[1].webp", "scans/sub/c.tif": "sub/c.tif"}),
        ("scans/*/*.tif", {"scans/sub/c.tif": "sub/c.tif"}),
        ("scans/[bc].*", {"scans/b.PNG": "b.PNG"}),
        ("*", {"a.jpg": "a.jpg", "scans/b.PNG": "scans/b.PNG", "scans/e[1].webp": "scans/e[1].webp", "scans/sub/c.tif": "scans/sub/c.tif"}),
    ],
)
def test_patterns_keep_the_names_below_their_part_without_wildcards(pattern: str, expected: dict[str, str]) -> None:
    assert planned(pattern, output="out") == {target: f"out/{name}" for target, name in expected.items()}


@pytest.mark.usefixtures("folder")
def test_several_targets_go_into_one_folder_each_once() -> None:
    assert planned("a.jpg", "scans", "scans/b.PNG", "./a.jpg", output="out") == {
        "a.jpg": "out/a.jpg",
        "scans/b.PNG": "out/b.PNG",
        "scans/e[1].webp": "out/e[1].webp",
        "scans/sub/c.tif": "out/sub/c.tif",
    }


def test_suffixes_that_are_not_written_become_png(folder: Path) -> None:
    (folder / "f.bmp").touch()
    (folder / "scans" / "g.gif").touch()
    assert planned("f.bmp") == {"f.bmp": "f_colorized.png"}
    assert planned("scans")["scans/g.gif"] == "scans_colorized/g.png"


@pytest.mark.parametrize("targets", [("scans",), ("scans/**",), ("scans/**/*.*",), (".",), ("*",), ("scans", "scans/sub")])
def test_results_and_sheets_of_an_earlier_run_are_no_targets(folder: Path, targets: tuple[str, ...]) -> None:
    first = planned(*targets, output="scans/out", sheet="scans/sheet.png")
    assert first
    for output in first.values():
        (folder / output).parent.mkdir(parents=True, exist_ok=True)
        (folder / output).touch()
    (folder / "scans" / "sheet.png").touch()
    assert planned(*targets, output="scans/out", sheet="scans/sheet.png") == first


def test_a_link_to_a_folder_is_not_followed_and_one_to_a_picture_is(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    (folder / "scans" / "loop").symlink_to(folder / "scans")
    (folder / "scans" / "linked.jpg").symlink_to(folder / "a.jpg")
    with caplog.at_level(logging.WARNING):
        found = planned("scans")
    assert set(found) == {"scans/b.PNG", "scans/e[1].webp", "scans/sub/c.tif", "scans/linked.jpg"}
    assert caplog.messages == ["scans/loop is a link to a folder, and is not searched for targets"]


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize(
    ("targets", "output", "message"),
    [
        (["nowhere.jpg"], None, "nowhere.jpg: no such file or folder"),
        ([""], None, "^a target is an empty text; name a file, a folder or a pattern$"),
        (["a.jpg", ""], "out", "a target is an empty text"),
        (["nowhere.jpg", "neither.jpg"], "out", "nowhere.jpg: no such file or folder"),
        (["*.bmp"], "out", r"\*\.bmp: no picture found; pictures are files that end in .*\.jpg"),
        (["scans/.cache/.."], "scans", "--output scans: is the folder of the targets; name another one"),
        (["*.jpg"], ".", "is the folder of the targets"),
        (["a.jpg", "scans"], None, "several targets need --output"),
        (["scans/*"], None, "several targets need --output"),
        (["scans"], "a.jpg", "--output a.jpg: is a file; name a folder"),
        (["a.jpg"], "a.jpg", "a.jpg: its output would be written over the target itself; name another place with --output"),
        (["a.jpg"], ".", "a.jpg: its output would be written over the target itself"),
        (["a.jpg"], "./scans/../a.jpg", "over the target itself"),
    ],
)
def test_what_cannot_be_planned_is_refused(targets: list[str], output: str | None, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        planned(*targets, output=output)


def test_outputs_that_meet_are_refused(folder: Path) -> None:
    (folder / "scans" / "b.bmp").touch()
    (folder / "scans" / "b.png").touch()
    with pytest.raises(ValueError, match=r"scans/b\.bmp and scans/b\.png would both be written to out/b\.png; rename one"):
        planned("scans/b.bmp", "scans/b.png", output="out")
    (folder / "other").mkdir()
    (folder / "other" / "a.jpg").touch()
    with pytest.raises(ValueError, match=r"other/a\.jpg: its output would be written over the target a\.jpg"):
        planned("other/a.jpg", "a.jpg", output=".")


@pytest.mark.usefixtures("folder")
def test_no_output_replaces_another_file_of_the_command() -> None:
    own_files = {"--reference scans/b.PNG": Path("scans/b.PNG")}
    with pytest.raises(ValueError, match=r"a\.jpg: its output would be written over --reference scans/b\.PNG"):
        plan_jobs(["a.jpg"], Path("scans/b.PNG"), "colorized", own_files=own_files)
    with pytest.raises(ValueError, match=r"a\.jpg: its output would be written over --sheet out\.png"):
        plan_jobs(["a.jpg"], Path("out.png"), "colorized", Path("out.png"))
    for path in ("a.jpg", "scans/b.PNG"):
        with pytest.raises(ValueError, match=rf"--sheet {path}: would be written over a picture that is read"):
            plan_jobs(["a.jpg"], None, "colorized", Path(path), own_files)


@pytest.mark.usefixtures("folder")
def test_results_may_not_become_references() -> None:
    with pytest.raises(ValueError, match=r"scans/out/a\.jpg: lies in --match-from scans, where it would be taken for a reference"):
        plan_jobs(["a.jpg"], Path("scans/out/a.jpg"), "colorized", folders={"--match-from": Path("scans")})
    assert plan_jobs(["scans/b.PNG"], Path("b.png"), "colorized", folders={"--match-from": Path("scans")}) == [
        Job(Path("scans/b.PNG"), Path("b.png"))
    ]


@pytest.mark.usefixtures("folder")
def test_one_missing_file_of_several_is_left_to_fail_alone() -> None:
    assert planned("nowhere.jpg", "a.jpg", output="out") == {"nowhere.jpg": "out/nowhere.jpg", "a.jpg": "out/a.jpg"}
