from pathlib import Path
from typing import Any

import pytest

from datamodules import DATA_MODULES, make_data_module
from datamodules.config import CamvidConfig, CocoConfig, DataConfig, MixConfig


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"image_size": 100}, r"data\.image_size=100 is no multiple of 8; use 96"),
        ({"image_size": 8}, r"data\.image_size=8"),
        ({"resize": "squish"}, r"data\.resize=squish .*did you mean squash"),
        ({"batch_size": 0}, r"data\.batch_size=0 must be at least 1"),
        ({"num_workers": -2}, r"data\.num_workers=-2"),
        ({"references": "pallete"}, r"data\.references=pallete .*did you mean palette"),
        ({"references": {"palette": 0.5, "slef": 0.5}}, r"data\.references=slef .*did you mean self"),
        ({"references": {"palette": 0}}, r"data\.references: the weight of palette=0 must be greater than 0"),
        ({"references": {"palette": True}}, r"data\.references: the weight of palette must be a number"),
        ({"references": {"palette": "much"}}, r"data\.references: the weight of palette must be a number, got much"),
        ({"references": {}}, r"data\.references="),
        ({"references": ["palette"]}, r"data\.references="),
        ({"references": None}, r"data\.references="),
        ({"top_k": 0}, r"data\.top_k=0"),
        ({"val_fraction": 0.0}, r"data\.val_fraction=0"),
        ({"val_fraction": 0.95}, r"data\.val_fraction=0\.95"),
        ({"min_color_range": -1.0}, r"data\.min_color_range=-1"),
        ({"label_maps": "instances"}, r"data\.label_maps=instances is not one of none"),
    ],
)
def test_wrong_settings_are_refused_with_the_remedy(settings: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        DataConfig(**settings)  # pyright: ignore[reportArgumentType]


def test_every_source_has_its_own_kinds_of_label_maps() -> None:
    assert CocoConfig(label_maps="panoptic").label_maps == "panoptic"
    assert CamvidConfig(label_maps="classes").label_maps == "classes"
    with pytest.raises(ValueError, match=r"data\.label_maps=classes is not one of none, instances, stuff, panoptic"):
        CocoConfig(label_maps="classes")


@pytest.mark.parametrize("categories", [[], None, 3, [1, 2], {"giraffe": 1}])
def test_categories_must_be_names(categories: object) -> None:
    with pytest.raises(ValueError, match=r"data\.categories="):
        CocoConfig(categories=categories)


def test_one_category_needs_no_list() -> None:
    assert CocoConfig(categories="zebra").categories == ["zebra"]
    assert CocoConfig(categories="all").categories == "all"


@pytest.mark.parametrize("name", DATA_MODULES)
def test_every_source_is_made_from_its_config(name: str, tmp_path: Path) -> None:
    kind = DATA_MODULES[name][0]
    config = kind(sources=[{"name": "folder", "root": str(tmp_path)}]) if issubclass(kind, MixConfig) else kind()
    assert config.name == name
    assert make_data_module(config, seed=0).config is config


@pytest.mark.parametrize(
    ("references", "weights"),
    [("random", {"random": 1}), ({"palette": 0.7, "self": 0.3}, {"palette": 0.7, "self": 0.3}), ({"self": 2}, {"self": 2})],
)
def test_references_are_a_kind_or_weights_of_kinds(references: object, weights: dict[str, float]) -> None:
    assert DataConfig(references=references).reference_weights() == weights


@pytest.mark.parametrize(
    ("sources", "weights", "message"),
    [
        ({"name": "coco"}, None, r"data\.sources=.*must be a list"),
        (["coco"], None, r"data\.sources=.*must be a list"),
        ([{"name": "cocco"}], None, r"data\.sources: cocco is not one of .*did you mean coco"),
        ([{"root": "x"}], None, r"data\.sources: None is not one of"),
        ([{"name": "mix"}], None, r"data\.sources: mix is not one of"),
        ([{"name": "coco", "categorys": "all"}], None, r"data\.sources: coco has no setting categorys; did you mean categories"),
        ([{"name": "folder", "image_size": 64}], None, r"image_size must be the same for all sources; set data\.image_size"),
        ([{"name": "folder", "references": "pallete"}], None, r"data\.references=pallete .*did you mean palette"),
        ([{"name": "folder"}], [1, 2], r"data\.weights=\[1, 2\] must be a list of 1 numbers"),
        ([{"name": "folder"}], 3, r"data\.weights=3 must be a list"),
        ([{"name": "folder"}], ["a"], r"data\.weights=.*numbers"),
        ([{"name": "folder"}], [0], r"data\.weights=0 must be greater than 0"),
    ],
)
def test_wrong_sources_of_a_mix_are_refused(sources: Any, weights: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        MixConfig(sources=sources, weights=weights)


def test_a_source_of_a_mix_takes_what_stands_beside_it() -> None:
    mix = MixConfig(
        image_size=64, references="random", min_color_range=2, sources=[{"name": "folder"}, {"name": "coco", "references": "self"}]
    )
    first, second = mix.source_configs()
    assert (first.name, first.image_size, first.references, first.min_color_range) == ("folder", 64, "random", 2)
    assert (second.name, second.image_size, second.references) == ("coco", 64, "self")


def test_a_mix_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match=r"data\.sources: data=mix needs data\.sources="):
        make_data_module(MixConfig(), seed=0)
