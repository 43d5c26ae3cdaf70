"""Networks in the form that runs fastest on a device: batch norms folded, channels last, bf16 convolutions where they pay."""

import copy
import json
import logging
import platform
import time
from typing import TypeVar

import torch
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from stylecolor.cache_directory import cache_directory
from stylecolor.choices import PRECISIONS
from stylecolor.classification import ClassificationNet
from stylecolor.colorizer import ColorizationNet
from stylecolor.errors import check_choice
from stylecolor.whole_file import written_whole

log = logging.getLogger(__name__)

PROBE_FILE = "bf16.json"
_WORTH_IT = 1.5
_Network = TypeVar("_Network", bound=nn.Module)


def choose_device(name: str) -> torch.device:
    """The device called `name`; `auto` is a GPU where torch sees one.

    Raises:
        ValueError: for a name that is no device, and a device that is not there.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.empty(0, device=device).cpu()
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        reason = str(error).splitlines()[0]
        raise ValueError(f"device={name}: cannot be used ({reason}); use auto, cpu, or cuda where there is a GPU") from error
    return device


def choose_precision(name: str, device: torch.device) -> str:
    """`float32` or `bf16`; `auto` is bf16 where the device is fast at it.

    Raises:
        ValueError: for another name.
    """
    check_choice("precision", name, PRECISIONS)
    if name != "auto":
        return name
    fast = torch.cuda.is_bf16_supported(including_emulation=False) if device.type == "cuda" else device.type == "cpu" and _bf16_is_fast()
    return "bf16" if fast else "float32"


def _bf16_is_fast() -> bool:
    """Whether convolutions on this processor are faster in bf16; tried once, and remembered in the cache directory."""
    capability = torch.backends.cpu.get_cpu_capability()
    machine = f"{platform.node()}, {platform.processor() or platform.machine()} {capability}, torch {torch.__version__}"
    path = cache_directory() / PROBE_FILE
    try:
        known = json.loads(path.read_text())
    except (OSError, ValueError):
        known = {}
    if not isinstance(known, dict) or not isinstance(known.get(machine), bool):
        ratio = _time_convolution(torch.float32) / _time_convolution(torch.bfloat16)
        known = {**(known if isinstance(known, dict) else {}), machine: ratio > _WORTH_IT}
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with written_whole(path) as aside:
                aside.write_text(json.dumps(known))
        except OSError as error:
            log.warning("precision=auto: bf16 is tried out at every start, as %s cannot be written (%s)", path, error.strerror)
    return known[machine]


@torch.inference_mode()
def _time_convolution(dtype: torch.dtype) -> float:
    """Seconds of one of the networks' typical convolutions, the best of a few."""
    convolution = nn.Conv2d(256, 256, kernel_size=3, padding=1).to(memory_format=torch.channels_last).to(dtype)  # pyright: ignore[reportCallIssue]
    features = torch.zeros(1, 256, 64, 64, dtype=dtype).to(memory_format=torch.channels_last)
    seconds = []
    for _ in range(5):
        start = time.perf_counter()
        convolution(features)
        seconds.append(time.perf_counter() - start)
    return min(seconds)


def prepare(network: _Network, device: torch.device, precision: str) -> _Network:
    """A copy for inference on a device; the original is left as it was.

    Args:
        network: in eval mode.
        device: where the copy goes.
        precision: `float32` or `bf16`, of the convolutions. What leads into and out of them stays float32: Lab, statistics, batch norms
            that cannot be folded since they follow a ReLU, and the colorizer's last layer, whose bf16 steps would be half a Lab unit.
    """
    network = copy.deepcopy(network).eval().requires_grad_(False)
    for module in network.modules():
        if isinstance(module, nn.Sequential):
            _fold_batch_norms(module)
    network.to(device).to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
    if precision == "bf16":
        kept = {id(layer) for module in network.modules() for part in _full_precision(module) for layer in part.modules()}
        for module in network.modules():
            if isinstance(module, nn.Conv2d | nn.ConvTranspose2d) and id(module) not in kept:
                module.to(torch.bfloat16)
    return network


def _full_precision(module: nn.Module) -> tuple[nn.Module, ...]:
    return module.full_precision if isinstance(module, ColorizationNet | ClassificationNet) else ()


def _fold_batch_norms(sequence: nn.Sequential) -> None:
    for name, following in zip(list(sequence._modules), list(sequence._modules)[1:], strict=False):
        convolution, norm = sequence._modules[name], sequence._modules[following]
        if isinstance(convolution, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d):
            sequence._modules[name] = fuse_conv_bn_eval(convolution, norm)
            sequence._modules[following] = nn.Identity()
