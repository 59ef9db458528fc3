"""The page's sections, each out of the figures it shows."""

from collections.abc import Iterable, Sequence

from report import texts
from report.charts import Chart, percentile
from report.checks import Check
from report.data import CurrencyFigures, DeadLetterGroup, Figures, StatusTotal, Trial
from report.facts import RunFacts
from report.html import Child, Html, join, tag
from report.specs import ROW_HEIGHT
from report.words import REASONS, STAGES, STATUSES

Cell = tuple[str, Child]
"""CSS class ("" for none) and content."""


def table(
    caption: str, heads: Sequence[tuple[str, str]], rows: Iterable[Sequence[Cell]], css: str, **how: bool
) -> Html:
    """heads: (CSS class, title); the first cell of a row is its header. css: `cards ...`, whose rows become small cards on a phone, or
    `wide`, which can be moved sideways under its first column. tall=True: no higher than a part of the window. A row whose first cell has the class `failed` is red.
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


# --- above the sections ---


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
    letters = sum(group.count for group in figures.dead_letters)
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


# --- sections ---


def status_section(figures: Figures) -> Html:
    whole = sum(total.count for total in figures.statuses)
    if not whole:
        none = tag("p", "No payment was admitted or rejected.", class_="note")
        return section("statuses", "Payments by status and reason", none)
    by_status: dict[str, int] = {}
    for total in figures.statuses:
        by_status[total.status] = by_status.get(total.status, 0) + total.count
    ordered = sorted(by_status.items(), key=lambda item: (-item[1], item[0]))
    rows = [_counted(status, STATUSES.get(status, ""), None, status, n, whole, ordered[0][1]) for status, n in ordered]
    parts = [table(f"Newest state of {texts.count(whole)} payments", _counted_heads("Status"), rows, "cards statuses")]
    reasons = [total for total in figures.statuses if total.reason]
    if reasons:
        ended = sum(total.count for total in reasons)
        parts.append(_reasons(f"{texts.count(ended)} payments that ended with a reason", reasons))
    if figures.attempts:
        attempts = sum(total.count for total in figures.attempts)
        caption = f"{texts.count(attempts)} repeated attempts at an id, which never change the payment's own state"
        parts.append(_reasons(caption, figures.attempts))
    return section("statuses", "Payments by status and reason", parts)


def _reasons(caption: str, totals: list[StatusTotal]) -> Html:
    whole, most = sum(total.count for total in totals), max(total.count for total in totals)
    rows = []
    for total in totals:
        reason = total.reason or total.status
        words = (total.detail or REASONS.get(total.reason or "", STATUSES.get(total.status, ""))).replace("_", " ")
        where = STAGES.get(total.stage, total.stage)
        ended = STATUSES.get(total.status, total.status).partition(":")[0] + " " if total.reason else ""
        rows.append(_counted(reason, words, ended + where, total.status, total.count, whole, most))
    return tag("div", table(caption, _counted_heads("Reason"), rows, "cards statuses"), class_="block")


def _counted_heads(what: str) -> tuple[tuple[str, str], ...]:
    return (("", what), ("num", "Payments"), ("num", "Share"), ("meter", ""))


def _counted(code: str, words: str, beside: str | None, status: str, n: int, whole: int, most: int) -> list[Cell]:
    css = status if status in STATUSES else None
    meter = tag("span", style=f"width:{100 * n / most:.1f}%", class_=css, aria_hidden="true")
    said = join(
        tag("span", code, class_="code mono"), " ", words, tag("span", beside, class_="beside") if beside else None
    )
    return [("", said), ("num", texts.count(n)), ("num", texts.share(n, whole)), ("meter", meter)]


def trial_section(trial: list[Trial]) -> Html:
    heads = (
        ("", "Currency"),
        ("num", "Accounts"),
        ("num", "In transit"),
        ("num", "Outside"),
        ("num", "Sum"),
        ("num", "Partitions"),
    )
    rows: list[list[Cell]] = []
    for line in trial:
        well = line.total == 0 and line.wrong == 0
        parts = f"{line.shards}, all zero" if not line.wrong else f"{line.shards}, {line.wrong} not zero"
        rows.append(
            [
                ("", line.currency),
                *(("num", texts.money(n, line.currency)) for n in (line.accounts, line.in_transit, line.outside)),
                ("num", tag("span", texts.money(line.total, line.currency), class_="pass" if well else "fail")),
                ("num", tag("span", parts, class_=None if well else "fail")),
            ]
        )
    lead = tag(
        "p",
        "Every posting has two sides, so all accounts, the money in transit and the outside world add up to zero, in each partition.",
        class_="lead",
    )
    shown = (
        table("Postings by currency", heads, rows, "wide") if rows else tag("p", "Nothing was posted.", class_="note")
    )
    return section("trial", "Trial balance", lead, shown)


def latency_section(chart: Chart | None, figures: Figures, facts: RunFacts) -> Html:
    if facts.hop_ms is not None:
        said = (
            f"This run was simulated: each hop takes {texts.duration(facts.hop_ms)} of log time (--hop_ms {facts.hop_ms}), so this shows how many "
            "hops payments needed and how long they waited, not how fast a machine was."
        )
    else:
        said = "Log time is the difference of the append times of the first and the last record of a payment; no wall clock is in it."
    lead = tag("p", said, class_="lead")
    if chart is None:
        return section("latency", "Latency", lead, tag("p", "No payment was confirmed.", class_="note"))
    points = [(f"p{p}", percentile(figures.latencies, p)) for p in (50, 95, 99)]
    points.append(("longest", figures.latencies[-1].elapsed_ms))
    small = tag(
        "dl", [tag("div", tag("dt", n), tag("dd", texts.duration(ms), class_="")) for n, ms in points], class_="tiles"
    )
    return section("latency", "Latency", lead, small, figure(chart))


def figure(chart: Chart) -> Html:
    """A picture, its legend, and its figures as a table behind a line."""
    legend = None
    if chart.legend:
        thin = {"line": "thin"}
        items = [
            tag("li", tag("i", style=f"background:var(--{color})", class_=thin.get(color), aria_hidden="true"), name)
            for color, name in chart.legend
        ]
        legend = tag("ul", items, class_="legend")
    heads = [("" if i == 0 else "num", title) for i, title in enumerate(chart.columns)]
    rows = ([(css, cell) for (css, _), cell in zip(heads, cells, strict=True)] for cells in chart.cells)
    return tag(
        "figure",
        tag("figcaption", tag("h3", chart.title), legend),
        tag("div", id=chart.id, class_="chart", role="img", aria_label=chart.alt, style=_height(chart)),
        tag("p", chart.note, class_="note") if chart.note else None,
        tag("details", tag("summary", "Figures"), table(chart.title, heads, rows, "wide", tall=True)),
    )


def _height(chart: Chart) -> str | None:
    return f"height:{len(chart.rows) * ROW_HEIGHT + 32}px" if chart.kind == "accounts" else None


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
        f"{code}: {texts.count(figures.confirmed)} confirmed {_plural(figures.confirmed, 'payment')} of {texts.amount(figures.amount, code)}, "
        f"{texts.count(accounts)} {_plural(accounts, 'account')}."
    )
    parts: list[Child] = [tag("p", lead, class_="lead")]
    if charts:
        parts.append(tag("div", [figure(chart) for chart in charts], class_="charts"))
    if figures.movements:
        parts.append(tag("div", tag("h3", "Largest movements"), _movements(figures), class_="block"))
    if figures.accounts:
        parts.append(tag("div", tag("h3", "Largest balances"), _accounts(figures), class_="block"))
    return tag("div", parts, class_="panel", data_currency=code)


def _plural(n: int, word: str) -> str:
    return word if n == 1 else word + "s"


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


def dead_letter_section(groups: list[DeadLetterGroup]) -> Html:
    if not groups:
        return section("letters", "Dead letters", tag("p", "None, as it should be.", class_="lead"))
    lead = (
        "Records that pure code refused, with the first one of each reason. Bytes are shown as ASCII, the rest as \\x00; long runs of digits "
        "are starred out, because they may be card numbers."
    )
    items = [_letter(group) for group in groups]
    return section("letters", "Dead letters", tag("p", lead, class_="lead"), tag("ol", items, class_="letters"))


def _letter(group: DeadLetterGroup) -> Html:
    stage = STAGES.get(group.stage, group.stage)
    head = tag("span", group.code, class_="code mono"), tag("i", stage), tag("b", texts.count(group.count))
    said = texts.named(group.detail)
    where = tag("span", f"{group.topic}/{group.shard}/{group.position}", class_="mono")
    example: list[Child] = [tag("p", "Key: ", _bytes(group.key))]
    if group.value:
        example.append(tag("pre", texts.hexdump(group.value), tabindex="0", aria_label="Value in hexadecimal"))
    peek = tag("p", "Value: ", _bytes(group.value), class_="peek")
    more = tag("details", tag("summary", "Example ", where), example)
    return tag("li", tag("h3", head), tag("p", said[:1].upper() + said[1:]) if said else None, peek, more)


def _bytes(data: bytes | None) -> Child:
    if data is None:
        return "none"
    size = f"{texts.count(len(data))} {_plural(len(data), 'byte')}"
    return join(size, " ", tag("code", texts.printable(data), class_="bytes")) if data else size


def checks_section(checks: list[Check]) -> Html:
    heads = (("", "What should hold"), ("", "Holds"), ("", "Evidence"))
    rows: list[list[Cell]] = []
    for check in checks:
        advice = None if check.holds else tag("span", _advice(check), class_="sub")
        mark = tag("span", "✓ yes", class_="pass") if check.holds else tag("span", "✗ no", class_="fail")
        rows.append([("" if check.holds else "failed", join(check.name, advice)), ("", mark), ("", check.evidence)])
    help_ = [join(tag("h3", check.name), tag("p", _advice(check), class_="advice")) for check in checks]
    first = (
        "Keep the log: everything else can be made again from it. Make the views again from the same topics (payment_views); if the check then "
        "holds, the database was at fault. If it still fails, payments_verify checks every invariant over the topics and says where one is "
        "broken, and payments_replay folds payments.inflight anew and names the first record that differs. Then, by check:"
    )
    guide = tag("details", tag("summary", "What to do when a check fails"), tag("p", first, class_="advice"), help_)
    return section(
        "checks", "Checks", table(f"{len(checks)} invariants, from the views", heads, rows, "cards invariants"), guide
    )


def _advice(check: Check) -> Html:
    """Its text, with what stands between backticks as code."""
    return join([tag("code", part) if i % 2 else part for i, part in enumerate(check.advice.split("`"))])


def run_section(figures: Figures, facts: RunFacts) -> Html:
    lines: list[tuple[str, str]] = []
    if facts.source is not None:
        lines.append(("Input", facts.source))
    lines.append(("Incoming records", texts.count(figures.books["incoming"])))
    lines.append(("Journal entries", texts.count(figures.journal_entries)))
    if figures.first is not None and figures.last is not None:
        lines.append(("Log time", f"{texts.moment(figures.first)} to {texts.moment(figures.last)} UTC"))
        lines.append(("Length", texts.duration(figures.last - figures.first)))
    if facts.seed is not None:
        lines.append(("Seed", str(facts.seed)))
    if facts.hop_ms is not None:
        lines.append(("Log time of a hop", f"{facts.hop_ms} ms, simulated"))
    if facts.seconds is not None:
        rate = round(figures.books["incoming"] / facts.seconds)
        lines.append(("Wall time", f"{facts.seconds:.1f} s: {texts.count(rate)} incoming records a second"))
    if facts.engine is not None:
        lines.append(("Engine", facts.engine))
    listed = tag("dl", [join(tag("dt", name), tag("dd", value)) for name, value in lines], class_="facts")
    note = "Amounts are exact, in the decimals of their currency (ISO 4217). Times are log times, UTC. Statuses and reasons are those of ISO 20022."
    return section("run", "This run", listed, tag("p", note, class_="note"))
