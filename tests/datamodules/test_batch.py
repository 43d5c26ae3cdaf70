import numpy as np
import pytest
import skimage.color
import torch

from datamodules.augmentation import crop
from datamodules.batch import Batch, PictureBatch, Sample, collate
from datamodules.labels import VOID

SHAPES = [((16, 16), (20, 16)), ((16, 24), (16, 16)), ((40, 16), (16, 31))]


def samples(labelled: bool = False) -> list[Sample]:
    random = np.random.default_rng(0)

    def picture(shape: tuple[int, int]) -> tuple[np.ndarray, np.ndarray | None]:
        return random.integers(0, 256, (*shape, 3), dtype=np.uint8), random.integers(0, 9, shape, dtype=np.uint8) if labelled else None

    return [
        Sample(*picture(target), *picture(reference), index == 1, 2**61 + index, f"{index}.jpg")
        for index, (target, reference) in enumerate(SHAPES)
    ]


def pictures(labelled: bool = False, random_crops: bool = False) -> PictureBatch:
    return collate(samples(labelled), random_crops)


def test_collating_packs_8_bit_pictures_and_whole_keys() -> None:
    batch = pictures(labelled=True)
    start = count = 0
    for packed, place in ((batch.target, 0), (batch.reference, 2)):
        assert packed.pixels.dtype == torch.uint8
        assert len(packed) == 3
        for index, sample in enumerate(samples(labelled=True)):
            pixels, labels = sample[place], sample[place + 1]
            assert isinstance(pixels, np.ndarray)
            assert (packed.heights[index], packed.widths[index]) == pixels.shape[:2]
            start, count = int(packed.starts[index]), pixels.shape[0] * pixels.shape[1]
            assert np.array_equal(packed.pixels[start : start + count].reshape(pixels.shape), pixels)
            assert packed.labels is not None
            assert np.array_equal(packed.labels[start : start + count].reshape(pixels.shape[:2]), labels)  # pyright: ignore[reportArgumentType]
    assert len(batch.pictures.pixels) == start + count, "there is padding"
    assert batch.keys.tolist() == [2**61, 2**61 + 1, 2**61 + 2]
    assert batch.own_reference.tolist() == [False, True, False]
    assert batch.ids == ["0.jpg", "1.jpg", "2.jpg"]
    assert len(batch) == 3


def test_without_label_maps_there_are_none() -> None:
    batch = pictures()
    assert batch.target.labels is None
    assert batch.reference.labels is None
    made = Batch.from_pictures(batch, 16)
    assert made.target_labels is None
    assert made.reference_labels is None


def test_pictures_without_a_label_map_are_void_beside_others() -> None:
    mixed = [samples(True)[0], samples(False)[1], samples(True)[2]]
    batch = Batch.from_pictures(collate(mixed, random_crops=False), 16)
    whole = Batch.from_pictures(pictures(labelled=True), 16)
    for found, expected in ((batch.target_labels, whole.target_labels), (batch.reference_labels, whole.reference_labels)):
        assert found is not None
        assert expected is not None
        assert (found[1] == VOID).all()
        assert torch.equal(found[[0, 2]], expected[[0, 2]])


@pytest.mark.parametrize("random_crops", [False, True])
def test_batches_have_float32_lab_equal_to_scikit_images(random_crops: bool) -> None:
    loaded = pictures(random_crops=random_crops)
    batch = Batch.from_pictures(loaded, 16)
    keys = loaded.keys if random_crops else None
    target, reference = (
        crop(packed, 16, keys, f"{name} crop")[0] for packed, name in ((loaded.target, "target"), (loaded.reference, "reference"))
    )
    expected = torch.from_numpy(skimage.color.rgb2lab(target.numpy(), channel_axis=1))
    for tensor in (batch.target_rgb, batch.target_l, batch.target_ab, batch.reference_rgb):
        assert tensor.dtype == torch.float32
        assert tensor.shape[2:] == (16, 16)
    torch.testing.assert_close(torch.cat((batch.target_l, batch.target_ab), dim=1).double(), expected, atol=1e-3, rtol=0)
    assert torch.equal((batch.target_rgb * 255).round().to(torch.uint8), target)
    assert torch.equal((batch.reference_rgb * 255).round().to(torch.uint8), reference)
    assert torch.equal(batch.keys, loaded.keys)
    assert len(batch) == 3


def test_validation_takes_the_middle_of_each_picture() -> None:
    batch = Batch.from_pictures(pictures(), 16)
    for index, sample in enumerate(samples()):
        top, left = (sample.target.shape[0] - 16) // 2, (sample.target.shape[1] - 16) // 2
        middle = torch.from_numpy(sample.target[top : top + 16, left : left + 16]).permute(2, 0, 1)
        assert torch.equal((batch.target_rgb[index] * 255).round().to(torch.uint8), middle)


def test_a_pictures_crop_does_not_depend_on_the_others_of_its_batch() -> None:
    whole = Batch.from_pictures(pictures(True, random_crops=True), 16, warps=True)
    for index in range(3):
        alone = Batch.from_pictures(collate([samples(True)[index]], random_crops=True), 16, warps=True)
        for name in ("target_rgb", "target_ab", "reference_rgb", "target_labels", "reference_labels"):
            assert torch.equal(getattr(alone, name)[0], getattr(whole, name)[index]), name


def test_only_own_references_are_warped() -> None:
    loaded = pictures(random_crops=True)
    plain, warped = Batch.from_pictures(loaded, 16), Batch.from_pictures(loaded, 16, warps=True)
    assert [torch.equal(plain.reference_rgb[i], warped.reference_rgb[i]) for i in range(3)] == [True, False, True]
    assert torch.equal(plain.target_rgb, warped.target_rgb)


def test_moving_keeps_every_field() -> None:
    loaded = pictures(labelled=True, random_crops=True)
    moved = loaded.to("cpu", non_blocking=True)
    assert isinstance(moved, PictureBatch)
    for name in ("target", "reference"):
        for field, value in vars(getattr(loaded, name)).items():
            assert torch.equal(getattr(getattr(moved, name), field), value)
    assert torch.equal(moved.own_reference, loaded.own_reference)
    assert torch.equal(moved.keys, loaded.keys)
    assert moved.ids == loaded.ids
    assert moved.random_crops


def test_moving_to_another_device_moves_everything() -> None:
    moved = pictures(labelled=True).to("meta")
    tensors = [value for name in ("target", "reference") for value in vars(getattr(moved, name)).values()] + [
        moved.keys,
        moved.own_reference,
    ]
    assert {tensor.device.type for tensor in tensors} == {"meta"}


def test_collating_finds_the_labels_that_occur() -> None:
    made = samples(labelled=True)
    loaded = collate(made, random_crops=True)
    maps = [labels for sample in made for labels in (sample.target_labels, sample.reference_labels) if labels is not None]
    assert loaded.label_values == tuple(sorted({int(value) for labels in maps for value in np.unique(labels)}))
    assert loaded.to("cpu").label_values == loaded.label_values
    assert pictures().label_values == ()


def test_void_is_no_label() -> None:
    whole = samples(labelled=True)[0]
    void = whole._replace(target_labels=np.full((16, 16), VOID, np.uint8), reference_labels=np.full((20, 16), 7, np.uint8))
    assert collate([void], random_crops=False).label_values == (7,)


def test_a_batch_gives_the_label_maps_of_both_sides() -> None:
    batch = Batch.from_pictures(pictures(labelled=True, random_crops=True), 16)
    target, reference = batch.label_maps()
    assert target.labels is batch.target_labels
    assert reference.labels is batch.reference_labels
    assert target.values == reference.values == batch.label_values == tuple(range(9))


def test_label_maps_that_the_data_does_not_have_are_refused() -> None:
    with pytest.raises(ValueError, match=r"stage\.regions=true: the data has no label maps; choose them with data\.label_maps"):
        Batch.from_pictures(pictures(), 16).label_maps()
