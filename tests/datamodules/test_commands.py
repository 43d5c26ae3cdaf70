import base64
import io
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner, Result

import datamodules.cache
from datamodules import make_data_module, survey
from datamodules.__main__ import app
from datamodules.base import PictureDataModule
from datamodules.config import CamvidConfig, CocoConfig, FolderConfig
from datamodules.inspection import LabelColors
from datamodules.labels import VOID
from tests.data import SHOWN, make_camvid, make_coco, make_folder, make_imagenet

SIZE = "data.image_size=32"


def run(*arguments: str) -> Result:
    return CliRunner().invoke(app, list(arguments))


def inspect(page: Path, *settings: str) -> tuple[str, Result]:
    done = run("inspect", SIZE, *settings, "--output", str(page))
    assert done.exit_code == 0, done.output
    assert list(page.parent.glob(f"{page.name}*")) == [page]
    return page.read_text(), done


def embedded(html: str, kind: str) -> list[Image.Image]:
    return [Image.open(io.BytesIO(base64.b64decode(found))) for found in re.findall(f'data:image/{kind};base64,([^"]+)', html)]


def prepared(config: CocoConfig | CamvidConfig) -> PictureDataModule:
    module = make_data_module(config, seed=0)
    module.prepare_data()
    return module


def test_coco_page_and_summary(coco_root: Path, tmp_path: Path) -> None:
    html, done = inspect(tmp_path / "page.html", "data=coco", f"data.root={coco_root}", "data.categories=all", "data.label_maps=instances")
    for text in (html, done.stdout):
        for word in (*SHOWN, "train", "val", "nearly grey", str(coco_root) if text is html else "page:"):
            assert word in text
        assert "cat" not in re.findall(r"[\w ]+", text.replace("categories", ""))
    assert "http" not in html
    assert 'src="data:' in html
    assert set(re.findall(r"src=\"(.{5})", html)) == {"data:"}
    pairs = len(re.findall('<figure class="card pair">', html))
    assert pairs == 13 + 6
    assert len(embedded(html, "jpeg")) == 2 * pairs + len(re.findall("<figure title", html))
    assert {picture.size for picture in embedded(html, "jpeg")} == {(32, 32)}
    assert len(embedded(html, "png")) == 2 * pairs


def test_camvid_page_names_all_splits_and_the_classes_shown(tmp_path: Path) -> None:
    root = make_camvid(tmp_path / "camvid")
    html, done = inspect(
        tmp_path / "page.html", "data=camvid", f"data.root={root}", "data.label_maps=classes", "data.references={palette_top_k: 1, self: 1}"
    )
    for split in ("train", "val", "test"):
        assert f"Targets of {split}, each beside its reference" in html
        assert split in done.stdout
    for word in ("sky", "sign symbol", "no class", "palette_top_k", "the target, warped"):
        assert word in html
    assert "left out" not in html.split("<nav>")[0].split("<body>")[1]


def test_every_source_has_a_page(tmp_path: Path) -> None:
    coco, tree, folder = make_coco(tmp_path / "coco"), make_imagenet(tmp_path / "imagenet"), make_folder(tmp_path / "folder", pictures=12)
    html, _ = inspect(tmp_path / "1.html", "data=imagenet", f"data.root={tree}", "data.references=same_category")
    assert "n02391049" in html
    html, _ = inspect(tmp_path / "2.html", "data=folder", f"data.root={folder}", "data.references=unrelated", "data.val_fraction=0.4")
    assert "(no directory)" in html
    sources = f"data.sources=[{{name: coco, root: '{coco}', label_maps: instances}}, {{name: imagenet, root: '{tree}', references: self}}]"
    html, _ = inspect(tmp_path / "3.html", "data=mix", sources)
    assert "0-coco/zebra" in html
    assert "1-imagenet/n02391049" in html
    assert "the target, warped" in html


def test_survey_counts(coco_root: Path) -> None:
    module = prepared(CocoConfig(root=str(coco_root), image_size=32, categories="all"))
    train, val = survey.survey(module)
    assert (train.name, train.used) == ("train", 13)
    assert (val.name, val.used) == ("val", 6)
    assert train.left_out == {"nearly grey": ["train2017/000000000013.jpg"]}
    assert train.categories == dict.fromkeys(SHOWN, (3, 3))
    assert len(train.color_ranges) == len(train.sizes) == len(train.chroma) == train.draws == 13
    # EXIF turns the picture of 104 x 88
    assert [104, 88] in train.sizes.tolist()
    assert ((train.all_distances >= 0) & (train.all_distances < 1.4143)).all()
    assert sum(used.times for used in train.most_used) <= train.draws


def test_survey_distances_are_those_of_the_references(coco_root: Path) -> None:
    module = prepared(CocoConfig(root=str(coco_root), image_size=32, categories="all"))
    (_, dataset), *_ = survey.parts_of(module, "val")
    assert dataset.references.distances is not None
    (_, val) = survey.survey(module)
    np.testing.assert_allclose(val.distances["palette"], dataset.references.distances[dataset.targets, 0], atol=2e-3)
    by_chance = prepared(CocoConfig(root=str(coco_root), image_size=32, categories="all", references="random"))
    (_, dataset), *_ = survey.parts_of(by_chance, "val")
    assert dataset.references.descriptors is None
    assert survey.survey(by_chance)[1].distances["random"].max() > 0.1


def test_page_says_what_is_a_sample(coco_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for limit in ("HEADERS", "CHROMA_PICTURES", "DRAWS"):
        monkeypatch.setattr(survey, limit, 4)
    html, _ = inspect(tmp_path / "page.html", "data=coco", f"data.root={coco_root}", "data.categories=all")
    assert html.count("train: 4 evenly chosen ones of 13.") == 3
    assert html.count("val: 4 evenly chosen ones of 6.") == 3


def test_left_out_are_grouped_by_reason() -> None:
    module = make_data_module(FolderConfig(root="."), seed=0)
    module.skip("train", [("a.png", "is 3 x 4 px"), ("b.png", "is 5 x 16 px"), ("c.png", "nearly grey")])
    module.skip("val", [("d.png", "nearly grey")])
    assert survey.left_out(module, "train") == {"is N x N px": ["a.png", "b.png"], "nearly grey": ["c.png"]}
    assert survey.left_out(module, "val") == {"nearly grey": ["d.png"]}


def test_label_maps_have_the_colors_of_their_legend() -> None:
    labels = np.array([[3, 3], [7, VOID]], dtype=np.uint8)
    pixels = np.zeros((2, 2, 3), dtype=np.uint8)
    pair = survey.Pair("target", "reference", "palette", 0.1, pixels, pixels, labels, labels[:, ::-1], {3: "sky"})
    colors = LabelColors([pair])
    picture = np.asarray(Image.open(io.BytesIO(base64.b64decode(colors.png(labels, pair.label_names).partition(",")[2]))).convert("RGB"))
    legend = {name: [int(value) for value in re.findall(r"\d+", color)] for name, color in colors.legend(pair)}
    assert list(legend) == ["sky", "class 7", "no class"]
    np.testing.assert_array_equal(picture, [[legend["sky"], legend["sky"]], [legend["class 7"], legend["no class"]]])


def test_prepared_data_needs_no_decoding(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root, cache = make_coco(tmp_path / "coco"), tmp_path / "cache"
    done = run("prepare", "data=coco", f"data.root={root}", "data.categories=all", SIZE, f"data.cache_dir={cache}")
    assert done.exit_code == 0, done.output
    assert str(next((cache / "pictures").iterdir())) in done.stdout
    assert re.search(r"train +13 +1\b", done.stdout)
    assert re.search(r"val +6 +0\b", done.stdout)
    assert "nearly grey" in done.stdout

    def refuse(*_: object) -> None:
        raise AssertionError("decoded again")

    monkeypatch.setattr(datamodules.cache, "read_picture", refuse)
    module = make_data_module(CocoConfig(root=str(root), image_size=32, categories="all", cache_dir=str(cache)), seed=0)
    module.prepare_data()
    module.setup("fit")
    samples = [module.datasets["train"][0, position] for position in range(13)]
    assert all(min(sample.target.shape[:2]) == 32 for sample in samples)


@pytest.mark.parametrize("command", ["prepare", "inspect"])
@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["data=coco"], ["data.root", "data.root=DIR"]),
        (["data=coco", "data.root=nowhere"], ["data.root=nowhere"]),
        (["data=cocoo"], ["cocoo", "did you mean coco?"]),
        (["data.rot=x"], ["data.rot", "did you mean data.root"]),
        (["dat.root=x"], ["dat.root=x", "did you mean data.root"]),
        (["+data.more=1"], ["data.more", "no such setting"]),
        (["stage=joint"], ["stage=joint", "only data=, data.*= and seed="]),
        (["sed=1"], ["did you mean seed?"]),
        (["--rot", "x"], ["--rot"]),
        (["data"], ["data"]),
        (["data=camvid", "data.categories=all"], ["data.categories", "data=coco"]),
        (["data=sample", "data.image_size=20"], ["data.image_size=20", "use 16"]),
        (["data=sample", "seed=many"], ["seed"]),
    ],
)
def test_bad_settings_are_refused_in_one_line(
    command: str, arguments: list[str], words: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    done = run(command, *arguments)
    assert done.exit_code == 1
    assert done.stdout == ""
    assert re.fullmatch(r"error: [^\n]+\n", done.stderr)
    for word in words:
        assert word in done.stderr
    assert not list(tmp_path.iterdir())


def test_page_that_cannot_be_written_is_refused_at_once(tmp_path: Path) -> None:
    for output in (tmp_path, tmp_path / "no" / "page.html"):
        done = run("inspect", "data=sample", "--output", str(output))
        assert done.exit_code == 1
        assert f"--output={output}" in done.stderr


def test_entry_point_refuses_without_heavy_imports() -> None:
    command = [sys.executable, "-X", "importtime", "-m", "datamodules", "inspect", "data=cocoo"]
    done = subprocess.run(command, cwd=Path(survey.__file__).parent.parent, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith("error: data=cocoo")
    assert not re.search(r"\| +(torch|lightning)$", done.stderr, re.MULTILINE)
