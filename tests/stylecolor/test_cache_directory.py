from pathlib import Path

import pytest

from stylecolor.cache_directory import cache_directory, weights_directory


def test_the_cache_is_where_the_setting_or_the_environment_says(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("STYLECOLOR_CACHE", str(tmp_path / "here"))
    assert cache_directory() == tmp_path / "here"
    assert cache_directory("there") == Path("there")
    monkeypatch.delenv("STYLECOLOR_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert cache_directory().name == "stylecolor"


def test_weights_have_a_folder_of_their_own(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("STYLECOLOR_CACHE", str(tmp_path))
    assert weights_directory() == tmp_path / "weights"
