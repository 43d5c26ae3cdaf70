"""The pipeline as one file that runs without this library: an ONNX model or a program of `torch.export`."""

import importlib.util
import io
import json
import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram
from torch.fx import GraphModule

from stylecolor.classification import ClassificationNet
from stylecolor.hints import Hints, target_keys
from stylecolor.pipeline import ExemplarNetworks, colorize_exemplar
from stylecolor.whole_file import written_whole

METADATA = "stylecolor"
"""Under this name the file says, as JSON, what `describe_graph` answers."""
FORMAT = 1
LARGEST_SIDE = 16384
"""Of targets and references, in px."""
_ONNX_LIMIT = 2**31 - 2**24  # bytes of one message of protocol buffers, which an ONNX file is, less what the graph itself needs
DRAWINGS = {
    "bernoulli": "mask: hide each pixel with probability {mask_probability}, independently",
    "points": "mask: show {hint_points} pixels, drawn without replacement",
    "patches": "mask: show squares of 1 to 9 px around the middle, 7 of them on average",
    "all": "mask: show all pixels",
    "none": "mask: show none",
}
"""How a caller draws the mask, by the networks' `hints`; `draw_mask` does it with the library's own random numbers."""
_TARGET_SIZES = {0: "batch", 2: "height", 3: "width"}
_REFERENCE_SIZES = {0: "batch", 2: "reference_height", 3: "reference_width"}
_NO_KEYS = torch.empty(0, dtype=torch.int64)

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class GraphInput:
    """One input: float32, of shape (batch, channels, height, width)."""

    channels: int
    meaning: str
    of_target: bool = True
    """Whether it has the target's size, whose sides are multiples of 8 from 16; else any size from 16 x 16."""


INPUTS = {
    "target_l": GraphInput(1, "L of the targets, in [0, 100]"),
    "reference": GraphInput(3, "sRGB of the references in [0, 1], one for each target", of_target=False),
    "hint_ab": GraphInput(2, "ab of the hints, in Lab units; 0 where there is none"),
    "mask": GraphInput(1, "1 where the colorizer is shown a hint, 0 elsewhere"),
}
"""What graphs take; which of them one takes, and in which order, `PipelineGraph.inputs` says."""


class PipelineGraph(nn.Module):
    """The networks as one function of tensors, as `colorize_exemplar` joins them, to be traced.

    With both sub-nets the inputs are `target_l`, `reference` and `mask`, which says what pixels of the transfer's ab map become hints; with
    the transfer sub-net alone `target_l` and `reference`; with the colorization sub-net alone `target_l`, `hint_ab` and `mask`, or
    `target_l` alone if it takes no hints. The output is `ab`, in Lab units.

    The random draw of the mask stays outside, since other runtimes draw other numbers: `draw_mask` does it as the library does.

    Args:
        networks: on the CPU, in eval mode and float32.
    """

    def __init__(self, networks: ExemplarNetworks) -> None:
        super().__init__()
        self.networks = networks
        self.eval()

    @property
    def inputs(self) -> tuple[str, ...]:
        """The names of the inputs, in order."""
        if self.networks.pipeline == "both":
            return ("target_l", "reference", "mask")
        if self.networks.pipeline == "transfer":
            return ("target_l", "reference")
        return ("target_l",) if isinstance(self.networks.colorizer, ClassificationNet) else ("target_l", "hint_ab", "mask")

    def forward(self, *tensors: Tensor) -> Float[Tensor, "batch 2 height width"]:
        """ab in Lab units, from the tensors that `inputs` names."""
        given = dict(zip(self.inputs, tensors, strict=True))
        networks, mask = self.networks, given.get("mask")

        def show(ab: Tensor, keys: Tensor) -> Hints:
            assert mask is not None
            return Hints(ab * mask, mask)

        return colorize_exemplar(
            networks.transfer,
            networks.colorizer,
            given["target_l"],
            given.get("reference"),
            _NO_KEYS,
            show,
            networks.precolor,
            networks.pipeline,
            user_hints=Hints(given["hint_ab"], given["mask"]) if "hint_ab" in given else None,
        ).ab


def describe_graph(graph: PipelineGraph) -> dict[str, Any]:
    """What an exported file says of itself, plain values: shapes and ranges of its inputs, how its mask is drawn, the networks'
    settings."""
    sizes = {
        True: "(batch, {}, height, width), height and width multiples of 8, at least 16",
        False: "(batch, {}, reference_height, reference_width), both at least 16",
    }
    inputs = {name: {"meaning": one.meaning, "shape": sizes[one.of_target].format(one.channels)} for name, one in _inputs(graph).items()}
    settings = graph.networks.settings
    return {
        "format": FORMAT,
        "inputs": inputs,
        "outputs": {"ab": {"meaning": "ab in Lab units, to be joined with the target's L", "shape": "(batch, 2, height, width)"}},
        "drawing": DRAWINGS[settings["hints"]].format(**settings) if graph.networks.pipeline == "both" else None,
        "networks": graph.networks.description,
    }


@torch.inference_mode()
def draw_mask(networks: ExemplarNetworks, target_l: Float[Tensor, "batch 1 height width"]) -> Float[Tensor, "batch 1 height width"]:
    """The mask that the library itself draws for these targets, by the sampler that the networks were trained with."""
    return networks.sampler(target_l.expand(-1, 2, -1, -1), target_keys(target_l)).mask


def export_torch(networks: ExemplarNetworks, path: str | Path) -> None:
    """Write a `.pt2` file for `torch.export.load`, whole or not at all; it needs torch, but not this library.

    What `describe_graph` says is its extra file `stylecolor`. Batch and sizes are free, see `INPUTS`.

    Raises:
        OSError: when it cannot be written.
    """
    graph = PipelineGraph(networks)
    # not to a file, whose passing name the archive would keep
    archive = io.BytesIO()
    torch.export.save(_trace(graph), archive, extra_files={METADATA: json.dumps(describe_graph(graph))})
    with written_whole(Path(path)) as aside:
        aside.write_bytes(archive.getbuffer())


def export_onnx(networks: ExemplarNetworks, path: str | Path) -> None:
    """Write an `.onnx` file, weights included, whole or not at all.

    What `describe_graph` says is its metadata entry `stylecolor`. Batch and sizes are free, see `INPUTS`.

    Raises:
        ValueError: for networks that match by WCT, for weights of 2 GB or more, and when the packages that it takes are missing.
        OSError: when it cannot be written.
    """
    if missing := [package for package in ("onnx", "onnxscript") if importlib.util.find_spec(package) is None]:
        raise ValueError(f"export to onnx: needs {' and '.join(missing)}; install stylecolor with its extra, stylecolor[export]")
    from onnx_ir.passes.common import ClearMetadataAndDocStringPass

    transfer = networks.transfer
    if transfer is not None and transfer.matching == "wct" and transfer.sites and networks.pipeline != "precolor":
        raise ValueError("export to onnx: stage.matching=wct needs eigenvectors, which ONNX has no operation for; export to torch-export")
    size = sum(tensor.nbytes for tensor in networks.state_dict().values())
    if size > _ONNX_LIMIT:
        raise ValueError(f"export to onnx: the weights take {size / 1e9:.1f} GB, one ONNX file holds less than 2; export to torch-export")
    graph = PipelineGraph(networks)
    with torch.no_grad():
        program = torch.onnx.export(_trace(graph), dynamo=True, input_names=graph.inputs, output_names=["ab"], verbose=False)
    assert program is not None
    ClearMetadataAndDocStringPass()(program.model)
    # as readers of the file see them; tracing has names of its own
    for value, free in zip((*program.model.graph.inputs, *program.model.graph.outputs), (*_free_sizes(graph), _TARGET_SIZES), strict=True):
        assert value.shape is not None
        for axis, name in free.items():
            value.shape[axis] = name
    program.model.metadata_props[METADATA] = json.dumps(describe_graph(graph))
    with written_whole(Path(path)) as aside:
        program.save(aside, external_data=False)


def _inputs(graph: PipelineGraph) -> dict[str, GraphInput]:
    return {name: INPUTS[name] for name in graph.inputs}


def _free_sizes(graph: PipelineGraph) -> list[dict[int, str]]:
    """Of each input, the names of the axes that are free."""
    return [_TARGET_SIZES if one.of_target else _REFERENCE_SIZES for one in _inputs(graph).values()]


def _trace(graph: PipelineGraph) -> ExportedProgram:
    networks = graph.networks
    if networks.pipeline == "both" and networks.settings["hints"] == "patches":
        log.warning("export: hints=patches shows patches in their mean colour; the exported graph shows each pixel in its own")
    # an eighth of the target's sides; with 8 x 8, the encoder's last feature map is a single pixel
    dimensions = {name: 8 * Dim(name, min=2, max=LARGEST_SIDE // 8) for name in ("height", "width")}
    dimensions |= {name: Dim(name, min=16, max=LARGEST_SIDE) for name in ("reference_height", "reference_width")}
    dimensions["batch"] = Dim("batch", min=1)
    shapes = [{axis: dimensions[name] for axis, name in free.items()} for free in _free_sizes(graph)]
    # sides that differ from each other, lest tracing takes them for the same
    examples = [torch.zeros(2, one.channels, *((24, 32) if one.of_target else (40, 56))) for one in _inputs(graph).values()]
    with torch.no_grad():
        program = torch.export.export(graph, tuple(examples), dynamic_shapes=(tuple(shapes),))
    for module in program.graph_module.modules():
        for node in module.graph.nodes if isinstance(module, GraphModule) else ():
            # it names the paths of this machine
            node.meta.pop("stack_trace", None)
    return program
