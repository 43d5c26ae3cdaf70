"""The colorizer networks by name: how they are made, told apart in files, and loaded whole or block by block."""

import logging
import re
from collections.abc import Collection, Mapping
from typing import Any, NamedTuple

from torch import Tensor, nn

from stylecolor.checkpoint import KEY, read_description
from stylecolor.choices import COLORIZER_NETWORKS
from stylecolor.classification import ClassificationNet
from stylecolor.colorizer import ColorizationNet, GlobalColorizationNet
from stylecolor.errors import check_choice, name_few
from stylecolor.weights import check_state, read_weights, unwrap_state

NETWORKS: dict[str, type[ColorizationNet | ClassificationNet]] = {
    "siggraph17": ColorizationNet,
    "siggraph17_global": GlobalColorizationNet,
    "eccv16": ClassificationNet,
}
"""All are called `network(l, hint_ab, mask)` and answer with ab, in Lab units and float32."""
PUBLISHED = ("siggraph17", "eccv16")
"""Those whose weights their authors publish."""
OPTIONAL_BLOCKS = ("class", "global")
"""What a network may have and the weights that it starts from may lack."""

Colorizer = ColorizationNet | ClassificationNet

log = logging.getLogger(__name__)


class StoredColorizer(NamedTuple):
    """What a file holds of a colorizer: the network's name and settings, and its state dict."""

    network: str
    settings: dict[str, Any]
    state: dict[str, Tensor]


def make_colorizer(name: str, settings: Mapping[str, Any]) -> Colorizer:
    """The network called `name`, with random weights; its settings may be `describe_colorizer`'s.

    Raises:
        ValueError: for an unknown name.
    """
    check_choice("stage.network", name, NETWORKS)
    return NETWORKS[name].from_settings({key: value for key, value in settings.items() if key != "network"})


def describe_colorizer(network: nn.Module) -> dict[str, Any]:
    """The name and the settings of a network, plain values, as a checkpoint records them."""
    assert isinstance(network, Colorizer)
    (name,) = (name for name, kind in NETWORKS.items() if kind is type(network))
    return {"network": name, **network.settings}


def restore_colorizer(description: Mapping[str, Any]) -> Colorizer:
    """The network that a checkpoint describes, with random weights."""
    return make_colorizer(description["network"], description)


def read_colorizer(source: str, setting: str, mirror: str | None = None, assumed: str = "siggraph17") -> StoredColorizer:
    """Read a published name, a file in a published layout or one of our checkpoints.

    Weights in a layout of their own are told apart by their keys. The temperature of ECCV'16 weights that no checkpoint of ours describes
    is 1, as in the released network.

    Args:
        source: `siggraph17`, `eccv16` or a path.
        setting: its name, for the error.
        mirror: of the published weights, see `stylecolor.weights.read_weights`.
        assumed: the network that weights of no known layout are compared with later, for the error.

    Raises:
        ValueError: for a missing or damaged file, and a checkpoint without a colorizer.
    """
    contents = read_weights(source, setting, PUBLISHED, mirror)
    if KEY not in contents:
        return _recognise(unwrap_state(contents), assumed)
    settings = read_description(contents, f"{setting}={source}")["networks"].get("colorizer")
    if settings is None or not {"network", "width"} <= settings.keys():
        raise ValueError(f"{setting}={source}: this checkpoint holds no colorizer; pass one of stage=colorizer or stage=joint")
    trained = contents["state_dict"]
    state = {name.removeprefix("colorizer."): tensor for name, tensor in trained.items() if name.startswith("colorizer.")}
    return StoredColorizer(settings["network"], settings, state)


def _recognise(state: dict[str, Tensor], assumed: str) -> StoredColorizer:
    first = state.get("model1.0.weight")
    width = first.shape[0] / 64 if isinstance(first, Tensor) and first.ndim == 4 else 1.0
    bins = state.get("model_out.weight")
    if isinstance(bins, Tensor) and bins.ndim == 4:
        return StoredColorizer("eccv16", {"width": width, "bins": bins.shape[1], "temperature": 1.0}, state)
    if "model_global.0.weight" in state:
        return StoredColorizer("siggraph17_global", {"width": width}, state)
    return StoredColorizer("siggraph17" if "model_out.0.weight" in state else assumed, {"width": width}, state)


def load_colorizer(source: str, setting: str, *, mirror: str | None = None, networks: Collection[str] = COLORIZER_NETWORKS) -> Colorizer:
    """Build the network that a published name, a file in a published layout or one of our checkpoints holds, and load it.

    The distribution head, which only training looks at, is left out.

    Args:
        source: `siggraph17`, `eccv16` or a path.
        setting: its name, for the error.
        mirror: of the published weights, see `stylecolor.weights.read_weights`.
        networks: the names of those that are welcome.

    Raises:
        ValueError: for a missing or damaged file, another network, naming the missing and the unexpected keys or the shape.
    """
    stored = read_colorizer(source, setting, mirror, assumed=next(iter(networks)))
    if stored.network not in networks:
        raise ValueError(f"{setting}={source}: holds the network {stored.network}, expected {' or '.join(networks)}")
    settings = {name: value for name, value in stored.settings.items() if name != "distribution"}
    network = make_colorizer(stored.network, settings)
    state = {name: tensor for name, tensor in stored.state.items() if not name.startswith("model_class.")}
    check_state(state, network.state_dict(), f"{setting}={source}", settings["width"])
    network.load_state_dict(state)
    return network


def block_of(name: str, network: str) -> str | None:
    """The block that a parameter or buffer belongs to, as `stylecolor.choices.colorizer_blocks` names it; None for a foreign name.

    A shortcut or up-convolution belongs to the block that it leads into, the bins of eccv16 to the block that classifies into them.
    """
    found = re.match(r"model(?:\d+short)?(\d+)(?:up)?\.|model_(out|class|global)\.", name)
    if found is None:
        return None
    return "8" if network == "eccv16" and found[2] == "out" else found[1] or found[2]


def load_blocks(network: Colorizer, stored: StoredColorizer, source: str, setting: str, blocks: Collection[str] | None = None) -> None:
    """Start a network from stored weights: from all that they hold, or from these blocks alone; the rest stays random.

    Without `blocks`, weights and network may differ in the distribution head and the global branch, of which a warning tells.

    Args:
        network: to load into.
        stored: from `read_colorizer`.
        source: where they were read from, for the error.
        setting: the name of the setting that holds the source, for the error.
        blocks: as `stylecolor.choices.colorizer_blocks` names them; None takes all.

    Raises:
        ValueError: for weights of another network or width, naming keys or the shape, and for blocks that they lack.
    """
    description = describe_colorizer(network)
    name = description["network"]
    if (stored.network == "eccv16") != (name == "eccv16"):
        raise ValueError(f"{setting}={source}: holds the network {stored.network}, which stage.network={name} cannot start from")
    expected, state = network.state_dict(), stored.state
    if blocks is None:
        present, wanted = ({block_of(key, name) for key in keys} for keys in (state, expected))
        absent = [block for block in OPTIONAL_BLOCKS if block in wanted - present]
        surplus = [block for block in OPTIONAL_BLOCKS if block in present - wanted]
        if absent:
            log.warning("%s=%s: has no weights of block %s, which starts random", setting, source, name_few(absent))
        if "global" in surplus:
            log.warning("%s=%s: its block global is left out, which stage.network=%s does not have", setting, source, name)
        state = {key: tensor for key, tensor in state.items() if block_of(key, name) not in surplus}
        expected = {key: tensor for key, tensor in expected.items() if block_of(key, name) not in absent}
    else:
        state = {key: tensor for key, tensor in state.items() if block_of(key, name) in blocks}
        expected = {key: tensor for key, tensor in expected.items() if block_of(key, name) in blocks}
    check_state(state, expected, f"{setting}={source}", description["width"])
    network.load_state_dict(state, strict=False)
