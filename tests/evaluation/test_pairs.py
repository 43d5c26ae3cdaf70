import dataclasses
import logging
from pathlib import Path

import numpy as np
import pytest
import torch

from datamodules.dataset import ConcatenatedDataset, PictureDataset
from evaluation.choices import PROTOCOLS
from evaluation.pairs import Pair, PictureTable, make_pairs, own_reference, read_pairs, write_pairs
from tests.data import photograph
from tests.datamodules.modules import make_module, part


def make_pictures(root: Path, count: int, first: int = 0) -> Path:
    """As many pictures to train as to validate."""
    for split in ("train", "val"):
        (root / split).mkdir(parents=True)
        for number in range(count):
            photograph(first + number, number, 64, 48).save(root / split / f"{number:02d}.png")
    return root


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> PictureDataset:
    return part(make_module("folder", make_pictures(tmp_path_factory.mktemp("pictures"), 12)), "val")


@pytest.fixture(scope="module")
def mix(tmp_path_factory: pytest.TempPathFactory) -> ConcatenatedDataset:
    root = tmp_path_factory.mktemp("mix")
    sources = [{"name": "folder", "root": str(make_pictures(root / str(number), 5, 100 * number))} for number in range(2)]
    dataset = make_module("mix", None, sources=sources).datasets["val"]
    assert isinstance(dataset, ConcatenatedDataset)
    return dataset


def test_each_protocol_has_the_first_pictures_as_its_targets(dataset: PictureDataset, tmp_path: Path) -> None:
    pairs = make_pairs(dataset, PROTOCOLS, 5, seed=0, cache=tmp_path)
    ids = list(PictureTable(dataset))[:5]
    for protocol in PROTOCOLS:
        assert [pair.target for pair in pairs if pair.protocol == protocol] == ids
    assert [pair.protocol for pair in pairs] == [protocol for protocol in PROTOCOLS for _ in range(5)]
    assert len(make_pairs(dataset, PROTOCOLS, None, 0, tmp_path)) == 4 * 12
    assert make_pairs(dataset, PROTOCOLS, 99, 0, tmp_path) == make_pairs(dataset, PROTOCOLS, None, 0, tmp_path)


def test_references_are_those_of_their_protocol(dataset: PictureDataset, tmp_path: Path) -> None:
    pairs = make_pairs(dataset, PROTOCOLS, None, seed=0, cache=tmp_path)
    references = {(pair.protocol, pair.target): pair.reference for pair in pairs}
    ids = list(PictureTable(dataset))
    descriptors = dataset.prepared.descriptors().astype(float)
    distances = np.linalg.norm(descriptors[:, None] - descriptors[None], axis=2) + 9 * np.eye(len(ids))
    for index, id in enumerate(ids):
        assert references["self", id] == id
        assert references["auto", id] is None
        assert references["palette", id] == ids[distances[index].argmin()]
        assert references["random", id] in set(ids) - {id}
    assert any(references["random", id] != references["palette", id] for id in ids)


def test_random_references_depend_on_the_seed_and_the_picture_alone(dataset: PictureDataset, tmp_path: Path) -> None:
    all_pairs, few = make_pairs(dataset, ["random"], None, 0, tmp_path), make_pairs(dataset, ["random"], 3, 0, tmp_path)
    assert few == all_pairs[:3]
    assert make_pairs(dataset, ["random"], None, 1, tmp_path) != all_pairs


def test_references_in_a_mix_are_of_the_targets_own_data_set(mix: ConcatenatedDataset, tmp_path: Path) -> None:
    pairs = make_pairs(mix, PROTOCOLS, 7, seed=0, cache=tmp_path)
    table = PictureTable(mix)
    assert len(table) == 10
    for protocol in PROTOCOLS:
        assert [pair.target for pair in pairs if pair.protocol == protocol] == list(table)[:7]
    assert {pair.target.split("/")[0] for pair in pairs} == {"0-folder", "1-folder"}
    for pair in pairs:
        assert pair.reference is None or (pair.reference in table and pair.reference.split("/")[0] == pair.target.split("/")[0])


def test_the_table_reads_the_prepared_pictures(mix: ConcatenatedDataset) -> None:
    table = PictureTable(mix)
    assert "1-folder/val/03.png" in table
    assert np.array_equal(table.read("1-folder/val/03.png"), mix.parts[1].prepared.read(3)[0])
    assert "1-folder/val/09.png" not in table


def test_a_picture_without_a_reference_is_left_out_of_every_protocol(
    dataset: PictureDataset, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    pictures = dataset.prepared.pictures
    groups = np.array(["one"] * 12)
    alone = dataclasses.replace(dataset.prepared, pictures=dataclasses.replace(pictures, groups=groups))
    with pytest.raises(ValueError, match="protocols=palette,self: no picture has another one as its reference"):
        make_pairs(PictureDataset(alone, dataset.references, 0), ["palette", "self"], 4, 0, tmp_path)
    both = ConcatenatedDataset(
        [PictureDataset(alone, dataset.references, 0, "a/"), PictureDataset(dataset.prepared, dataset.references, 0, "b/")]
    )
    with caplog.at_level(logging.WARNING):
        pairs = make_pairs(both, ["self", "palette"], None, 0, tmp_path)
    assert {pair.target[:2] for pair in pairs} == {"b/"}
    assert "left out 12 pictures, which have no reference in each of self, palette" in caplog.text


def test_an_unknown_protocol_is_refused(dataset: PictureDataset, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"protocols=pallete is not one of .*; did you mean palette\?"):
        make_pairs(dataset, ["pallete"], 3, 0, tmp_path)


def test_the_own_reference_is_mirrored_and_cropped() -> None:
    ramp = torch.linspace(0, 1, 64).expand(2, 3, 48, 64)
    own = own_reference(ramp)
    assert own.shape == ramp.shape
    assert torch.equal(own, own_reference(ramp))
    # from 60.. down to 3..: 56 of 64 columns, from the other side
    assert own[0, 0, 0, 0].item() == pytest.approx(59 / 63)
    assert own[0, 0, 0, -1].item() == pytest.approx(4 / 63)
    assert (own[..., 1:] <= own[..., :-1]).all()
    rows = torch.linspace(0, 1, 48)[:, None].expand(1, 3, 48, 64)
    assert (own_reference(rows)[0, 0, 1:, 0] >= own_reference(rows)[0, 0, :-1, 0]).all(), "upside down"


KNOWN = ["a, b.png", "sub/c.png", 'd"e.png', "f\udce9.png"]
PAIRS = [
    Pair("self", KNOWN[0], KNOWN[0]),
    Pair("palette", KNOWN[0], KNOWN[1]),
    Pair("palette", KNOWN[0], KNOWN[2]),
    Pair("random", KNOWN[3], KNOWN[2]),
    Pair("auto", KNOWN[2], None),
]


def test_a_list_is_read_as_it_was_written(tmp_path: Path) -> None:
    write_pairs(tmp_path / "pairs.csv", PAIRS)
    assert (tmp_path / "pairs.csv").read_bytes().startswith(b'protocol,target,reference\nself,"a, b.png","a, b.png"\n')
    assert read_pairs(tmp_path / "pairs.csv", KNOWN) == PAIRS
    assert [path.name for path in tmp_path.iterdir()] == ["pairs.csv"]


def test_a_list_that_cannot_be_written_leaves_the_old_one(tmp_path: Path) -> None:
    write_pairs(tmp_path / "pairs.csv", PAIRS)
    with pytest.raises(TypeError):
        write_pairs(tmp_path / "pairs.csv", [*PAIRS, None])  # pyright: ignore[reportArgumentType]
    assert read_pairs(tmp_path / "pairs.csv", KNOWN) == PAIRS
    assert len(list(tmp_path.iterdir())) == 1


HEADER = "protocol,target,reference\n"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "is no pair list, whose first line is protocol,target,reference"),
        ("target,reference\na,b\n", "is no pair list, whose first line is"),
        (HEADER, "names no pairs"),
        (HEADER + "auto,sub/c.png\n", "line 2: has 2 column(s) instead of protocol,target,reference"),
        (
            HEADER + "auto,sub/c.png,\nautomatic,sub/c.png,\n",
            "line 3: protocol 'automatic' is not one of self, palette, random, auto; did you",
        ),
        (HEADER + "auto,sub/x.png,\n", "line 2: target 'sub/x.png' is no picture of the data set's split; did you mean sub/c.png"),
        (HEADER + "random,sub/c.png,zzz\n", "line 2: reference 'zzz' is no picture of the data set's split"),
        (HEADER + "auto,../sub/c.png,\n", "line 2: target '../sub/c.png' lies outside the data set"),
        (HEADER + "random,sub/c.png,sub/../../secret.png\n", "line 2: reference 'sub/../../secret.png' lies outside the data set"),
        (HEADER + "auto,/etc/c.png,\n", "line 2: target '/etc/c.png' lies outside the data set"),
        (HEADER + "auto,..\\c.png,\n", "lies outside the data set"),
        (HEADER + "auto,sub/c.png,\nauto,sub/c.png,\n", "line 3: repeats line 2"),
        (HEADER + "auto,sub/c.png,sub/c.png\n", "line 2: protocol auto takes no reference, and this line names 'sub/c.png'"),
        (HEADER + 'self,sub/c.png,"a, b.png"\n', "line 2: in protocol self the reference is the target itself"),
        (HEADER + "self,sub/c.png,\n", "line 2: in protocol self the reference is the target itself"),
        (HEADER + "palette,sub/c.png,\n", "line 2: protocol palette takes another picture than the target"),
        (HEADER + "random,sub/c.png,sub/c.png\n", "line 2: protocol random takes another picture than the target"),
        (HEADER + 'auto,"sub/c.png,\n', "is no CSV file"),
        (HEADER + "auto,,\n", "line 2: target '' is no picture"),
    ],
)
def test_a_wrong_list_is_refused_in_one_line(tmp_path: Path, text: str, reason: str) -> None:
    path = tmp_path / "pairs.csv"
    path.write_text(text)
    with pytest.raises(ValueError, match=r"pairs\.csv") as refusal:
        read_pairs(path, KNOWN)
    message = str(refusal.value)
    assert message.startswith(f"pairs={path}: ")
    assert reason in message
    assert "\n" not in message


def test_a_missing_list_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"pairs=.*absent\.csv: cannot be read \(No such file"):
        read_pairs(tmp_path / "absent.csv", KNOWN)
    with pytest.raises(ValueError, match="Is a directory"):
        read_pairs(tmp_path, KNOWN)
