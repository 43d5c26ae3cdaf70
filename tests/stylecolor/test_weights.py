import hashlib
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from socket import socket

import pytest
import torch
import torchvision

from stylecolor.encoder import VGG19Encoder
from stylecolor.weights import fetch


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """torch's own cache, empty; downloads go to this machine only."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch_home"))
    monkeypatch.setattr(torch.hub, "_hub_dir", None)
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path / "torch_home" / "hub" / "checkpoints"


class QuietHandler(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def served(tmp_path: Path) -> Iterator[tuple[Path, str]]:
    """A directory and the address under which a local server offers it."""
    directory = tmp_path / "served"
    directory.mkdir()
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(QuietHandler, directory=str(directory)))
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield directory, f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def publish(directory: Path, digest: str | None = None) -> tuple[dict[str, torch.Tensor], str]:
    """Save weights under a name that holds the first eight digits of their SHA-256, or `digest`."""
    state = {"features.0.weight": torch.arange(4.0)}
    torch.save(state, path := directory / "new.pth")
    digest = digest or hashlib.sha256(path.read_bytes()).hexdigest()[:8]
    path.rename(directory / f"vgg19-{digest}.pth")
    return state, f"vgg19-{digest}.pth"


def closed_address() -> str:
    with socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{probe.getsockname()[1]}"


def test_a_download_with_the_right_hash_is_kept_and_read(served: tuple[Path, str], cache: Path) -> None:
    directory, address = served
    state, name = publish(directory)
    fetched = fetch(f"{address}/{name}", "setting", "alternative")
    assert torch.equal(fetched["features.0.weight"], state["features.0.weight"])
    (directory / name).unlink()
    assert torch.equal(fetch(f"{address}/{name}", "setting", "alternative")["features.0.weight"], state["features.0.weight"])
    assert [path.name for path in cache.iterdir()] == [name]


def test_a_download_with_the_wrong_hash_is_refused_and_not_kept(served: tuple[Path, str], cache: Path) -> None:
    directory, address = served
    _, name = publish(directory, digest="00000000")
    with pytest.raises(ValueError, match=f"^stage.weights: {address}/{name} cannot be fetched.*hash.*do something else"):
        fetch(f"{address}/{name}", "stage.weights", "do something else")
    assert list(cache.iterdir()) == []


def test_a_file_that_the_server_does_not_have_is_refused(served: tuple[Path, str]) -> None:
    with pytest.raises(ValueError, match="404"):
        fetch(f"{served[1]}/vgg19-00000000.pth", "stage.weights", "do something else")


def test_unreachable_imagenet_weights_name_the_cache_and_the_alternative(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    url = f"{closed_address()}/vgg19-dcbb9e9d.pth"
    unreachable = torchvision.models._api.Weights(url=url, transforms=lambda: None, meta={})  # pyright: ignore[reportArgumentType]

    class Published:
        IMAGENET1K_V1 = unreachable

    monkeypatch.setattr(torchvision.models, "VGG19_Weights", Published)
    with pytest.raises(ValueError, match=r"^stage\.encoder\.weights=imagenet: ") as caught:
        VGG19Encoder("imagenet")
    message = str(caught.value)
    assert url in message
    assert str(cache / "vgg19-dcbb9e9d.pth") in message
    assert "stage.encoder.weights=random" in message
    assert "\n" not in message


def test_imagenet_weights_put_into_the_cache_by_hand_are_read(cache: Path) -> None:
    cache.mkdir(parents=True)
    state = {name: tensor + 1 for name, tensor in VGG19Encoder("random", depth=5).state_dict().items()}
    torch.save({**state, "classifier.0.weight": torch.zeros(2)}, cache / Path(torchvision.models.VGG19_Weights.IMAGENET1K_V1.url).name)
    loaded = VGG19Encoder("imagenet").state_dict()
    assert all(torch.equal(loaded[name], state[name]) for name in loaded)


def test_a_cache_that_cannot_be_written_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a_file").write_text("")
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "a_file"))
    with pytest.raises(ValueError, match="a_file"):
        fetch(f"{closed_address()}/vgg19-00000000.pth", "stage.weights", "do something else")
