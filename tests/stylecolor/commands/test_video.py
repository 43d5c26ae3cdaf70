import json
import os
import signal
import subprocess
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.stylecolor.commands.running import assert_refused, installed, run
from tests.stylecolor.films import frames, make_film, pan, streams


@pytest.fixture
def work(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """The working directory: in.mp4 of ten frames in two scenes, and two references."""
    monkeypatch.chdir(tmp_path)
    make_film(tmp_path / "in.mp4", [*pan("astronaut", 5), *pan("chelsea", 5)], grey=True)
    for name in ("coffee", "rocket"):
        Image.fromarray(pan(name, 1)[0]).save(tmp_path / f"{name}.png")
    return tmp_path


@pytest.fixture
def arguments(joint_checkpoint: Path) -> list[str]:
    """The networks of all runs here."""
    return ["--checkpoint", str(joint_checkpoint), "--size", "64"]


def test_a_film_is_colorized_with_its_sound(work: Path, arguments: list[str]) -> None:
    result = run("video", "in.mp4", "--reference", "coffee.png", "-o", "out.mp4", *arguments)
    assert (result.exit_code, result.stderr, result.stdout) == (0, "", "in.mp4 -> out.mp4: 10 frames in 2 scenes\n")
    assert [time for time, _ in frames(work / "out.mp4")] == [Fraction(index, 25) for index in range(10)]
    assert streams(work / "out.mp4") == streams(work / "in.mp4")
    assert np.ptp(frames(work / "out.mp4")[0][1], axis=2).mean() > 2
    assert sorted(os.listdir(work)) == ["coffee.png", "in.mp4", "out.mp4", "rocket.png"]


def test_the_same_command_gives_the_same_bytes(work: Path, arguments: list[str]) -> None:
    for name in ("first.mkv", "second.mkv"):
        subprocess.run(installed("video", "in.mp4", "--auto", "-o", name, *arguments), check=True, capture_output=True)
    assert (work / "first.mkv").read_bytes() == (work / "second.mkv").read_bytes()


def test_a_film_is_matched_as_the_options_say(work: Path, arguments: list[str]) -> None:
    for name, options in (("plain", ()), ("same", ("adain", "bottleneck")), ("other", ("wct", "encoder"))):
        options = [part for pair in zip(("--matching", "--sites"), options, strict=False) for part in pair]
        assert run("video", "in.mp4", "-r", "coffee.png", "-o", f"{name}.mkv", *options, *arguments).exit_code == 0
    plain, same, other = ((work / f"{name}.mkv").read_bytes() for name in ("plain", "same", "other"))
    assert plain == same, "as in training"
    assert plain != other
    refused = run("video", "in.mp4", "--auto", "-o", "out.mkv", "--matching", "wct", *arguments)
    assert_refused(refused, "--matching wct: says how a reference is followed; --auto has none")


def test_a_json_line_says_what_was_done(work: Path, arguments: list[str]) -> None:
    references = ["-r", "coffee.png", "-r", "rocket.png@0:00.2"]
    result = run("video", "in.mp4", *references, "-o", "out.mkv", "--json", *arguments)
    assert result.exit_code == 0, result.output
    fields = json.loads(result.stdout)
    assert fields.pop("seconds") > 0
    assert fields == {
        "target": "in.mp4",
        "output": "out.mkv",
        "reference": ["coffee.png@0", "rocket.png@0.2"],
        "frames": 10,
        "scenes": 2,
        "status": "done",
        "error": None,
    }


def test_a_film_that_breaks_off_is_colorized_as_far_as_it_goes(work: Path, arguments: list[str]) -> None:
    whole = make_film(work / "whole.mkv", pan(frames=50, step=1), grey=True)
    (work / "cut.mkv").write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    result = run("video", "cut.mkv", "--auto", "-o", "out.mp4", "--json", *arguments)
    done = frames(work / "out.mp4")
    assert 5 < len(done) < 45
    fields = json.loads(result.stdout)
    assert (fields["status"], fields["frames"]) == ("damaged", len(done))
    assert result.exit_code == 1
    assert result.stderr.count("\n") == 1
    assert result.stderr.startswith("error: cut.mkv: ")
    assert "breaks off at" in result.stderr
    assert result.stderr.endswith("; out.mp4 holds what could be decoded\n")


def test_of_a_joined_film_the_first_part_is_kept(work: Path, arguments: list[str]) -> None:
    whole = make_film(work / "whole.ts", pan(frames=40, step=1), grey=True)
    (work / "joined.ts").write_bytes(whole.read_bytes() * 2)
    result = run("video", "joined.ts", "--auto", "-o", "out.mp4", *arguments)
    assert result.exit_code == 1
    assert result.stderr == (
        "error: joined.ts: times start over at 1.60 s, colorize the parts one by one; out.mp4 holds what could be decoded\n"
    )
    assert [len(frames(work / "out.mp4")), len(streams(work / "out.mp4"))] == [40, 1]


def test_references_change_in_a_bare_stream_and_late_ones_warn(work: Path, arguments: list[str]) -> None:
    make_film(work / "in.h264", pan(frames=10, step=1), sound=None, grey=True)
    references = ["-r", "coffee.png", "-r", "rocket.png@0.2", "-r", "rocket.png@5"]
    result = run("video", "in.h264", *references, "-o", "new/a:b.mp4", *arguments)
    assert result.exit_code == 0
    assert result.stdout == "in.h264 -> new/a:b.mp4: 10 frames in 2 scenes\n"
    assert result.stderr == "warning: in.h264: the reference for 5 s on is never shown, the last frame is at 0.36 s\n"


@pytest.mark.parametrize(
    ("command", "parts"),
    [
        (["in.mp4", "-o", "out.mp4"], ["name either --reference FILE or --auto"]),
        (["in.mp4", "-o", "out.mp4", "--auto", "-r", "coffee.png"], ["name either --reference FILE or --auto"]),
        (["none.mp4", "-o", "out.mp4", "--auto"], ["none.mp4: no such file"]),
        (["text.mp4", "-o", "out.mp4", "--auto"], ["text.mp4: cannot be read as a film"]),
        (["coffee.png@2", "-o", "out.mp4", "--auto"], ["coffee.png@2: no such file"]),
        (["in.mp4", "-o", "out.mp4", "-r", "none.png"], ["none.png: no such file"]),
        (["in.mp4", "-o", "out.mp4", "-r", "text.mp4"], ["text.mp4"]),
        (["in.mp4", "-o", "out.mp4", "-r", "coffee.png@3"], ["the first reference is for 3 s on"]),
        (["in.mp4", "-o", "out.mp4", "--auto", "--blend", "-1"], ["--blend=-1"]),
        (["in.mp4", "-o", "out.mp4", "--auto", "--blend", "2"], ["--blend=2 needs references of different times"]),
        (["in.mp4", "-o", "out.mp4", "-r", "coffee.png", "--blend", "2"], ["--blend=2 needs references of different times"]),
        (["in.mp4", "-o", "out.mp4", "-r", "coffee.png", "-r", "rocket.png", "--blend", "2"], ["--blend=2 needs references of different"]),
        (["in.mp4", "-o", "out.mp4", "--auto", "--strength", "2"], ["--strength=2"]),
        (["in.mp4", "-o", "out.mp4", "--auto", "--saturation", "-1"], ["--saturation=-1"]),
        (["in.mp4", "-o", "out.mp4", "--auto", "--crf", "99"], ["--crf=99"]),
        (["in.mp4", "-o", "out.avi", "--auto"], ["out.avi: cannot be written; films end in .mp4"]),
        (["in.mp4", "-o", "in.mp4", "--auto"], ["in.mp4: would replace what is read"]),
        (["in.mp4", "-o", "in.mp4/out.mp4", "--auto"], ["in.mp4/out.mp4: cannot be written, as", "in.mp4 is no directory"]),
        (["in.mp4", "-o", "none/out.webm", "--auto"], ["none/out.webm: webm takes no audio aac"]),
        (["in.mp4", "-o", "none/out.mp4", "--auto"], ["unread.ckpt"]),
    ],
)
def test_what_cannot_be_done_is_refused_in_a_line_before_the_work(work: Path, command: list[str], parts: list[str]) -> None:
    (work / "text.mp4").write_text("no film")
    before = {path: path.read_bytes() for path in work.iterdir()}
    # a checkpoint that cannot be read, and is not
    (checkpoint := work.parent / "unread.ckpt").touch()
    assert_refused(run("video", *command, "--checkpoint", str(checkpoint)), *parts)
    assert {path: path.read_bytes() for path in work.iterdir()} == before


def test_an_interrupted_film_leaves_nothing(work: Path, arguments: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    from stylecolor.video import film

    colorize = film.SteadyColorizer.__call__
    calls: list[int] = []

    def interrupted(self: film.SteadyColorizer, *given: object) -> object:
        calls.append(1)
        if len(calls) == 4:
            os.kill(os.getpid(), signal.SIGINT)
        return colorize(self, *given)  # pyright: ignore[reportArgumentType]

    monkeypatch.setattr(film.SteadyColorizer, "__call__", interrupted)
    result = run("video", "in.mp4", "--auto", "-o", "out.mp4", *arguments)
    assert result.exit_code == 130
    assert result.stderr == "interrupted: out.mp4 is not written\n"
    assert sorted(os.listdir(work)) == ["coffee.png", "in.mp4", "rocket.png"]


def test_help_needs_no_torch_and_names_the_options() -> None:
    result = subprocess.run(installed("video", "--help"), capture_output=True, text=True, check=True)
    for option in (
        "--reference",
        "--auto",
        "--blend",
        "--crf",
        "--json",
        "--strength",
        "--saturation",
        "--size",
        "--device",
        "--precision",
    ):
        assert option in result.stdout
