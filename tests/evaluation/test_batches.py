from evaluation.batches import make_batches
from evaluation.pairs import Pair


def test_a_batch_holds_all_pairs_of_its_targets() -> None:
    pairs = [
        Pair(protocol, f"{target}.jpg", None if protocol == "auto" else "9.jpg") for protocol in ("palette", "auto") for target in range(5)
    ]
    batches = make_batches(pairs, 2)
    assert [batch.number for batch in batches] == [0, 1, 2]
    assert [batch.targets for batch in batches] == [["0.jpg", "1.jpg"], ["2.jpg", "3.jpg"], ["4.jpg"]]
    for batch in batches:
        assert list(batch.pairs) == ["palette", "auto"]
        for protocol, chosen in batch.pairs.items():
            assert [pair.target for _, pair in chosen] == batch.targets
            assert all(pairs[place] is pair and pair.protocol == protocol for place, pair in chosen)


def test_every_pair_stands_in_one_batch_whatever_the_list() -> None:
    pairs = [Pair("palette", "a", "b"), Pair("palette", "a", "c"), Pair("random", "d", "a"), Pair("palette", "b", "a")]
    batches = make_batches(pairs, 2)
    places = [place for batch in batches for chosen in batch.pairs.values() for place, _ in chosen]
    assert sorted(places) == [0, 1, 2, 3]
    assert [len(batch.targets) for batch in batches] == [2, 1]
