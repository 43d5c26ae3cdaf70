"""Where pretrained weights come from, read safely and checked against the network that wants them."""

import pickle
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from stylecolor.errors import name_few

SIGGRAPH17_URL = "https://colorizers.s3.us-east-2.amazonaws.com/siggraph17-df00044c.pth"
"""Where the authors publish their colorizer (their package `colorizers`, BSD 2-clause)."""

_DAMAGED_FILE = (RuntimeError, ValueError, EOFError, LookupError, pickle.UnpicklingError, SafetensorError)


def read_state_file(path: str | Path, setting: str) -> dict[str, Any]:
    """Read a `.safetensors` file, or any other file with `torch.load(weights_only=True)`, to the CPU.

    Args:
        path: the file.
        setting: the name of the setting that holds the path, for the error.

    Raises:
        ValueError: when the file is missing, unreadable or no weight file.
    """
    path = Path(path)
    if not path.is_file():
        raise ValueError(f"{setting}={path}: no such file")
    try:
        state = load_file(path) if path.suffix == ".safetensors" else torch.load(path, map_location="cpu", weights_only=True)
    except OSError as error:
        raise ValueError(f"{setting}={path}: cannot be read ({error.strerror or error})") from error
    except _DAMAGED_FILE as error:
        raise ValueError(f"{setting}={path}: is no weight file, or is damaged or truncated") from error
    if not isinstance(state, dict):
        raise ValueError(f"{setting}={path}: holds a {type(state).__name__} instead of a state dict")
    return state


def check_state(state: Mapping[str, Tensor], expected: Mapping[str, Tensor], setting: str, width: float) -> None:
    """Refuse a state dict whose keys or shapes differ from the network's own.

    Raises:
        ValueError: naming the missing and the unexpected keys, or the first shape that differs and the width at fault.
    """
    missing, unexpected = expected.keys() - state.keys(), state.keys() - expected.keys()
    if missing or unexpected:
        parts = [f"missing {name_few(missing)}"] * bool(missing) + [f"unexpected {name_few(unexpected)}"] * bool(unexpected)
        raise ValueError(f"{setting}: these weights belong to another network: {'; '.join(parts)}")
    for name, tensor in expected.items():
        if not isinstance(state[name], Tensor):
            raise ValueError(f"{setting}: {name} is a {type(state[name]).__name__} instead of a tensor")
        if state[name].shape != tensor.shape:
            raise ValueError(
                f"{setting}: {name} has shape {tuple(state[name].shape)} where stage.width={width:g} needs {tuple(tensor.shape)}; "
                "use the width that the weights were made with"
            )


def load_vgg19_state(source: str, expected: Mapping[str, Tensor], width: float) -> dict[str, Tensor]:
    """VGG19's convolutions in torchvision's layout: `imagenet`, or a file.

    What a file holds beyond the layers that are used (deeper ones, the classifier) is left out.

    Raises:
        ValueError: when ImageNet weights are asked for at another width than 1 or cannot be fetched, and for a file that does not fit.
    """
    setting = "stage.encoder.weights"
    if source == "imagenet":
        if width != 1.0:
            raise ValueError(f"{setting}=imagenet: ImageNet weights exist for stage.width=1.0, got {width:g}; use {setting}=random with it")
        state = _fetch_imagenet_vgg19()
    else:
        state = read_state_file(source, setting)
    state = {name: tensor for name, tensor in state.items() if not name.startswith("classifier.")}
    deeper = {name for name in state.keys() - expected.keys() if name.startswith("features.")}
    state = {name: tensor for name, tensor in state.items() if name not in deeper}
    check_state(state, expected, f"{setting}={source}", width)
    return state


def _fetch_imagenet_vgg19() -> dict[str, Tensor]:
    from torchvision.models import VGG19_Weights

    return fetch(VGG19_Weights.IMAGENET1K_V1.url, "stage.encoder.weights=imagenet", "train with stage.encoder.weights=random")


def fetch(url: str, setting: str, alternative: str) -> dict[str, Tensor]:
    """Read published weights from torch's cache, or download them there; the hex digits in the file's name are checked.

    Raises:
        ValueError: when the download fails, naming the file to put there by hand and the alternative.
    """
    cached = Path(torch.hub.get_dir()) / "checkpoints" / Path(url).name
    if not cached.is_file():
        try:
            cached.parent.mkdir(parents=True, exist_ok=True)
            torch.hub.download_url_to_file(url, str(cached), hash_prefix=cached.stem.rpartition("-")[2], progress=sys.stderr.isatty())
        # torch raises RuntimeError for a wrong checksum
        except (OSError, RuntimeError) as error:
            raise ValueError(f"{setting}: {url} cannot be fetched ({error}); put the file at {cached} by hand, or {alternative}") from error
    return read_state_file(cached, setting)


def load_colorizer_state(path: str | Path, expected: Mapping[str, Tensor], width: float, setting: str) -> dict[str, Tensor]:
    """A colorizer's weights: `siggraph17` (the published ones, fetched once), a file in their layout, or a checkpoint.

    The distribution head (`model_class`) of the published file is left out where the network has none.

    Raises:
        ValueError: for a file that does not fit, naming the missing and the unexpected keys.
    """
    if path == "siggraph17":
        state = fetch(SIGGRAPH17_URL, f"{setting}=siggraph17", "train a colorizer with stage=colorizer")
    else:
        state = read_state_file(path, setting)
    if isinstance(trained := state.get("state_dict"), dict):
        state = {name.removeprefix("colorizer."): tensor for name, tensor in trained.items() if name.startswith("colorizer.")}
        if not state:
            raise ValueError(f"{setting}={path}: this checkpoint holds no colorizer; pass one of stage=colorizer or stage=joint")
    if not any(name.startswith("model_class.") for name in expected):
        state = {name: tensor for name, tensor in state.items() if not name.startswith("model_class.")}
    check_state(state, expected, f"{setting}={path}", width)
    return state
