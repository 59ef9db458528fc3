"""What stands above the sections: whether the books close, and the run in some numbers."""

from report import texts
from report.checks import Check
from report.facts import RunFacts
from report.figures import Figures
from report.html import Child, Html, join, tag
from report.latency import percentile


def verdict(checks: list[Check]) -> Html:
    """Whether the books close, first of all."""
    failed = [check for check in checks if not check.holds]
    if not failed:
        said = tag("p", tag("strong", f"All {len(checks)} checks hold."), " The books close.")
        return tag("div", tag("span", "✓", class_="sign", aria_hidden="true"), tag("div", said), class_="verdict")
    number = f"{len(failed)} of {len(checks)} checks {'fails' if len(failed) == 1 else 'fail'}."
    said = join(
        tag("p", tag("strong", number), " Do not trust the figures below before you know why."),
        tag("ul", [tag("li", tag("a", check.name, href="#checks"), f": {check.evidence}") for check in failed]),
    )
    sign = tag("span", "!", class_="sign", aria_hidden="true")
    return tag("div", sign, tag("div", said), class_="verdict failed", role="alert")


def tiles(figures: Figures, facts: RunFacts) -> Html:
    """The run in some numbers."""
    books = figures.books
    incoming = books["incoming"]
    letters = sum(group.number for group in figures.dead_letters)
    rejected = books["rejected_at_admission"] + books["rejected_after_admission"]
    shown: list[tuple[str, Child, Child, str]] = [
        ("Incoming records", texts.count(incoming), _rate(incoming, facts), ""),
        ("Confirmed", texts.count(books["confirmed"]), _of(books["confirmed"], incoming), ""),
        ("Rejected", texts.count(rejected), _of(rejected, incoming), ""),
        ("Duplicates", texts.count(books["duplicates"]), "without effect", ""),
        (
            "Dead letters",
            texts.count(letters),
            "none, as it should be" if not letters else "each has its reason",
            "warn" if letters else "",
        ),
        (
            "Open at the end",
            texts.count(books["in_flight"] + books["open_holds"]),
            f"{texts.count(books['in_flight'])} in flight, {texts.count(books['open_holds'])} on hold",
            "",
        ),
    ]
    if figures.latencies:
        half, most = (texts.duration(percentile(figures.latencies, p)) for p in (50, 99))
        shown.append(("Log time, p50 / p99", f"{half} / {most}", "admission to confirmation", ""))
    moved = [currency for currency in figures.currencies if currency.confirmed]
    if moved:
        first, *others = moved
        more = f"and {len(others)} more {'currency' if len(others) == 1 else 'currencies'}" if others else "in all"
        shown.append(("Money confirmed", texts.amount(first.amount, first.currency), more, ""))
    cells = [
        tag("div", tag("dt", name), tag("dd", value, tag("small", beside), class_=css or None))
        for name, value, beside, css in shown
    ]
    return tag("dl", cells, class_="tiles")


def _of(part: int, incoming: int) -> str:
    return f"{texts.share(part, incoming)} of incoming" if incoming else "nothing came in"


def _rate(records: int, facts: RunFacts) -> str:
    if facts.seconds is None:
        return "from clients"
    return f"{texts.count(round(records / facts.seconds))} a second of wall time"
