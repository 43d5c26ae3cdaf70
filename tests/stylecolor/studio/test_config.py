from pathlib import Path

import pytest

from stylecolor.studio.config import StudioSettings


@pytest.mark.parametrize("host", ["0.0.0.0", "192.168.0.7", "::", "studio.example", "8.8.8.8"])
def test_an_address_that_others_reach_needs_a_password_or_a_word_that_it_does_not(host: str) -> None:
    with pytest.raises(ValueError, match=r"--host .*STYLECOLOR_STUDIO_AUTH=user:password.*--no-auth"):
        StudioSettings(host=host)
    assert not StudioSettings(host=host, no_auth=True).is_loopback
    assert not StudioSettings(host=host, auth="ann:secret").is_loopback


def test_an_empty_address_is_refused() -> None:
    with pytest.raises(ValueError, match="--host: is empty"):
        StudioSettings(host="")


@pytest.mark.parametrize("host", ["127.0.0.1", "127.3.2.1", "::1", "localhost"])
def test_an_address_of_this_machine_needs_no_password(host: str) -> None:
    assert StudioSettings(host=host).is_loopback


@pytest.mark.parametrize("auth", ["ann", "ann:", ":secret", ""])
def test_a_password_without_a_name_or_the_other_way_round_is_refused_and_not_repeated(auth: str) -> None:
    with pytest.raises(ValueError, match="must be of the form user:password") as refused:
        StudioSettings(auth=auth)
    assert "secret" not in str(refused.value)


def test_settings_that_cannot_be_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"--port=70000 is outside 0\.\.65535"):
        StudioSettings(port=70000)
    with pytest.raises(ValueError, match="--max-megapixels=0 must be greater than 0"):
        StudioSettings(max_megapixels=0)
    with pytest.raises(ValueError, match=r"--references .*none: no such folder"):
        StudioSettings(references=tmp_path / "none")
    with pytest.raises(ValueError, match="exclude each other"):
        StudioSettings(auth="ann:secret", no_auth=True)
