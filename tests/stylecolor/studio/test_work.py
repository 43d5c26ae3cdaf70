import errno
import gc
import shlex
import shutil
import threading
import weakref
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from stylecolor.errors import NoRoomError
from stylecolor.pictures import files
from stylecolor.pictures.files import Picture, read_picture
from stylecolor.studio.config import StudioSettings
from stylecolor.studio.line import Cancelled, Ticket
from stylecolor.studio.model import NoNetworksError
from stylecolor.studio.requests import FILE_BYTES, POINTS, REFERENCES, ClipRequest, ColorizeRequest, StylizeRequest
from stylecolor.studio.sessions import Session
from stylecolor.studio.work import ClipResult, Result, Studio, TooLargePictureError
from stylecolor.user_hints import HintPoint, write_hints
from tests.stylecolor.commands.running import assert_done, run, save_photograph
from tests.stylecolor.films import make_film, pan
from tests.stylecolor.studio.served import wait_until

SIZE = 32
LONGEST = 60
POINT = HintPoint(0.3, 0.4, 40.0, -11.5, 6.0)


def ignore(share: float, step: str) -> None:
    """What nobody wants to know."""


@pytest.fixture(scope="module")
def studio(joint_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Studio]:
    album = tmp_path_factory.mktemp("album")
    save_photograph(album / "lake.png", 7)
    save_photograph(album / "below" / "wood.jpg", 8)
    (album / "notes.txt").write_text("no picture")
    studio = Studio(StudioSettings(joint_checkpoint, references=album, max_megapixels=0.01), tmp_path_factory.mktemp("studio"))
    studio.model.start()
    assert studio.model.wait(LONGEST)
    yield studio
    studio.sessions.end_all()


@pytest.fixture
def session(studio: Studio) -> Iterator[Session]:
    with studio.sessions.single() as session:
        yield session


@pytest.fixture
def work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The visitor's own folder, and the working directory."""
    monkeypatch.chdir(tmp_path)
    Image.open(save_photograph(tmp_path / "grey.png", 3)).convert("L").save(tmp_path / "grey.png")
    save_photograph(tmp_path / "colour.png", 1)
    save_photograph(tmp_path / "other.png", 2)
    return tmp_path


def store(session: Session, path: Path) -> Path:
    with path.open("rb") as file:
        return session.write(path.name, file)


def assert_command_makes_the_same(result: Result | ClipResult) -> None:
    """In the visitor's folder, under the name that the download has."""
    program, *arguments = shlex.split(result.command)
    assert program == "stylecolor"
    assert not Path(result.path.name).exists()
    assert_done(run(*arguments))
    assert Path(result.path.name).read_bytes() == result.path.read_bytes()


def test_a_result_is_what_the_copied_command_makes_byte_for_byte(studio: Studio, session: Session, work: Path) -> None:
    target, reference = store(session, work / "grey.png"), store(session, work / "colour.png")
    steps: list[tuple[float, str]] = []
    seen: list[Picture] = []
    request = ColorizeRequest(target, (reference,), size=SIZE)
    result = studio.colorize(request, session, lambda share, step: steps.append((share, step)), look=seen.append)
    assert result.path.name == "grey_colorized.png"
    assert_command_makes_the_same(result)
    (picture,) = seen
    assert np.array_equal(read_picture(result.path).pixels, picture.pixels)
    assert result.size == picture.size
    assert [step for _, step in steps] == [
        "reading the reference",
        "reading the target",
        "pre-colorizing",
        "transferring",
        "refining",
        "painting",
    ]
    shares = [share for share, _ in steps]
    assert shares == sorted(shares)
    assert 0 <= shares[0] < shares[-1] < 1


def test_of_a_change_of_strength_only_the_painting_is_done_again(studio: Studio, session: Session, work: Path) -> None:
    target, reference = store(session, work / "grey.png"), store(session, work / "colour.png")
    studio.colorize(ColorizeRequest(target, (reference,), size=SIZE), session, ignore)
    steps: list[str] = []
    request = ColorizeRequest(target, (reference,), size=SIZE, strength=0.35, saturation=1.7)
    result = studio.colorize(request, session, lambda share, step: steps.append(step))
    assert steps == ["painting"]
    assert_command_makes_the_same(result)


def test_every_setting_is_in_the_command(studio: Studio, session: Session, work: Path) -> None:
    shutil.copy(work / "grey.png", work / "-a 'strange' name.tif")
    Image.open(work / "grey.png").save(work / "-a 'strange' name.jpg")
    target = store(session, work / "-a 'strange' name.jpg")
    references = (store(session, work / "colour.png"), store(session, work / "other.png"), studio.model.references[0][1])
    request = ColorizeRequest(target, references, (0.1, 2 / 3, 1e-3), None, None, 0.123456789, 2.5, "wct", ("bottleneck",), 40, quality=60)
    result = studio.colorize(request, session, ignore)
    assert "wood.jpg" in result.command
    assert_command_makes_the_same(result)


def test_without_a_reference_the_command_says_auto(studio: Studio, session: Session, work: Path) -> None:
    result = studio.colorize(ColorizeRequest(store(session, work / "grey.png"), size=SIZE), session, ignore)
    assert "--auto" in result.command
    assert_command_makes_the_same(result)


@pytest.mark.parametrize("guided", [True, False])
def test_points_are_those_of_the_hints_command(studio: Studio, session: Session, work: Path, guided: bool) -> None:
    references = (store(session, work / "colour.png"),) if guided else ()
    request = ColorizeRequest(store(session, work / "grey.png"), references, size=SIZE, points=(POINT,))
    result = studio.colorize(request, session, ignore)
    assert result.command.startswith("stylecolor hints grey.png")
    write_hints("points.json", request.points)
    assert_command_makes_the_same(result)
    guided_by_points = result.path.read_bytes()
    without = studio.colorize(ColorizeRequest(request.target, references, size=SIZE), session, ignore)
    assert without.path.read_bytes() != guided_by_points


def test_label_maps_are_in_the_command(studio: Studio, session: Session, work: Path) -> None:
    labels = np.zeros((40, 48), np.uint8)
    labels[:, 20:] = 1
    Image.fromarray(labels).save(work / "grey_labels.png")
    Image.fromarray(1 - labels).save(work / "colour_labels.png")
    request = ColorizeRequest(
        store(session, work / "grey.png"),
        (store(session, work / "colour.png"),),
        target_labels=store(session, work / "grey_labels.png"),
        reference_labels=store(session, work / "colour_labels.png"),
        size=SIZE,
    )
    result = studio.colorize(request, session, ignore)
    assert_command_makes_the_same(result)
    matched = result.path.read_bytes()
    plain = studio.colorize(ColorizeRequest(request.target, request.references, size=SIZE), session, ignore)
    assert plain.path.read_bytes() != matched


def test_a_photograph_is_stylized_as_the_command_does(studio: Studio, session: Session, work: Path) -> None:
    references = (store(session, work / "other.png"), store(session, work / "grey.png"))
    request = StylizeRequest(store(session, work / "colour.png"), references, (1, 2), 0.7, size=SIZE)
    result = studio.stylize(request, session, ignore)
    assert result.path.name == "colour_stylized.png"
    assert_command_makes_the_same(result)


def test_a_clip_is_colorized_as_the_command_does(studio: Studio, session: Session, work: Path) -> None:
    make_film(work / "clip.mp4", pan(frames=4), sound=None, grey=True)
    request = ClipRequest(store(session, work / "clip.mp4"), (store(session, work / "colour.png"),), 0.9, 1.2, size=SIZE, crf=20)
    steps: list[tuple[float, str]] = []
    result = studio.colorize_clip(request, session, lambda share, step: steps.append((share, step)))
    assert result.frames == 4
    assert result.damage == ""
    assert steps[-1] == (1.0, "frame 4 of 4")
    assert_command_makes_the_same(result)


def test_files_of_the_same_name_are_told_apart_in_the_command(studio: Studio, session: Session, work: Path) -> None:
    target = store(session, work / "grey.png")
    (work / "there").mkdir()
    shutil.move(work / "colour.png", work / "there" / "grey.png")
    result = studio.colorize(ColorizeRequest(target, (store(session, work / "there" / "grey.png"),), size=SIZE), session, ignore)
    assert "stylecolor colorize grey.png --reference grey-2.png" in result.command
    shutil.copy(work / "there" / "grey.png", work / "grey-2.png")
    assert_command_makes_the_same(result)


def test_label_maps_may_be_called_like_their_pictures(studio: Studio, session: Session, work: Path) -> None:
    labels = work / "labels"
    labels.mkdir()
    for name in ("grey.png", "colour.png"):
        Image.fromarray(np.zeros(Image.open(work / name).size[::-1], np.uint8)).save(labels / name)
    request = ColorizeRequest(
        store(session, work / "grey.png"),
        (store(session, work / "colour.png"),),
        target_labels=store(session, labels / "grey.png"),
        reference_labels=store(session, labels / "colour.png"),
        size=SIZE,
    )
    result = studio.colorize(request, session, ignore)
    assert "--labels grey-2.png colour-2.png" in result.command
    for name in ("grey", "colour"):
        shutil.copy(labels / f"{name}.png", work / f"{name}-2.png")
    assert_command_makes_the_same(result)


def test_an_earlier_result_as_a_reference_is_not_written_over(studio: Studio, session: Session, work: Path) -> None:
    earlier = work / "grey_colorized.png"
    shutil.copy(work / "colour.png", earlier)
    request = ColorizeRequest(store(session, work / "grey.png"), (store(session, earlier),), size=SIZE)
    result = studio.colorize(request, session, ignore)
    assert_done(run(*shlex.split(result.command)[1:]))
    assert earlier.read_bytes() == (work / "colour.png").read_bytes()
    assert (work / "grey_colorized-2.png").read_bytes() == result.path.read_bytes()


@pytest.mark.parametrize(
    ("name", "earlier"),
    [
        ("-a.png", "-a_colorized.png"),
        ("写" * 80 + ".png", "写" * 80 + "_colorized.png"),
        ("x" * 250 + ".png", "x" * 241 + "_colorized.png"),
    ],
    ids=lambda name: name[:8],
)
def test_an_earlier_result_of_an_unusual_name_is_not_written_over_either(
    studio: Studio, session: Session, work: Path, name: str, earlier: str
) -> None:
    shutil.move(work / "grey.png", work / name)
    shutil.copy(work / "colour.png", work / earlier)
    result = studio.colorize(ColorizeRequest(store(session, work / name), (store(session, work / earlier),), size=SIZE), session, ignore)
    before = set(work.iterdir())
    assert_done(run(*shlex.split(result.command)[1:]))
    assert (work / earlier).read_bytes() == (work / "colour.png").read_bytes()
    (made,) = set(work.iterdir()) - before
    assert made.name.endswith("-2.png")
    assert made.read_bytes() == result.path.read_bytes()


@pytest.mark.parametrize(
    ("name", "output"),
    [
        (" lead.png", " lead_colorized.png"),
        ("new\nline.png", "new\nline_colorized.png"),
        ("grey.png ", "grey_colorized.png"),
        ("写" * 80 + ".png", "写" * 80 + "_colorized.png"),
        ("x" * 250 + ".png", "x" * 241 + "_colorized.png"),
    ],
    ids=lambda name: name[:8],
)
def test_the_command_names_the_visitors_own_file(studio: Studio, session: Session, work: Path, name: str, output: str) -> None:
    shutil.move(work / "grey.png", work / name)
    target, reference = store(session, work / name), store(session, work / "colour.png")
    result = studio.colorize(ColorizeRequest(target, (reference,), size=SIZE), session, ignore)
    assert_done(run(*shlex.split(result.command)[1:]))
    assert (work / output).read_bytes() == result.path.read_bytes()
    # of a name that addresses on the page can have
    assert result.path.name == output.replace("\n", "").strip()


def test_films_of_long_names_are_named_as_they_are(studio: Studio, session: Session, work: Path) -> None:
    film = work / f" {'x' * 250}.mkv"
    make_film(work / "clip.mkv", pan(frames=2), sound=None, grey=True)
    shutil.move(work / "clip.mkv", film)
    result = studio.colorize_clip(ClipRequest(store(session, film), size=SIZE), session, ignore)
    arguments = shlex.split(result.command)[1:]
    assert film.name in arguments
    assert_done(run(*arguments))
    assert (work / f" {'x' * 240}_colorized.mkv").is_file()


def test_steps_belong_to_what_was_asked_though_drafts_are_dropped(studio: Studio, session: Session, work: Path) -> None:
    target = store(session, work / "grey.png")
    guided = ColorizeRequest(target, (store(session, work / "colour.png"),), size=SIZE)
    free = ColorizeRequest(target, size=SIZE)
    studio.colorize(guided, session, ignore)
    drawn = studio.draw_steps(guided, session)
    assert set(drawn) == {"precolored", "coarse", "mask"}
    assert not np.array_equal(drawn["coarse"], drawn["precolored"])
    # something else was made of the draft meanwhile, and then it is gone
    studio.colorize(free, session, ignore)
    again = studio.draw_steps(guided, session)
    studio.sessions.drafts.drop(session.directory)
    anew = studio.draw_steps(guided, session)
    for step, pixels in drawn.items():
        assert np.array_equal(again[step], pixels)
        assert np.array_equal(anew[step], pixels)


def test_of_results_nothing_stays_in_memory(studio: Studio, session: Session, work: Path) -> None:
    seen: list[weakref.ref[Picture]] = []
    request = ColorizeRequest(store(session, work / "grey.png"), size=SIZE)
    results = [studio.colorize(request, session, ignore, look=lambda picture: seen.append(weakref.ref(picture)))]
    draft = weakref.ref(session.draft(request.target, lambda: pytest.fail("its draft is not kept")))
    studio.sessions.drafts.drop(session.directory)
    gc.collect()
    assert results
    assert draft() is None
    assert [picture() for picture in seen] == [None]


def test_the_sheet_is_that_of_the_command(studio: Studio, session: Session, work: Path) -> None:
    references = (store(session, work / "colour.png"), store(session, work / "other.png"))
    request = ColorizeRequest(store(session, work / "grey.png"), references, size=SIZE)
    result = studio.colorize(request, session, ignore)
    sheet = studio.sheet(request, result, session)
    assert_done(run(*shlex.split(result.command)[1:], "--sheet", "sheet.png"))
    assert (work / "sheet.png").read_bytes() == sheet.read_bytes()


def test_a_sheet_takes_its_turn(studio: Studio, session: Session, work: Path) -> None:
    request = ColorizeRequest(store(session, work / "grey.png"), size=SIZE)
    result = studio.colorize(request, session, ignore)
    sheets: list[Path] = []
    thread = threading.Thread(target=lambda: sheets.append(studio.sheet(request, result, session)))
    with studio.line.turn(Ticket(), lambda ahead: None):
        thread.start()
        wait_until(lambda: studio.line.waiting == 1)
        assert not sheets
    thread.join(LONGEST)
    assert sheets[0].is_file()


def test_a_limit_above_that_of_the_commands_is_in_the_command(
    joint_checkpoint: Path, tmp_path: Path, work: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "MAX_PIXELS", 9_999)
    (tmp_path / "root").mkdir()
    studio = Studio(StudioSettings(joint_checkpoint, max_megapixels=0.0100004), tmp_path / "root")
    studio.model.start()
    with studio.sessions.single() as session:
        result = studio.colorize(ColorizeRequest(store(session, work / "grey.png"), size=SIZE), session, ignore)
        assert "--max-megapixels 0.0100004" in result.command
        assert_command_makes_the_same(result)


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (OSError(errno.ENOSPC, "No space left on device", "session-x/0/grey.jpg"), "cannot go on: No space left on device"),
        (MemoryError(), "the studio's memory is full"),
    ],
)
def test_what_looks_at_a_result_may_find_the_disk_or_the_memory_full(
    studio: Studio, session: Session, work: Path, error: Exception, reason: str
) -> None:
    def look(picture: Picture) -> None:
        raise error

    target = store(session, work / "grey.png")
    with pytest.raises(NoRoomError, match=reason):
        studio.colorize(ColorizeRequest(target, size=SIZE), session, ignore, look=look)
    with pytest.raises(NoRoomError, match=reason):
        studio.stylize(StylizeRequest(target, (target,), size=SIZE), session, ignore, look=look)


def test_points_are_read_from_files_of_a_usual_size(studio: Studio, tmp_path: Path) -> None:
    path = tmp_path / "points.json"
    write_hints(path, [POINT])
    assert studio.read_points(path) == (POINT,)
    path.write_bytes(path.read_bytes().ljust(FILE_BYTES + 1))
    with pytest.raises(ValueError, match=rf"^points points.json: is larger than {FILE_BYTES} bytes, which no list of points is$"):
        studio.read_points(path)


def test_a_picture_that_is_too_large_is_refused_by_its_header(studio: Studio, session: Session, work: Path) -> None:
    Image.new("L", (101, 100)).save(work / "large.png")
    # the pixels are not needed to say so
    (work / "large.png").write_bytes((work / "large.png").read_bytes()[:-30])
    large, grey = store(session, work / "large.png"), store(session, work / "grey.png")
    for request in (ColorizeRequest(large), ColorizeRequest(grey, (large,))):
        with pytest.raises(TooLargePictureError, match=r"large\.png: its 101 x 100 px are more than the 0\.01 megapixels"):
            studio.colorize(request, session, ignore)


def test_errors_call_files_by_the_names_that_visitors_know(studio: Studio, session: Session, work: Path) -> None:
    (work / "broken.png").write_bytes((work / "grey.png").read_bytes()[:200])
    (work / "text.png").write_text("no picture")
    for name, reason in (("broken.png", "is damaged or truncated"), ("text.png", "is no picture of a format that is read")):
        with pytest.raises(ValueError, match=reason) as refused:
            studio.colorize(ColorizeRequest(store(session, work / name)), session, ignore)
        assert str(refused.value).startswith(f"picture {name}: ")
        assert str(studio.sessions.root) not in str(refused.value)


def test_no_file_but_the_sessions_own_and_those_of_the_folder_is_opened(studio: Studio, session: Session, work: Path) -> None:
    own = store(session, work / "grey.png")
    with studio.sessions.single() as other:
        foreign = store(other, work / "grey.png")
        album = studio.settings.references
        assert album is not None
        for path in (work / "grey.png", foreign, album / ".." / work.name / "grey.png", session.directory / ".." / foreign.parent):
            for request in (ColorizeRequest(path), ColorizeRequest(own, (path,))):
                with pytest.raises(ValueError, match="is neither an upload of this session nor a picture of the folder"):
                    studio.colorize(request, session, ignore)


def test_a_cancelled_job_ends_at_its_next_step_and_what_is_computed_is_not_lost(studio: Studio, session: Session, work: Path) -> None:
    request = ColorizeRequest(store(session, work / "grey.png"), (store(session, work / "colour.png"),), size=SIZE)
    ticket = Ticket()

    def cancel(share: float, step: str) -> None:
        if step == "refining":
            ticket.cancel()

    with pytest.raises(Cancelled):
        studio.colorize(request, session, cancel, ticket)
    assert session.ticket is None
    steps: list[str] = []
    assert_command_makes_the_same(studio.colorize(request, session, lambda share, step: steps.append(step)))
    assert steps == ["painting"]


def test_who_waits_is_told_how_many_are_ahead_and_gets_a_turn(studio: Studio, session: Session, work: Path) -> None:
    request = ColorizeRequest(store(session, work / "grey.png"), size=SIZE)
    waiting, steps = threading.Event(), []

    def note(share: float, step: str) -> None:
        steps.append(step)
        waiting.set()

    with studio.line.turn(Ticket(), lambda ahead: None):
        thread = threading.Thread(target=studio.colorize, args=(request, session, note))
        thread.start()
        assert waiting.wait(LONGEST)
    thread.join(LONGEST)
    assert steps[0] == "waiting, 1 ahead"
    assert steps[-1] == "painting"


def test_without_networks_a_visitor_is_told_what_to_do(tmp_path: Path, work: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = tmp_path / "root"
    root.mkdir()
    (tmp_path / "broken.ckpt").write_bytes(b"no checkpoint")
    for checkpoint, reason in ((None, "make demo"), (tmp_path / "none.ckpt", "no such file"), (tmp_path / "broken.ckpt", "broken.ckpt")):
        studio = Studio(StudioSettings(checkpoint), root)
        studio.model.start()
        with studio.sessions.single() as session, pytest.raises(NoNetworksError, match=reason):
            studio.colorize(ColorizeRequest(store(session, work / "grey.png"), size=SIZE), session, ignore)
        assert studio.model.state == "missing"
        assert "\n" not in studio.model.message


def test_requests_that_cannot_be_are_refused() -> None:
    target, reference = Path("grey.png"), Path("colour.png")
    refused = {
        "strength=1.1 is outside": lambda: ColorizeRequest(target, (reference,), strength=1.1),
        "strength=0.5: says how far": lambda: ColorizeRequest(target, strength=0.5),
        "saturation=-1": lambda: ColorizeRequest(target, saturation=-1),
        "saturation=nan": lambda: ColorizeRequest(target, saturation=float("nan")),
        "size=100000 is outside 16..1024": lambda: ColorizeRequest(target, size=100000),
        "quality=0": lambda: ColorizeRequest(target, quality=0),
        "more than the 16 that are mixed": lambda: ColorizeRequest(target, (reference,) * (REFERENCES + 1)),
        "weights: 2 for 1 references": lambda: ColorizeRequest(target, (reference,), (1, 2)),
        "weights: 2 for 2": lambda: ColorizeRequest(target, (reference, target), (0, 0)),
        "weights=-1": lambda: StylizeRequest(target, (reference, target), (-1, 2)),
        "belong together": lambda: ColorizeRequest(target, (reference,), target_labels=target),
        "belong to one reference": lambda: ColorizeRequest(target, (), target_labels=target, reference_labels=target),
        "more than the 1000": lambda: ColorizeRequest(target, points=(POINT,) * (POINTS + 1)),
        "there is none": lambda: StylizeRequest(target, ()),
        "crf=52": lambda: ClipRequest(target, crf=52),
    }
    for reason, make in refused.items():
        with pytest.raises(ValueError, match=reason):
            make()
