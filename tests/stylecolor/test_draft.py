from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from skimage import data
from skimage.color import rgb2lab

from stylecolor import ExemplarColorizer
from stylecolor.draft import REFERENCES, Draft, ReferenceInput
from stylecolor.pictures.files import Picture
from stylecolor.steps import PAINTING, PRECOLORING, READING_REFERENCE, READING_TARGET, REFINING, STEPS, TRANSFERRING, UNGUIDED
from stylecolor.user_hints import HintPoint
from tests.stylecolor.colorizers_for_tests import save_joint

SIZE = 32
GRAY = Picture(data.camera()[::5, ::4, None].copy())
DEEP = Picture(data.astronaut()[::6, ::5].astype(np.uint16) * 257 - 100, np.full((86, 103), 999, np.uint16))
COFFEE = Picture(data.coffee()[::5, ::5].copy())
CAT = Picture(data.chelsea()[::4, ::4].copy())
POINTS = (HintPoint(0.5, 0.5, 60.0, -40.0, 8.0), HintPoint(0.1, 0.9, -20.0, 30.0, 4.0))
ALL = [READING_REFERENCE, READING_TARGET, PRECOLORING, TRANSFERRING, REFINING, PAINTING]


def labels_of(picture: Picture, columns: int = 3) -> np.ndarray:
    height, width = picture.size
    return np.broadcast_to((np.arange(width) * columns // width).astype(np.uint8), (height, width)).copy()


def inputs(*references: tuple[Picture, np.ndarray | None]) -> list[ReferenceInput]:
    return [ReferenceInput(id(picture), picture, labels) for picture, labels in references]


@pytest.fixture(scope="module")
def colorizer(joint_checkpoint: Path) -> ExemplarColorizer:
    return ExemplarColorizer.from_checkpoint(joint_checkpoint, size=SIZE, device="cpu", precision="float32")


class Work:
    """A draft with the colorizer that it is compared with, and the steps that ran since the last look."""

    def __init__(self, picture: Picture, colorizer: ExemplarColorizer) -> None:
        self.draft, self.colorizer, self.ran = Draft(picture), colorizer, []

    def colorize(self, *references: tuple[Picture, np.ndarray | None], **settings: Any) -> list[str]:
        """Colorize, compare every byte with what a colorizer makes of the same, and tell which steps ran."""
        ran: list[str] = []
        found = self.draft.colorize(self.colorizer, inputs(*references), report=ran.append, **settings)
        styles = [self.colorizer.encode_reference(picture, labels) for picture, labels in references]
        expected = self.colorizer.colorize(self.draft.picture, styles if len(styles) > 1 else next(iter(styles), None), **settings)
        assert found.pixels.dtype == self.draft.picture.pixels.dtype
        assert found.pixels.tobytes() == expected.pixels.tobytes()
        assert found.alpha is self.draft.picture.alpha
        return ran


@pytest.mark.parametrize("picture", [GRAY, DEEP], ids=["8 bits", "16 bits"])
def test_results_are_those_of_the_colorizer_and_a_change_computes_what_depends_on_it(
    picture: Picture, colorizer: ExemplarColorizer
) -> None:
    work = Work(picture, colorizer)
    coffee, cat = (COFFEE, None), (CAT, None)
    assert work.colorize() == [READING_TARGET, UNGUIDED, PAINTING]
    assert work.colorize(coffee) == [READING_REFERENCE, PRECOLORING, TRANSFERRING, REFINING, PAINTING]
    assert work.colorize(coffee, strength=0.5) == [PAINTING]
    assert work.colorize(coffee, strength=0, saturation=1.5) == [PAINTING]
    assert work.colorize(coffee, hints=POINTS) == [REFINING, PAINTING]
    assert work.colorize(coffee, hints=POINTS, strength=0.5) == [UNGUIDED, PAINTING]
    assert work.colorize(coffee, hints=POINTS, strength=0.25) == [PAINTING]
    assert work.colorize(hints=POINTS) == [PAINTING]
    assert work.colorize(coffee, cat) == [READING_REFERENCE, TRANSFERRING, REFINING, PAINTING]
    assert work.colorize(coffee, cat, weights=[3, 1]) == [TRANSFERRING, REFINING, PAINTING]
    assert work.colorize(coffee, coffee, cat) == [TRANSFERRING, REFINING, PAINTING]
    assert work.colorize(cat) == [TRANSFERRING, REFINING, PAINTING]
    assert work.colorize(cat) == [PAINTING]


def test_label_maps_count_by_what_they_hold(colorizer: ExemplarColorizer) -> None:
    work = Work(GRAY, colorizer)
    labelled = (COFFEE, labels_of(COFFEE))
    assert work.colorize(labelled, target_labels=labels_of(GRAY)) == ALL
    assert work.colorize((COFFEE, labels_of(COFFEE)), target_labels=labels_of(GRAY)) == [PAINTING]
    assert work.colorize(labelled, target_labels=labels_of(GRAY, columns=2)) == [TRANSFERRING, REFINING, PAINTING]
    assert work.colorize((COFFEE, labels_of(COFFEE, 2)), target_labels=labels_of(GRAY, 2)) == [
        READING_REFERENCE,
        TRANSFERRING,
        REFINING,
        PAINTING,
    ]
    assert work.colorize((COFFEE, None)) == [READING_REFERENCE, TRANSFERRING, REFINING, PAINTING]
    with pytest.raises(ValueError, match="target labels are uint8 of shape"):
        work.colorize(labelled, target_labels=labels_of(COFFEE))


def test_another_size_matching_or_other_weights_begin_where_they_matter(joint_checkpoint: Path, colorizer: ExemplarColorizer) -> None:
    work = Work(GRAY, colorizer)
    assert work.colorize((COFFEE, None)) == ALL
    work.colorizer = colorizer.rematched("wct")
    assert work.colorize((COFFEE, None)) == [READING_REFERENCE, TRANSFERRING, REFINING, PAINTING]
    work.colorizer = colorizer.rematched(sites=["encoder", "decoder"])
    assert work.colorize((COFFEE, None)) == [READING_REFERENCE, TRANSFERRING, REFINING, PAINTING]
    work.colorizer = colorizer.rematched("wct")
    assert work.colorize((COFFEE, None)) == [TRANSFERRING, REFINING, PAINTING]
    work.colorizer = work.colorizer.resized(48)
    assert work.colorize((COFFEE, None)) == ALL
    work.colorizer = ExemplarColorizer.from_checkpoint(joint_checkpoint, size=48, device="cpu", precision="bf16").rematched("wct")
    assert work.colorize((COFFEE, None)) == ALL


@pytest.mark.parametrize(
    "settings", [{"pipeline": "transfer"}, {"pipeline": "precolor"}, {"precolor": "gray"}, {"hints": "points"}], ids=str
)
def test_networks_of_every_kind_are_followed(tmp_path: Path, settings: dict[str, str]) -> None:
    checkpoint = save_joint(tmp_path / "joint.ckpt", **settings)
    work = Work(GRAY, ExemplarColorizer.from_checkpoint(checkpoint, size=SIZE, device="cpu", precision="float32"))
    if settings.get("pipeline") == "precolor":
        assert work.colorize(hints=POINTS) == [READING_TARGET, UNGUIDED, PAINTING]
        with pytest.raises(ValueError, match="follow no reference"):
            work.colorize((COFFEE, None))
    else:
        refined = [REFINING] * ("pipeline" not in settings)
        assert work.colorize((COFFEE, None)) == [READING_REFERENCE, READING_TARGET, PRECOLORING, TRANSFERRING, *refined, PAINTING]
        assert work.colorize((COFFEE, None), strength=0.5) == [PAINTING]


@pytest.mark.parametrize("cancelled", ALL)
def test_a_report_that_raises_ends_the_work_and_the_next_call_goes_on_from_there(colorizer: ExemplarColorizer, cancelled: str) -> None:
    work = Work(GRAY, colorizer)
    ran: list[str] = []

    def report(step: str) -> None:
        if step == cancelled:
            raise InterruptedError(step)
        ran.append(step)

    with pytest.raises(InterruptedError, match=cancelled):
        work.draft.colorize(colorizer, inputs((COFFEE, None)), report=report)
    assert work.draft.steps is None
    assert ran + work.colorize((COFFEE, None)) == ALL


def test_a_reference_is_read_only_where_its_statistics_are_not_kept(colorizer: ExemplarColorizer) -> None:
    read: list[int] = []

    def reference(key: int) -> ReferenceInput:
        return ReferenceInput(key, lambda: read.append(key) or COFFEE)

    draft = Draft(GRAY)
    for key in (1, 2, 1, 2):
        draft.colorize(colorizer, [reference(key)])
    assert read == [1, 2]
    for key in range(3, REFERENCES + 3):
        draft.colorize(colorizer, [reference(key)])
    draft.colorize(colorizer, [reference(2)])
    assert read == [*range(1, REFERENCES + 3)]
    # the oldest is forgotten, and however many one colorization needs are kept
    many = [reference(key) for key in range(1, 3 * REFERENCES)]
    draft.colorize(colorizer, many)
    assert read[REFERENCES + 2 :] == [1, *range(REFERENCES + 3, 3 * REFERENCES)]
    draft.colorize(colorizer, many)
    assert len(read) == 3 * REFERENCES


def test_the_steps_between_are_shown_as_pictures_of_the_networks_size(colorizer: ExemplarColorizer) -> None:
    draft = Draft(GRAY)
    assert draft.steps is None
    draft.colorize(colorizer, inputs((COFFEE, None)), hints=POINTS, strength=0.5)
    assert draft.steps is not None
    l = colorizer.working_l(GRAY)
    expected = colorizer.networks.predict(l, colorizer.encode_reference(COFFEE))
    assert torch.equal(draft.steps.transfer_ab, expected.transfer_ab)
    assert torch.equal(draft.steps.precolor_ab, expected.precolor_ab)
    assert torch.equal(draft.steps.hints.mask.bool() | expected.hints.mask.bool(), draft.steps.hints.mask.bool())
    pictures: Sequence[np.ndarray] = [draft.precolored(), draft.coarse(), draft.mask()]
    for picture in pictures:
        assert (picture.shape, picture.dtype) == ((*l.shape[-2:], 3), np.uint8)

    assert np.abs(rgb2lab(draft.coarse())[:, :, 0] - l[0, 0].numpy()).max() < 0.7
    assert np.abs(rgb2lab(draft.mask()[l.shape[-2] // 2, l.shape[-1] // 2]) - [60, 60, -40]).max() < 1
    hidden = draft.steps.hints.mask[0, 0].numpy() == 0
    assert (np.ptp(draft.mask()[hidden], axis=-1) <= 1).all()
    draft.colorize(colorizer)
    assert torch.equal(draft.steps.ab, colorizer.networks.predict(l, None).ab)


def test_what_is_kept_is_counted_and_does_not_grow(colorizer: ExemplarColorizer) -> None:
    draft = Draft(DEEP)
    assert DEEP.alpha is not None
    assert draft.nbytes == DEEP.pixels.nbytes + DEEP.alpha.nbytes
    counted = []
    for _ in range(3):
        for strength in (1, 0.5):
            for hints in ((), POINTS):
                draft.colorize(colorizer, inputs((COFFEE, None)), hints=hints, strength=strength)
        counted.append(draft.nbytes)
    assert counted[0] == counted[1] == counted[2]
    pixels = np.prod(colorizer.working_l(DEEP).shape)
    (sampled,) = draft.reference_lab
    kept = draft.nbytes - Draft(DEEP).nbytes - colorizer.encode_reference(COFFEE).nbytes - sampled.nbytes
    # L, the picture for the encoder and its ab, the transfer's Lab, the refined ab and its hints and two empty ones: in float32
    assert 4 * 11 * pixels <= kept <= 4 * 32 * pixels


def test_every_step_has_its_name_in_the_list() -> None:
    assert set(STEPS) == {*ALL, UNGUIDED}
