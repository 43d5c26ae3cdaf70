from pathlib import Path

import pytest
import torch

from stylecolor.exemplar_colorizer import ExemplarColorizer
from stylecolor.pictures.files import read_picture
from stylecolor.reference_search import ReferenceSearch
from tests.stages import make_colorizer_stage, save_checkpoint
from tests.stylecolor.colorizers_for_tests import save_joint
from tests.stylecolor.commands.running import save_photograph


@pytest.fixture
def album(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.setenv("STYLECOLOR_CACHE", str(tmp_path / "cache"))
    for number in range(4):
        save_photograph(tmp_path / "album" / f"{number}.png", number)
    return tmp_path / "album"


def test_the_most_similar_other_picture_is_found_with_its_statistics(album: Path, joint_checkpoint: Path) -> None:
    colorizer = ExemplarColorizer.from_checkpoint(joint_checkpoint, size=32)
    search = ReferenceSearch(colorizer, album)
    features = {path: colorizer.content_features(colorizer.working_l(read_picture(path)))[0] for path in sorted(album.iterdir())}
    for path, own in features.items():
        others = {other: float(own @ theirs) for other, theirs in features.items() if other != path}
        best = max(others, key=lambda other: others[other])
        found = search.find(read_picture(path), path)
        assert (found.path, found.similarity) == (best, pytest.approx(others[best], abs=1e-5))
        expected = colorizer.encode_reference(best)
        for site, statistics in expected.statistics.items():
            for one, other in zip(statistics, found.style.statistics[site], strict=True):
                assert torch.equal(one, other)
    copy = save_photograph(album.parent / "copy.png", 2)
    assert search.find(read_picture(copy), copy).path == album / "2.png"


def test_the_folder_is_ranked_for_a_picture_of_any_place(album: Path, joint_checkpoint: Path) -> None:
    colorizer = ExemplarColorizer.from_checkpoint(joint_checkpoint, size=32)
    search = ReferenceSearch(colorizer, album)
    target = read_picture(album / "2.png")
    ranked = search.rank(target, 10)
    own = colorizer.content_features(colorizer.working_l(target))[0]
    expected = {path: float(own @ colorizer.content_features(colorizer.working_l(read_picture(path)))[0]) for path in album.iterdir()}
    assert [path for path, _ in ranked] == sorted(expected, key=lambda path: -expected[path])
    assert [similarity for _, similarity in ranked] == pytest.approx([expected[path] for path, _ in ranked], abs=1e-5)
    assert ranked[0] == (album / "2.png", pytest.approx(1))
    assert search.rank(target, 2, exclude=album / "2.png") == ranked[1:3]
    with pytest.raises(ValueError, match="count=0 must be at least 1"):
        search.rank(target, 0)


def test_pictures_are_described_once_for_the_same_encoder_and_size(album: Path, joint_checkpoint: Path, tmp_path: Path) -> None:
    described = []

    class Counting(ExemplarColorizer):
        def content_features(self, l: torch.Tensor) -> torch.Tensor:
            described.append(l.shape)
            return super().content_features(l)

    def count(checkpoint: Path, size: int) -> int:
        described.clear()
        ReferenceSearch(Counting.from_checkpoint(checkpoint, size=size), album)
        return len(described)

    assert [count(joint_checkpoint, 32), count(joint_checkpoint, 32), count(joint_checkpoint, 40)] == [4, 0, 4]
    same_encoder = save_joint(tmp_path / "networks" / "joint.ckpt", mask_probability=0.5)
    assert count(same_encoder, 32) == 0, "the colorizer's settings do not matter"
    checkpoint = torch.load(same_encoder, weights_only=True)
    key = next(key for key in checkpoint["state_dict"] if key.startswith("transfer.encoder."))
    checkpoint["state_dict"][key] += 0.01
    torch.save(checkpoint, same_encoder)
    assert count(same_encoder, 32) == 4


def test_networks_without_an_encoder_are_refused(album: Path, tmp_path: Path) -> None:
    path = save_checkpoint(make_colorizer_stage(), tmp_path / "colorizer.ckpt")
    with pytest.raises(ValueError, match="--match-from: these weights hold no transfer sub-net"):
        ReferenceSearch(ExemplarColorizer.from_checkpoint(path, size=32), album)
