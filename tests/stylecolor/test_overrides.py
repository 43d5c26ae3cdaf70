from typing import Any

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser

from stylecolor.overrides import hydra_value

VALUES = (
    None,
    True,
    0,
    -3,
    1e-05,
    2.5,
    "coco",
    "photographs of mine",
    "a/b_c.d-e",
    "",
    "null",
    "TRUE",
    "1e-3",
    "12",
    " led by a space",
    "it's",
    'a "quoted" one',
    "back\\slash",
    "ends in \\",
    "a,b=c:d[e]{f}(g)",
    "$home",
    "naïve",
    ["giraffe", "zebra"],
    [],
    [{"name": "coco", "root": "/some where/it's"}, {"name": "mix", "root": None}],
    {"palette": 0.7, "self": 0.3},
)


@pytest.mark.parametrize("value", VALUES, ids=repr)
def test_hydra_reads_what_was_written(value: Any) -> None:
    (override,) = OverridesParser.create().parse_overrides([f"key={hydra_value(value)}"])
    assert override.value() == value
    assert type(override.value()) is type(value)
