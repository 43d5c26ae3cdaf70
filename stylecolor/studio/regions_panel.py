"""Label maps on the page: painted over the pictures or uploaded, for matching region by region."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import gradio as gr
import numpy as np
from jaxtyping import UInt8
from PIL import Image

from stylecolor.errors import check_range, one_line
from stylecolor.studio.label_maps import BRUSHES, VOID, label_color, label_name, overlay, read_painting, write_labels
from stylecolor.studio.messages import shown, warn
from stylecolor.studio.model import SIZES
from stylecolor.studio.picture_drop import dropped_file
from stylecolor.studio.previews import make_preview, one_at_a_time, write_pixels
from stylecolor.studio.status import say, say_refused
from stylecolor.studio.uploads import own_name
from stylecolor.studio.visitor import keep_shown, session_of, visitor_of
from stylecolor.working_size import resize_labels

if TYPE_CHECKING:
    from stylecolor.studio.sessions import Session
    from stylecolor.studio.signals import Signals
    from stylecolor.studio.visitor import VisitorState
    from stylecolor.studio.work import Studio

INTRODUCTION = """Paint what belongs together in the same colour on both pictures: each region takes the colours of its own kind. What is
not painted takes those of the whole reference. Instead, or below the paint, a label map may be uploaded: a PNG of 8 bits as large as the
picture, the same number for the same kind, 255 for none."""
COLUMNS = ("Label", "Photograph", "Reference", "Matched")
ONE_REFERENCE = "Regions are matched with one reference; there are {count}."
NO_REFERENCE = "Add a reference to match regions with."
NO_TARGET = "Drop a photograph first."
PAINT = "Paint both pictures, or upload label maps, and press Match these regions."

CSS = """
#regions-target, #regions-reference { min-height: 340px; }
"""

_NAMES = {f"rgb{label_color(label)}": label_name(label) for label in range(1, len(BRUSHES) + 1)}
"""Of the brushes, by their colours as browsers write them."""
NAME_BRUSHES = f"""() => {{
  if (window.brushesAreNamed) return;
  window.brushesAreNamed = true;
  const names = {json.dumps(_NAMES)};
  new MutationObserver(() => {{
    for (const button of document.querySelectorAll("#regions-target button, #regions-reference button")) {{
      const name = names[button.style.backgroundColor];
      if (name && button.title !== name) button.title = button.ariaLabel = name;
    }}
  }}).observe(document.body, {{childList: true, subtree: true}});
}}"""
"""A script that gives the colours of the palettes names, which Gradio's have not; a palette is there when it is opened."""

Painting = Mapping[str, Any] | None
"""What a browser sends of an editor."""
Side = Literal["target", "reference"]
SIDES: tuple[Side, Side] = ("target", "reference")


@dataclass(frozen=True)
class _Shown:
    """What the page shows of a visitor's label maps."""

    sources: tuple[Path | None, Path | None] = (None, None)
    """Target and reference."""
    previews: tuple[Path | None, Path | None] = (None, None)
    """Of them."""
    uploads: tuple[Path | None, Path | None] = (None, None)
    """Label maps that came as files."""

    def begun(self, side: Side, source: Path | None, preview: Path | None) -> "_Shown":
        """With another picture on one side, which has no labels."""
        index = SIDES.index(side)
        return _Shown(
            _replaced(self.sources, index, source), _replaced(self.previews, index, preview), _replaced(self.uploads, index, None)
        )

    def uploaded(self, side: Side, upload: Path) -> "_Shown":
        """With a label map on one side."""
        return replace(self, uploads=_replaced(self.uploads, SIDES.index(side), upload))


def _replaced(pair: tuple[Path | None, Path | None], index: int, path: Path | None) -> tuple[Path | None, Path | None]:
    return (path, pair[1]) if index == 0 else (pair[0], path)


def build(studio: "Studio", signals: "Signals", size: gr.Dropdown) -> None:
    """Put the panel here.

    Args:
        studio: has the sessions.
        signals: see there.
        size: what the networks see of the pictures, on which it depends which regions correspond.
    """
    _Panel(studio, signals, size)


class _Panel:
    def __init__(self, studio: "Studio", signals: "Signals", size: gr.Dropdown) -> None:
        self._studio = studio
        self._inputs = signals.inputs
        self._shown = gr.State(_Shown())
        gr.Markdown(INTRODUCTION, elem_id="regions-introduction", elem_classes=["note"])
        with gr.Row():
            columns = [self._side(side, name) for side, name in zip(SIDES, ("Photograph", "Reference"), strict=True)]
        self._editors = [editor for editor, _, _ in columns]
        self._columns = [column for _, _, column in columns]
        with gr.Row():
            use = gr.Button("Match these regions", variant="secondary", elem_id="regions-use")
            clear = gr.Button("Match no regions", elem_id="regions-clear")
        self._message = gr.HTML(say(NO_TARGET), elem_id="regions-message", elem_classes=["status"])
        with gr.Row(visible=False) as self._overlays:
            self._pictures = [
                gr.Image(label=f"Regions of the {what}", interactive=False, buttons=["fullscreen"], elem_id=f"regions-{side}-shown")
                for side, what in zip(SIDES, ("photograph", "reference"), strict=True)
            ]
        self._table = gr.Dataframe(
            headers=list(COLUMNS),
            datatype="str",
            value=[],
            interactive=False,
            visible=False,
            wrap=True,
            buttons=[],
            label="Shares of the pictures, and which regions correspond",
            elem_id="regions-table",
        )
        with gr.Row():
            self._downloads = [
                gr.DownloadButton(f"Save the label map of the {what}", size="sm", visible=False, elem_id=f"regions-{side}-save")
                for side, what in zip(SIDES, ("photograph", "reference"), strict=True)
            ]
        maps = [self._message, self._overlays, *self._pictures, self._table, *self._downloads, self._inputs]
        # one after the other, as they change the same maps; those of all visitors, none of which takes long
        quiet: dict[str, Any] = {
            "show_progress": "hidden",
            "api_visibility": "private",
            "concurrency_id": "regions",
            "concurrency_limit": 1,
        }
        # Gradio would open the files, whatever their size
        for side, (_, upload, _) in zip(SIDES, columns, strict=True):
            upload.upload(
                self._take_upload(side), [upload, *self._editors, self._shown, size], [self._shown, *maps], preprocess=False, **quiet
            )
        use.click(self._use, [*self._editors, self._shown, size], maps, preprocess=False, **{**quiet, "show_progress": "minimal"})
        clear.click(self._clear, self._shown, [self._shown, *self._editors, *maps], **quiet)
        gr.on(
            [signals.target.change, signals.references.change],
            self._begin,
            self._shown,
            [self._shown, *self._editors, *self._columns, *maps],
            # one answer after the other, the last one to the last change
            trigger_mode="always_last",
            **quiet,
        ).then(None, js=NAME_BRUSHES)
        size.input(self._compare, [self._shown, size], [self._table, self._message], preprocess=False, **quiet)

    @staticmethod
    def _side(side: Side, name: str) -> tuple[gr.ImageEditor, gr.UploadButton, gr.Column]:
        # there is nothing to paint on yet
        with gr.Column(min_width=300, visible=False, elem_id=f"regions-{side}-side") as column:
            colors = list(BRUSHES.values())
            editor = gr.ImageEditor(
                label=name,
                type="filepath",
                sources=[],
                transforms=[],
                layers=False,
                brush=gr.Brush(colors=[*colors], default_color=colors[0], color_mode="fixed"),
                buttons=["fullscreen"],
                interactive=True,
                elem_id=f"regions-{side}",
            )
            upload = gr.UploadButton("Upload a label map", size="sm", file_types=[".png"], elem_id=f"regions-{side}-upload")
        return editor, upload, column

    def _begin(self, before: _Shown, request: gr.Request) -> dict[Any, Any]:
        """Another target, or other references."""
        visitor, session = visitor_of(self._studio, request), session_of(self._studio, request)
        reference = visitor.references[0] if len(visitor.references) == 1 else None
        now, begun = before, {}
        for index, (side, source) in enumerate(zip(SIDES, (visitor.target, reference), strict=True)):
            if source == before.sources[index]:
                continue
            preview = visitor.preview if side == "target" else self._preview_reference(session, reference)
            now = now.begun(side, source, preview)
            begun |= {self._editors[index]: _background(preview), self._columns[index]: gr.Column(visible=preview is not None)}
        return {**self._show(visitor, session, now, (None, None), (None, None), []), **begun, self._shown: now}

    def _preview_reference(self, session: "Session", reference: Path | None) -> Path | None:
        preview = None
        if reference is not None:
            with shown(), self._studio.named_plainly():
                preview = make_preview(self._studio, session, reference).path
        # that of the target is in a slot of its own
        keep_shown(session, "regions-reference", *(() if preview is None else (preview,)))
        return preview

    def _take_upload(self, side: Side) -> Any:
        """The handler of a label map that comes as a file."""

        def take(
            upload: Mapping[str, Any],
            target_painting: Painting,
            reference_painting: Painting,
            before: _Shown,
            size: int,
            request: gr.Request,
        ) -> dict[Any, Any]:
            visitor, session = visitor_of(self._studio, request), session_of(self._studio, request)
            index = SIDES.index(side)
            dropped = dropped_file(upload)
            assert dropped is not None
            try:
                with self._studio.named_plainly(), one_at_a_time:
                    name = own_name(dropped.name or dropped.path.name)
                    other = before.uploads[1 - index]
                    # the command names them both
                    path = session.adopt(dropped.path, f"{side}_{name}" if other is not None and session.name_of(other) == name else name)
                    self._read_upload(visitor, side, path)
            except ValueError as error:
                return self._refuse(error)
            now = before.uploaded(side, path)
            return {self._shown: now, **self._use(target_painting, reference_painting, now, size, request)}

        return take

    def _read_upload(self, visitor: "VisitorState", side: Side, path: Path) -> UInt8[np.ndarray, "height width"]:
        from stylecolor.pictures.labels import read_label_map

        return read_label_map(path, _size_of(visitor, side), self._studio.settings.max_pixels)

    def _use(self, target_painting: Painting, reference_painting: Painting, now: _Shown, size: int, request: gr.Request) -> dict[Any, Any]:
        visitor, session = visitor_of(self._studio, request), session_of(self._studio, request)
        paths: list[Path | None] = []
        maps: list[np.ndarray | None] = []
        try:
            with self._studio.named_plainly(), one_at_a_time:
                for index, (side, painting) in enumerate(zip(SIDES, (target_painting, reference_painting), strict=True)):
                    path, labels = self._combine(visitor, session, side, painting, now.previews[index], now.uploads[index])
                    paths.append(path)
                    maps.append(labels)
                rows = _correspondence((maps[0], maps[1]), size)
                return self._show(visitor, session, now, (paths[0], paths[1]), (maps[0], maps[1]), rows)
        except ValueError as error:
            return self._refuse(error)

    def _refuse(self, error: ValueError) -> dict[Any, Any]:
        """Say that what there is stays, and why."""
        warn(one_line(error))
        return {self._message: say_refused(one_line(error))}

    def _compare(self, now: _Shown, size: int, request: gr.Request) -> dict[Any, Any]:
        """Another size: the maps stay, and others of their regions may be too small."""
        visitor = visitor_of(self._studio, request)
        paths = visitor.target_labels, visitor.reference_labels
        if paths[0] is None or paths[1] is None:
            return {self._table: gr.skip()}
        try:
            with self._studio.named_plainly(), one_at_a_time:
                maps = self._read_upload(visitor, "target", paths[0]), self._read_upload(visitor, "reference", paths[1])
                rows = _correspondence(maps, size)
        except ValueError as error:
            return self._refuse(error)
        return {self._table: gr.Dataframe(value=rows), self._message: say(_advise(visitor, now, paths, rows))}

    def _combine(
        self, visitor: "VisitorState", session: "Session", side: Side, painting: Painting, preview: Path | None, upload: Path | None
    ) -> tuple[Path | None, np.ndarray | None]:
        """What was painted above what was uploaded, and its file."""
        if preview is None:
            return None, None
        size = _size_of(visitor, side)
        painted = _read_paint(session, side, painting["layers"][0]["path"], preview) if painting and painting["layers"] else None
        if painted is None or (painted == VOID).all():
            return upload, None if upload is None else self._read_upload(visitor, side, upload)
        labels = resize_labels(painted, size)
        if upload is not None:
            labels = np.where(labels == VOID, self._read_upload(visitor, side, upload), labels)
        source = visitor.target if side == "target" else visitor.references[0]
        assert source is not None
        return write_labels(session.fresh_directory() / f"{source.stem}_{side}_labels.png", labels), labels

    def _clear(self, before: _Shown, request: gr.Request) -> dict[Any, Any]:
        visitor, session = visitor_of(self._studio, request), session_of(self._studio, request)
        now = replace(before, uploads=(None, None))
        editors = {editor: _background(preview) for editor, preview in zip(self._editors, now.previews, strict=True)}
        return {**self._show(visitor, session, now, (None, None), (None, None), []), **editors, self._shown: now}

    def _show(
        self,
        visitor: "VisitorState",
        session: "Session",
        now: _Shown,
        paths: tuple[Path | None, Path | None],
        maps: tuple[np.ndarray | None, np.ndarray | None],
        rows: list[list[str]],
    ) -> dict[Any, Any]:
        """Take label maps, which count only where there are two, and show them and what of them corresponds."""
        both = paths if None not in paths else (None, None)
        changed = both != (visitor.target_labels, visitor.reference_labels)
        visitor.target_labels, visitor.reference_labels = both
        updates: dict[Any, Any] = {self._inputs: visitor.changed()} if changed else {}
        names = ("photograph", "reference")
        overlays: list[Path] = []
        for index, (path, labels) in enumerate(zip(paths, maps, strict=True)):
            preview = now.previews[index]
            drawn = None
            if labels is not None and preview is not None:
                with Image.open(preview) as picture:
                    drawn = write_pixels(overlay(picture, labels), session.fresh_directory() / f"{SIDES[index]}.jpg")
                overlays.append(drawn)
            alt = f"The {names[index]} with the {0 if labels is None else len(_present(labels))} labels of its regions in colours"
            updates[self._pictures[index]] = gr.Image(value=None if drawn is None else str(drawn), alt_text=alt)
            updates[self._downloads[index]] = gr.DownloadButton(value=None if path is None else str(path), visible=path is not None)
        session.keep("regions-maps", *paths)
        session.keep("regions-uploads", *now.uploads)
        keep_shown(session, "regions-overlays", *overlays)
        updates[self._overlays] = gr.Row(visible=any(path is not None for path in paths))
        updates[self._table] = gr.Dataframe(value=rows, visible=bool(rows))
        updates[self._message] = say(_advise(visitor, now, paths, rows))
        return updates


def _correspondence(maps: tuple[np.ndarray | None, np.ndarray | None], size: int) -> list[list[str]]:
    """The rows of the table; none where there are not two maps. Raises ValueError for a size that the studio does not take."""
    # without preprocessing, nobody else has checked what the browser sends
    check_range("size", size, *SIZES)
    target, reference = maps
    if target is None or reference is None:
        return []
    from stylecolor.region_correspondence import correspondence

    return [
        [label_name(row.label), f"{row.target_share:.1%}", f"{row.reference_share:.1%}", "yes" if row.matched else f"no: {row.reason}"]
        for row in correspondence(target, reference, size)
    ]


def _background(preview: Path | None) -> dict[str, Any] | None:
    """What an editor shows: a picture and no paint."""
    return None if preview is None else {"background": str(preview), "layers": [], "composite": None}


def _read_paint(session: "Session", side: Side, upload: str, preview: Path) -> UInt8[np.ndarray, "height width"]:
    """The labels that were painted over a preview."""
    with Image.open(preview) as picture:
        size = picture.height, picture.width
    path = session.adopt(upload)
    # the page sends it again as long as nothing else is painted
    session.keep(f"regions-{side}-paint", path)
    return read_painting(path, size)


def _size_of(visitor: "VisitorState", side: Side) -> tuple[int, int]:
    """Height and width of the target, or of the one reference.

    Raises:
        ValueError: where there is none, and where there are several references.
    """
    from stylecolor.pictures.files import read_size

    if side == "target":
        if visitor.target_size is None:
            raise ValueError("there is no photograph yet; drop one first")
        return visitor.target_size
    if len(visitor.references) != 1:
        raise ValueError(f"regions are matched with one reference, there are {len(visitor.references)}")
    return read_size(visitor.references[0])


def _present(labels: np.ndarray) -> Sequence[int]:
    return np.flatnonzero(np.bincount(labels.ravel(), minlength=VOID + 1)[:VOID]).tolist()


def _advise(visitor: "VisitorState", now: _Shown, paths: Sequence[Path | None], rows: Sequence[Sequence[str]]) -> str:
    """What is so, or what to do next."""
    if now.previews[0] is None:
        return NO_TARGET
    if now.previews[1] is None:
        return ONE_REFERENCE.format(count=len(visitor.references)) if visitor.references else NO_REFERENCE
    if paths[0] is None and paths[1] is None:
        return PAINT
    if None in paths:
        missing = "photograph" if paths[0] is None else "reference"
        return f"Nothing is matched yet: the {missing} has no labels. Paint it too, or upload its label map."
    matched = sum(row[-1] == "yes" for row in rows)
    return f"{matched} of {len(rows)} label{'s' * (len(rows) > 1)} matched."
