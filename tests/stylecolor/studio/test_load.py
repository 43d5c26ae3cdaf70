from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from statistics import median

import psutil
import pytest
import requests

from stylecolor.exemplar_colorizer import ExemplarColorizer
from tests.stylecolor.commands.running import save_photograph
from tests.stylecolor.studio.browser.studio_process import StudioProcess

SIZE = 32
REQUESTS = 200
CLIENTS = 8
TARGETS = 25
FIRST = 10
WINDOW = 50
GROWTH = 24 * 2**20
"""Bytes, by which the medians of the first and the last requests may differ. The pixels of the targets between alone are 50 MB."""
LONGEST = 120


@pytest.fixture(scope="module")
def studio(joint_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[StudioProcess]:
    """A second process."""
    with StudioProcess(tmp_path_factory.mktemp("studio"), "--checkpoint", joint_checkpoint) as studio:
        yield studio


@pytest.fixture(scope="module")
def targets(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Of different pictures and sizes."""
    folder = tmp_path_factory.mktemp("targets")
    return [save_photograph(folder / f"{number}.png", number, 320 + number % 5 * 4, 400 - number % 3 * 4) for number in range(TARGETS)]


def test_200_requests_of_8_clients_get_each_its_own_answer_in_steady_memory(
    studio: StudioProcess, targets: list[Path], joint_checkpoint: Path, tmp_path: Path
) -> None:
    reference = save_photograph(tmp_path / "colour.png", 1000)
    colorizer = ExemplarColorizer.from_checkpoint(joint_checkpoint, size=SIZE)
    expected = []
    for target in targets:
        colorizer.colorize(target, reference).save(tmp_path / target.name)
        expected.append((tmp_path / target.name).read_bytes())
    assert len(set(expected)) == TARGETS
    process = psutil.Process(studio.process.pid)

    def ask(number: int) -> tuple[int, requests.Response]:
        target = targets[number % TARGETS]
        files = {"target": (target.name, target.read_bytes()), "reference": ("colour.png", reference.read_bytes())}
        answer = requests.post(f"{studio.url}/api/colorize", files=files, data={"size": str(SIZE)}, timeout=LONGEST)
        return process.memory_info().rss, answer

    with ThreadPoolExecutor(CLIENTS) as clients:
        answers = list(clients.map(ask, range(REQUESTS)))
    assert [answer.status_code for _, answer in answers] == [200] * REQUESTS
    for number, (_, answer) in enumerate(answers):
        assert answer.content == expected[number % TARGETS]
    # eight at once need more or less from moment to moment
    memory = [used for used, _ in answers][FIRST:]
    assert median(memory[-WINDOW:]) - median(memory[:WINDOW]) < GROWTH
