"""HTML by construction: whatever is not markup already is escaped, so no value of a payment can become a tag or an attribute."""

from html import escape
from typing import Any

from report.texts import visible


class Html(str):
    """Text that is markup. Only `tag`, `join` and the page itself make it."""

    __slots__ = ()


Child = Any
"""Html as it is; None and False nothing; a list or tuple its members; anything else its text, escaped."""

VOID = frozenset({"br", "col", "hr", "link", "meta"})


def join(*children: Child) -> Html:
    """The children one after another."""
    parts = []
    for child in children:
        if child is None or child is False:
            continue
        if isinstance(child, Html):
            parts.append(str(child))
        elif isinstance(child, (list, tuple)):
            parts.append(join(*child))
        else:
            parts.append(escape(visible(str(child))))
    return Html("".join(parts))


def tag(name: str, /, *children: Child, **attributes: Any) -> Html:
    """An element. `class_` and `for_` lose the underscore, other underscores become hyphens.

    True is a bare attribute; one that is None or False is left out.
    """
    written = []
    for key, value in attributes.items():
        if value is None or value is False:
            continue
        key = key.rstrip("_").replace("_", "-")
        written.append(f" {key}" if value is True else f' {key}="{escape(visible(str(value)))}"')
    start = f"<{name}{''.join(written)}>"
    return Html(start if name in VOID else f"{start}{join(*children)}</{name}>")
