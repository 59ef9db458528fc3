"""Tables as plain descriptions: what a view of SQL looks like, for whoever makes its rows and for whoever stores them."""

import re
from typing import Any, NamedTuple

Row = tuple[Any, ...]
"""Plain values in the order of a table's columns."""


class Table(NamedTuple):
    """A table of a view.

    columns: (name, SQL type) pairs; key: names of its primary key; version: the column whose largest value is the newest row of
    a key (None: the last one written wins).
    """

    name: str
    columns: tuple[tuple[str, str], ...]
    key: tuple[str, ...]
    version: str | None = None

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(name for name, _ in self.columns)


def columns(text: str) -> tuple[tuple[str, str], ...]:
    """`name TYPE, name TYPE ...` as pairs; a type may have parameters, as `DECIMAL(38,0)`."""
    pairs = (part.split() for part in re.split(r",(?![^(]*\))", text))
    return tuple((name, kind) for name, kind in pairs)
