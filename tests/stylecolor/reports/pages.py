"""Reads pages as a browser would, as far as tests look at them."""

from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path

_VOID = ("meta", "img", "br", "path", "rect", "input", "link", "hr")
_ADDRESSES = ("src", "href", "srcset", "data", "action", "poster", "xlink:href")


@dataclass
class Element:
    """A tag, its attributes, the text inside it, and the elements inside it."""

    tag: str
    attributes: dict[str, str]
    children: list["Element"] = field(default_factory=list)
    texts: list[str] = field(default_factory=list)

    @property
    def text(self) -> str:
        """All of it, white space being one space."""
        return " ".join(" ".join(self.texts).split())

    def find(self, tag: str, **attributes: str) -> list["Element"]:
        """All elements below, in order."""
        found = []
        for child in self.children:
            if child.tag == tag and all(child.attributes.get(name.rstrip("_")) == value for name, value in attributes.items()):
                found.append(child)
            found += child.find(tag, **attributes)
        return found

    def rows(self) -> list[list[str]]:
        """Of a table: the texts of its cells."""
        return [[cell.text for cell in row.children] for row in self.find("tr")]


class _Parser(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.open = [Element("page", {})]

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        element = Element(tag, {name: value or "" for name, value in attrs})
        self.open[-1].children.append(element)
        if tag not in _VOID:
            self.open.append(element)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.open[-1].children.append(Element(tag, {name: value or "" for name, value in attrs}))

    def handle_endtag(self, tag: str) -> None:
        if tag in _VOID and self.open[-1].tag != tag:
            return
        assert self.open[-1].tag == tag, f"</{tag}> closes <{self.open[-1].tag}>"
        self.open.pop()

    def handle_data(self, data: str) -> None:
        for element in self.open:
            element.texts.append(data)


def read_page(path: Path) -> Element:
    """Refuses elements that are not closed in order."""
    parser = _Parser()
    parser.feed(path.read_text(encoding="utf-8"))
    parser.close()
    assert [element.tag for element in parser.open] == ["page"]
    return parser.open[0]


def every(element: Element) -> list[Element]:
    """All elements of a page."""
    return [below for child in element.children for below in (child, *every(child))]


def assert_self_contained(path: Path) -> None:
    """Nothing is fetched: addresses are pictures in the page, places in it, or pages beside it; nor may scripts and styles fetch."""
    text = path.read_text(encoding="utf-8")
    assert "http://" not in text
    assert "https://" not in text
    assert "@import" not in text
    assert "url(" not in text
    page = read_page(path)
    for element in every(page):
        for name in _ADDRESSES:
            address = element.attributes.get(name)
            if address is not None:
                assert address.startswith(("data:image/", "#")) or (element.tag == "a" and ":" not in address), address
    assert any("default-src 'none'" in meta.attributes.get("content", "") for meta in page.find("meta"))
    for picture in page.find("img"):
        assert picture.attributes["alt"]


def assert_no_place_twice(path: Path) -> None:
    """Ids are unique, and each link within the page leads somewhere."""
    elements = every(read_page(path))
    ids = [element.attributes["id"] for element in elements if "id" in element.attributes]
    assert len(ids) == len(set(ids))
    for element in elements:
        if element.attributes.get("href", "").startswith("#"):
            assert element.attributes["href"][1:] in ids
