"""The pictures of the folder that --references names, those whose content is the most similar to the target's first."""

import asyncio
from collections.abc import AsyncIterator
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import gradio as gr

from stylecolor.errors import one_line
from stylecolor.pictures.files import read_picture
from stylecolor.pictures.sheets import thumbnail
from stylecolor.studio.abilities import abilities_of
from stylecolor.studio.line import Cancelled, Ticket
from stylecolor.studio.messages import shown
from stylecolor.studio.previews import THUMBNAIL_SIDE, encode_pixels, one_at_a_time
from stylecolor.studio.references_panel import set_references, thumbnails_of, write_thumbnail
from stylecolor.studio.running import Job, Report
from stylecolor.studio.status import say, say_refused
from stylecolor.studio.thumbnails import mend_thumbnails
from stylecolor.studio.visitor import keep_shown, session_of, visitor_of

if TYPE_CHECKING:
    from stylecolor.studio.sessions import Session
    from stylecolor.studio.signals import Signals
    from stylecolor.studio.work import Studio

SHOWN = 60
"""So many pictures of the folder at most."""
TITLE = "References to choose from"
LOOKING = "All pictures of the folder are looked at once, which may take minutes. Those like the photograph come first then."
NOT_COMPARED = "These pictures cannot be compared with the photograph; the studio's own messages say why."
NONE_READABLE = "There is no picture in the studio's folder that can be read."


class _Offered(NamedTuple):
    thumbnail: Path
    path: Path
    caption: str


class Folder:
    """The folder's pictures, small; each is read once.

    Args:
        studio: whose settings name the folder.
    """

    def __init__(self, studio: "Studio") -> None:
        self._studio = studio
        self._encoded = lru_cache(4 * SHOWN)(self._encode)

    def _encode(self, path: Path) -> bytes | None:
        try:
            self._studio.check_size(path)
            with one_at_a_time:
                return encode_pixels(thumbnail(read_picture(path, self._studio.settings.max_pixels), THUMBNAIL_SIDE))
        except (ValueError, OSError):
            # one file that cannot be read hides no other; rank leaves it out, too
            return None

    def by_name(self) -> list[tuple[Path, str]]:
        """Paths and captions."""
        return [(path, name) for name, path in self._studio.model.references[:SHOWN]]

    def by_similarity(self, target: Path, session: "Session", ticket: Ticket, report: Report) -> list[tuple[Path, str]]:
        """Paths and captions, those of the pictures that are the most similar to a target first."""
        names = {path: name for name, path in self._studio.model.references}
        ranked = self._studio.rank_references(target, SHOWN, session, report, ticket)
        return [(path, f"{names.get(path, path.name)} ({similarity:.0%})") for path, similarity in ranked]

    def write(self, session: "Session", pictures: list[tuple[Path, str]], ticket: Ticket) -> list[_Offered]:
        """Thumbnails in one directory of a session, with their pictures and captions; those that cannot be read are left out."""
        directory = session.fresh_directory()
        written = []
        for number, (path, caption) in enumerate(pictures):
            ticket.check()
            encoded = self._encoded(path)
            if encoded is not None:
                place = directory / f"{number}.jpg"
                place.write_bytes(encoded)
                written.append(_Offered(place, path, caption))
        return written


def build(studio: "Studio", signals: "Signals", references: gr.Gallery) -> None:
    """The gallery, where there is such a folder; what is chosen is shown where `references` are dropped."""
    if studio.settings.references is None:
        return
    folder = Folder(studio)
    with gr.Accordion(TITLE, elem_id="folder-panel") as panel:
        # the gallery below has a tab stop for each picture
        add = gr.Checkbox(False, label="Mix with the references above", elem_id="folder-add")
        gallery = gr.Gallery(
            show_label=False,
            columns=4,
            height="auto",
            object_fit="cover",
            allow_preview=False,
            buttons=[],
            interactive=False,
            elem_id="folder",
        )
        status = gr.HTML(elem_id="folder-status", elem_classes="status")

    async def offer(request: gr.Request) -> AsyncIterator[list[Any]]:
        if not abilities_of(studio.model).follow_references:
            yield [gr.Accordion(visible=False), *[gr.skip()] * 3]
            return
        visitor, session = visitor_of(studio, request), session_of(studio, request)
        target = visitor.target
        if visitor.offer is not None:
            visitor.offer.cancel()
        ticket = visitor.offer = Ticket()
        index = studio.model.index
        try:
            with session.job(ticket):
                compared = target is not None and studio.model.state == "ready"
                if compared:
                    index.start()
                    if not index.done:
                        yield [*[gr.skip()] * 3, say(LOOKING)]
                    # without a thread, of which all visitors together have but some
                    while not index.done:
                        await asyncio.sleep(0.1)
                        ticket.check()

                def work(ticket: Ticket, report: Report) -> list[_Offered]:
                    if target is None or not index.usable:
                        return folder.write(session, folder.by_name(), ticket)
                    ordered = folder.by_similarity(target, session, ticket, report)
                    return folder.write(session, ordered, ticket)

                pictures = await Job(work, ticket).result()
                if visitor.offer is not ticket:
                    raise Cancelled
                visitor.offered = [path for _, path, _ in pictures]
                keep_shown(session, "folder", *(thumbnail for thumbnail, _, _ in pictures))
                shown_pictures = [(thumbnail, caption) for thumbnail, _, caption in pictures]
            says = NONE_READABLE if not pictures else NOT_COMPARED if compared and not index.usable else ""
            some = bool(pictures)
            yield [
                gr.skip(),
                gr.Checkbox(visible=some),
                gr.Gallery(shown_pictures, selected_index=None, visible=some),
                say(says) if says else "",
            ]
        except Cancelled:
            # another event shows what fits the target that there is now
            yield [gr.skip()] * 4
        except (ValueError, OSError) as error:
            yield [*[gr.skip()] * 3, say_refused(one_line(error))]
        finally:
            # of a page that is closed, too
            ticket.cancel()

    def choose(add: bool, event: gr.SelectData, request: gr.Request) -> list[Any]:
        visitor, session = visitor_of(studio, request), session_of(studio, request)
        with shown():
            if event.index >= len(visitor.offered):
                raise ValueError("the pictures have changed; choose again")
            path = visitor.offered[event.index]
            present = [item for item in visitor.shown_references.items() if add and item[1] != path]
            changed = set_references(visitor, session, [*present, (write_thumbnail(studio, session, path), path)])
        return [thumbnails_of(visitor), changed]

    gr.on(
        [signals.model.change, signals.target.change],
        offer,
        None,
        [panel, add, gallery, status],
        # of many targets the last one counts, and is not kept waiting by those before
        trigger_mode="multiple",
        show_progress="hidden",
        api_visibility="private",
    ).then(None, js=mend_thumbnails("folder"))
    gallery.select(choose, add, [references, signals.references], show_progress="hidden", api_visibility="private")
