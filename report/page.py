"""The page put together: one HTML file with its style, its scripts and its data, which asks the network for nothing."""

import base64
import hashlib
import json
import re
import threading
from collections.abc import Sequence
from concurrent.futures import Future
from functools import lru_cache
from pathlib import Path
from typing import Any

from report import charts, sections, specs, summary, texts
from report.auction_data import AuctionFigures, read_auctions
from report.auctions import SECTIONS as AUCTION_SECTIONS
from report.auctions import auction_sections
from report.checks import Check, logs_check, read_checks
from report.data import read_figures
from report.facts import AuctionFacts, RunFacts
from report.figures import Figures
from report.html import Html, join, tag
from report.latency import latency_chart
from report.money import money_section
from report.views import open_views

MAX_PANELS = 12
"""Currencies with charts and tables of their own; the busiest ones."""

_ASSETS = Path(__file__).parent / "assets"
_SECTIONS = (
    ("statuses", "Statuses"),
    ("money", "Money"),
    ("trial", "Trial balance"),
    ("latency", "Latency"),
    ("letters", "Dead letters"),
    ("checks", "Checks"),
    ("run", "This run"),
)


def write_report(
    database: str | Path,
    output: str | Path,
    facts: RunFacts,
    violations: Sequence[str] | None = None,
    auction_facts: AuctionFacts | None = None,
) -> list[Check]:
    """Writes the page of a views database to `output`; gives the checks of the views, so that the caller can fail when one does.

    violations: what checkers of the logs have found, a line each (none: they found nothing; None: they were not asked); the page
    has them as one more check. The same database, facts and violations give the same bytes.
    auction_facts: for a run of auctions, whose views have sections of their own.
    Raises `report.views.NoViews` for a file that is no such database.
    """
    vega = _in_background(vega_script)
    with open_views(Path(database)) as db:
        figures, checks, auctions = read_figures(db), read_checks(db), read_auctions(db)
    shown = checks if violations is None else [*checks, logs_check(violations)]
    Path(output).write_bytes(render(figures, shown, facts, vega.result(), auctions, auction_facts).encode())
    return checks


def render(
    figures: Figures,
    checks: list[Check],
    facts: RunFacts,
    vega: str,
    auctions: AuctionFigures | None = None,
    auction_facts: AuctionFacts | None = None,
) -> str:
    """The page as text. `vega` is the script that defines `vega`."""
    of_auctions = [] if auctions is None else auction_sections(auctions, auction_facts or AuctionFacts())
    titles = _SECTIONS if auctions is None else (*AUCTION_SECTIONS, *_SECTIONS)
    shown = [
        (currency, charts.currency_charts(currency, figures.width, figures.width_name, number))
        for number, currency in enumerate(figures.currencies[:MAX_PANELS])
    ]
    latency = latency_chart(figures.latencies)
    drawn = [chart for _, of_currency in shown for chart in of_currency] + ([latency] if latency else [])
    body = join(
        tag("a", "To the figures", href=f"#{titles[0][0]}", class_="skip"),
        tag(
            "header",
            tag("h1", facts.title),
            tag("p", _subtitle(figures), class_="lead"),
            summary.verdict(checks),
            summary.tiles(figures, facts),
            tag(
                "nav",
                tag("ul", [tag("li", tag("a", title, href=f"#{name}")) for name, title in titles]),
                aria_label="Sections",
            ),
        ),
        tag(
            "main",
            tag("noscript", tag("p", "The pictures need JavaScript; their figures are in the tables below them.")),
            of_auctions,
            sections.status_section(figures),
            money_section(shown, len(figures.currencies) - len(shown)),
            sections.trial_section(figures.trial),
            sections.latency_section(latency, figures, facts),
            sections.dead_letter_section(figures.dead_letters),
            sections.checks_section(checks),
            sections.run_section(figures, facts),
        ),
        tag("footer", tag("p", "Made by beam-on-rails from the payment views. Pictures: Vega.")),
    )
    return _document(facts.title, body, _chart_data(drawn, figures.width), vega)


def _subtitle(figures: Figures) -> str:
    if figures.first is None or figures.last is None:
        return "No payment has reached the views."
    first, last = (texts.moment(ms)[:19] for ms in (figures.first, figures.last))
    if first[:10] == last[:10]:
        last = last[11:]
    return f"{first} to {last} UTC, by the log's clock"


def _chart_data(drawn: list[charts.Chart], width: int) -> str:
    """Specifications, compiled, and rows, as JSON that may stand in a script element."""
    import vl_convert

    wanted = {chart.kind for chart in drawn}
    compiled = {kind: vl_convert.vegalite_to_vega(spec) for kind, spec in specs.specs(width).items() if kind in wanted}
    data = {"specs": compiled, "charts": {chart.id: {"kind": chart.kind, "rows": chart.data()} for chart in drawn}}
    text = json.dumps(data, sort_keys=True, separators=(",", ":"), allow_nan=False)  # ASCII only, so no U+2028 either
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _document(title: str, body: Html, data: str, vega: str) -> str:
    scripts = [vega, (_ASSETS / "report.js").read_text(encoding="utf-8")]
    for script in scripts:
        if re.search(r"</script|<!--", script, re.IGNORECASE) or "\r" in script:
            raise ValueError("a script would end its own element early, or change on the way")
    hashes = " ".join(f"'sha256-{base64.b64encode(hashlib.sha256(s.encode()).digest()).decode()}'" for s in scripts)
    # Nothing may be fetched, and no script runs but these two. Vega compiles its expressions, hence unsafe-eval.
    policy = (
        f"default-src 'none'; script-src {hashes} 'unsafe-eval'; style-src 'unsafe-inline'; img-src data:; "
        "base-uri 'none'; form-action 'none'"
    )
    head = join(
        tag("meta", charset="utf-8"),
        Html(f'<meta http-equiv="Content-Security-Policy" content="{policy}">'),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("meta", name="color-scheme", content="light dark"),
        tag("meta", name="referrer", content="no-referrer"),
        tag("title", title),
        tag("link", rel="icon", href="data:,"),
        tag("style", Html((_ASSETS / "report.css").read_text(encoding="utf-8"))),
    )
    closing = join(
        tag("script", Html(data), type="application/json", id="charts"),
        *(tag("script", Html(script)) for script in scripts),
    )
    return f'<!doctype html>\n<html lang="en">\n<head>{head}</head>\n<body>\n{body}\n{closing}\n</body>\n</html>\n'


@lru_cache(maxsize=1)
def vega_script() -> str:
    """Vega as one script that defines `vega`, out of vl-convert-python, which carries it. Takes a second or two.

    `vega` by its short name is null in a bundle of vl-convert 1.9, and the bundle with vega-embed is half as large again, so the
    module is named as vl-convert stores it. Nothing is fetched: what it does not store is an error. Vega-Lite stays out, because
    charts are compiled here.
    """
    import vl_convert

    module = f"https://cdn.jsdelivr.net/npm/vega@{vl_convert.get_vega_version()}/+esm"
    return vl_convert.javascript_bundle(f'import * as all from "{module}"; window.vega = all;')


def _in_background(make: Any) -> "Future[str]":
    """The bundler leaves Python's lock alone, so the database is read meanwhile."""
    future: Future[str] = Future()

    def run() -> None:
        try:
            future.set_result(make())
        except BaseException as error:
            future.set_exception(error)

    threading.Thread(target=run, daemon=True).start()
    return future
