"""HTML by construction."""

from html.parser import HTMLParser
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from report.html import Html, join, tag
from report.texts import visible


class Reader(HTMLParser):
    """Tags with attributes, and the text between."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""

    def handle_starttag(self, name: str, attributes: Any) -> None:
        self.tags.append((name, dict(attributes)))

    def handle_data(self, data: str) -> None:
        self.text += data


def read(html: str) -> Reader:
    reader = Reader()
    reader.feed(html)
    reader.close()
    return reader


@given(st.text(), st.text())
def test_no_text_becomes_markup(child: str, attribute: str) -> None:
    found = read(tag("p", child, title=attribute))
    assert [name for name, _ in found.tags] == ["p"]
    assert found.tags[0][1] == {"title": visible(attribute)}
    assert found.text == visible(child)


def test_children_and_attributes() -> None:
    made = tag(
        "td", "a<b", [tag("br"), 7], None, False, class_="num", data_name="x", hidden=True, title=None, open=False
    )
    assert made == '<td class="num" data-name="x" hidden>a&lt;b<br>7</td>'
    assert isinstance(made, Html)
    assert join("&", Html("<i>")) == "&amp;<i>"


def test_what_cannot_be_seen_is_shown() -> None:
    assert visible("a\u202eb\u2066c\x00d\u200be\ud800") == "a\ufffdb\ufffdc\ufffdd\ufffde\ufffd"
    assert visible("Zürich 東京 −5\n\t") == "Zürich 東京 −5\n\t"
