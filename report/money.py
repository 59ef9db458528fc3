"""Money, a panel for each currency: pictures, the largest movements and balances."""

from report import texts
from report.charts import Chart
from report.figures import CurrencyFigures
from report.html import Child, Html, tag
from report.parts import Cell, figure, plural, section, table


def money_section(panels: list[tuple[CurrencyFigures, list[Chart]]], left_out: int) -> Html:
    if not panels:
        return section("money", "Money", tag("p", "There is no account and no confirmed payment.", class_="note"))
    picker = None
    if len(panels) > 1:
        options = [tag("option", currency.currency, value=currency.currency) for currency, _ in panels]
        label = tag("label", "Currency", for_="currency")
        picker = tag(
            "div", label, tag("select", options, id="currency", autocomplete="off"), class_="picker", hidden=True
        )
    note = f"{left_out} more currencies have no panel here; they are in the trial balance." if left_out else None
    return section(
        "money",
        "Money",
        picker,
        [_panel(*panel) for panel in panels],
        tag("p", note, class_="note") if note else None,
    )


def _panel(figures: CurrencyFigures, charts: list[Chart]) -> Html:
    code = figures.currency
    accounts = len(figures.balances)
    lead = (
        f"{code}: {texts.count(figures.confirmed)} confirmed {plural(figures.confirmed, 'payment')} of "
        f"{texts.amount(figures.amount, code)}, {texts.count(accounts)} {plural(accounts, 'account')}."
    )
    parts: list[Child] = [tag("p", lead, class_="lead")]
    if charts:
        parts.append(tag("div", [figure(chart) for chart in charts], class_="charts"))
    if figures.movements:
        parts.append(tag("div", tag("h3", "Largest movements"), _movements(figures), class_="block"))
    if figures.accounts:
        parts.append(tag("div", tag("h3", "Largest balances"), _accounts(figures), class_="block"))
    return tag("div", parts, class_="panel", data_currency=code)


def _id(text: str | None, css: str = "id") -> Cell:
    if text is None:
        return "", "outside"
    return css + " short" if len(text) <= 24 else css, texts.named(text)


def _movements(figures: CurrencyFigures) -> Html:
    heads = (
        ("when", "When (UTC)"),
        ("", "Kind"),
        ("id", "From"),
        ("id", "To"),
        ("id", "Payment"),
        ("num", figures.currency),
    )
    rows = (
        [
            ("when", texts.moment(line.at)),
            ("", line.kind.capitalize()),
            _id(line.debtor),
            _id(line.creditor),
            _id(line.payment_id, "id mono"),
            ("num", texts.money(line.amount, figures.currency)),
        ]
        for line in figures.movements
    )
    return table(
        f"The {len(figures.movements)} largest confirmed payments in {figures.currency}", heads, rows, "cards movements"
    )


def _accounts(figures: CurrencyFigures) -> Html:
    code = figures.currency
    heads = (
        ("id", "Account"),
        ("num", "Balance"),
        ("num", "Available"),
        ("num", "On hold"),
        ("num", "Lowest"),
        ("num", "Highest"),
        ("num", "Mean"),
        ("num", "Postings"),
    )
    rows = (
        [
            _id(line.account_id),
            *(
                ("num", "–" if minor is None else texts.money(minor, code))
                for minor in (line.balance, line.available, line.pending, line.lowest, line.highest, line.average)
            ),
            ("num", texts.count(line.postings)),
        ]
        for line in figures.accounts
    )
    return table(f"The {len(figures.accounts)} accounts with the largest balances, in {code}", heads, rows, "wide")
