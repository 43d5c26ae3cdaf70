import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from stylecolor import pretrained
from stylecolor.pipeline import ExemplarNetworks
from stylecolor.pretrained import load_networks, read_networks, save_networks
from tests.stages import make_batch, make_colorizer_stage, make_transfer_stage, save_checkpoint
from tests.stylecolor.colorizers_for_tests import save_joint

BATCH = make_batch(2, 64)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_joint(tmp_path_factory.mktemp("joint") / "joint.ckpt", mask_probability=0.8, precolor="gray")


@pytest.fixture
def saved(checkpoint: Path, tmp_path: Path) -> Path:
    save_networks(ExemplarNetworks.from_checkpoint(checkpoint), tmp_path / "saved")
    return tmp_path / "saved"


def test_saved_networks_colorize_as_those_of_the_checkpoint(checkpoint: Path, saved: Path) -> None:
    given, found = ExemplarNetworks.from_checkpoint(checkpoint), load_networks(saved)
    assert found.description == given.description
    assert torch.equal(found.colorize(BATCH.target_rgb, BATCH.reference_rgb), given.colorize(BATCH.target_rgb, BATCH.reference_rgb))


def test_networks_of_every_stage_can_be_saved(tmp_path: Path) -> None:
    for name, stage in (("transfer", make_transfer_stage()), ("colorizer", make_colorizer_stage(network="eccv16"))):
        given = ExemplarNetworks.from_checkpoint(save_checkpoint(stage, tmp_path / f"{name}.ckpt"))
        save_networks(given, tmp_path / name)
        found = load_networks(tmp_path / name)
        assert [child for child, _ in found.named_children()] == [name]
        for key, tensor in given.state_dict().items():
            assert torch.equal(found.state_dict()[key], tensor), key


def test_the_directory_holds_settings_as_json_and_weights_as_safetensors(checkpoint: Path, saved: Path) -> None:
    assert sorted(file.name for file in saved.iterdir()) == ["config.json", "model.safetensors"]
    config = json.loads((saved / "config.json").read_text())
    assert config["networks"]["transfer"]["matching"] == "adain"
    assert config["networks"]["pipeline"]["mask_probability"] == 0.8
    trained = torch.load(checkpoint, weights_only=True)["state_dict"]
    weights = load_file(saved / "model.safetensors")
    assert torch.equal(weights["colorizer.model1.0.weight"], trained["colorizer.model1.0.weight"])


def test_saving_again_gives_the_same_bytes_and_keeps_other_files(saved: Path) -> None:
    before = {file.name: file.read_bytes() for file in saved.iterdir()}
    (saved / "README.md").write_text("a model card")
    save_networks(load_networks(saved), saved)
    assert {file.name: file.read_bytes() for file in saved.iterdir()} == {**before, "README.md": b"a model card"}


def test_a_disk_that_fills_up_leaves_the_earlier_save(saved: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = {file.name: file.read_bytes() for file in saved.iterdir()}
    networks = load_networks(saved)

    def fill(path: Path, data: bytes) -> None:
        with path.open("wb") as file:
            file.write(data[: len(data) // 2])
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", fill)
    with pytest.raises(OSError, match="No space left"):
        save_networks(networks, saved)
    assert {file.name: file.read_bytes() for file in saved.iterdir()} == before


def test_a_save_that_is_cut_between_its_files_is_refused(saved: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    networks = load_networks(saved)
    replace = Path.replace

    def cut(path: Path, target: Path) -> Path:
        if target.name == "config.json":
            raise KeyboardInterrupt
        return replace(path, target)

    monkeypatch.setattr(Path, "replace", cut)
    with pytest.raises(KeyboardInterrupt):
        save_networks(networks, saved)
    with pytest.raises(ValueError, match=r"saved: holds no saved networks, there is no config\.json in it"):
        load_networks(saved)


def test_a_files_name_is_refused(saved: Path) -> None:
    with pytest.raises(ValueError, match=r"config\.json: is a file; name a directory"):
        save_networks(load_networks(saved), saved / "config.json")


def rewrite(saved: Path, change: Callable[[dict], object]) -> None:
    config = json.loads((saved / "config.json").read_text())
    change(config)
    (saved / "config.json").write_text(json.dumps(config))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda config: config.pop("library"), r"config\.json: is not of stylecolor"),
        (lambda config: config.update(format=99), r"config\.json: has format 99, this version reads 1; use the version that wrote it"),
        (lambda config: config.update(networks=[]), r"config\.json: is damaged, it does not say which networks"),
        (lambda config: config["networks"].pop("pipeline"), r"config\.json: is damaged, it does not describe networks"),
        (lambda config: config["networks"].pop("transfer"), r"config\.json: is damaged, it does not describe networks"),
        (lambda config: config["networks"]["transfer"].update(surprise=1), r"config\.json: is damaged, it does not describe networks"),
        (lambda config: config["networks"]["transfer"].update(matching="adian"), r"config\.json: .*matching=adian .*did you mean adain"),
        (lambda config: config["networks"]["transfer"].update(width=0.25), r"model\.safetensors: transfer: .* has shape .*width=0\.25"),
        (
            lambda config: config["networks"].update(colorizer={**config["networks"]["colorizer"], "network": "siggraph17_global"}),
            r"model\.safetensors: colorizer: .*missing model_global",
        ),
    ],
)
def test_settings_that_do_not_fit_are_refused(saved: Path, change: Callable[[dict], object], message: str) -> None:
    rewrite(saved, change)
    with pytest.raises(ValueError, match=message) as refused:
        load_networks(saved)
    assert "\n" not in str(refused.value)


def test_weights_that_no_setting_describes_are_refused(saved: Path) -> None:
    path = saved / "model.safetensors"
    save_file({**load_file(path), "precolorizer.model1.0.weight": torch.zeros(1)}, path)
    with pytest.raises(ValueError, match=r"model\.safetensors: holds precolorizer\.model1\.0\.weight, which .*config\.json does not"):
        load_networks(saved)


def test_damaged_files_are_refused(saved: Path) -> None:
    weights = saved / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    with pytest.raises(ValueError, match=r"model\.safetensors: is no weight file, or is damaged or truncated"):
        load_networks(saved)
    weights.unlink()
    with pytest.raises(ValueError, match=r"model\.safetensors: no such file"):
        load_networks(saved)
    (saved / "config.json").write_text('{"library": ')
    with pytest.raises(ValueError, match=r"config\.json: is no JSON file, or is damaged"):
        load_networks(saved)


def test_a_missing_directory_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="nowhere: no such directory"):
        load_networks(tmp_path / "nowhere")


def test_one_path_may_name_a_checkpoint_or_a_directory(checkpoint: Path, saved: Path) -> None:
    assert read_networks(checkpoint).description == read_networks(saved).description
    assert (saved / pretrained.CONFIG).is_file()
