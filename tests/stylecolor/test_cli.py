import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from random import Random

import pytest
from typer.testing import CliRunner, Result

from stylecolor.cli import app
from stylecolor.published_weights import PUBLISHED, PublishedWeights, torch_hub_directory
from tests.server import Served, Server
from tests.stylecolor.published import isolate, path_of, publish

CONTENT = Random(0).randbytes(200_000)
OTHER = Random(1).randbytes(200_000)


@pytest.fixture(autouse=True)
def isolated(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    isolate(monkeypatch, tmp_path)


@pytest.fixture
def weights(monkeypatch: pytest.MonkeyPatch, server: Server) -> PublishedWeights:
    return publish(monkeypatch, server, "eccv16", CONTENT)


def run(*arguments: str) -> Result:
    """In this process, where the registry can be replaced."""
    return CliRunner().invoke(app, arguments)


def command(*arguments: str) -> list[str]:
    """The installed command."""
    return [str(Path(sys.executable).with_name("stylecolor")), *arguments]


def assert_error(result: Result, *parts: str) -> None:
    """Exit status 1, and one line that has all the parts."""
    assert result.exit_code == 1, result.output
    assert result.stderr.startswith("error: "), result.stderr
    assert result.stderr.count("\n") == 1, result.stderr
    for part in parts:
        assert part in result.stderr


def listed() -> dict[str, str]:
    """What `weights list` says of each name."""
    result = run("weights", "list")
    assert result.exit_code == 0, result.output
    entries, name = dict[str, str](), ""
    for line in result.stdout.splitlines():
        if not line.startswith(" "):
            name = line.split()[0]
            entries[name] = ""
        entries[name] += line + "\n"
    return entries


def test_the_installed_command_lists_what_there_is() -> None:
    result = subprocess.run(command("weights", "list"), capture_output=True, text=True, check=False)
    assert result.returncode == 0
    assert result.stderr == ""
    for weights in PUBLISHED.values():
        for part in (f"{weights.name} ", f"absent, {weights.megabytes} MB, {weights.license}", str(weights.path), weights.url, weights.use):
            assert part in result.stdout


def test_the_installed_command_refuses_in_one_line_and_a_status() -> None:
    for arguments, part in (
        (["fetch", "imagnet"], "error: imagnet is not one of imagenet, siggraph17, eccv16, alexnet, inception; did you mean imagenet"),
        (["fetch", "imagenet", "--mirror", "nowhere"], "error: imagenet: --mirror=nowhere is neither an address"),
        (["verify", "imagenet"], "error: imagenet: not verified, see above"),
    ):
        result = subprocess.run(command("weights", *arguments), capture_output=True, text=True, check=False)
        assert result.returncode == 1
        assert result.stderr.startswith(part)
        assert result.stderr.count("\n") == 1


def test_help_needs_no_torch() -> None:
    heavy = "{'torch', 'kornia', 'requests', 'numpy', 'rich'} & sys.modules.keys()"
    code = f"import sys; from stylecolor.cli import app; app(sys.argv[1:], standalone_mode=False); assert not {heavy}"
    for arguments in (["--help"], ["colorize", "--help"]):
        assert subprocess.run([sys.executable, "-c", code, *arguments], stdout=subprocess.DEVNULL, check=False).returncode == 0
    for name in ("colorize", "stylize", "video", "hints", "export", "info", "weights"):
        assert f"\n  {name} " in run("--help").stdout
        assert run(name, "--help").exit_code == 0
    for name in ("list", "fetch", "verify"):
        assert name in run("weights", "--help").stdout
        assert run("weights", name, "--help").exit_code == 0


def test_fetched_weights_are_listed_as_verified(server: Server, weights: PublishedWeights) -> None:
    assert listed()["eccv16"].startswith("eccv16      absent, 125 MB, BSD 2-clause\n")
    result = run("weights", "fetch", "eccv16")
    assert result.exit_code == 0, result.output
    assert result.stdout == f"eccv16: {weights.path}\n"
    assert weights.path.read_bytes() == CONTENT
    assert listed()["eccv16"].startswith("eccv16      verified, 125 MB, BSD 2-clause\n")
    assert run("weights", "fetch", "eccv16").exit_code == 0
    assert server.paths() == [path_of(weights)]


def test_several_names_are_fetched_from_a_mirror(monkeypatch: pytest.MonkeyPatch, server: Server, weights: PublishedWeights) -> None:
    other = publish(monkeypatch, server, "siggraph17", OTHER)
    server.files = {f"/mirror/{each.file_name}": Served(content) for each, content in ((weights, CONTENT), (other, OTHER))}
    result = run("weights", "fetch", "siggraph17", "eccv16", "--mirror", f"{server.url}/mirror")
    assert result.exit_code == 0, result.output
    assert result.stdout == f"siggraph17: {other.path}\neccv16: {weights.path}\n"


def test_a_failed_fetch_names_the_mirrors_option(server: Server, weights: PublishedWeights) -> None:
    server.files.clear()
    assert_error(run("weights", "fetch", "eccv16"), f"{weights.url} cannot be fetched (404 Not Found)", "name a mirror with --mirror")
    assert run("weights", "fetch").exit_code == 2


def test_verify_passes_over_what_is_absent_unless_it_is_named(weights: PublishedWeights) -> None:
    result = run("weights", "verify")
    assert result.exit_code == 0
    assert f"eccv16: absent: {weights.path}\n" in result.stdout
    assert_error(run("weights", "verify", "eccv16"), "eccv16: not verified, see above", "stylecolor weights fetch eccv16")


def test_verify_pins_what_is_right(weights: PublishedWeights) -> None:
    weights.path.parent.mkdir(parents=True)
    weights.path.write_bytes(CONTENT)
    assert listed()["eccv16"].startswith("eccv16      verified")
    assert not weights.pin.exists(), "looking is not pinning"
    result = run("weights", "verify", "eccv16")
    assert result.exit_code == 0
    assert result.stdout == f"eccv16: verified: {weights.path}\n"
    assert json.loads(weights.pin.read_text())["sha256"].startswith(weights.digest_start)


def test_verify_pins_what_is_in_torchs_cache(weights: PublishedWeights) -> None:
    torch_hub_directory().mkdir(parents=True)
    (path := torch_hub_directory() / weights.file_name).write_bytes(CONTENT)
    assert run("weights", "verify", "eccv16").stdout == f"eccv16: verified: {path}\n"
    assert weights.pin.is_file()
    assert str(path) in listed()["eccv16"]


@pytest.mark.parametrize("names", [(), ("eccv16",)])
def test_a_wrong_file_fails_verification(weights: PublishedWeights, names: tuple[str, ...]) -> None:
    assert run("weights", "fetch", "eccv16").exit_code == 0
    weights.path.write_bytes(OTHER)
    result = run("weights", "verify", *names)
    assert_error(result, "error: eccv16: not verified")
    assert "eccv16: wrong (its SHA-256 begins with" in result.stdout
    assert "wrong (its SHA-256 begins with" in listed()["eccv16"]
    weights.path.write_bytes(CONTENT)
    weights.pin.write_text(json.dumps({"sha256": "0" * 64}))
    result = run("weights", "verify", *names)
    assert_error(result, "error: eccv16: not verified")
    assert str(weights.pin) in result.stdout


FETCH = """
import dataclasses, sys
from stylecolor import published_weights
from stylecolor.cli import main

weights = dataclasses.replace(published_weights.PUBLISHED["eccv16"], url=sys.argv.pop(1))
published_weights.PUBLISHED["eccv16"] = weights
main()
"""


def test_a_reader_who_has_seen_enough_gets_no_error() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "w") as closed:
        result = subprocess.run(command("weights", "list"), stdout=closed, stderr=subprocess.PIPE, text=True, check=False)
    assert result.stderr == ""


def test_ctrl_c_keeps_the_part_and_exits_130(server: Server, weights: PublishedWeights) -> None:
    server.files[path_of(weights)].silences = [100_000]
    arguments = [sys.executable, "-c", FETCH, weights.url, "weights", "fetch", "eccv16"]
    with subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=os.environ) as process:
        assert server.silent.wait(20)
        process.send_signal(signal.SIGINT)
        _, error = process.communicate(timeout=10)
    assert process.returncode == 130
    assert error.startswith("interrupted")
    assert error.count("\n") == 1
    assert not weights.path.exists()
    assert run("weights", "fetch", "eccv16").exit_code == 0
    assert weights.path.read_bytes() == CONTENT
