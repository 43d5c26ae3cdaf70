import numpy as np
import pytest

from datamodules.sampler import Draw, EpochOrder, EvaluationBatches, TrainBatches


def batches(
    pictures: int = 10,
    batch_size: int = 2,
    rank: int = 0,
    processes: int = 1,
    done: int = 0,
    limit: float = float("inf"),
    seed: int = 0,
) -> list[list[Draw]]:
    return list(TrainBatches(EpochOrder([pictures], None, seed), batch_size, rank, processes, lambda: (done, limit)))


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


def test_another_remainder_is_left_out_in_each_epoch() -> None:
    left = []
    for epoch in range(50):
        taken = {index for batch in batches(pictures=11, batch_size=4, done=2 * epoch) for _, index in batch}
        assert len(taken) == 8
        left.append(frozenset(range(11)) - taken)
    assert len(set(left)) > 6
    assert frozenset.union(*left) == set(range(11)), "some picture is in every epoch"


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
    assert len(TrainBatches(EpochOrder([11], None, 0), 2, 0, 1, lambda: (3, 99))) == 5
    assert len(TrainBatches(EpochOrder([11], None, 0), 2, 1, 2, lambda: (0, 99))) == 2


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


# --- several data sets ---


def test_without_weights_an_epoch_has_all_pictures_of_all_data_sets() -> None:
    order = EpochOrder([5, 0, 8], None, 0)
    assert len(order) == 13
    assert sorted(order.of(3)) == list(range(13))


@pytest.mark.parametrize(
    ("sizes", "weights", "taken"),
    [([10, 100], [0.5, 0.5], [10, 10]), ([10, 100], [1, 3], [10, 30]), ([90, 100, 20], [0.7, 0.2, 0.1], [90, 25, 12]), ([7], [2.5], [7])],
)
def test_weights_are_shares_of_an_epoch(sizes: list[int], weights: list[float], taken: list[int]) -> None:
    order = EpochOrder(sizes, weights, 0)
    ends = np.cumsum(sizes)
    for epoch in range(3):
        found = order.of(epoch)
        assert len(found) == len(set(found.tolist())) == len(order) == sum(taken)
        assert np.bincount(np.searchsorted(ends, found, side="right"), minlength=len(sizes)).tolist() == taken


def test_weighted_epochs_take_other_pictures_each_time_in_mixed_order() -> None:
    order = EpochOrder([4, 40], [1, 1], 0)
    seen = set()
    for epoch in range(100):
        found = order.of(epoch)
        assert set(range(4)) <= set(found.tolist())
        seen |= set(found.tolist())
    assert seen == set(range(44))
    assert any((order.of(epoch)[:4] >= 4).any() for epoch in range(3)), "the data sets come one after the other"
    assert not np.array_equal(order.of(0), order.of(1))
    assert not np.array_equal(order.of(0), EpochOrder([4, 40], [1, 1], 1).of(0))
    assert np.array_equal(order.of(0), EpochOrder([4, 40], [1, 1], 0).of(0))


def test_a_share_that_comes_to_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match=r"data\.weights=\[0\.98, 0\.02\]: .*\[12, 0\]"):
        EpochOrder([12, 12], [0.98, 0.02], seed=0)
