"""The section about people who behave as cheats do: how many by signal, against the truth where it is known, and the evidence."""

from collections.abc import Mapping, Sequence

from report import texts
from report.auction_data import AlertLine, AuctionFigures, evidence_of
from report.facts import SignalFacts
from report.html import Html, tag
from report.parts import Cell, section, table
from report.words import spoken

SCORES = {
    "SHILL": "of Trevathan and Read, at most 10",
    "SNIPING": "share of first bids in the last 60 s",
    "HAMMER_SNIPE": "share of answers within a second",
    "SHIELDING": "part by which the price fell",
    "COLLUSION": "share of auctions with the other",
    "OVERLAP": "share of bids with the seller",
    "IMPOSSIBLE_TRAVEL": "km/h that the journey needs",
}
"""What the score of each signal is."""

_MONEY = frozenset(("maximum taken back", "price before", "price after"))  # evidence in minor units

_LEAD = "Figures that pass the thresholds, with the evidence. They say where to look; they prove nothing by themselves."
_TRUTH = (
    "Who cheats is known here, because it was generated. Recall: the share of the cheats of this kind (a person, or all who do it "
    "together) of whom somebody was named. Precision: the share of the persons named first who cheat, in whatever way."
)


def cheats_section(figures: AuctionFigures, truth: Sequence[SignalFacts] | None) -> Html:
    """truth: how well each signal did, where it is known who cheats."""
    if not figures.alerts and not truth:
        return section("cheats", "Cheats", tag("p", "Nobody behaves as a cheat does.", class_="lead"))
    return section(
        "cheats",
        "Cheats",
        tag("p", _LEAD, class_="lead"),
        _signals({line.name: line.number for line in figures.signals}, truth or ()),
        tag("p", _TRUTH, class_="note") if truth else None,
        tag("h3", "The clearest findings of each signal", class_="block") if figures.alerts else None,
        tag("ol", [_finding(alert, figures.currencies) for alert in figures.alerts], class_="letters"),
    )


def _signals(findings: Mapping[str, int], truth: Sequence[SignalFacts]) -> Html:
    heads = [("", "Signal"), ("num", "Findings")]
    judged = {line[0]: line for line in truth}
    if judged:
        heads += [("num", name) for name in ("Cheats", "Found", "Recall", "Named", "Honest", "Precision")]
    rows: list[list[Cell]] = []
    for name in sorted({*findings, *judged}, key=lambda name: (-findings.get(name, 0), name)):
        row: list[Cell] = [("", _named(name)), ("num", texts.count(findings.get(name, 0)))]
        if judged:
            _, cheats, found, named, honest = judged.get(name, (name, 0, 0, 0, 0))
            row += [
                ("num", text)
                for text in (
                    *(texts.count(cheats), texts.count(found), texts.share(found, cheats)),
                    *(texts.count(named), texts.count(honest), texts.share(named - honest, named)),
                )
            ]
        rows.append(row)
    return table("Findings by signal", heads, rows, "wide")


def _named(signal: str) -> list[object]:
    """A signal, and what its score is."""
    return [spoken(signal), tag("span", f"score: {SCORES[signal]}", class_="sub") if signal in SCORES else None]


def _finding(alert: AlertLine, currencies: Mapping[str, str]) -> Html:
    score = texts.number(alert.score) + (" km/h" if alert.signal == "IMPOSSIBLE_TRAVEL" else "")
    head = tag("span", spoken(alert.signal), class_="code"), tag("i", alert.persons), tag("b", score)
    evidence = evidence_of(alert)
    named = {auction for _, _, auction in evidence}
    alone = named.pop() if len(named) == 1 else None  # all is said of one auction, so it is named once
    seen = [alone] if alone else [auction or what for what, value, auction in evidence if value is None]
    figures = []
    for what, value, auction in evidence:
        if value is not None:
            shown = _figure(what, value, currencies.get(auction or ""))
            figures.append(f"{what} {shown}" + (f" ({auction})" if auction and not alone else ""))
    rule = "built-in thresholds" if not alert.rule_version else f"thresholds of version {alert.rule_version}"
    return tag(
        "li",
        tag("h3", head),
        tag("p", "; ".join(figures)) if figures else None,
        tag("p", f"Auctions: {', '.join(seen)}") if seen else None,
        tag("p", f"{texts.moment(alert.at_ms)}, {rule}", class_="note"),
    )


def _figure(what: str, value: float, currency: str | None) -> str:
    """A figure of the evidence: a time, money of the auction, or a number."""
    if what.endswith(" at"):
        return texts.moment(int(value))
    return texts.amount(int(value), currency) if currency and what in _MONEY else texts.number(value)
