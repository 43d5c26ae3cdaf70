"""The documentation: every page is in the menu, every link leads somewhere, and every command that is shown is one that there is."""

import re
import shlex
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import click
import pytest
import typer
import yaml
from hydra import compose, initialize_config_dir
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import IntervalSweep, Override

import train
from evaluate import EVALUATION
from stylecolor.cli import app
from training.composition import COMPOSITION_ERRORS, CONFIG_DIRECTORY, TRAINING, register, to_dataclasses

REPOSITORY = Path(train.__file__).resolve().parent
DOCS = REPOSITORY / "docs"
PAGES = [REPOSITORY / "README.md", *sorted(DOCS.rglob("*.md"))]
ENTRY_POINTS = {"train.py": TRAINING, "evaluate.py": EVALUATION}

BLOCK = re.compile(r"^ *```(\w*)\n(.*?)^ *```", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\(([^)\s]+)\)")
COMMAND = re.compile(r"(?:^\$ |\b)(?:python (?P<script>train\.py|evaluate\.py)|(?P<library>stylecolor)) (?P<arguments>.+)")
PLACEHOLDER = re.compile(r"<\w+>|\$\w+")


def commands(page: Path) -> Iterator[tuple[str, str, bool]]:
    """(program, arguments, whether the page shows that it is refused) of code blocks, and of code within text."""
    text = page.read_text()
    for language, block in BLOCK.findall(text):
        if language == "python":
            continue
        lines = [*block.replace("\\\n", " ").splitlines(), ""]
        for line, following in pairwise(lines):
            if found := COMMAND.search(line.partition(" #")[0]):
                yield found["script"] or found["library"], found["arguments"].strip(), following.startswith("error:")
    for code in re.findall(r"`([^`]+)`", BLOCK.sub("", text)):
        if found := COMMAND.match(code.replace("\n", " ")):
            yield found["script"] or found["library"], found["arguments"], False


SHOWN = list(dict.fromkeys(command for page in PAGES for command in commands(page)))
COMPOSED = [command for command in SHOWN if command[0] in ENTRY_POINTS]
OF_LIBRARY = [arguments for program, arguments, _ in SHOWN if program == "stylecolor"]


def pages_of(menu: Any) -> Iterator[str]:
    if isinstance(menu, str):
        yield menu
    else:
        for entry in menu.values() if isinstance(menu, dict) else menu:
            yield from pages_of(entry)


def first_value(override: Override) -> str:
    """An override of a sweep, as its first job gets it."""
    value = override.value()
    if isinstance(value, IntervalSweep):
        return f"{override.get_key_element()}={value.start:g}"
    if override.is_sweep_override():
        return f"{override.get_key_element()}={next(override.sweep_string_iterator())}"
    assert override.input_line is not None
    return override.input_line


def compose_as_shown(script: str, arguments: str) -> None:
    """As the program would, but for files that are only an example."""
    entry = ENTRY_POINTS[script]
    given = [word for word in shlex.split(PLACEHOLDER.sub("0", arguments)) if word not in ("...", "-m", "--help")]
    if "--cfg" in given:
        given = [word for word in given if word not in ("--cfg", "job")]
    if any(word.startswith("sweep.resume=") for word in given):
        # the sweep that goes on brings its own
        given.insert(0, "sweep=optuna")
    register(entry)
    with initialize_config_dir(str(CONFIG_DIRECTORY), version_base="1.3"):
        overrides = [first_value(override) for override in OverridesParser.create().parse_overrides(given)]
        to_dataclasses(compose(entry.config_name, overrides), entry)


def test_every_page_is_in_the_menu() -> None:
    menu = yaml.safe_load((REPOSITORY / "mkdocs.yml").read_text())["nav"]
    assert sorted(pages_of(menu)) == sorted(str(page.relative_to(DOCS)) for page in DOCS.rglob("*.md"))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_and_picture_exists(page: Path) -> None:
    links = [link.partition("#")[0] for link in LINK.findall(BLOCK.sub("", page.read_text())) if "://" not in link]
    assert not [link for link in links if link and not (page.parent / link).exists()]


def test_commands_are_found() -> None:
    assert {program for program, _, _ in SHOWN} == {*ENTRY_POINTS, "stylecolor"}


@pytest.mark.parametrize(("script", "arguments", "refused"), COMPOSED, ids=lambda value: str(value))
def test_every_training_and_evaluation_that_is_shown_composes(script: str, arguments: str, refused: bool) -> None:
    if refused:
        with pytest.raises((*COMPOSITION_ERRORS, ValueError)):
            compose_as_shown(script, arguments)
    else:
        compose_as_shown(script, arguments)


@pytest.mark.parametrize("arguments", OF_LIBRARY)
def test_every_command_that_is_shown_has_its_options(arguments: str) -> None:
    command: Any = typer.main.get_command(app)
    words = shlex.split(PLACEHOLDER.sub("0", arguments).replace("[", "").replace("]", ""))
    # COMMAND stands for any of them
    names = [] if words[0] in ("COMMAND", "--help") else words[0].split("|")
    for name in names:
        found = command.commands.get(name)
        assert found is not None, f"stylecolor {name}"
        if isinstance(found, click.Group):
            assert set(words[1].split("|")) <= found.commands.keys()
            found = found.commands[words[1].split("|")[0]]
        options = {"--help"}.union(*(parameter.opts + parameter.secondary_opts for parameter in found.params))
        assert {word.partition("=")[0] for word in words if word.startswith("-")} <= options
