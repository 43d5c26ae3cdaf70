import os
import pickle
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import nn

from evaluation.feature_extractors import NotAvailable, make_inception, make_lpips
from evaluation.metrics import PictureMetrics
from evaluation.set_metrics import SetMetrics
from tests.server import Server
from tests.stylecolor.published import isolate, path_of, publish

Maker = Callable[[str | None, str | None], nn.Module | NotAvailable]
MAKERS = [(make_lpips, "alexnet", "lpips"), (make_inception, "inception", "fid")]


@pytest.mark.parametrize(("make", "published", "metric"), MAKERS)
def test_published_weights_are_fetched_once(
    make: Maker,
    published: str,
    metric: str,
    monkeypatch: pytest.MonkeyPatch,
    server: Server,
    tmp_path: Path,
    request: pytest.FixtureRequest,
) -> None:
    isolate(monkeypatch, tmp_path)
    content = request.getfixturevalue(f"{published}_file").read_bytes()
    weights = publish(monkeypatch, server, published, content)
    assert isinstance(make(None, None), nn.Module)
    assert isinstance(make(None, None), nn.Module)
    assert server.paths() == [path_of(weights)]
    assert weights.path.read_bytes() == content


@pytest.mark.parametrize(("make", "published", "metric"), MAKERS)
def test_without_a_network_the_reason_and_the_remedies_are_told(
    make: Maker, published: str, metric: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    isolate(monkeypatch, tmp_path)
    with Server() as closed:
        weights = publish(monkeypatch, closed, published, b"")
    found = make(None, None)
    assert isinstance(found, NotAvailable)
    assert found.reason.startswith(f"{metric}: {weights.url} cannot be fetched (")
    assert f"put it at {weights.path}, name a mirror with weights_mirror, or name a copy of it with {metric}_weights" in found.reason
    assert "\n" not in found.reason


def test_a_measure_whose_weights_cannot_be_had_is_left_out_and_not_replaced(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    isolate(monkeypatch, tmp_path)
    nowhere = str(tmp_path / "nowhere")
    metrics, set_metrics = PictureMetrics("cpu", mirror=nowhere), SetMetrics("cpu", mirror=nowhere)
    assert "lpips" not in metrics.names
    assert "lpips" not in metrics.measure(*torch.rand(3, 1, 3, 32, 32))
    assert set_metrics.names == ()
    for unavailable, name in ((metrics.unavailable, "lpips"), (set_metrics.unavailable, "fid")):
        assert unavailable == {name: f"{name}: weights_mirror={nowhere} is neither an address (http:// or https://) nor a directory"}
    assert metrics.feature_extractors == set_metrics.feature_extractors == {}


def test_the_feature_extractors_are_stated(alexnet_file: Path, inception_file: Path) -> None:
    extractors = PictureMetrics("cpu", str(alexnet_file)).feature_extractors | SetMetrics("cpu", str(inception_file)).feature_extractors
    assert extractors["lpips"].startswith("AlexNet of torchvision")
    assert extractors["fid"].startswith("InceptionV3")
    assert extractors["fid"].endswith(str(inception_file))


@pytest.mark.parametrize(("make", "published", "metric"), MAKERS)
def test_a_file_of_another_network_is_refused(make: Maker, published: str, metric: str, tmp_path: Path) -> None:
    torch.save({"features.0.weight": torch.zeros(3)}, tmp_path / "other.pth")
    with pytest.raises(ValueError, match=rf"^{metric}_weights=.*other\.pth: holds no weights of ") as refusal:
        make(str(tmp_path / "other.pth"), None)
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize(("make", "published", "metric"), MAKERS)
def test_a_missing_or_truncated_file_is_refused(
    make: Maker, published: str, metric: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    with pytest.raises(ValueError, match=rf"{metric}_weights=.*absent\.pth: no such file"):
        make(str(tmp_path / "absent.pth"), None)
    (tmp_path / "cut.pth").write_bytes(request.getfixturevalue(f"{published}_file").read_bytes()[:100_000])
    with pytest.raises(ValueError, match=rf"{metric}_weights=.*cut\.pth: is no weight file, or is damaged or truncated"):
        make(str(tmp_path / "cut.pth"), None)


def test_weights_that_hold_nan_are_refused(alexnet_file: Path, tmp_path: Path) -> None:
    state = torch.load(alexnet_file, weights_only=True)
    state["features.3.bias"][5] = torch.nan
    torch.save(state, tmp_path / "damaged.pth")
    with pytest.raises(ValueError, match=r"damaged\.pth: is damaged, slice2\.3\.bias holds NaN"):
        make_lpips(str(tmp_path / "damaged.pth"))


class Intruder:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, ...]:
        return os.mkdir, (str(self.path),)


@pytest.mark.parametrize(("make", "published", "metric"), MAKERS)
def test_no_code_of_a_file_is_run(make: Maker, published: str, metric: str, tmp_path: Path) -> None:
    for name, save in (("pickle", lambda thing, path: path.write_bytes(pickle.dumps(thing))), ("torch", torch.save)):
        save({"weight": Intruder(tmp_path / "made")}, tmp_path / f"{name}.pth")
        with pytest.raises(ValueError, match="is no weight file"):
            make(str(tmp_path / f"{name}.pth"), None)
    assert not (tmp_path / "made").exists()
