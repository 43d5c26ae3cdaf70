"""Networks in a directory: their settings as JSON beside their weights as safetensors."""

import json
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from safetensors.torch import save

from stylecolor.errors import name_few
from stylecolor.pipeline import ExemplarNetworks
from stylecolor.weights import check_state, read_state_file
from stylecolor.whole_file import written_whole

CONFIG = "config.json"
WEIGHTS = "model.safetensors"
FORMAT = 1


def save_networks(networks: ExemplarNetworks, directory: str | Path) -> None:
    """Write `config.json`, with what `ExemplarNetworks.description` says, and `model.safetensors`, the state dict.

    Interrupted at any moment, it leaves what was there before or a directory that `load_networks` refuses, never a half-written file or
    one save's settings beside another's weights. Other files in the directory stay. The same networks give the same bytes.

    Raises:
        ValueError: where the directory's name belongs to a file.
        OSError: when it cannot be written.
    """
    directory = Path(directory)
    if directory.is_file():
        raise ValueError(f"{directory}: is a file; name a directory to save the networks in")
    directory.mkdir(parents=True, exist_ok=True)
    state = {name: tensor.detach().cpu().contiguous() for name, tensor in networks.state_dict().items()}
    config = {"library": "stylecolor", "format": FORMAT, "networks": networks.description}
    # the stack ends in reverse order: the settings come last, and the old ones go before the weights change
    with ExitStack() as stack:
        stack.enter_context(written_whole(directory / CONFIG)).write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
        aside = stack.enter_context(written_whole(directory / WEIGHTS))
        aside.write_bytes(save(state, {"format": "pt"}))
        (directory / CONFIG).unlink(missing_ok=True)


def load_networks(directory: str | Path) -> ExemplarNetworks:
    """Read what `save_networks` wrote, on the CPU and in eval mode; nothing outside the directory is looked at.

    Raises:
        ValueError: for a missing directory, one that holds no such networks, another format, and damaged or foreign files.
    """
    directory = Path(directory)
    description = _read_description(directory)
    config = directory / CONFIG
    try:
        networks = ExemplarNetworks.build(description)
    except ValueError as error:
        raise ValueError(f"{config}: {error}") from error
    except (LookupError, TypeError, AttributeError, AssertionError, RuntimeError) as error:
        raise ValueError(f"{config}: is damaged, it does not describe networks of this version; save them again") from error
    state = read_state_file(directory / WEIGHTS, "weights")
    expected = {name: network.state_dict() for name, network in networks.named_children()}
    if foreign := [name for name in state if name.partition(".")[0] not in expected]:
        raise ValueError(f"{directory / WEIGHTS}: holds {name_few(foreign)}, which {config} does not describe")
    for name, own in expected.items():
        found = {key.removeprefix(f"{name}."): tensor for key, tensor in state.items() if key.startswith(f"{name}.")}
        check_state(found, own, f"{directory / WEIGHTS}: {name}", description[name]["width"])
    networks.load_state_dict(state)
    return networks


def read_networks(path: str | Path) -> ExemplarNetworks:
    """Those of a checkpoint, or of a directory that `save_networks` wrote.

    Raises:
        ValueError: for what is neither, and for damaged files.
    """
    return load_networks(path) if Path(path).is_dir() else ExemplarNetworks.from_checkpoint(path)


def _read_description(directory: Path) -> dict[str, dict[str, Any]]:
    if not directory.is_dir():
        raise ValueError(f"{directory}: no such directory")
    config = directory / CONFIG
    if not config.is_file():
        raise ValueError(f"{directory}: holds no saved networks, there is no {CONFIG} in it")
    try:
        contents = json.loads(config.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{config}: is no JSON file, or is damaged") from error
    if not isinstance(contents, dict) or contents.get("library") != "stylecolor":
        raise ValueError(f"{config}: is not of stylecolor")
    if contents.get("format") != FORMAT:
        raise ValueError(f"{config}: has format {contents.get('format')}, this version reads {FORMAT}; use the version that wrote it")
    networks = contents.get("networks")
    if not isinstance(networks, dict) or not all(isinstance(settings, dict) for settings in networks.values()):
        raise ValueError(f"{config}: is damaged, it does not say which networks it describes")
    return networks
