import pytest

from stylecolor.studio.page import build_page
from tests.stylecolor.studio.served import Served


@pytest.mark.parametrize(("tab", "names"), [("stylize", {"stylize-photo", "stylize-reference"}), ("clip", {"clip", "clip-reference"})])
def test_what_is_dropped_at_once_is_answered_in_turn(served_page: Served, tab: str, names: set[str]) -> None:
    page = build_page(served_page.studio)
    drops = [component for component in page.blocks.values() if getattr(component, "elem_id", None) in names]
    targets = {(drop._id, event) for drop in drops for event in ("upload", "clear")}
    takes = [function for function in page.fns.values() if targets & set(function.targets)]
    # what is taken away while it is looked at is gone then
    assert [(take.concurrency_id, take.concurrency_limit) for take in takes] == [(tab, 1)] * 4
