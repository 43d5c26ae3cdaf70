import os
import resource
import signal
import subprocess
import sys
import warnings
import zlib
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image
from skimage.color import rgb2lab
from typer.testing import Result

from stylecolor.exemplar_colorizer import SIZE as DEFAULT_SIZE
from stylecolor.exemplar_colorizer import ExemplarColorizer
from stylecolor.pictures.files import MAX_PIXELS, read_picture
from tests.stylecolor.commands.running import assert_done, assert_refused, installed, outcomes, read, run, save_photograph

SIZE = 32


@pytest.fixture
def work(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """The working directory: grey.png, two references, and a folder of three targets."""
    monkeypatch.chdir(tmp_path)
    save_photograph(tmp_path / "colour.png", 1)
    save_photograph(tmp_path / "other.png", 2)
    Image.open(save_photograph(tmp_path / "grey.png", 3)).convert("L").save(tmp_path / "grey.png")
    for number, name in enumerate(("a.png", "b.jpg", "sub/c.png")):
        save_photograph(tmp_path / "scans" / name, 4 + number, 40 + 8 * number)
    return tmp_path


@pytest.fixture
def arguments(joint_checkpoint: Path) -> list[str]:
    """The networks of all runs here."""
    return ["--checkpoint", str(joint_checkpoint), "--size", str(SIZE)]


@pytest.fixture(scope="module")
def colorizer(joint_checkpoint: Path) -> ExemplarColorizer:
    return ExemplarColorizer.from_checkpoint(joint_checkpoint, size=SIZE)


def assert_one_line_each(result: Result, *failures: str) -> None:
    """The named failures, each in a line, and how many in a last one."""
    lines = result.stderr.splitlines()
    assert len(lines) == len(failures) + 1, result.stderr
    for line, failure in zip(lines, failures, strict=False):
        assert line.startswith("error: ")
        assert failure in line
    assert lines[-1].startswith(f"error: {len(failures)} of ")
    assert result.exit_code == 1


def test_a_picture_is_colorized_beside_itself_and_keeps_its_lightness(work: Path, arguments: list[str]) -> None:
    result = run("colorize", "grey.png", "--reference", "colour.png", *arguments)
    assert_done(result)
    assert result.stdout == "grey.png -> grey_colorized.png\n"
    assert result.stderr == ""
    grey, painted = rgb2lab(np.repeat(read(work / "grey.png")[..., None], 3, axis=2)), rgb2lab(read(work / "grey_colorized.png"))
    assert painted.shape == (40, 48, 3)
    assert np.abs(painted[..., 0] - grey[..., 0]).max() < 0.5
    assert np.abs(painted[..., 1:]).mean() > 3


def test_the_command_does_what_the_library_does(work: Path, arguments: list[str], colorizer: ExemplarColorizer) -> None:
    settings = ("--strength", "0.5", "--saturation", "1.5", "--weights", "3,1", "-o", "out.png")
    assert_done(run("colorize", "grey.png", "-r", "colour.png", "-r", "other.png", *settings, *arguments))
    expected = colorizer.colorize("grey.png", ["colour.png", "other.png"], weights=[3, 1], strength=0.5, saturation=1.5)
    assert np.array_equal(read(work / "out.png"), expected.pixels)
    plain = colorizer.colorize("grey.png", ["colour.png", "other.png"])
    assert not np.array_equal(plain.pixels, expected.pixels)


def test_without_a_reference_the_colorization_network_chooses(work: Path, arguments: list[str], colorizer: ExemplarColorizer) -> None:
    assert_done(run("colorize", "grey.png", "--auto", *arguments))
    assert np.array_equal(read(work / "grey_colorized.png"), colorizer.colorize("grey.png").pixels)


def test_label_maps_match_region_by_region(work: Path, arguments: list[str], colorizer: ExemplarColorizer) -> None:
    labels = np.full((40, 48), 255, np.uint8)
    labels[:, :20] = 3
    labels[:, 24:] = 7
    Image.fromarray(labels).save(work / "target.png")
    Image.fromarray(labels[:, ::-1]).save(work / "reference.png")
    command = ("colorize", "grey.png", "-r", "colour.png")
    assert_done(run(*command, "--labels", "target.png", "reference.png", *arguments))
    expected = colorizer.colorize("grey.png", "colour.png", target_labels=labels, reference_labels=np.ascontiguousarray(labels[:, ::-1]))
    assert np.array_equal(read(work / "grey_colorized.png"), expected.pixels)
    assert not np.array_equal(colorizer.colorize("grey.png", "colour.png").pixels, expected.pixels)
    Image.fromarray(labels[:, :-1]).save(work / "narrow.png")
    for pair in (("narrow.png", "reference.png"), ("target.png", "narrow.png")):
        assert_refused(run(*command, "--labels", *pair, *arguments), "label map narrow.png: has 47 x 40 px, its picture 48 x 40")
    assert_refused(run(*command, "--labels", "target.png", "colour.png", *arguments), "label map colour.png: has pixels of mode RGB")
    assert_refused(run(*command, "--labels", "target.png", "none.png", *arguments), "none.png: no such file")
    assert_refused(run("colorize", "scans", *command[2:], "--labels", "target.png", "reference.png"), "--labels belongs to one target")


def test_the_matching_and_its_sites_may_be_chosen(work: Path, arguments: list[str], colorizer: ExemplarColorizer) -> None:
    command = ("colorize", "grey.png", "-r", "colour.png")
    found = []
    for matching, sites in (("wct", None), (None, "encoder,decoder"), ("wct", "decoder"), (None, None)):
        options = [*(["--matching", matching] if matching else []), *(["--sites", sites] if sites else [])]
        assert_done(run(*command, *options, *arguments))
        rematched = colorizer.rematched(matching, sites.split(",") if sites else None)
        assert np.array_equal(read(work / "grey_colorized.png"), rematched.colorize("grey.png", "colour.png").pixels)
        found.append((work / "grey_colorized.png").read_bytes())
    assert len(set(found)) == 4
    result = run(*command, "--matching", "none", "--sites", "decoder", *arguments)
    assert result.stderr == "warning: sites=decoder is ignored: with matching=none nothing is matched\n"


@pytest.mark.usefixtures("work")
def test_a_matching_that_cannot_be_is_refused(arguments: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    command = ("colorize", "grey.png", "-r", "colour.png")
    assert_refused(run(*command, "--sites", "skips", *arguments), "sites=skips: these weights have no site 'skips'", "leave it out")
    # before the networks are read
    monkeypatch.setattr(ExemplarColorizer, "from_checkpoint", None)
    assert_refused(run(*command, "--matching", "wtc", *arguments), "--matching=wtc is not one of adain, wct, none; did you mean wct?")
    assert_refused(run(*command, "--sites", "encoder,botleneck", *arguments), "--sites=botleneck", "did you mean bottleneck?")
    assert_refused(run(*command, "--sites", "encoder,encoder", *arguments), "--sites=encoder,encoder names a site twice")
    for option in (("--matching", "wct"), ("--sites", "encoder")):
        refused = run("colorize", "grey.png", "--auto", *option, *arguments)
        assert_refused(refused, " ".join(option), "says how a reference is followed; --auto has none")


def test_a_folder_is_colorized_under_the_same_names(work: Path, arguments: list[str]) -> None:
    result = run("colorize", "scans", "-r", "colour.png", "-o", "out", "--json", *arguments)
    assert_done(result)
    assert sorted(path.relative_to(work / "out").as_posix() for path in (work / "out").rglob("*.*")) == ["a.png", "b.jpg", "sub/c.png"]
    assert [Image.open(work / "out" / name).size for name in ("a.png", "b.jpg", "sub/c.png")] == [(40, 40), (48, 40), (56, 40)]
    found = outcomes(result)
    assert all(0 < outcome.pop("seconds") < 60 for outcome in found)
    expected = {"reference": "colour.png", "similarity": None, "status": "done", "error": None}
    names = ("a.png", "b.jpg", "sub/c.png")
    assert found == [{"target": f"scans/{name}", "output": f"out/{name}", **expected} for name in names]


def test_the_same_command_gives_the_same_bytes_whatever_works_at_once(work: Path, arguments: list[str]) -> None:
    for jobs in ("1", "3"):
        sheet = ("--sheet", f"sheet{jobs}.png")
        result = run("colorize", "scans", "grey.png", "-r", "colour.png", "-o", f"out{jobs}", "--jobs", jobs, "--json", *sheet, *arguments)
        assert_done(result)
        assert [outcome["target"] for outcome in outcomes(result)] == ["scans/a.png", "scans/b.jpg", "scans/sub/c.png", "grey.png"]
    assert (work / "sheet1.png").read_bytes() == (work / "sheet3.png").read_bytes()
    for path in (work / "out1").rglob("*.*"):
        assert path.read_bytes() == (work / "out3" / path.relative_to(work / "out1")).read_bytes()


def test_the_most_similar_picture_of_a_folder_is_the_reference(work: Path, arguments: list[str], colorizer: ExemplarColorizer) -> None:
    album = work / "album"
    for number in (4, 5, 9):
        save_photograph(album / f"{number}.png", number, 40)
    (album / "broken.png").write_bytes((album / "9.png").read_bytes()[:200])
    result = run("colorize", "scans/a.png", "grey.png", "--match-from", "album", "-o", "out", "--json", *arguments)
    assert result.exit_code == 0, result.output
    first, _ = outcomes(result)
    assert (first["reference"], first["similarity"]) == ("album/4.png", pytest.approx(1, abs=1e-3)), "the same picture in colour"
    assert np.array_equal(read(work / "out" / "a.png"), colorizer.colorize("scans/a.png", "album/4.png").pixels)
    assert result.stderr.count("\n") == 1
    assert "left out as a reference: picture album/broken.png: is damaged" in result.stderr

    result = run("colorize", "album/4.png", "--match-from", "album", "-o", "matched.png", *arguments)
    assert result.stdout.startswith("album/4.png -> matched.png, in the colours of album/")
    assert "in the colours of album/4.png" not in result.stdout, "itself"

    assert_refused(run("colorize", "album", "--match-from", "album", "-o", "album/out"), "would be taken for a reference")
    assert_refused(run("colorize", "scans", "--match-from", "nowhere"), "--match-from nowhere: no such folder")


def damage(folder: Path) -> dict[str, str]:
    """Put one of each bad picture into a folder.

    Returns:
        What is said of them, in the order of their names.
    """
    whole = save_photograph(folder / "whole.png", 8).read_bytes()
    (folder / "d1_truncated.png").write_bytes(whole[: len(whole) // 2])
    save_photograph(folder / "d2_truncated.jpg", 8)
    (folder / "d2_truncated.jpg").write_bytes((folder / "d2_truncated.jpg").read_bytes()[:700])
    (folder / "d3_text.png").write_text("no picture")
    (folder / "d4_empty.tif").touch()
    values = np.full((20, 20), 0.5, np.float32)
    values[3, 4] = np.nan
    tifffile.imwrite(folder / "d5_nan.tif", values)
    header = (100_000).to_bytes(4, "big") * 2 + bytes((8, 0, 0, 0, 0))
    chunk = b"IHDR" + header
    bomb = whole[:8] + len(header).to_bytes(4, "big") + chunk + zlib.crc32(chunk).to_bytes(4, "big") + whole[33:]
    (folder / "d6_bomb.png").write_bytes(bomb)
    return {
        "d1_truncated.png": "damaged or truncated",
        "d2_truncated.jpg": "damaged or truncated",
        "d3_text.png": "is no picture of a format that is read",
        "d4_empty.tif": "is empty",
        "d5_nan.tif": "NaN",
        "d6_bomb.png": "100000",
    }


def test_bad_pictures_are_named_and_the_others_done(work: Path, arguments: list[str]) -> None:
    bad = damage(work / "scans")
    # extreme, and no failure
    Image.new("L", (1, 1), 120).save(work / "scans" / "pixel.png")
    Image.new("L", (5000, 1), 120).save(work / "scans" / "strip.png")
    result = run("colorize", "scans", "nowhere.png", "-r", "colour.png", "-o", "out", "--json", "--jobs", "2", *arguments)
    assert_one_line_each(result, *(f"scans/{name}" for name in bad), "nowhere.png: no such file")
    for line, reason in zip(result.stderr.splitlines(), bad.values(), strict=False):
        assert reason in line
    found = outcomes(result)
    failed = [outcome for outcome in found if outcome["status"] == "failed"]
    assert [outcome["target"] for outcome in failed] == [*(f"scans/{name}" for name in bad), "nowhere.png"]
    assert [f"error: {outcome['error']}" for outcome in failed] == result.stderr.splitlines()[:-1]
    assert result.stderr.splitlines()[-1] == "error: 7 of 13 pictures failed"
    written = sorted(path.relative_to(work / "out").as_posix() for path in (work / "out").rglob("*") if path.is_file())
    assert written == ["a.png", "b.jpg", "pixel.png", "strip.png", "sub/c.png", "whole.png"]
    assert read(work / "out" / "pixel.png").shape == (1, 1, 3)
    assert read(work / "out" / "strip.png").shape == (1, 5000, 3)


def test_a_single_bad_picture_is_one_line(work: Path, arguments: list[str]) -> None:
    (work / "bad.png").write_text("no picture")
    assert_refused(run("colorize", "bad.png", "-r", "colour.png", *arguments), "bad.png: is no picture")


@pytest.mark.parametrize(
    ("settings", "parts"),
    [
        (["grey.png"], ["exactly one of --reference FILE, --auto and --match-from FOLDER"]),
        (["grey.png", "-r", "colour.png", "--auto"], ["exactly one of"]),
        (["grey.png", "-r", "nowhere.png"], ["nowhere.png: no such file"]),
        (["grey.png", "-r", "text.png"], ["text.png: is no picture"]),
        (["grey.png", "-r", "nan.tif"], ["nan.tif", "NaN"]),
        (["nowhere.png", "-r", "colour.png"], ["nowhere.png: no such file or folder"]),
        (["grey.png", "-r", "colour.png", "-o", "grey.png"], ["grey.png: its output would be written over the target itself"]),
        (["grey.png", "-r", "colour.png", "-o", "colour.png"], ["would be written over --reference colour.png"]),
        (["grey.png", "-r", "colour.png", "-o", "out.bmp"], ["out.bmp", ".bmp is not one of .png"]),
        (["grey.png", "-r", "colour.png", "-o", "colour.png/out.png"], ["colour.png/out.png: cannot be written"]),
        (["scans", "-r", "colour.png", "-o", "colour.png"], ["--output colour.png: is a file"]),
        (["scans", "-r", "colour.png", "-o", "text.png/out"], ["cannot be written"]),
        (["scans", "-r", "colour.png", "-o", "scans"], ["is the folder of the targets"]),
        (["grey.png", "-r", "colour.png", "--checkpoint", "nowhere.ckpt"], ["--checkpoint nowhere.ckpt: no such file or folder"]),
        (["grey.png", "-r", "colour.png", "--checkpoint", "text.png"], ["text.png: is no weight file"]),
        (["grey.png", "-r", "colour.png", "--checkpoint", "scans"], ["scans"]),
        (["grey.png", "-r", "colour.png", "--device", "abacus"], ["device=abacus"]),
        (["grey.png", "-r", "colour.png", "--precision", "int3"], ["precision=int3 is not one of"]),
        (["grey.png", "-r", "colour.png", "--size", "4"], ["size=4"]),
        (["grey.png", "-r", "colour.png", "--strength", "1.5"], ["--strength=1.5 is outside 0..1"]),
        (["grey.png", "-r", "colour.png", "--saturation", "nan"], ["--saturation=nan must be a finite number"]),
        (["grey.png", "-r", "colour.png", "--max-megapixels", "0"], ["--max-megapixels=0.0 must be greater than 0"]),
        (["grey.png", "--auto", "--strength", "0.5"], ["--strength 0.5", "use --saturation"]),
        (["grey.png", "-r", "colour.png", "--weights", "1"], ["--weights 1: belongs to several references"]),
        (["grey.png", "-r", "colour.png", "-r", "other.png", "--weights", "1,x"], ["--weights 1,x: is no list of numbers"]),
        (["grey.png", "-r", "colour.png", "-r", "other.png", "--weights", "1,2,3"], ["2 references need 2 weights"]),
        (["grey.png", "-r", "colour.png", "-r", "other.png", "--weights", "0,0"], ["not all of them 0"]),
        (["grey.png", "-r", "colour.png", "-r", "other.png", "--weights", "1,-1"], ["--weights=-1.0 must be at least 0"]),
        (["grey.png", "-r", "colour.png", "--sheet", "sheet.gif"], ["error: sheet sheet.gif: suffix", ".png, .jpg"]),
        (["grey.png", "-r", "colour.png", "--sheet", "text.png/sheet.png"], ["cannot be written"]),
    ],
)
def test_what_concerns_all_pictures_ends_the_command_in_one_line(
    work: Path, arguments: list[str], settings: list[str], parts: list[str]
) -> None:
    (work / "text.png").write_text("no picture")
    tifffile.imwrite(work / "nan.tif", np.full((20, 20), np.nan, np.float32))
    before = sorted(work.rglob("*"))
    # the last of an option that is named twice counts
    assert_refused(run("colorize", *arguments, *settings), *parts)
    assert sorted(work.rglob("*")) == before


@pytest.mark.usefixtures("work")
def test_wrong_options_are_typers_own_errors() -> None:
    for wrong in (["--jobs", "0"], ["--colour", "x"], ["--quality", "101"], ["--size", "large"]):
        assert run("colorize", "grey.png", "--auto", *wrong).exit_code == 2


def test_large_pictures_are_refused_unread(work: Path, arguments: list[str]) -> None:
    command = ("colorize", "grey.png", "-r", "colour.png", *arguments)
    assert_refused(run(*command, "--max-megapixels", "0.0019"), "colour.png", "48 x 40")
    assert_done(run(*command, "--max-megapixels", "0.00192"))


def test_a_directory_without_permission_is_refused_before_the_work(
    work: Path, arguments: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    # root may write everywhere
    monkeypatch.setattr(os, "access", lambda path, mode: mode == os.R_OK)
    result = run("colorize", "scans", "-r", "colour.png", "-o", "out", *arguments)
    assert_refused(result, "out/a.png: cannot be written", "permissions")


def test_what_is_there_is_skipped_without_networks(work: Path, arguments: list[str]) -> None:
    command = ("colorize", "scans", "-r", "colour.png", "-o", "out")
    assert_done(run(*command, *arguments))
    (work / "out" / "b.jpg").unlink()
    stamps = {path: path.stat().st_mtime_ns for path in (work / "out").rglob("*.png")}
    result = run(*command, "--skip-existing", "--json", *arguments)
    assert_done(result)
    assert [outcome["status"] for outcome in outcomes(result)] == ["skipped", "done", "skipped"]
    assert run(*command, "--skip-existing", *arguments).stdout == "0 of 3 pictures done, 3 were there: out\n"
    assert {path: path.stat().st_mtime_ns for path in (work / "out").rglob("*.png")} == stamps

    # no checkpoint either
    code = "import sys; from stylecolor.cli import app; app(sys.argv[1:], standalone_mode=False); assert 'torch' not in sys.modules"
    done = subprocess.run([sys.executable, "-c", code, *command, "--skip-existing"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "0 of 3 pictures done, 3 were there: out\n", "")


@pytest.mark.skipif(sys.platform != "linux", reason="names of files are text there")
def test_names_that_are_no_text_can_be_printed(work: Path) -> None:
    for name in (b"caf\xe9.png", b"out.png"):
        (work / os.fsdecode(name)).touch()
    command = installed("colorize", os.fsdecode(b"caf\xe9.png"), "--auto", "-o", "out.png", "--skip-existing")
    done = subprocess.run(command, capture_output=True, check=False)
    assert (done.returncode, done.stdout) == (0, b"caf\\udce9.png -> out.png (was there)\n"), done.stderr


def test_the_help_tells_the_defaults() -> None:
    shown = " ".join(run("colorize", "--help").stdout.split())
    assert f"see pictures; {DEFAULT_SIZE} if left out" in shown
    assert f"unread; {MAX_PIXELS // 10**6} if left out" in shown


def test_a_sheet_shows_target_reference_and_result(work: Path, arguments: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    (work / "scans" / "bad.png").write_text("no picture")
    monkeypatch.setattr("stylecolor.pictures.sheets.ROWS", 2)
    command = ("colorize", "scans", "-r", "colour.png", "-r", "other.png", "-o", "out", "--sheet", "sheet.png")
    result = run(*command, *arguments)
    assert result.exit_code == 1
    assert "sheet: sheet.png, the first 2 of 4 pictures\n" in result.stderr
    sheet = read(work / "sheet.png")
    # a header, and rows of a picture and its name; four columns
    assert sheet.shape == (18 + 2 * (40 + 18 + 4) + 4, 4 * 260 + 4, 3)
    left = 4 + (256 - 40) // 2
    target, result_ = sheet[18:58, left : left + 40], sheet[18:58, left + 3 * 260 : left + 3 * 260 + 40]
    assert np.array_equal(result_, read(work / "out" / "a.png"))
    assert np.ptp(target, axis=2).max() <= 1
    assert np.abs(rgb2lab(target)[..., 0] - rgb2lab(read(work / "scans" / "a.png"))[..., 0]).max() < 0.5
    left = 4 + (256 - 48) // 2
    for column, name in ((1, "colour.png"), (2, "other.png")):
        assert np.array_equal(sheet[18:58, left + column * 260 : left + column * 260 + 48], read(work / name))

    whole = (work / "sheet.png").read_bytes()
    assert run(*command, "--skip-existing", *arguments).exit_code == 1
    assert (work / "sheet.png").read_bytes() == whole, "of what was there"


def test_warnings_are_a_line_each_and_said_once(work: Path, arguments: list[str]) -> None:
    picture = Image.open(work / "scans" / "a.png")
    picture.putalpha(100)
    picture.save(work / "clear.png")
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        result = run("colorize", "clear.png", "-r", "colour.png", "-o", "out.jpg", *arguments)
    assert_done(result)
    assert result.stderr == "warning: out.jpg: JPEG has no transparency, so that of the picture is lost\n"
    result = run("colorize", "scans/a.png", "-r", "colour.png", "--quality", "80", *arguments)
    assert result.stderr == "warning: --quality 80 is ignored: .png files are written without loss\n"


def test_the_quality_is_that_of_the_files(work: Path, arguments: list[str]) -> None:
    for quality in ("20", "95"):
        assert_done(run("colorize", "grey.png", "-r", "colour.png", "-o", f"{quality}.jpg", "--quality", quality, *arguments))
    assert (work / "20.jpg").stat().st_size < (work / "95.jpg").stat().st_size


def test_the_newest_joint_checkpoint_is_taken_and_named(work: Path, joint_checkpoint: Path) -> None:
    assert_refused(run("colorize", "grey.png", "-r", "colour.png"), "no checkpoint", "--checkpoint", "make demo", "python train.py")
    path = work / "outputs" / "joint" / "run" / "checkpoints" / "best.ckpt"
    path.parent.mkdir(parents=True)
    path.symlink_to(joint_checkpoint)
    result = run("colorize", "grey.png", "-r", "colour.png", "--size", str(SIZE))
    assert_done(result)
    assert result.stderr == "checkpoint: outputs/joint/run/checkpoints/best.ckpt\n"


def test_a_saved_directory_is_as_good_as_its_checkpoint(work: Path, arguments: list[str], colorizer: ExemplarColorizer) -> None:
    colorizer.save_pretrained("saved")
    assert_done(run("colorize", "grey.png", "-r", "colour.png", *arguments[2:], "--checkpoint", "saved"))
    assert np.array_equal(read(work / "grey_colorized.png"), colorizer.colorize("grey.png", "colour.png").pixels)


LIMITED = """
import resource, sys
from stylecolor.cli import main
resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, resource.getrlimit(resource.RLIMIT_FSIZE)[1]))
main()
"""


@pytest.mark.skipif(not hasattr(resource, "RLIMIT_FSIZE"), reason="this system limits no file sizes")
def test_a_picture_that_cannot_be_written_fails_alone(work: Path, arguments: list[str]) -> None:
    # a file that may not grow stands for a full disk
    noise = np.random.default_rng(0).integers(0, 255, (120, 120), np.uint8)
    Image.fromarray(noise).save(work / "scans" / "large.png")
    command = [sys.executable, "-c", LIMITED, "colorize", "scans", "-r", "colour.png", "-o", "out", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    first, second = done.stderr.splitlines()
    assert first.startswith("error: out/large.png: cannot be written (")
    assert second == "error: 1 of 4 pictures failed"
    assert sorted(path.name for path in (work / "out").rglob("*") if path.is_file()) == ["a.png", "b.jpg", "c.png"]


@pytest.mark.parametrize("signal_", [signal.SIGINT, signal.SIGKILL])
def test_a_stopped_run_leaves_whole_pictures_and_goes_on(work: Path, arguments: list[str], signal_: signal.Signals) -> None:
    for number in range(30):
        save_photograph(work / "many" / f"{number:02}.png", number)
    command = installed("colorize", "many", "-r", "colour.png", "-o", "out", "--json", "--jobs", "2", *arguments)
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert '"done"' in process.stdout.readline()
        process.send_signal(signal_)
        _, error = process.communicate(timeout=60)
    written = {path for path in (work / "out").iterdir() if not path.name.startswith(".")}
    assert 0 < len(written) < 30
    for path in written:
        assert read_picture(path).size == (40, 48)
    if signal_ == signal.SIGINT:
        assert process.returncode == 130
        assert error.startswith("interrupted: ")
        assert error.endswith("of 30 pictures are done; --skip-existing goes on with the others\n")
        assert error.count("\n") == 1
        assert len(list((work / "out").iterdir())) == len(written)
    # what a process that was killed at the worst moment leaves
    (work / "out" / f".{process.pid}-0123456789abcdef.part.png").write_bytes(b"half a picture")
    stamps = {path: path.stat().st_mtime_ns for path in written}
    result = run(*command[1:], "--skip-existing")
    assert_done(result)
    assert sum(outcome["status"] == "skipped" for outcome in outcomes(result)) == len(written)
    assert len(list((work / "out").iterdir())) == 30
    assert {path: path.stat().st_mtime_ns for path in written} == stamps


def test_odd_files_in_a_folder_fail_alone_and_in_a_line_each(work: Path, arguments: list[str]) -> None:
    odd = work / "odd"
    save_photograph(odd / "good.png", 0)
    (odd / "loop.png").symlink_to("loop.png")
    os.mkfifo(odd / "pipe.png")
    tifffile.imwrite(odd / "palette.tif", np.zeros((20, 20), np.uint8), photometric="palette", colormap=np.zeros((3, 256), np.uint16))
    contents = (odd / "palette.tif").read_bytes()
    # the tag of the palette (320) becomes another one
    (odd / "palette.tif").write_bytes(contents.replace(b"\x40\x01\x03\x00", b"\x41\xff\x03\x00"))
    tifffile.imwrite(odd / "empty.tif", np.zeros((20, 20), np.uint8))
    contents = (odd / "empty.tif").read_bytes()
    (odd / "empty.tif").write_bytes(contents.replace(b"\x00\x01\x04\x00\x01\x00\x00\x00\x14", b"\x00\x01\x04\x00\x01\x00\x00\x00\x00"))
    (odd / "two  lines\n.png").write_text("no picture")
    result = run("colorize", "odd", "-r", "colour.png", "-o", "out", *arguments)
    assert result.exit_code == 1
    lines = result.stderr.splitlines()
    assert len(lines) == 6
    assert all(line.startswith("error: ") for line in lines)
    assert lines[-1] == "error: 5 of 6 pictures failed"
    assert [path.name for path in (work / "out").iterdir()] == ["good.png"]


def test_more_jobs_than_the_machine_has_use_for_warn(work: Path, arguments: list[str]) -> None:
    result = run("colorize", "grey.png", "-r", "colour.png", "-o", "out.png", "--jobs", "100000", *arguments)
    assert result.exit_code == 0
    assert result.stderr.startswith("warning: --jobs 100000 is more than this machine has use for")


def test_colours_beyond_all_measure_keep_l(work: Path, arguments: list[str]) -> None:
    assert_done(run("colorize", "grey.png", "-r", "colour.png", "-o", "out.png", "--saturation", "1e38", *arguments))
    before, after = (
        rgb2lab(read_picture(work / name).pixels.repeat(channels, axis=2))[:, :, 0] for name, channels in (("grey.png", 3), ("out.png", 1))
    )
    assert np.abs(before - after).max() < 1
