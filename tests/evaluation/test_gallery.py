from pathlib import Path

import numpy as np
import pandas as pd
import torch
from PIL import Image

from evaluation.gallery import choose_places, main_method, save_strip
from evaluation.methods import Method


def method(name: str, kind: str) -> Method:
    return Method(name, kind, None, lambda pictures: pictures.truth_rgb)


def test_the_places_are_the_extremes_and_the_middle() -> None:
    scores = [5.0, 1.0, 9.0, 3.0, 7.0, 2.0]
    assert choose_places(scores, 2) == {"best": [1, 5], "median": [3, 0], "worst": [2, 4]}
    assert choose_places(scores[:1], 4) == {"best": [0], "median": [0], "worst": [0]}


def test_the_main_method_is_both_sub_nets_of_the_first_checkpoint_or_the_best_there_is() -> None:
    methods = [
        method("gray", "gray"),
        method("welsh", "welsh"),
        method("a/transfer", "transfer"),
        method("a/both", "both"),
        method("b/both", "both"),
    ]
    table = pd.DataFrame({"method": [one.name for one in methods], "ciede2000": [9.0, 1.0, 5.0, 7.0, 6.0]})
    found = {count: main_method(methods, table[:count]) for count in (5, 3, 2)}
    assert [found[count].name for count in (5, 3, 2)] == ["a/both", "a/transfer", "welsh"]  # type: ignore[union-attr]
    assert main_method(methods, table[:0]) is None


def test_a_strip_has_equal_columns(tmp_path: Path) -> None:
    columns = [torch.full((3, 16, 16), value) for value in (0.0, 0.5, 1.0)]
    save_strip(columns, tmp_path / "strip.png")
    pixels = np.array(Image.open(tmp_path / "strip.png"))
    assert pixels.shape[0] == 16
    assert pixels.shape[1] % 3 == 0
    for column, value in zip(np.split(pixels, 3, axis=1), (0, 128, 255), strict=True):
        assert (column[:, 2:-2] == value).all()
