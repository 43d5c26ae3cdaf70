"""Pretrained weights by name or file: found, read safely and checked against the network that wants them."""

import errno
import pickle
import struct
import zipfile
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from stylecolor.errors import did_you_mean, name_few
from stylecolor.published_weights import obtain

# what torch's readers raise for bytes that are none of theirs, or end too early
_DAMAGED_FILE = (
    RuntimeError,
    ValueError,
    EOFError,
    LookupError,
    AssertionError,
    AttributeError,
    TypeError,
    struct.error,
    pickle.UnpicklingError,
    SafetensorError,
)


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
        state = load_file(path) if path.suffix == ".safetensors" else _load(path)
    except (OSError, *_DAMAGED_FILE) as error:
        # torch looks for the end of an archive before the beginning of what is left of it
        if isinstance(error, OSError) and error.errno != errno.EINVAL:
            raise ValueError(f"{setting}={path}: cannot be read ({error.strerror or error})") from error
        raise ValueError(f"{setting}={path}: is no weight file, or is damaged or truncated") from error
    inner = state.get("state_dict", {}) if isinstance(state, dict) else None
    if not isinstance(inner, dict):
        raise ValueError(f"{setting}={path}: holds a {type(state).__name__} instead of a state dict")
    if foreign := [name for name in (*state, *inner) if not isinstance(name, str)]:
        raise ValueError(f"{setting}={path}: holds no state dict, {foreign[0]!r} is no name of a tensor")
    return state


def _load(path: Path) -> Any:
    # mapped where it can be, so that what is not wanted, such as an optimiser's state, is not read
    return torch.load(path, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(path))


def unwrap_state(contents: Mapping[str, Any]) -> dict[str, Any]:
    """The state dict in a training script's file, without what `DataParallel` puts before its keys."""
    state = contents.get("state_dict", contents)
    return {name.removeprefix("module."): tensor for name, tensor in state.items()}


def read_weights(source: str, setting: str, published: Collection[str], mirror: str | None = None) -> dict[str, Any]:
    """Read weights from where a setting says: the one resolver behind the encoder and the colorizers.

    Args:
        source: one of `published`, or a file.
        setting: the name of the setting that holds `source`, for the error.
        published: the names in `published_weights.PUBLISHED` that this setting takes.
        mirror: see `published_weights.obtain`.

    Raises:
        ValueError: for a name that is none, a file that is missing or no weight file, and published weights that cannot be had.
    """
    if source in published:
        return read_state_file(obtain(source, f"{setting}={source}", mirror), setting)
    if not Path(source).exists():
        raise ValueError(
            f"{setting}={source}: no such file, nor published weights ({', '.join(published)}){did_you_mean(source, published)}"
        )
    return read_state_file(source, setting)


def check_state(state: Mapping[str, Tensor], expected: Mapping[str, Tensor], setting: str, width: float) -> None:
    """Refuse a state dict whose keys or shapes differ from the network's own, or that holds NaN.

    Raises:
        ValueError: naming the missing and the unexpected keys, the first shape that differs and the width at fault, or the damaged tensor.
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
        if not state[name].isfinite().all():
            raise ValueError(f"{setting}: is damaged, {name} holds NaN or infinity")
