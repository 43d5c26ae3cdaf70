import pickle
from pathlib import Path

import pytest
import torch

from stylecolor.encoder import VGG19Encoder
from stylecolor.published_weights import PUBLISHED
from stylecolor.weights import read_weights
from tests.server import Server
from tests.stylecolor.published import isolate, path_of, publish


@pytest.fixture(autouse=True)
def isolated(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    isolate(monkeypatch, tmp_path)


def contents(state: object, tmp_path: Path) -> bytes:
    torch.save(state, path := tmp_path / "saved.pth")
    return path.read_bytes()


def test_a_published_name_and_a_file_are_read_alike(server: Server, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    content = contents({"features.0.weight": torch.arange(4.0)}, tmp_path)
    publish(monkeypatch, server, "siggraph17", content)
    for source in ("siggraph17", str(tmp_path / "saved.pth")):
        assert read_weights(source, "stage.weights", ("siggraph17", "eccv16"))["features.0.weight"].tolist() == [0, 1, 2, 3]


def test_the_mirror_is_passed_on(server: Server, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    weights = publish(monkeypatch, server, "siggraph17", contents({}, tmp_path))
    server.files[f"/mirror/{weights.file_name}"] = server.files.pop(path_of(weights))
    assert read_weights("siggraph17", "stage.weights", ("siggraph17",), f"{server.url}/mirror") == {}


@pytest.mark.parametrize("source", ["sigraph17", "imagenet", "none.pth"])
def test_what_is_neither_a_name_nor_a_file_is_refused(source: str) -> None:
    message = rf"^stage\.weights={source}: no such file, nor published weights \(siggraph17, eccv16\)"
    with pytest.raises(ValueError, match=message):
        read_weights(source, "stage.weights", ("siggraph17", "eccv16"))


def test_a_published_pickle_cannot_run_code(server: Server, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    ran = tmp_path / "ran"

    class Evil:
        def __reduce__(self) -> tuple[object, tuple[object, ...]]:
            return Path.touch, (ran,)

    for content in (contents({"features.0.weight": Evil()}, tmp_path), pickle.dumps({"features.0.weight": Evil()})):
        publish(monkeypatch, server, "imagenet", content)
        with pytest.raises(ValueError, match=r"^stage\.encoder\.weights=.*no weight file"):
            VGG19Encoder("imagenet")
        assert PUBLISHED["imagenet"].path.read_bytes() == content
        assert not ran.exists()
    pickle.loads(content)
    assert ran.exists()


def test_imagenet_weights_are_fetched_for_the_encoder(server: Server, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    state = {name: tensor + 1 for name, tensor in VGG19Encoder("random", depth=5).state_dict().items()}
    weights = publish(monkeypatch, server, "imagenet", contents({**state, "classifier.0.weight": torch.zeros(2)}, tmp_path))
    server.files[f"/mirror/{weights.file_name}"] = server.files.pop(path_of(weights))
    loaded = VGG19Encoder("imagenet", mirror=f"{server.url}/mirror").state_dict()
    assert all(torch.equal(loaded[name], state[name]) for name in loaded)
    again = VGG19Encoder("imagenet").state_dict()
    assert all(torch.equal(again[name], state[name]) for name in again)
    assert len(server.requests) == 1


def test_unreachable_imagenet_weights_name_what_can_be_done(monkeypatch: pytest.MonkeyPatch) -> None:
    with Server() as closed:
        weights = publish(monkeypatch, closed, "imagenet", b"")
    with pytest.raises(ValueError, match=r"^stage\.encoder\.weights=imagenet: ") as caught:
        VGG19Encoder("imagenet")
    for part in (weights.url, str(weights.path), "stage.weights_mirror", "stage.encoder.weights=random"):
        assert part in str(caught.value)


@pytest.mark.parametrize("archive", [True, False])
def test_a_file_of_each_of_torchs_formats_is_refused_wherever_it_is_cut(tmp_path: Path, archive: bool) -> None:
    path = tmp_path / "old.pth"
    torch.save({"features.0.weight": torch.arange(4.0), "features.0.bias": torch.zeros(2)}, path, _use_new_zipfile_serialization=archive)
    whole = path.read_bytes()
    assert set(read_weights(str(path), "stage.weights", ())) == {"features.0.weight", "features.0.bias"}
    for end in range(len(whole)):
        path.write_bytes(whole[:end])
        with pytest.raises(ValueError, match=r"^stage\.weights=.*old\.pth: is no weight file, or is damaged or truncated"):
            read_weights(str(path), "stage.weights", ())
