import skimage.color
import torch

from datamodules.batch import Batch, PictureBatch, collate


def pictures() -> PictureBatch:
    targets, references = torch.randint(0, 256, (2, 3, 3, 16, 16), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    return collate([(targets[index], references[index], 2**61 + index, f"{index}.jpg") for index in range(3)])


def test_collating_stacks_8_bit_pictures_and_whole_keys() -> None:
    batch = pictures()
    assert batch.target.shape == batch.reference.shape == (3, 3, 16, 16)
    assert batch.target.dtype == batch.reference.dtype == torch.uint8
    assert batch.keys.tolist() == [2**61, 2**61 + 1, 2**61 + 2]
    assert batch.ids == ["0.jpg", "1.jpg", "2.jpg"]
    assert len(batch) == 3


def test_batches_have_float32_lab_equal_to_scikit_images() -> None:
    loaded = pictures()
    batch = Batch.from_pictures(loaded)
    expected = torch.from_numpy(skimage.color.rgb2lab(loaded.target.numpy(), channel_axis=1))
    for tensor in (batch.target_rgb, batch.target_l, batch.target_ab, batch.reference_rgb):
        assert tensor.dtype == torch.float32
    torch.testing.assert_close(torch.cat((batch.target_l, batch.target_ab), dim=1).double(), expected, atol=1e-3, rtol=0)
    assert torch.equal((batch.target_rgb * 255).round().to(torch.uint8), loaded.target)
    assert torch.equal((batch.reference_rgb * 255).round().to(torch.uint8), loaded.reference)
    assert torch.equal(batch.keys, loaded.keys)
    assert len(batch) == 3


def test_moving_keeps_every_field() -> None:
    loaded = pictures()
    moved = loaded.to("cpu", non_blocking=True)
    assert isinstance(moved, PictureBatch)
    assert torch.equal(moved.target, loaded.target)
    assert torch.equal(moved.reference, loaded.reference)
    assert torch.equal(moved.keys, loaded.keys)
    assert moved.ids == loaded.ids
