"""Every figure, by its recipe and by a full evaluation, with tiny networks; and what they refuse."""

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from hydra import compose, initialize_config_dir
from PIL import Image

from datamodules import make_data_module
from datamodules.config import SampleConfig
from evaluate import EVALUATION
from evaluation.batches import PairBatches
from evaluation.checkpoints import NamedCheckpoint
from evaluation.config import EvaluationConfig
from evaluation.figures import FIGURES, figure_function, losses
from evaluation.figures.context import FigureContext
from evaluation.networks import load_checkpoints
from evaluation.pairs import PictureTable, make_pairs
from tests.data import make_camvid, make_coco
from tests.evaluation.runs import refusal, run_main, tiny
from tests.stages import make_transfer_stage, save_checkpoint
from tests.stylecolor.colorizers_for_tests import save_joint
from training.composition import CONFIG_DIRECTORY, register, to_dataclasses

COLUMNS = {
    "transfer_coco": ("target", "reference", "output", "ab", "by regions", "truth"),
    "total": ("target", "reference", "result", "truth"),
    "precolorization": ("target", "reference", "from gray", "pre-color", "from pre-color", "truth"),
    "pipeline": ("target", "reference", "pre-color", "transfer", "both", "truth"),
    "sites": ("target", "reference", "none", "bottleneck", "encoder", "decoder", "encoder, decoder", "truth"),
    "references": ("target, truth", "itself", "nearest", "second nearest", "random", "unrelated"),
}
SIDE, MARGIN, HEADER = 128, 4, 19
METRICS = "step,train/loss,val/loss\n9,4.0,\n19,2.0,\n19,,3.0\n29,1.0,\n"
RECIPES = sorted(path.stem for path in (CONFIG_DIRECTORY / "experiment").glob("figure_*.yaml"))


def settings(*overrides: str) -> EvaluationConfig:
    register(EVALUATION)
    with initialize_config_dir(str(CONFIG_DIRECTORY), version_base="1.3"):
        return to_dataclasses(compose("evaluate", overrides=list(overrides)), EVALUATION)


def cells(picture: Image.Image, figure: str) -> dict[str, np.ndarray]:
    """The pictures of a sheet, by column: (rows, 128, 128, 3)."""
    pixels = np.asarray(picture)
    columns = COLUMNS[figure]
    step = SIDE + MARGIN
    assert pixels.shape[1] == len(columns) * step + MARGIN
    rows = (pixels.shape[0] - MARGIN) // step
    top = pixels.shape[0] - MARGIN - rows * step
    return {
        name: np.stack([
            pixels[top + row * step :, MARGIN + column * step :][:SIDE, :SIDE] for row in range(rows)
        ])
        for column, name in enumerate(columns)
    }  # fmt: skip


def make_context(checkpoints: dict[str, Path], protocols: tuple[str, ...] = ("palette",), limit: int = 3, **changes: Any) -> FigureContext:
    """Pictures of the sample data set."""
    config = replace(EvaluationConfig(data=SampleConfig(image_size=32, references="self")), **changes)
    data = make_data_module(config.data, 0)
    data.prepare_splits(["val"])
    table = PictureTable(data.datasets["val"])
    pairs = make_pairs(table.dataset, protocols, limit, 0)
    device = torch.device("cpu")
    loaded = load_checkpoints([NamedCheckpoint(name, str(path)) for name, path in checkpoints.items()], device, "32-true")
    return FigureContext(config, loaded, dict.fromkeys(checkpoints), pairs, PairBatches([], table, 0), device)


def draw(figure: str, context: FigureContext) -> tuple[Image.Image, str]:
    drawn = figure_function(figure)(figure, context)
    return drawn.picture, drawn.caption


@pytest.fixture(scope="module")
def joint_run(tmp_path_factory: pytest.TempPathFactory, checkpoint: Path) -> Path:
    """The checkpoint in a run directory, beside the run of its transfer sub-net."""
    outputs = tmp_path_factory.mktemp("trained") / "outputs"
    for stage, changes in (
        ("transfer", {}),
        ("joint", {"transfer_checkpoint": str(outputs / "transfer" / "first" / "checkpoints" / "best.ckpt")}),
    ):
        run = outputs / stage / "first"
        (run / "checkpoints").mkdir(parents=True)
        shutil.copyfile(checkpoint.with_name(f"{stage}.ckpt"), run / "checkpoints" / "best.ckpt")
        (run / "config.yaml").write_text(yaml.safe_dump({"stage": {"name": stage, **changes}}))
        (run / "metrics.csv").write_text(METRICS)
    return run


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory, joint_run: Path) -> Path:
    """An evaluation with nearly all figures."""
    directory = tmp_path_factory.mktemp("figures")
    coco = make_coco(directory / "coco", val=8)
    arguments = ["data=coco", f"data.root={coco}", "data.categories=all", "data.label_maps=instances", "points=[0,2]", "gallery=0"]
    figures = ",".join(["losses", "hints", *COLUMNS])
    methods = ["protocols=[palette,self]", "methods=[gray,both]", f"figures=[{figures}]"]
    run_main(directory, *tiny(*arguments, *methods, f"checkpoint={joint_run}"), "hydra.run.dir=run")
    return directory / "run"


def test_every_figure_has_its_recipe() -> None:
    assert [f"figure_{name}" for name in sorted(FIGURES)] == RECIPES


@pytest.mark.parametrize("recipe", RECIPES)
def test_a_recipe_composes_and_meets_the_needs_that_settings_can_meet(recipe: str) -> None:
    config = settings(f"experiment={recipe}")
    (name,) = config.figures
    assert recipe == f"figure_{name}"
    kind = FIGURES[name]
    assert kind.protocol in (None, *config.protocols)
    assert kind.data in (None, config.data.name)
    assert bool(config.points) == kind.needs_points
    assert config.limit is None or config.limit <= 20


def test_a_full_evaluation_draws_figures_with_their_words_into_its_page(drawn: Path) -> None:
    page = (drawn / "report.html").read_text()
    for name in ("losses", "hints", *COLUMNS):
        words = json.loads((drawn / "figures" / f"{name}.json").read_text())
        assert words["title"] in page
        assert words["caption"]
        assert words["recipe"] == f"python evaluate.py experiment=figure_{name} checkpoint=CKPT"
        with Image.open(drawn / "figures" / f"{name}.png") as picture:
            assert min(picture.size) >= 400


def test_sheets_agree_with_each_other(drawn: Path) -> None:
    shown = {name: cells(Image.open(drawn / "figures" / f"{name}.png"), name) for name in COLUMNS}
    for name in ("total", "precolorization", "sites", "transfer_coco"):
        for column in ("target", "reference", "truth"):
            assert np.array_equal(shown[name][column], shown["pipeline"][column])
    assert np.array_equal(shown["total"]["result"], shown["pipeline"]["both"])
    # the checkpoint was trained with matching at the bottleneck and with the colorization sub-net's pre-colorization
    transferred = shown["pipeline"]["transfer"]
    for name, column in (("sites", "bottleneck"), ("precolorization", "from pre-color"), ("transfer_coco", "ab")):
        assert np.array_equal(shown[name][column], transferred)
    assert np.array_equal(shown["precolorization"]["pre-color"], shown["pipeline"]["pre-color"])
    for name, column in (
        *(("sites", sites) for sites in COLUMNS["sites"][2:-1] if sites != "bottleneck"),
        *(("precolorization", "from gray"), ("transfer_coco", "output"), ("transfer_coco", "by regions")),
    ):
        assert not np.array_equal(shown[name][column], transferred), column


def test_references_stand_above_their_results(drawn: Path) -> None:
    shown = cells(Image.open(drawn / "figures" / "references.png"), "references")
    total = cells(Image.open(drawn / "figures" / "total.png"), "total")
    assert len(shown["itself"]) == 4
    for row in (0, 1):
        assert np.array_equal(shown["target, truth"][2 * row], total["target"][row])
        assert np.array_equal(shown["target, truth"][2 * row + 1], total["truth"][row])
        assert np.array_equal(shown["nearest"][2 * row], total["reference"][row])
        assert np.array_equal(shown["nearest"][2 * row + 1], total["result"][row])
    results = [column[1] for name, column in shown.items() if name != "target, truth"]
    assert any(not np.array_equal(results[0], other) for other in results[1:])


def test_camvid_is_matched_region_by_region_unless_there_are_no_label_maps(tmp_path: Path, checkpoint: Path) -> None:
    camvid = make_camvid(tmp_path / "camvid", test=8)
    given = [argument for argument in tiny() if not argument.startswith(("data=", "limit", "gallery"))]
    arguments = [*given, "experiment=figure_transfer_camvid", f"data.root={camvid}", f"checkpoint={checkpoint}"]
    run_main(tmp_path, *arguments, "hydra.run.dir=first")
    with Image.open(tmp_path / "first" / "figures" / "transfer_camvid.png") as picture:
        shown = cells(picture, "transfer_coco")
    assert len(shown["target"]) == 6
    assert not np.array_equal(shown["ab"], shown["by regions"])
    assert "ignored" not in (tmp_path / "first" / "evaluate.log").read_text()
    shutil.rmtree(camvid / "testannot")
    assert "data.label_maps=classes" in refusal(tmp_path, *arguments)
    run_main(tmp_path, *arguments, "data.label_maps=none", "hydra.run.dir=second")
    with Image.open(tmp_path / "second" / "figures" / "transfer_camvid.png") as picture:
        assert picture.width == 5 * (SIDE + MARGIN) + MARGIN


def test_several_checkpoints_are_compared_each_at_its_own_sites(tmp_path: Path) -> None:
    names = {"before": ["encoder"], "within": ["decoder"]}
    checkpoints = {name: save_checkpoint(make_transfer_stage(sites=sites), tmp_path / f"{name}.ckpt") for name, sites in names.items()}
    picture, caption = draw("sites", make_context(checkpoints))
    assert picture.width == 5 * (SIDE + MARGIN) + MARGIN
    assert "before: encoder; within: decoder" in caption
    assert "same checkpoint" in draw("sites", make_context({"before": checkpoints["before"]}))[1]


def test_the_pooled_skips_are_a_site_where_the_decoder_has_them(tmp_path: Path) -> None:
    path = save_checkpoint(make_transfer_stage(skips="pre_pool"), tmp_path / "transfer.ckpt")
    assert draw("sites", make_context({"authors": path}))[0].width == 9 * (SIDE + MARGIN) + MARGIN


def test_a_checkpoint_that_matches_nowhere_has_no_sites(tmp_path: Path) -> None:
    path = save_checkpoint(make_transfer_stage(matching="none"), tmp_path / "transfer.ckpt")
    with pytest.raises(ValueError, match=r"stage\.matching=none"):
        draw("sites", make_context({"unmatched": path}))


def test_a_gray_encoder_gets_a_column_of_its_own(tmp_path: Path) -> None:
    path = save_joint(tmp_path / "joint.ckpt", precolor="gray_encoder")
    picture, caption = draw("precolorization", make_context({"gray": path}))
    assert picture.width == 7 * (SIDE + MARGIN) + MARGIN
    assert "stage.precolor=gray_encoder" in caption


def test_rows_are_spread_over_the_pair_list(checkpoint: Path) -> None:
    context = make_context({"joint": checkpoint}, limit=8)
    assert [context.pairs.index(pair) for pair in context.of_protocol("total", 4)] == [0, 2, 4, 6]
    assert len(context.of_protocol("total", 20)) == len(context.pairs) == 8


def test_loss_curves_are_those_of_the_runs(joint_run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plots: list[Any] = []
    drawn = losses.to_picture
    monkeypatch.setattr(losses, "to_picture", lambda plot: plots.append(plot) or drawn(plot))
    context = FigureContext(EvaluationConfig(), [], {"missing": None, "first": joint_run}, [], None, torch.device("cpu"))  # pyright: ignore[reportArgumentType]
    picture, caption = draw("losses", context)
    assert "checkpoint first" in caption
    assert [axis.get_title() for axis in plots[0].axes] == ["Transfer sub-net", "Total network"]
    for axis in plots[0].axes:
        logged, _, validated = (line.get_xydata().tolist() for line in axis.lines)
        assert logged == [[9, 4], [19, 2], [29, 1]]
        assert validated == [[19, 3]]
        assert axis.get_yscale() == "log"
    assert picture.width > picture.height >= 400


REFUSED = [
    (["figures=[transfer_camvid]"], "joint.ckpt", "shows data=camvid, and this is data=sample"),
    (["figures=[total]"], "transfer.ckpt", "figures=total: needs a checkpoint of stage=joint"),
    (["figures=[references]"], "colorizer.ckpt", "needs a checkpoint of stage=joint or transfer"),
    (["figures=[total]", "protocols=[auto]"], "joint.ckpt", "no pair of protocol palette"),
    (["figures=[losses]"], "joint.ckpt", "lies in no run directory"),
    (["figures=[hints]"], "joint.ckpt", "such as points="),
    (["figures=[hints]", "points=[0,1]"], "transfer.ckpt", "takes hints"),
]


@pytest.mark.parametrize(("arguments", "file", "expected"), REFUSED, ids=lambda value: value if isinstance(value, str) else " ".join(value))
def test_a_figure_whose_needs_are_not_met_is_refused_before_anything_is_measured(
    tmp_path: Path, checkpoint: Path, arguments: list[str], file: str, expected: str
) -> None:
    given = tiny("protocols=[palette]", "methods=[gray]", f"checkpoint={checkpoint.with_name(file)}", *arguments)
    assert expected in refusal(tmp_path, *given, "hydra.run.dir=run")
    assert not (tmp_path / "run" / "parts").exists()
    assert not (tmp_path / "run" / "pictures.csv").exists()
