"""What each chart shows: its rows, and what is said of every row.

A chart's words are made here, exactly, in Python; the pixels come from the same integers as numbers in major units. So the browser formats
nothing but axes.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

from payments.currencies import EXPONENTS
from report import texts
from report.figures import CurrencyFigures
from report.specs import (
    ACCOUNT_COLUMNS,
    BALANCE_COLUMNS,
    COUNT_COLUMNS,
    FLIGHT_COLUMNS,
    MONEY_COLUMNS,
)


class Chart(NamedTuple):
    """One picture. kind: key of `specs.specs`; rows: plain values for Vega.

    cells: the same rows in words, under `columns` (tooltip and table).
    """

    id: str
    kind: str
    title: str
    alt: str
    columns: tuple[str, ...]
    rows: list[dict[str, Any]]
    cells: Sequence[tuple[str, ...]]
    legend: tuple[tuple[str, str], ...] = ()
    note: str = ""

    def data(self) -> list[dict[str, Any]]:
        """Rows with their words as t0, t1 …"""
        return [
            row | {f"t{i}": cell for i, cell in enumerate(cells)}
            for row, cells in zip(self.rows, self.cells, strict=True)
        ]


def currency_charts(figures: CurrencyFigures, width: int, width_name: str, number: int) -> list[Chart]:
    """The charts of one currency; `number` makes their ids unique.

    None for what never happened, and none along a time that no calendar has: no browser could draw its axis.
    """
    charts = []
    drawn = not figures.buckets or all(texts.on_calendar(figures.buckets[i].start + width) for i in (0, -1))
    if drawn and (figures.confirmed or any(bucket.rejected for bucket in figures.buckets)):
        charts += [_money(figures, width, width_name, number), _counts(figures, width, width_name, number)]
    if drawn and figures.in_flight:
        charts.append(_in_flight(figures, width, width_name, number))
    if figures.balances:
        charts.append(_balances(figures, number))
    return charts


def _major(minor: int, currency: str) -> float:
    return minor / 10 ** EXPONENTS.get(currency, 0)


def _money(figures: CurrencyFigures, width: int, width_name: str, number: int) -> Chart:
    currency, buckets = figures.currency, figures.buckets
    top = ceiling([b.amount for b in buckets])
    rows = [
        {
            "start": b.start,
            "end": b.start + width,
            "money": _major(min(b.amount, top), currency),
            "cut": b.amount > top,
        }
        for b in buckets
    ]
    cells = [
        (texts.interval(b.start, width), texts.count(b.confirmed), texts.amount(b.amount, currency)) for b in buckets
    ]
    most = max(buckets, key=lambda b: b.amount)
    alt = (
        f"Bars: money confirmed per {width_name} in {currency}, {texts.amount(figures.amount, currency)} in all; most, "
        f"{texts.amount(most.amount, currency)}, from {texts.interval(most.start, width)}."
    )
    busiest = figures.busiest
    note = _cut_note(rows)
    if busiest is not None:
        note += (
            f"The busiest minute began at {texts.interval(busiest.start, 60_000)}: {texts.count(busiest.confirmed)} payments, "
            f"{texts.amount(busiest.amount, currency)}."
        )
    title = f"Money confirmed per {width_name}"
    return Chart(f"money-{number}", "money", title, alt, MONEY_COLUMNS, rows, cells, note=note)


def ceiling(values: list[int]) -> int:
    """Where bars are cut off: the largest value, unless at most one in twenty would squeeze all others into a quarter of the picture."""
    ordered = sorted(values)
    rest = ordered[: -max(1, len(ordered) // 20)]
    if not rest or rest[-1] <= 0 or ordered[-1] <= 4 * rest[-1]:
        return max(ordered[-1], 0)
    return rest[-1] * 5 // 4


def _cut_note(rows: list[dict[str, Any]]) -> str:
    cut = sum(row["cut"] for row in rows)
    if not cut:
        return ""
    return f"{cut} {'bar goes' if cut == 1 else 'bars go'} on above the picture (▲); the figures are whole. "


def _counts(figures: CurrencyFigures, width: int, width_name: str, number: int) -> Chart:
    buckets = figures.buckets
    rows = [
        {"start": b.start, "end": b.start + width, "confirmed": b.confirmed, "ended": b.confirmed + b.rejected}
        for b in buckets
    ]
    cells = [(texts.interval(b.start, width), texts.count(b.confirmed), texts.count(b.rejected)) for b in buckets]
    rejected = sum(b.rejected for b in buckets)
    alt = (
        f"Stacked bars: payments per {width_name} in {figures.currency}, {texts.count(figures.confirmed)} confirmed and "
        f"{texts.count(rejected)} rejected."
    )
    legend = (("green", "confirmed"), ("red", "rejected"))
    return Chart(
        f"counts-{number}", "counts", f"Payments ended per {width_name}", alt, COUNT_COLUMNS, rows, cells, legend
    )


def _in_flight(figures: CurrencyFigures, width: int, width_name: str, number: int) -> Chart:
    currency, levels = figures.currency, figures.in_flight
    top = ceiling([line.peak_amount for line in levels])
    rows = [
        {
            "start": line.start,
            "end": line.start + width,
            "peak": _major(min(line.peak_amount, top), currency),
            "level": _major(min(line.end_amount, top), currency),
            "cut": line.peak_amount > top,
        }
        for line in levels
    ]
    cells = [
        (
            texts.interval(line.start, width),
            texts.amount(line.peak_amount, currency),
            texts.amount(line.end_amount, currency),
            texts.count(line.end),
        )
        for line in levels
    ]
    most = max(levels, key=lambda line: line.peak_amount)
    last = levels[-1]
    alt = (
        f"Money between two accounts in {currency}: at most {texts.amount(most.peak_amount, currency)}, from "
        f"{texts.interval(most.start, width)} on; {texts.amount(last.end_amount, currency)} at the end."
    )
    legend = (("pale", f"most at any moment of the {width_name}"), ("line", "at its end"))
    note = _cut_note(rows) + "Money is in flight when it has left one account and not yet reached another."
    return Chart(f"in-flight-{number}", "in_flight", "Money in flight", alt, FLIGHT_COLUMNS, rows, cells, legend, note)


FEW_ACCOUNTS = 16


def _balances(figures: CurrencyFigures, number: int) -> Chart:
    currency, balances = figures.currency, figures.balances
    lowest, highest = balances[0][0], balances[-1][0]
    across = f"{texts.amount(lowest, currency)} to {texts.amount(highest, currency)}"
    if len(balances) <= FEW_ACCOUNTS:
        rows = [{"label": _short(texts.named(name)), "money": _major(b, currency)} for b, name in reversed(balances)]
        cells = [(texts.named(name), texts.amount(b, currency)) for b, name in reversed(balances)]
        alt = f"Bars: the balance of each of {len(balances)} accounts in {currency}, {across}."
        return Chart(f"balances-{number}", "accounts", "Balances", alt, ACCOUNT_COLUMNS, _unique(rows), cells)
    binned, outside = histogram([balance for balance, _ in balances])
    rows = [{"from": _major(a, currency), "to": _major(b, currency), "accounts": n} for a, b, n in binned]
    cells = [(f"{texts.money(a, currency)} to {texts.money(b, currency)}", texts.count(n)) for a, b, n in binned]
    alt = f"Histogram: balances of {texts.count(len(balances))} accounts in {currency}, {across}."
    note = f"From {across}."
    if outside:
        note += f" {texts.count(outside)} far out {'is' if outside == 1 else 'are'} left out of the picture."
    return Chart(f"balances-{number}", "balances", "Balances of accounts", alt, BALANCE_COLUMNS, rows, cells, (), note)


def _short(text: str) -> str:
    return text if len(text) <= 14 else f"{text[:6]}…{text[-6:]}"


def _unique(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Shortened labels made different again: equal ones would share a bar."""
    seen: dict[str, int] = {}
    for row in rows:
        times = seen[row["label"]] = seen.get(row["label"], 0) + 1
        row["label"] += f" ({times})" if times > 1 else ""
    return rows


def histogram(values: list[int], most: int = 36) -> tuple[list[tuple[int, int, int]], int]:
    """(from, to, number) of equal bins with round borders, and how many values are left out: at most 1 % at either end, when they would
    squeeze the rest into less than a third of the picture. Values are sorted and not empty; a bin holds from <= value < to.
    """
    one = len(values) // 100
    low, high = values[0], values[-1]
    if one and 3 * (values[-1 - one] - values[one]) < high - low:
        low, high = values[one], values[-1 - one]
    step = 1
    while (high // step) - (low // step) + 1 > most:
        step = next(s for s in _round_steps(step) if s > step)
    first = low // step
    counts = [0] * (high // step - first + 1)
    outside = 0
    for value in values:
        place = value // step - first
        if 0 <= place < len(counts):
            counts[place] += 1
        else:
            outside += 1
    return [((first + i) * step, (first + i + 1) * step, n) for i, n in enumerate(counts)], outside


def _round_steps(above: int) -> list[int]:
    size = 10 ** (len(str(above)) - 1)
    return [size, 2 * size, 5 * size, 10 * size]
