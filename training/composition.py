"""From the command line to dataclasses, through Hydra; whatever does not fit is refused in one line.

Besides the entry points this is the only module that knows Hydra and OmegaConf.
"""

import json
import os
import re
import sys
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields, is_dataclass
from datetime import datetime
from functools import cache, partial
from pathlib import Path
from typing import Any

import hydra
import yaml
from hydra.core.config_store import ConfigStore
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from datamodules import DATA_MODULES, DataConfig
from lightning_modules import STAGES
from lightning_modules.config import ExemplarConfig, JointConfig, StageConfig
from stylecolor.errors import did_you_mean
from stylecolor.overrides import hydra_value
from training.config import LOGGERS, ExperimentConfig, TrainerConfig
from training.run_directory import CONFIG_FILE, find_run
from training.sweep_config import SWEEPS, CommandConfig
from training.sweep_table import SWEEP_FILE

COMPOSITION_ERRORS = (HydraException, OmegaConfBaseException)
CONFIG_DIRECTORY = Path(__file__).resolve().parent.parent / "conf"
FIGURE_RECIPES = "figure_"
"""Begins the names of the experiments that evaluate.py draws; the others are trained."""
GROUPS: dict[str, dict[str, type]] = {
    "stage": {name: config for name, (config, _) in STAGES.items()},
    "data": {name: config for name, (config, _) in DATA_MODULES.items()},
    "logger": dict(LOGGERS),
    "trainer": {"default": TrainerConfig},
    "sweep": dict(SWEEPS),
}

LAUNCHER_PACKAGES = {
    "joblib": "hydra-joblib-launcher",
    "submitit_local": "hydra-submitit-launcher",
    "submitit_slurm": "hydra-submitit-launcher",
}
"""Hydra's launchers that docs/sweeps.md explains, and what they come with."""
WEIGHTS_SETTINGS = {
    "encoder.weights": ("imagenet",),
    "encoder.gray_weights": ("imagenet",),
    "loss.network_weights": ("imagenet",),
    "decoder_weights": (),
    "weights": ("siggraph17", "eccv16"),
    "transfer_checkpoint": (),
    "colorizer_checkpoint": ("siggraph17",),
    "precolor_weights": (),
}
"""The stages' settings that name weights, each with the published ones that it takes."""


@dataclass(frozen=True)
class EntryPoint:
    """A program with settings of its own: what it composes, and how a run of it goes on."""

    script: str
    """The program's file."""
    config_name: str
    """Its file in conf/, without .yaml."""
    schema: str
    """What that file calls `config` in its defaults list: /schema/<schema>."""
    config: type
    """The dataclass of all settings."""
    groups: Mapping[str, Mapping[str, type]]
    """Their groups, and the dataclass of each choice."""
    saved_groups: tuple[str, ...]
    """Of them, those whose choice a run's config.yaml has; all but the logger's are kept when the run goes on."""
    find_run: Callable[[str], Path]
    """The run directory that `resume=` names."""
    can_change: Callable[[str], bool]
    """Whether a run that goes on may have another value of a setting."""
    draws_figures: bool = False
    """Whether its experiments are those of `FIGURE_RECIPES`."""


TRAINING = EntryPoint(
    script="train.py",
    config_name="config",
    schema="experiment",
    config=CommandConfig,
    groups=GROUPS,
    saved_groups=("stage", "data", "logger"),
    find_run=lambda resume: find_run(resume)[0],
    can_change=lambda name: not name.startswith("stage."),
)


def compose(entry: EntryPoint = TRAINING) -> tuple[DictConfig, Path] | None:
    """What the command line composes and the run directory; None where Hydra did something else (a sweep, --help, --cfg).

    Raises:
        ValueError: for an experiment of another entry point.
    """
    _check_recipes(sys.argv[1:], entry)
    composed: list[tuple[DictConfig, Path]] = []

    def remember(config: DictConfig) -> None:
        if "experiment_name" in config and (recipe := HydraConfig.get().runtime.choices.get("experiment")):
            config.experiment_name = recipe
        composed.append((config, Path(os.path.relpath(HydraConfig.get().runtime.output_dir))))

    GlobalHydra.instance().clear()
    register(entry)
    hydra.main(version_base="1.3", config_path=str(CONFIG_DIRECTORY), config_name=entry.config_name)(remember)()
    return composed[0] if composed else None


def _check_recipes(arguments: Sequence[str], entry: EntryPoint) -> None:
    chosen = [value for name, value in map(_split, arguments) if name == "experiment"]
    recipes = [name for value in chosen for name in value.strip("[]").split(",")]
    if entry.draws_figures and len(recipes) > 1:
        # each sets its own figures, pictures and methods, of which the last one's would stand
        raise ValueError(f"experiment={chosen[-1]}: an evaluation follows one recipe; call evaluate.py for each")
    for recipe in recipes:
        is_figure = recipe.startswith(FIGURE_RECIPES)
        if is_figure and not entry.draws_figures:
            raise ValueError(f"experiment={recipe}: is drawn by `python evaluate.py experiment={recipe} checkpoint=CKPT`")
        if entry.draws_figures and not is_figure and (CONFIG_DIRECTORY / "experiment" / f"{recipe}.yaml").is_file():
            raise ValueError(f"experiment={recipe}: is trained, by `python train.py experiment={recipe}`")


def register(entry: EntryPoint = TRAINING) -> None:
    """Tell Hydra the dataclasses behind conf/*/*.yaml and the resolvers used there."""
    store = ConfigStore.instance()
    store.store(group="schema", name=entry.schema, node=entry.config, package="_global_")
    for group, choices in entry.groups.items():
        for name, config in choices.items():
            store.store(group=f"schema/{group}", name=name, node=config)
    run_name.cache_clear()
    OmegaConf.register_new_resolver("run_name", run_name, replace=True)
    OmegaConf.register_new_resolver("run_directory", partial(_run_directory, entry), replace=True)
    # for defaults lists, where recipes cannot override a group
    OmegaConf.register_new_resolver("by_choice", lambda choice, values, otherwise: values.get(choice, otherwise), replace=True)


def check_inputs(experiment: ExperimentConfig) -> None:
    """Refuse what needs no heavy import to be found: a missing data root, ImageNet weights at another width.

    Raises:
        ValueError: naming the setting and the remedy.
    """
    stage = experiment.stage
    experiment.data.check_root()
    if experiment.resume is None:
        _check_weights(stage)
    # a mix asks its parts for label maps
    if isinstance(stage, ExemplarConfig) and stage.regions and experiment.data.label_maps == "none" and experiment.data.name != "mix":
        raise ValueError("stage.regions=true: the data has no label maps; choose them with data.label_maps")
    if experiment.resume is not None and experiment.trainer.fast_dev_run:
        raise ValueError("trainer.fast_dev_run: cannot be used with resume=, which goes on with a run")


def _check_weights(stage: StageConfig) -> None:
    """Before data are prepared or weights fetched: are there published ones of this width, and are the files there?"""
    values = dict(_leaves(asdict(stage), ()))
    for name, published in WEIGHTS_SETTINGS.items():
        source = values.get(name)
        if source in published:
            # the joint stage's networks are as wide as their weights
            if stage.width != 1 and not isinstance(stage, JointConfig):
                raise ValueError(
                    f"stage.{name}={source}: published weights exist for stage.width=1.0, got {stage.width:g}; use random ones or a file"
                )
        elif source not in (None, "random") and not Path(source).exists():
            names = f", nor published weights ({', '.join(published)}){did_you_mean(source, published)}" if published else ""
            raise ValueError(f"stage.{name}={source}: no such file{names}")


def compose_data(arguments: Sequence[str]) -> tuple[DataConfig, int]:
    """The data's settings and the seed, for commands that take train.py's arguments and train nothing.

    Raises:
        ValueError: for whatever does not fit, with the nearest valid names.
    """
    given = [_split(argument.lstrip("~")) for argument in arguments]
    owner = GROUPS["data"].get(dict(given).get("data", "coco"), DataConfig)
    valid = ["data", "seed", *_setting_names(owner(), "data.")]
    for argument, (name, _) in zip(arguments, given, strict=True):
        if name not in ("data", "seed") and not name.startswith("data."):
            raise ValueError(f"{argument}: only data=, data.*= and seed= are settings here{did_you_mean(name, valid)}")
    register()
    try:
        with hydra.initialize_config_dir(str(CONFIG_DIRECTORY), version_base="1.3"):
            experiment = to_experiment(hydra.compose("config", list(arguments)))
    except COMPOSITION_ERRORS as error:
        raise ValueError(explain(error)) from error
    experiment.data.check_root()
    return experiment.data, experiment.seed


@cache
def run_name() -> str:
    """The run directory's name: the time, or what all ranks share when torchrun or SLURM started each of them."""
    if "SLURM_PROCID" in os.environ and "SLURM_JOB_ID" in os.environ:
        return f"slurm-{os.environ['SLURM_JOB_ID']}-{os.environ.get('SLURM_STEP_ID', '0')}"
    if "TORCHELASTIC_RUN_ID" in os.environ:
        run_id = os.environ["TORCHELASTIC_RUN_ID"]
        if run_id != "none":
            return f"torchrun-{run_id}"
        # torchrun's default id is the same every time; its agent's start is shared by the ranks of one machine
        return f"torchrun-{os.getppid()}-{os.environ.get('MASTER_PORT', '0')}"
    return datetime.now().strftime("%Y-%m-%d_%H-%M-%S")


def _run_directory(entry: EntryPoint, kind: str, resume: str | None) -> str:
    """`kind` is the stage, or whatever the runs are filed under."""
    if resume is not None:
        return str(entry.find_run(resume))
    directory = Path("outputs") / kind / run_name()
    if run_name()[0].isdigit():
        later = (directory.with_name(f"{directory.name}-{number}") for number in range(2, 1000))
        directory = next(path for path in (directory, *later) if not path.exists())
    return str(directory)


def expand_resume(arguments: list[str], entry: EntryPoint = TRAINING) -> list[str]:
    """Put the settings of the run that `resume=` names before the arguments, which may change them.

    Raises:
        ValueError: when there is no such run, its config.yaml is damaged, or something is to change that cannot.
    """
    given = dict(map(_split, arguments))
    resume = given.get("resume", "null")
    if len(resume) > 1 and resume[0] == resume[-1] and resume[0] in "'\"":
        resume = resume[1:-1]
    if resume in ("", "null"):
        return arguments
    directory = entry.find_run(resume)
    try:
        saved = yaml.safe_load((directory / CONFIG_FILE).read_text())
        choices = {group: saved[group]["name"] for group in entry.saved_groups}
    except (yaml.YAMLError, UnicodeDecodeError, KeyError, TypeError) as error:
        raise ValueError(f"resume={resume}: {directory / CONFIG_FILE} is damaged") from error
    for group in entry.saved_groups:
        if group != "logger" and given.get(group, choices[group]) != choices[group]:
            raise ValueError(
                f"resume={resume}: is a run of {group}={choices[group]}, cannot go on with {group}={given[group]}; leave it out"
            )
    configs = {group: entry.groups[group].get(choices[group]) for group in entry.saved_groups}
    settings_of = {name for group, config in configs.items() if config is not None for name in _setting_names(config(), f"{group}.")}
    settings_of.update(_setting_names(entry.config(), ""))
    unchanged = dict(_leaves(saved, settings_of))
    for name, value in given.items():
        # the processes that Lightning starts are given the expanded settings again
        if name == "experiment" or not (entry.can_change(name) or _is_same(value, unchanged.get(name))):
            raise ValueError(f"resume={resume}: {name} cannot change in a run that goes on; leave it out, or start a new run")
    if given.get("trainer.ema_decay") == "null" and unchanged.get("trainer.ema_decay") is not None:
        raise ValueError(f"resume={resume}: trainer.ema_decay cannot be taken from a run that averages its weights; leave it out")
    if given.get("logger", choices["logger"]) != choices["logger"]:
        del saved["logger"]
    choices = {group: choice for group, choice in choices.items() if group not in given}
    leaves = {
        key: value for key, value in _leaves(saved, settings_of) if key != "resume" and not key.endswith(".name") and key not in given
    }
    changes = [argument for argument in arguments if _split(argument)[0] != "resume"]
    settings = [f"{group}={choice}" for group, choice in choices.items()]
    settings += [f"{key}={hydra_value(value)}" for key, value in {**leaves, "resume": resume}.items()]
    return settings + changes


def expand_sweep_resume(arguments: list[str]) -> list[str]:
    """Put the command line of the sweep that `sweep.resume=` names before the arguments, which may change its `sweep.` settings.

    Raises:
        ValueError: when there is no such sweep, it has no study to go on with, or something is to change that cannot.
    """
    given = dict(map(_split, arguments))
    resume = given.get("sweep.resume", "null").strip("'\"")
    if resume in ("", "null"):
        return arguments
    file = Path(resume) / SWEEP_FILE
    try:
        described = json.loads(file.read_text())
        saved, sweeper = list(described["overrides"]), described["sweeper"]
    except OSError as error:
        raise ValueError(f"sweep.resume={resume}: is no sweep's directory, it has no {SWEEP_FILE}") from error
    except (json.JSONDecodeError, UnicodeDecodeError, KeyError, TypeError) as error:
        raise ValueError(f"sweep.resume={resume}: {file} is damaged") from error
    if sweeper == "grid":
        raise ValueError(f"sweep.resume={resume}: was sweep=grid, which cannot go on; run the jobs that are missing by themselves")
    changes = [argument for argument in arguments if argument not in ("-m", "--multirun") and _split(argument)[0] != "sweep.resume"]
    for name in (_split(argument)[0] for argument in changes):
        if not name.startswith(("sweep.", "hydra.launcher", "hydra/launcher")):
            raise ValueError(f"sweep.resume={resume}: {name} cannot change in a sweep that goes on; leave it out, or start a new sweep")
    kept = [override for override in saved if _split(override)[0] not in {*given, "hydra.sweep.dir"}]
    return ["-m", *kept, *changes, f"hydra.sweep.dir={hydra_value(resume)}"]


def _is_same(given: str, saved: Any) -> bool:
    if given == hydra_value(saved) or given == str(saved):
        return True
    try:
        return float(given) == saved
    except ValueError:
        return False


def _split(override: str) -> tuple[str, str]:
    key, _, value = override.partition("=")
    return key.lstrip("+"), value


def _leaves(values: dict[str, Any], settings: Collection[str], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """(name, value) of all settings; those that are dictionaries themselves stay whole."""
    for key, value in values.items():
        if isinstance(value, dict) and f"{prefix}{key}" not in settings:
            yield from _leaves(value, settings, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def to_experiment(config: DictConfig) -> ExperimentConfig:
    """The dataclasses of train.py's composed config, see `to_dataclasses`."""
    command = to_dataclasses(config, TRAINING)
    # how a sweep chose them is no part of a run's settings
    return ExperimentConfig(**{field.name: getattr(command, field.name) for field in fields(ExperimentConfig)})


def to_dataclasses(config: DictConfig, entry: EntryPoint) -> Any:
    """The dataclasses of a composed config, their ranges checked.

    Raises:
        ValueError: for an out-of-range value or a key that no dataclass has (Hydra lets `+key=value` through).
    """
    settings = OmegaConf.to_object(config)
    assert isinstance(settings, entry.config)
    _refuse_extras(settings, "", entry)
    for group, choices in entry.groups.items():
        node = getattr(settings, group)
        if group != "trainer" and choices.get(node.name) is not type(node):
            raise ValueError(f"{group}.name={node.name}: is what {group}= chooses; leave {group}.name out")
    return settings


def _refuse_extras(node: Any, prefix: str, entry: EntryPoint) -> None:
    known = {field.name for field in fields(node)}
    for name, value in vars(node).items():
        if name not in known:
            raise ValueError(_no_such_setting(f"{prefix}{name}", entry))
        if is_dataclass(value):
            _refuse_extras(value, f"{prefix}{name}.", entry)


def _no_such_setting(name: str, entry: EntryPoint) -> str:
    groups = entry.groups
    # a sweep may choose several
    given = [(key, choice) for key, values in map(_split, sys.argv[1:]) for choice in values.split(",")]
    chosen = {group: [choice for key, choice in given if key == group and choice in choices] for group, choices in groups.items()}
    chosen = {group: choices or [next(iter(groups[group]))] for group, choices in chosen.items()}
    group = name.partition(".")[0]
    owners = [choice for choice, config in groups.get(group, {}).items() if name in _setting_names(config(), f"{group}.")]
    if owners:
        # none where an experiment chooses
        lacking = next((f"{group}={choice}" for choice in chosen[group] if choice not in owners), f"the chosen {group}")
        return f"{name}: {lacking} has no such setting, only {group}={' or '.join(owners)} does"
    if group == "hydra":
        return f"{name}: no such setting of Hydra or of the chosen hydra/launcher"
    valid = {"experiment", *groups, *_setting_names(entry.config(), "")}
    for group, choices in chosen.items():
        for choice in choices:
            valid.update(_setting_names(groups[group][choice](), f"{group}."))
    return f"{name}: no such setting{did_you_mean(name, sorted(valid))}"


def _setting_names(node: Any, prefix: str) -> Iterator[str]:
    for field in fields(node):
        value = getattr(node, field.name)
        if is_dataclass(value):
            yield from _setting_names(value, f"{prefix}{field.name}.")
        elif field.name != "name":
            yield f"{prefix}{field.name}"


def explain(error: Exception, entry: EntryPoint = TRAINING) -> str:
    """What Hydra or OmegaConf complains of, in one line, with the nearest valid names."""
    message = str(error)
    cause = _first_line(str(error.__cause__ or ""))
    if found := re.search(r"Could not override '([^']+)'", message):
        name = found.group(1)
        return f"{name}: {cause}" if "converted" in cause or "assigned" in cause else _no_such_setting(name, entry)
    if found := re.search(r"Could not find '([^']+)/([^'/]+)'", message):
        group, choice = found.groups()
        choices = re.findall(r"^\t(\S+)$", message, re.MULTILINE)
        if group == "hydra/launcher" and choice in LAUNCHER_PACKAGES:
            return f"{group}={choice}: is not installed; pip install {LAUNCHER_PACKAGES[choice]}"
        return f"{group}={choice} is not one of {', '.join(choices)}{did_you_mean(choice, choices)}"
    if found := re.search(r"Ambiguous value for argument '([^=']+)=([^']*)'", message):
        name, values = found.groups()
        return f"{name}={values}: write [{values}] for a list, or add -m to run once for each value"
    if found := re.search(r"Multiple values for ([\w/]+)", message):
        return f"{found.group(1)}: chosen already, by default or twice; choose once, without +: {found.group(1)}=..."
    if found := re.search(r"Could not delete from config\.\s+'?([\w.]+?)'? ", message):
        return f"~{found.group(1)}: a setting cannot be taken away; give it another value"
    if found := re.search(r"Error merging override (\S+)", message):
        return f"{found.group(1)}: {cause}"
    return _first_line(message).rstrip(":") + (f" ({cause})" if cause and cause != _first_line(message) else "")


def _first_line(message: str) -> str:
    return message.strip().partition("\n")[0].rstrip(".")
