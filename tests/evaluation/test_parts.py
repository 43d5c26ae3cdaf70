from pathlib import Path

import numpy as np
import pytest

from evaluation.parts import Part, missing_parts, part_file, read_parts, write_part


def make_part(**features: np.ndarray) -> Part:
    return Part(rows=[{"place": 0, "method": "gray", "psnr": 20.0}], features=features)


def test_parts_come_back_as_they_were(tmp_path: Path) -> None:
    write_part(tmp_path, 0, make_part(truth=np.ones((1, 3), np.float32)))
    (part,) = read_parts(tmp_path, 1)
    assert part.rows == make_part().rows
    np.testing.assert_array_equal(part.features["truth"], np.ones((1, 3)))


def test_a_batch_that_lacks_what_is_measured_now_is_missing(tmp_path: Path) -> None:
    write_part(tmp_path, 0, make_part())
    write_part(tmp_path, 1, make_part(truth=np.ones((1, 3), np.float32)))
    assert missing_parts(tmp_path, 3, ["psnr"], features=False) == [2]
    assert missing_parts(tmp_path, 3, ["psnr"], features=True) == [0, 2]
    assert missing_parts(tmp_path, 3, ["psnr", "lpips"], features=False) == [0, 1, 2]


@pytest.mark.parametrize("suffix", [".json", ".npz"])
@pytest.mark.parametrize("contents", [b"", b"PK\x03\x04cut"])
def test_a_damaged_part_is_named(suffix: str, contents: bytes, tmp_path: Path) -> None:
    write_part(tmp_path, 0, make_part(truth=np.ones((1, 3), np.float32)))
    part_file(tmp_path, 0).with_suffix(suffix).write_bytes(contents)
    with pytest.raises(ValueError, match=r"000000\.json: it or 000000\.npz is damaged; remove both"):
        missing_parts(tmp_path, 1, ["psnr"], features=True)
