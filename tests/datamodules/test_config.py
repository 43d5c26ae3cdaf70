import pytest

from datamodules import DATA_MODULES, make_data_module
from datamodules.config import CocoConfig, DataConfig


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"image_size": 100}, r"data\.image_size=100 is no multiple of 8; use 96"),
        ({"image_size": 8}, r"data\.image_size=8"),
        ({"resize": "squish"}, r"data\.resize=squish .*did you mean squash"),
        ({"batch_size": 0}, r"data\.batch_size=0 must be at least 1"),
        ({"num_workers": -2}, r"data\.num_workers=-2"),
        ({"references": "pallete"}, r"data\.references=pallete .*did you mean palette"),
    ],
)
def test_wrong_settings_are_refused_with_the_remedy(settings: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        DataConfig(**settings)  # pyright: ignore[reportArgumentType]


@pytest.mark.parametrize("categories", [[], None, 3, [1, 2], {"giraffe": 1}])
def test_categories_must_be_names(categories: object) -> None:
    with pytest.raises(ValueError, match=r"data\.categories="):
        CocoConfig(categories=categories)


def test_one_category_needs_no_list() -> None:
    assert CocoConfig(categories="zebra").categories == ["zebra"]
    assert CocoConfig(categories="all").categories == "all"


@pytest.mark.parametrize("name", DATA_MODULES)
def test_every_source_is_made_from_its_config(name: str) -> None:
    config = DATA_MODULES[name][0]()
    assert config.name == name
    assert make_data_module(config, seed=0).config is config
