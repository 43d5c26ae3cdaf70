import json
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from stylecolor import fast_inference
from stylecolor.cache_directory import cache_directory
from stylecolor.classification import ClassificationNet
from stylecolor.colorizer import ColorizationNet, GlobalColorizationNet
from stylecolor.encoder import VGG19Encoder
from stylecolor.fast_inference import PROBE_FILE, choose_device, choose_precision, prepare
from stylecolor.pipeline import ExemplarNetworks
from stylecolor.transfer import TransferNet

CPU = torch.device("cpu")
L = torch.rand(2, 1, 32, 40, generator=torch.Generator().manual_seed(0)) * 100
REFERENCE = torch.rand(2, 3, 48, 32, generator=torch.Generator().manual_seed(1))


def make_networks(colorizer: nn.Module | None = None) -> ExemplarNetworks:
    torch.manual_seed(0)
    transfer = TransferNet(VGG19Encoder("random", 0.125), sites=["encoder", "skips", "decoder"], skips="pre_pool")
    networks = ExemplarNetworks(transfer, colorizer or ColorizationNet(0.125), mask_probability=0.8)
    for module in networks.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias, std=0.1)
            nn.init.uniform_(module.running_var, 0.2, 0.5)  # pyright: ignore[reportArgumentType]
            nn.init.normal_(module.running_mean, std=0.1)  # pyright: ignore[reportArgumentType]
    return networks


def predict(networks: ExemplarNetworks) -> tuple[Tensor, Tensor, Tensor]:
    found = networks.predict(L, networks.encode_reference(REFERENCE))
    return found.precolor_ab, found.transfer_ab, found.ab


def test_in_float32_nothing_changes_but_rounding() -> None:
    networks = make_networks()
    prepared = prepare(networks, CPU, "float32")
    for own, expected in zip(predict(prepared), predict(networks), strict=True):
        torch.testing.assert_close(own, expected, atol=0.01, rtol=1e-3)


def test_batch_norms_behind_a_convolution_are_folded_and_others_stay() -> None:
    def count(networks: ExemplarNetworks, name: str) -> int:
        return sum(isinstance(module, nn.BatchNorm2d) for module in networks.get_submodule(name).modules())

    networks = make_networks()
    prepared = prepare(networks, CPU, "float32")
    assert count(networks, "transfer") > 5
    assert count(prepared, "transfer") == 0
    assert count(prepared, "colorizer") == count(networks, "colorizer") > 0


@pytest.mark.parametrize("network", [ColorizationNet, GlobalColorizationNet, ClassificationNet])
def test_bf16_runs_every_network_and_answers_in_float32_nearby(network: type[nn.Module]) -> None:
    networks = make_networks(network(0.125))
    for own, expected in zip(predict(prepare(networks, CPU, "bf16")), predict(networks), strict=True):
        assert own.dtype == torch.float32
        assert (own - expected).abs().mean() < 0.1 * expected.abs().mean()
        assert not torch.equal(own, expected)


def test_all_three_steps_are_in_bf16() -> None:
    prepared = prepare(make_networks(), CPU, "bf16")
    kinds = {name: module.weight.dtype for name, module in prepared.named_modules() if isinstance(module, nn.Conv2d | nn.ConvTranspose2d)}
    assert {name for name, dtype in kinds.items() if dtype == torch.float32} == {"colorizer.model_out.0"}
    seen = []
    assert prepared.colorizer is not None
    prepared.colorizer.register_forward_hook(lambda *_: seen.append(None))
    prepared.predict(L, prepared.encode_reference(REFERENCE))
    assert len(seen) == 2


def test_the_original_is_left_as_it_was() -> None:
    networks = make_networks()
    before = {name: tensor.clone() for name, tensor in networks.state_dict().items()}
    prepare(networks, CPU, "bf16")
    assert networks.state_dict().keys() == before.keys()
    assert all(torch.equal(tensor, before[name]) and tensor.dtype == before[name].dtype for name, tensor in networks.state_dict().items())


@pytest.mark.parametrize(("ratio", "expected"), [(4.0, "bf16"), (1.1, "float32")])
def test_the_processor_is_tried_once_and_remembered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ratio: float, expected: str) -> None:
    monkeypatch.setenv("STYLECOLOR_CACHE", str(tmp_path))
    monkeypatch.setattr(fast_inference, "_time_convolution", lambda dtype: ratio if dtype == torch.float32 else 1.0)
    assert choose_precision("auto", CPU) == expected
    assert list(json.loads((cache_directory() / PROBE_FILE).read_text()).values()) == [expected == "bf16"]
    monkeypatch.setattr(fast_inference, "_time_convolution", lambda dtype: pytest.fail("tried again"))
    assert choose_precision("auto", CPU) == expected


@pytest.mark.parametrize("contents", ["", "[]", '{"another processor": true}', "{"])
def test_what_is_remembered_of_another_machine_or_is_damaged_does_not_count(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, contents: str
) -> None:
    monkeypatch.setenv("STYLECOLOR_CACHE", str(tmp_path))
    (tmp_path / PROBE_FILE).write_text(contents)
    monkeypatch.setattr(fast_inference, "_time_convolution", lambda dtype: 1.0)
    assert choose_precision("auto", CPU) == "float32"
    assert False in json.loads((tmp_path / PROBE_FILE).read_text()).values()


def test_what_is_known_of_other_machines_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STYLECOLOR_CACHE", str(tmp_path))
    (tmp_path / PROBE_FILE).write_text('{"another processor": true}')
    choose_precision("auto", CPU)
    assert json.loads((tmp_path / PROBE_FILE).read_text())["another processor"] is True


def test_a_cache_that_cannot_be_written_warns(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("STYLECOLOR_CACHE", str(tmp_path / "file" / "cache"))
    monkeypatch.setattr(fast_inference, "_time_convolution", lambda dtype: 4.0 if dtype == torch.float32 else 1.0)
    assert choose_precision("auto", CPU) == "bf16"
    assert "precision=auto: bf16 is tried out at every start" in caplog.text


def test_a_given_precision_needs_no_trial(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fast_inference, "_bf16_is_fast", lambda: pytest.fail("tried"))
    assert [choose_precision(name, CPU) for name in ("float32", "bf16")] == ["float32", "bf16"]
    with pytest.raises(ValueError, match="precision=fp16 is not one of auto, float32, bf16"):
        choose_precision("fp16", CPU)


@pytest.mark.parametrize("name", ["gpu", "cuda:99", "cpu:x", ""])
def test_devices_that_are_not_there_are_refused(name: str) -> None:
    with pytest.raises(ValueError, match=rf"device={name}: cannot be used .*; use auto, cpu, or cuda"):
        choose_device(name)


def test_devices_are_chosen_by_name() -> None:
    assert choose_device("cpu") == CPU
    assert choose_device("auto").type == ("cuda" if torch.cuda.is_available() else "cpu")
