"""What the page's sections are made of: tables, figures with their words, headings."""

from collections.abc import Iterable, Sequence

from report.charts import Chart
from report.html import Child, Html, tag
from report.specs import ROW_HEIGHT

Cell = tuple[str, Child]
"""CSS class ("" for none) and content."""


def table(
    caption: str, heads: Sequence[tuple[str, str]], rows: Iterable[Sequence[Cell]], css: str, **how: bool
) -> Html:
    """heads: (CSS class, title); the first cell of a row is its header, and one of the class `failed` makes its row red.

    css: `cards ...`, whose rows become small cards on a phone, or `wide`, which can be moved sideways under its first column.
    tall=True: no higher than a part of the window.
    """
    head = tag("tr", [tag("th", title, scope="col", class_=kind or None) for kind, title in heads])
    body = []
    for first, *others in rows:
        row_head = tag("th", first[1], scope="row", class_=first[0] or None)
        cells = [tag("td", content, class_=kind or None) for kind, content in others]
        body.append(tag("tr", row_head, cells, class_="failed" if first[0] == "failed" else None))
    seen = None if css == "cards statuses" else "quiet"  # elsewhere a heading says as much to those who see it
    made = tag("table", tag("caption", caption, class_=seen), tag("thead", head), tag("tbody", body), class_=css)
    box = "scroll tall" if how.get("tall") else "scroll"
    return tag("div", made, class_=box, role="region", aria_label=caption, tabindex="0")


def section(name: str, title: str, *children: Child) -> Html:
    return tag("section", tag("h2", title, id=f"{name}-title"), *children, id=name, aria_labelledby=f"{name}-title")


def figure(chart: Chart) -> Html:
    """A picture, its legend, and its figures as a table behind a line."""
    heads = [("" if i == 0 else "num", title) for i, title in enumerate(chart.columns)]
    rows = ([(css, cell) for (css, _), cell in zip(heads, cells, strict=True)] for cells in chart.cells)
    return tag(
        "figure",
        tag("figcaption", tag("h3", chart.title), legend(chart.legend) if chart.legend else None),
        tag("div", id=chart.id, class_="chart", role="img", aria_label=chart.alt, style=_height(chart)),
        tag("p", chart.note, class_="note") if chart.note else None,
        tag("details", tag("summary", "Figures"), table(chart.title, heads, rows, "wide", tall=True)),
    )


def legend(colours: Iterable[tuple[str, str]]) -> Html:
    """(colour, what it stands for) pairs; a colour is a variable of the style sheet."""
    thin = dict.fromkeys(("line", "dashes", "axis"), "thin")
    items = [
        tag("li", tag("i", style=f"background:var(--{colour})", class_=thin.get(colour), aria_hidden="true"), name)
        for colour, name in colours
    ]
    return tag("ul", items, class_="legend")


def _height(chart: Chart) -> str | None:
    return f"height:{len(chart.rows) * ROW_HEIGHT + 32}px" if chart.kind == "accounts" else None


def plural(n: int, word: str) -> str:
    return word if n == 1 else word + "s"
