import pytest

from datamodules.sampler import Draw, EvaluationBatches, TrainBatches


def batches(
    pictures: int = 10,
    batch_size: int = 2,
    rank: int = 0,
    processes: int = 1,
    done: int = 0,
    limit: float = float("inf"),
    seed: int = 0,
) -> list[list[Draw]]:
    return list(TrainBatches(pictures, batch_size, seed, rank, processes, lambda: (done, limit)))


def test_an_epoch_has_every_picture_once_but_the_last_smaller_batch() -> None:
    epoch = batches(pictures=11, batch_size=2)
    assert [len(batch) for batch in epoch] == [2] * 5
    draws = [draw for batch in epoch for draw in batch]
    assert len(set(draws)) == 10
    assert {number for number, _ in draws} == {0}
    assert {index for _, index in draws} <= set(range(11))


def test_epochs_and_seeds_have_orders_of_their_own() -> None:
    def order(epoch: int, seed: int = 0) -> list[int]:
        return [index for batch in batches(pictures=20, done=10 * epoch, seed=seed) for _, index in batch]

    assert order(0) == order(0)
    assert order(0) != order(1)
    assert order(0) != order(0, seed=1)
    assert sorted(order(0)) == sorted(order(1)) == list(range(20))
    assert order(0) != list(range(20))


def test_two_processes_together_train_on_what_one_does() -> None:
    alone = batches(pictures=19, batch_size=4)
    first, second = (batches(pictures=19, batch_size=2, rank=rank, processes=2) for rank in (0, 1))
    assert len(alone) == len(first) == len(second) == 4
    for whole, *parts in zip(alone, first, second, strict=True):
        assert set(whole) == set(parts[0]) | set(parts[1])
        assert not set(parts[0]) & set(parts[1])


@pytest.mark.parametrize("done", [0, 1, 4, 5, 7, 10, 23])
def test_continuing_yields_what_is_left_of_the_epoch(done: int) -> None:
    epoch, start = divmod(done, 5)
    assert batches(done=done) == batches(done=5 * epoch)[start:]
    assert all(number == epoch for batch in batches(done=done) for number, _ in batch)


def test_a_limit_shortens_epochs() -> None:
    assert batches(limit=3) == batches()[:3]
    # two epochs of three steps are over; the third begins
    assert batches(limit=3, done=6) == batches(done=10)[:3]
    assert batches(limit=3, done=7) == batches(done=10)[1:3]
    assert batches(limit=99) == batches()


def test_the_length_is_that_of_a_whole_epoch_of_one_process() -> None:
    assert len(TrainBatches(11, 2, 0, 0, 1, lambda: (3, 99))) == 5
    assert len(TrainBatches(11, 2, 0, 1, 2, lambda: (0, 99))) == 2


def test_a_batch_larger_than_the_split_is_refused() -> None:
    with pytest.raises(ValueError, match=r"data\.batch_size=8: a step of 2 process\(es\) takes 16 pictures, the training split has 15"):
        batches(pictures=15, batch_size=8, processes=2)
    assert len(batches(pictures=16, batch_size=8, processes=2)) == 1


@pytest.mark.parametrize(("pictures", "batch_size", "processes"), [(10, 4, 1), (10, 4, 2), (10, 3, 3), (3, 4, 3)])
def test_evaluation_covers_every_picture_once_over_all_processes(pictures: int, batch_size: int, processes: int) -> None:
    samplers = [EvaluationBatches(pictures, batch_size, rank, processes) for rank in range(processes)]
    draws = [draw for sampler in samplers for batch in sampler for draw in batch]
    assert sorted(draws) == [(0, index) for index in range(pictures)]
    for sampler in samplers:
        assert len(list(sampler)) == len(sampler)
        assert all(len(batch) <= batch_size for batch in sampler)


def test_evaluation_of_fewer_pictures_than_processes_is_refused() -> None:
    with pytest.raises(ValueError, match=r"2 pictures .* 3 processes; use fewer"):
        EvaluationBatches(2, 4, 0, 3)
