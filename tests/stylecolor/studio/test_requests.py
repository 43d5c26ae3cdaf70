from pathlib import Path

import pytest

from stylecolor.studio.requests import ClipRequest, ColorizeRequest, StylizeRequest

TARGET, REFERENCE, FIRST_LABELS, SECOND_LABELS = (Path(name) for name in ("grey.png", "colour.png", "a.png", "b.png"))


def test_some_site_has_to_be_chosen() -> None:
    for request in (ColorizeRequest, StylizeRequest, ClipRequest):
        with pytest.raises(ValueError, match=r"^sites: none is chosen; choose one, or matching=none$"):
            request(TARGET, (REFERENCE,), sites=())


def test_a_request_knows_its_files() -> None:
    assert ColorizeRequest(TARGET).files == (TARGET,)
    request = ColorizeRequest(TARGET, (REFERENCE,), None, FIRST_LABELS, SECOND_LABELS)
    assert request.files == (TARGET, REFERENCE, FIRST_LABELS, SECOND_LABELS)
