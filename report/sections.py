"""The page's sections but the money, each out of the figures it shows."""

from report import texts
from report.charts import Chart
from report.checks import Check
from report.facts import RunFacts
from report.figures import DeadLetterGroup, Figures, StatusTotal, Trial
from report.html import Child, Html, join, tag
from report.latency import percentile
from report.parts import Cell, figure, plural, section, table
from report.words import REASONS, STAGES, STATUSES


def status_section(figures: Figures) -> Html:
    whole = sum(total.number for total in figures.statuses)
    if not whole:
        none = tag("p", "No payment was admitted or rejected.", class_="note")
        return section("statuses", "Payments by status and reason", none)
    by_status: dict[str, int] = {}
    for total in figures.statuses:
        by_status[total.status] = by_status.get(total.status, 0) + total.number
    ordered = sorted(by_status.items(), key=lambda item: (-item[1], item[0]))
    rows = [_counted(status, STATUSES.get(status, ""), None, status, n, whole, ordered[0][1]) for status, n in ordered]
    parts = [table(f"Newest state of {texts.count(whole)} payments", _counted_heads("Status"), rows, "cards statuses")]
    reasons = [total for total in figures.statuses if total.reason]
    if reasons:
        ended = sum(total.number for total in reasons)
        parts.append(_reasons(f"{texts.count(ended)} payments that ended with a reason", reasons))
    if figures.attempts:
        attempts = sum(total.number for total in figures.attempts)
        caption = f"{texts.count(attempts)} repeated attempts at an id, which never change the payment's own state"
        parts.append(_reasons(caption, figures.attempts))
    return section("statuses", "Payments by status and reason", parts)


def _reasons(caption: str, totals: list[StatusTotal]) -> Html:
    whole, most = sum(total.number for total in totals), max(total.number for total in totals)
    rows = []
    for total in totals:
        reason = total.reason or total.status
        words = (total.detail or REASONS.get(total.reason or "", STATUSES.get(total.status, ""))).replace("_", " ")
        where = STAGES.get(total.stage, total.stage)
        ended = STATUSES.get(total.status, total.status).partition(":")[0] + " " if total.reason else ""
        rows.append(_counted(reason, words, ended + where, total.status, total.number, whole, most))
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
            f"This run was simulated: each hop takes {texts.duration(facts.hop_ms)} of log time (--hop_ms {facts.hop_ms}), so this shows "
            "how many hops payments needed and how long they waited, not how fast a machine was."
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


def dead_letter_section(groups: list[DeadLetterGroup]) -> Html:
    if not groups:
        return section("letters", "Dead letters", tag("p", "None, as it should be.", class_="lead"))
    lead = (
        "Records that pure code refused, with the first one of each reason. Bytes are shown as ASCII, the rest as \\x00; long runs of "
        "digits are starred out, because they may be card numbers."
    )
    items = [_letter(group) for group in groups]
    return section("letters", "Dead letters", tag("p", lead, class_="lead"), tag("ol", items, class_="letters"))


def _letter(group: DeadLetterGroup) -> Html:
    stage = STAGES.get(group.stage, group.stage)
    head = tag("span", group.code, class_="code mono"), tag("i", stage), tag("b", texts.count(group.number))
    said = texts.named(group.detail)
    where = tag("span", f"{group.topic}/{group.shard}/{group.position}", class_="mono")
    example: list[Child] = [tag("p", "Key: ", _bytes(group.key))]
    if group.value:
        example.append(tag("pre", texts.hexdump(group.value), tabindex="0", aria_label="Value in hexadecimal"))
    peek = tag("p", "Value: ", _bytes(group.value), class_="peek")
    more = tag("details", tag("summary", "Example ", where), example)
    return tag("li", tag("h3", head), tag("p", said) if said else None, peek, more)


def _bytes(data: bytes | None) -> Child:
    if data is None:
        return "none"
    size = f"{texts.count(len(data))} {plural(len(data), 'byte')}"
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
        "Keep the log: everything else can be made again from it. Make the views again from the same topics (payment_views); if the check "
        "then holds, the database was at fault. If it still fails, payments_verify checks every invariant over the topics and says where "
        "one is broken, and payments_replay folds payments.inflight anew and names the first record that differs. Then, by check:"
    )
    guide = tag("details", tag("summary", "What to do when a check fails"), tag("p", first, class_="advice"), help_)
    return section("checks", "Checks", table(f"{len(checks)} invariants", heads, rows, "cards invariants"), guide)


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
    note = (
        "Amounts are exact, in the decimals of their currency (ISO 4217). Times are log times, UTC. Statuses and reasons are those of "
        "ISO 20022."
    )
    return section("run", "This run", listed, tag("p", note, class_="note"))
