"""Weight files of the right layout with random numbers, for LPIPS and FID."""

import io
from pathlib import Path

import pytest
import torch
import torchvision
from torch import Tensor, nn
from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3


def _fill(network: nn.Module) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(0)
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            # keeps the features' size from layer to layer, so that the last ones still tell pictures apart
            nn.init.kaiming_normal_(module.weight, generator=generator)
    return network.state_dict()


def write_alexnet(path: Path) -> Path:
    """The features of torchvision's AlexNet under their own names."""
    features = torchvision.models.alexnet(weights=None).features
    torch.save({f"features.{name}": tensor for name, tensor in _fill(features).items()}, path)
    return path


def write_inception(path: Path) -> Path:
    """torch-fidelity's InceptionV3, whose constructor insists on weights."""
    nothing = io.BytesIO()
    torch.save({}, nothing)
    nothing.seek(0)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(FeatureExtractorInceptionV3, "load_state_dict", lambda self, state: None)
        network = FeatureExtractorInceptionV3("inception-v3-compat", ["2048"], nothing)
    torch.save(_fill(network), path)
    return path
