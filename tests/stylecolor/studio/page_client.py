"""The page without a browser: what its scripts ask the server for when somebody uses a component."""

import json
import secrets
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import requests

from tests.stylecolor.studio.served import LONGEST, Served

ANSWERS = ("process_completed", "process_generating")


class PageClient:
    """One visitor's page. It knows the components' values, and sends on the changes that depend on others, as Gradio's scripts do.

    Args:
        served: the studio.
    """

    def __init__(self, served: Served) -> None:
        self.served = served
        self.session_hash = secrets.token_hex(8)
        config = served.get("/config").json()
        self._ids = {component["props"].get("elem_id"): component["id"] for component in config["components"]}
        self.properties = {component["id"]: component["props"] for component in config["components"]}
        self._events = config["dependencies"]
        self._running: dict[str, dict[str, Any]] = {}
        """Events that have not ended, by what the server calls each time that they happened."""
        self._lock = threading.Lock()
        """Held while an event is named, of which the answer may come at once to another thread, and while what is said is taken."""
        self._said: Iterator[bytes] | None = None
        """What the server says, while it has something to say: one stream, as of a browser."""
        self._lasting = False
        """Whether something lasts as long as the page, and the stream with it."""
        self.given: Counter[str] = Counter()
        """How often the server gave each component a value."""
        self.errors: list[str] = []
        """What was refused."""
        self.warnings: list[str] = []
        """Other messages that were shown."""

    def __getitem__(self, elem_id: str) -> dict[str, Any]:
        """A component's properties, as they are now."""
        return self.properties[self._ids[elem_id]]

    def open(self) -> None:
        """Let happen what happens when a browser has the page."""
        self._lasting = True
        for event in self._events:
            for component, name in event["targets"]:
                if name == "load":
                    self._trigger(component, name)

    def leave(self) -> None:
        """See what comes of the end of its session, so that no component is made here while a test builds another page: Gradio would put
        it there."""
        if self._lasting:
            self._lasting = False
            self._follow()

    def use(self, elem_id: str, event: str, value: Any = None, data: Any = None) -> None:
        """Give a component a value, if it is another one, let one of its events happen, and see what comes of it."""
        component = self._ids[elem_id]
        if value is not None:
            self.properties[component]["value"] = value
        self._trigger(component, event, data)

    def begin(self, elem_id: str, name: str = "click") -> None:
        """Let one of a component's events happen while `use` waits in another thread, which sees what comes of it."""
        component = self._ids[elem_id]
        for event in self._events:
            if [component, name] in event["targets"]:
                self._join(event, component)

    @property
    def running(self) -> int:
        """How many events have not ended, of those that do not last."""
        return len(self._running)

    def happen(self, elem_id: str) -> None:
        """Let one event happen that changes a component, without seeing what comes of it."""
        component = self._ids[elem_id]
        event = next(event for event in self._events if component in event["outputs"])
        self._join(event, component)

    def upload(self, elem_id: str, path: Path) -> None:
        """Choose a file."""
        self.use(elem_id, "upload", self.file(path))

    def file(self, path: Path) -> dict[str, Any]:
        """A file, uploaded, as a component's value."""
        return {"path": str(self.served.upload(path)), "orig_name": path.name, "meta": {"_type": "gradio.FileData"}}

    def read(self, value: dict[str, Any]) -> bytes:
        """The contents of a file that a component shows or offers."""
        answer = self.served.get(f"/gradio_api/file={value['path']}")
        assert answer.status_code == 200, value
        return answer.content

    def _trigger(self, component: int, event: str, data: Any = None) -> None:
        happened = [one for one in self._events if [component, event] in one["targets"]]
        assert happened or event == "change", event
        for one in happened:
            self._join(one, component, data)
            for state in self._follow():
                self._trigger(state, "change")

    def _join(self, event: dict[str, Any], component: int, data: Any = None) -> None:
        values = [self.properties[each].get("value") for each in event["inputs"]]
        body = {"data": values, "event_data": data, "fn_index": event["id"], "trigger_id": component, "session_hash": self.session_hash}
        with self._lock:
            answer = self.served.post("/gradio_api/queue/join", json=body)
            assert answer.status_code == 200, answer.text
            self._running[answer.json()["event_id"]] = event

    def _follow(self) -> set[int]:
        """Take what the server says until nothing runs any more but what lasts as long as the page; the states that have changed."""
        changed: set[int] = set()
        if self._said is None:
            url = f"{self.served.url}/gradio_api/queue/data?session_hash={self.session_hash}"
            self._said = requests.get(url, stream=True, timeout=LONGEST).iter_lines()
        for line in self._said:
            if not line.startswith(b"data:"):
                continue
            message = json.loads(line.removeprefix(b"data:"))
            if message["msg"] == "close_stream":
                self._said = None
                break
            with self._lock:
                changed |= self._hear(message)
                if message["msg"] in ANSWERS and not self._running and self._lasting:
                    break
        return changed

    def _hear(self, message: dict[str, Any]) -> set[int]:
        """Take one message; the states that have changed."""
        if message["msg"] == "log":
            self.warnings.append(message["log"])
        event, output = self._running.get(message.get("event_id", "")), message.get("output", {})
        # what comes between of a generator tells what differs from the one before; the first one of those that last tells all
        if event is not None and (message["msg"] == "process_completed" or (_lasts(event) and message["msg"] in ANSWERS)):
            del self._running[message["event_id"]]
            if message["success"]:
                self._take(event["outputs"], output["data"])
            else:
                self.errors.append(output["error"])
        return set(output.get("changed_state_ids") or ())

    def _take(self, outputs: list[int], values: list[Any]) -> None:
        for output, value in zip(outputs, values, strict=True):
            updated = isinstance(value, dict) and value.get("__type__") == "update"
            changes = {name: one for name, one in value.items() if name != "__type__"} if updated else {"value": value}
            self.properties[output].update(changes)
            self.given[self.properties[output].get("elem_id")] += "value" in changes


def _lasts(event: dict[str, Any]) -> bool:
    return any(name == "load" for _, name in event["targets"])


@contextmanager
def visiting(served: Served) -> Iterator[PageClient]:
    """The page of a visitor who comes for the first time, and whose session ends with the block."""
    page = PageClient(served)
    sessions = served.studio.sessions
    with sessions.present(page.session_hash):
        # as of a page that has been loaded
        sessions.begin(page.session_hash)
        yield page
    sessions.end(page.session_hash)
    page.leave()
