"""The networks whose features LPIPS and FID compare, and where their weights come from."""

import io
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torchmetrics.functional.image.lpips import _NoTrainLpips
from torchmetrics.image.fid import NoTrainInceptionV3

from stylecolor.errors import name_few, one_line
from stylecolor.published_weights import obtain
from stylecolor.weights import read_state_file, unwrap_state

LPIPS_WEIGHTS, FID_WEIGHTS = "lpips_weights", "fid_weights"
"""The settings that name local files."""
LEFT_OUT = "none"
"""Instead of a file: the measure is not wanted, and nothing is fetched."""
MIRROR = "weights_mirror"
"""The setting that names a mirror of the published ones."""
LPIPS_EXTRACTOR = "AlexNet of torchvision, with the linear weights of LPIPS 0.1 that torchmetrics holds"
LPIPS_MINIMUM_SIDE = 32
"""px: of smaller pictures, sides being multiples of 8, AlexNet's poolings leave nothing."""
FID_EXTRACTOR = (
    "InceptionV3 of the original FID (torch-fidelity's conversion of 2015-12-05), 2048 features of the last pooling, "
    "pictures resized to 299 x 299 with antialiasing (torchmetrics)"
)
FID_FEATURES = 2048


@dataclass(frozen=True)
class NotAvailable:
    """Stands for a network whose published weights cannot be had here, or that is not wanted."""

    reason: str
    """Why, and what helps."""


def make_lpips(file: str | None = None, mirror: str | None = None) -> nn.Module | NotAvailable:
    """LPIPS over AlexNet, without gradients: called with two batches of sRGB and `normalize=True` it gives (batch, 1, 1, 1).

    Args:
        file: torchvision's weights of AlexNet, whole or its `features` alone; None takes the published ones, `none` none.
        mirror: see `stylecolor.published_weights.obtain`.

    Raises:
        ValueError: when `file` is missing, damaged or not of AlexNet.
    """
    state = _read_state("alexnet", file, LPIPS_WEIGHTS, mirror)
    if isinstance(state, NotAvailable):
        return state
    network = _NoTrainLpips(net="alex", pnet_rand=True)
    # torchmetrics cuts the network into slices, whose layers keep their numbers
    names = {f"features.{name.split('.', 1)[1]}": name for name in network.net.state_dict()}
    features = {names.get(name, name): tensor for name, tensor in state.items() if not name.startswith("classifier.")}
    _load(network.net, features, f"{LPIPS_WEIGHTS}={file}", "torchvision's AlexNet")
    return network


def make_inception(file: str | None = None, mirror: str | None = None) -> nn.Module | NotAvailable:
    """The InceptionV3 of FID, without gradients: 8-bit sRGB of any size in, `FID_FEATURES` features a picture out.

    Args:
        file: torch-fidelity's weights; None takes the published ones, `none` none.
        mirror: see `stylecolor.published_weights.obtain`.

    Raises:
        ValueError: when `file` is missing, damaged or not of this network.
    """
    state = _read_state("inception", file, FID_WEIGHTS, mirror)
    if isinstance(state, NotAvailable):
        return state
    return _build_inception(state, f"{FID_WEIGHTS}={file}")


def _read_state(published: str, file: str | None, setting: str, mirror: str | None) -> dict[str, Any] | NotAvailable:
    if file == LEFT_OUT:
        return NotAvailable(f"{setting}={LEFT_OUT} leaves it out")
    if file is not None:
        return unwrap_state(read_state_file(file, setting))
    try:
        path = obtain(published, setting.removesuffix("_weights"), mirror, MIRROR)
    except ValueError as error:
        return NotAvailable(one_line(error))
    return unwrap_state(read_state_file(path, published))


def _load(network: nn.Module, state: dict[str, Any], setting: str, what: str) -> None:
    expected = network.state_dict()
    wrong = expected.keys() ^ state.keys()
    wrong |= {name for name in expected.keys() & state.keys() if getattr(state[name], "shape", None) != expected[name].shape}
    if wrong:
        raise ValueError(f"{setting}: holds no weights of {what}: {name_few(wrong)} are missing, unexpected or of another shape")
    network.load_state_dict(state)
    _check_finite(network, setting)


def _check_finite(network: nn.Module, setting: str) -> None:
    for name, tensor in network.state_dict().items():
        if not tensor.isfinite().all():
            raise ValueError(f"{setting}: is damaged, {name} holds NaN or infinity")


def _build_inception(state: dict[str, Any], setting: str) -> nn.Module:
    # torch-fidelity unpickles whatever objects a file holds, so it is given bytes that were written here, of nothing but tensors
    tensors = io.BytesIO()
    torch.save({name: tensor for name, tensor in state.items() if isinstance(tensor, torch.Tensor)}, tensors)
    tensors.seek(0)
    try:
        # passed on to torch.load, which takes open files as well as paths
        network = NoTrainInceptionV3("inception-v3-compat", [str(FID_FEATURES)], tensors)  # pyright: ignore[reportArgumentType]
    except RuntimeError as error:
        raise ValueError(f"{setting}: holds no weights of torch-fidelity's InceptionV3") from error
    _check_finite(network, setting)
    return network
