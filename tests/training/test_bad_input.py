"""What a user can get wrong with data and files: one clear line through train.py's own main function, and the exit status 1."""

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest
import torch
from PIL import Image

from datamodules import make_data_module
from datamodules.config import CocoConfig
from datamodules.dataset import PictureDataset
from datamodules.sampler import EpochOrder, TrainBatches
from tests.data import CocoPicture, make_coco, photograph, write_coco_split
from tests.training.runs import assert_all_gone, descendants, finish, refusal, run_main, start_command, tiny, wait_until


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A small COCO tree to damage."""
    return make_coco(tmp_path / "data", train=6, val=4)


def coco(root: Path, *arguments: str) -> list[str]:
    return [*tiny("colorizer", "data=coco"), f"data.root={root}", *arguments]


def test_no_data_root(tmp_path: Path) -> None:
    assert "data.root=DIR" in refusal(tmp_path, *tiny("colorizer", "data=coco"))


@pytest.mark.parametrize("kind", ["missing", "file"])
def test_a_data_root_that_is_no_directory(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "nowhere"
    if kind == "file":
        path.touch()
    assert f"data.root={path}" in refusal(tmp_path, *coco(path))


@pytest.mark.parametrize("split", ["train", "val"])
def test_a_missing_annotation_file(split: str, root: Path, tmp_path: Path) -> None:
    (root / f"annotations/instances_{split}2017.json").unlink()
    assert f"annotations/instances_{split}2017.json" in refusal(tmp_path, *coco(root))


@pytest.mark.parametrize("contents", ["", "{", "[]", "{}", '{"images": [{"id": 1}], "annotations": [], "categories": []}', "\x00\xff"])
def test_a_damaged_annotation_file(contents: str, root: Path, tmp_path: Path) -> None:
    (root / "annotations/instances_train2017.json").write_text(contents)
    assert "annotations/instances_train2017.json" in refusal(tmp_path, *coco(root, "data.categories=all"))


def test_a_split_without_pictures(root: Path, tmp_path: Path) -> None:
    write_coco_split(root, "val", [])
    assert "val" in refusal(tmp_path, *coco(root, "data.categories=all"))


def test_an_unknown_category_names_the_closest(root: Path, tmp_path: Path) -> None:
    assert "did you mean giraffe" in refusal(tmp_path, *coco(root, "data.categories=[girafe,zebra]"))


def test_a_category_without_any_picture(root: Path, tmp_path: Path) -> None:
    assert "'cat'" in refusal(tmp_path, *coco(root, "data.categories=[cat,zebra]"))


@pytest.mark.parametrize("references", ["palette", "random", "same_category"])
def test_a_subset_of_one_picture_has_no_references(references: str, root: Path, tmp_path: Path) -> None:
    write_coco_split(root, "train", [CocoPicture(photograph(1, 1), ["zebra"])])
    message = refusal(tmp_path, *coco(root, "data.categories=zebra", f"data.references={references}"))
    assert f"data.references={references}" in message


def test_fewer_pictures_than_a_batch(root: Path, tmp_path: Path) -> None:
    assert "data.batch_size=50" in refusal(tmp_path, *coco(root, "data.batch_size=50"))


@pytest.mark.parametrize("damage", ["missing", "truncated", "no picture"])
def test_too_many_bad_pictures_are_listed(damage: str, root: Path, tmp_path: Path) -> None:
    path = sorted((root / "train2017").iterdir())[2]
    if damage == "missing":
        path.unlink()
    else:
        path.write_bytes(path.read_bytes()[:300] if damage == "truncated" else b"text")
    message = refusal(tmp_path, *coco(root))
    assert path.name in message
    assert "1%" in message


def test_a_few_bad_pictures_are_skipped_with_one_counted_warning(root: Path, tmp_path: Path) -> None:
    paths = write_coco_split(root, "train", [CocoPicture(photograph(seed, seed, 24, 24), ["giraffe"]) for seed in range(100)])
    paths[7].write_bytes(paths[7].read_bytes()[:300])
    run_main(tmp_path, *coco(root, "data.categories=all", "hydra.run.dir=run", "trainer.max_steps=1"))
    log = (tmp_path / "run/train.log").read_text()
    assert log.count("left out 1 missing or damaged pictures of the train split") == 1
    assert paths[7].name in log


def damage_unnoticed(path: Path) -> None:
    """Break a picture in a way that its entry in the index, size and time, does not show."""
    status = path.stat()
    path.write_bytes(bytes(status.st_size))
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


@pytest.mark.parametrize("workers", [0, 1])
def test_a_picture_that_breaks_during_training(workers: int, root: Path, tmp_path: Path) -> None:
    run_main(tmp_path, *coco(root, "trainer.max_steps=1", "data.cache=false"))
    for path in (root / "train2017").iterdir():
        damage_unnoticed(path)
    message = refusal(tmp_path, *coco(root, "data.cache=false", f"data.num_workers={workers}"))
    assert "cannot be read now" in message
    assert "train2017" in message


def rank_1s_own_picture(root: Path) -> str:
    """A picture that the second of two processes reads first, alone, as target of its batches of two."""
    data = make_data_module(CocoConfig(root=str(root), image_size=32, batch_size=2, num_workers=0, cache=False), seed=0)
    data.prepare_data()
    data.setup("fit")
    dataset = data.datasets["train"]
    assert isinstance(dataset, PictureDataset)
    order = EpochOrder([len(dataset)], None, seed=0)
    loaders = [iter(TrainBatches(order, 2, rank, 2, lambda: (0, float("inf")))) for rank in (0, 1)]
    paths = dataset.prepared.pictures.paths
    seen: set[str] = set()
    for draws in zip(*loaders, strict=True):
        targets = [[str(paths[int(dataset.targets[position])]) for _, position in batch] for batch in draws]
        read = [set(names) for names in targets]
        for rank, batch in enumerate(draws):
            for epoch, position in batch:
                read[rank].add(str(paths[dataset.references.draw(epoch, int(dataset.targets[position]))[0]]))
        for name in targets[1]:
            if name not in seen | read[0]:
                return name
        seen |= read[0] | read[1]
    raise AssertionError("no such picture")


def test_a_mistake_that_only_the_second_process_meets_ends_both(tmp_path: Path) -> None:
    root = make_coco(tmp_path / "data", train=24, val=4)
    damage_unnoticed(root / rank_1s_own_picture(root))
    process = start_command(tmp_path, *coco(root, "trainer.devices=2", "hydra.run.dir=run", "trainer.max_steps=6", "data.cache=false"))
    wait_until(lambda: bool(descendants(process)), "the second process", process)
    children = descendants(process)
    completed = finish(process)
    assert_all_gone(children)
    assert completed.returncode == 1
    assert "Traceback" not in completed.stderr
    # what is wrong, in the words of the process that met it, and that the other one ended because of it
    errors = completed.stderr.splitlines()[-2:]
    assert [line for line in completed.stderr.splitlines() if line.startswith("error: ")] == errors
    assert sum("cannot be read now" in line for line in errors) == 1
    assert "cannot be read now" in (tmp_path / "run/train.log").read_text()


@pytest.fixture
def run(trained: Path, tmp_path: Path) -> Path:
    """A copy of a trained run."""
    return Path(shutil.copytree(trained / "outputs/colorizer/first", tmp_path / "run"))


@pytest.mark.parametrize("damage", ["truncated", "empty", "text", "other contents"])
def test_a_damaged_checkpoint(damage: str, run: Path) -> None:
    path = run / "checkpoints/last.ckpt"
    if damage == "other contents":
        torch.save([1, 2], path)
    else:
        path.write_bytes({"truncated": path.read_bytes()[: path.stat().st_size // 2], "empty": b"", "text": b"hello"}[damage])
    for arguments in (["resume=run"], ["resume=run/checkpoints/last.ckpt"], tiny("colorizer", f"stage.weights={path}")):
        message = refusal(run.parent, *arguments)
        assert str(path) in message or "run/checkpoints/last.ckpt" in message
    message = refusal(run.parent, *tiny("joint"), f"stage.transfer_checkpoint={path}", f"stage.colorizer_checkpoint={path}")
    assert "stage.transfer_checkpoint" in message


@pytest.mark.parametrize("argument", ["stage.weights=nofile", "stage.weights=/", "stage.weights=''"])
def test_weights_that_are_no_file(argument: str, tmp_path: Path) -> None:
    assert "stage.weights=" in refusal(tmp_path, *tiny("colorizer"), argument)


def test_imagenet_weights_at_another_width(tmp_path: Path) -> None:
    message = refusal(tmp_path, *tiny("transfer", "stage.encoder.weights=imagenet"))
    assert "stage.width" in message
    assert "random" in message


def test_the_traceback_is_in_the_log_alone(root: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    refusal(tmp_path, *coco(root, "data.categories=[cat]", "hydra.run.dir=run"))
    assert "Traceback" in (tmp_path / "run/train.log").read_text()
    assert "Traceback" not in capfd.readouterr().err


@pytest.mark.parametrize(
    "arguments",
    [
        ["trainer.limit_train_batches=0.0001"],
        ["trainer.limit_val_batches=0.0001"],
        ["trainer.val_check_interval=1000"],
        ["trainer.check_val_every_n_epoch=null"],
        ["trainer.accelerator=gpu"],
        ["trainer.accelerator=tpu"],
        ["trainer.devices=-1"],
    ],
    ids=str,
)
def test_settings_that_only_lightning_can_judge(arguments: list[str], tmp_path: Path) -> None:
    if arguments == ["trainer.accelerator=gpu"] and torch.cuda.is_available():
        pytest.skip("there is one")
    assert "trainer" in refusal(tmp_path, *tiny("colorizer", *arguments))


@pytest.mark.parametrize(
    ("arguments", "named"),
    [(["data.batch_size=4"], "data.batch_size=4"), (["data.batch_size=1", "trainer.devices=5"], "trainer.devices")],
    ids=str,
)
def test_more_processes_than_pictures_are_refused_before_they_start(
    arguments: list[str], named: str, root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    popen = subprocess.Popen

    def no_training(command: list[str], *args: object, **settings: object) -> object:
        # git may say its revision
        assert "train.py" not in str(command), "a process was started"
        return popen(command, *args, **settings)  # type: ignore[call-overload]

    monkeypatch.setattr(subprocess, "Popen", no_training)
    assert named in refusal(tmp_path, *coco(root, "trainer.devices=2", *arguments))


def test_pictures_of_any_size_are_taken(root: Path, tmp_path: Path) -> None:
    """Far smaller, longer and larger than image_size."""
    sizes = [(8, 8), (200, 9), (9, 200), (300, 300), (64, 48), (33, 31)]
    for name, (width, height) in zip(sorted((root / "train2017").iterdir()), sizes, strict=False):
        photograph(1, 2, width, height).save(name)
    run_main(tmp_path, *coco(root, "hydra.run.dir=run"))
    with Image.open(next((tmp_path / "run/samples").iterdir())) as sheet:
        assert sheet.width > 160


def test_annotations_of_a_picture_that_is_not_listed(root: Path, tmp_path: Path) -> None:
    path = root / "annotations/instances_train2017.json"
    contents = json.loads(path.read_text())
    contents["annotations"][0]["image_id"] = 12345
    path.write_text(json.dumps(contents))
    assert "instances_train2017.json" in refusal(tmp_path, *coco(root))


@pytest.mark.parametrize(
    ("stage", "setting", "message"),
    [
        ("transfer", "stage.encoder.weights=imagenet", "published weights exist for stage.width=1.0, got 0.125"),
        ("transfer", "stage.loss.network_weights=imagenet", "published weights exist for stage.width=1.0, got 0.125"),
        ("transfer", "stage.decoder_weights=nofile.pth", "no such file"),
        ("colorizer", "stage.weights=siggraph17", "published weights exist for stage.width=1.0, got 0.125"),
        ("colorizer", "stage.weights=sigraph17", "no such file, nor published weights (siggraph17, eccv16); did you mean siggraph17?"),
        ("joint", "stage.precolor_weights=nofile.pth", "no such file"),
    ],
)
def test_weights_that_cannot_fit_are_refused_before_anything_is_prepared(stage: str, setting: str, message: str, tmp_path: Path) -> None:
    assert f"{setting}: {message}" in refusal(tmp_path, *tiny(stage, setting))
    assert not list(tmp_path.glob("outputs/*/*"))


def test_regions_without_label_maps_are_refused_before_anything_is_prepared(tmp_path: Path) -> None:
    assert "stage.regions=true: the data has no label maps" in refusal(tmp_path, *tiny("transfer", "stage.regions=true"))
    assert not list(tmp_path.glob("outputs/*/*"))
