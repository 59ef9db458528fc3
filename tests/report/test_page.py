"""The page as text: what it says, that it is closed in itself, and that nothing in it can come alive."""

import base64
import hashlib
import json
import re
import sqlite3
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from report.facts import RunFacts
from report.page import MAX_PANELS, render, vega_script, write_report
from report.views import NoViews
from tests.report.ledger import CARD, Ledger, small_bank
from tests.report.test_html import Reader, read

FACTS = RunFacts("July & August", "raw.avro", 7, 5, 2.0, "FnApiRunner")


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("report")
    checks = write_report(small_bank().write(folder / "views.duckdb"), folder / "report.html", FACTS)
    assert all(check.holds for check in checks)
    return (folder / "report.html").read_text(encoding="utf-8")


def page_of(bank: Ledger, folder: Path, facts: RunFacts = FACTS) -> str:
    write_report(bank.write(folder / "views.sqlite"), folder / "report.html", facts)
    return (folder / "report.html").read_text(encoding="utf-8")


def words(page: str) -> str:
    """The text that is read, scripts and style left out."""
    body = re.sub(r"<(script|style)\b.*?</\1>", " ", page, flags=re.DOTALL)
    return " ".join(read(body.replace("<", " <")).text.replace("\u00a0", " ").split())


def scripts(page: str) -> list[tuple[str, str]]:
    return re.findall(r"<script([^>]*)>(.*?)</script>", page, flags=re.DOTALL)


def test_it_says_what_there_is(page: str) -> None:
    text = words(page)
    assert "All 8 checks hold." in text
    assert "Incoming records 55 28 a second of wall time" in text
    assert "RJCT rejected 4 8.0 %" in text
    assert "NARR already captured rejected at the account" in text
    assert "EUR: 43 confirmed payments of EUR 11,057.60, 4 accounts." in text
    assert "JPY: 2 confirmed payments of JPY 7,500, 1 account." in text
    assert "EUR 10,500.00 0.00 −10,500.00 0.00 1, all zero" in text
    assert "each hop takes 5 ms of log time (--hop_ms 5)" in text
    assert "BAD_MAGIC at admission 2 first byte is not zero" in text
    assert "Key: 2 bytes \\xff\\x00" in text
    assert "Input raw.avro" in text
    assert "Seed 7" in text
    assert "Engine FnApiRunner" in text
    assert "<title>July &amp; August</title>" in page


def test_facts_that_are_missing_are_not_said(tmp_path: Path) -> None:
    text = words(page_of(small_bank(), tmp_path, RunFacts()))
    for absent in ("Seed", "Engine", "Wall time", "a second of wall time", "simulated", "Input "):
        assert absent not in text
    assert "no wall clock is in it" in text


def test_the_same_database_and_facts_give_the_same_bytes(page: str, tmp_path: Path) -> None:
    assert page_of(small_bank(), tmp_path) == page  # SQLite as DuckDB, a second time
    assert page_of(small_bank(), tmp_path, replace(FACTS, seed=8)) != page


def test_nothing_comes_from_outside(page: str) -> None:
    reader = read(re.sub(r"<script.*?</script>", "", page, flags=re.DOTALL))
    links = {value for _, attributes in reader.tags for name, value in attributes.items() if name in ("src", "href")}
    assert {link for link in links if not (link or "").startswith("#")} == {"data:,"}
    assert "url(" not in page[: page.index("<script")]
    assert "@import" not in page


def test_the_policy_names_the_two_scripts_and_no_more(page: str) -> None:
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', page)
    assert policy is not None
    rules = dict(rule.strip().split(" ", 1) for rule in policy[1].split(";"))
    assert rules["default-src"] == "'none'"
    found = scripts(page)
    assert [attributes for attributes, _ in found] == [' type="application/json" id="charts"', "", ""]
    hashes = [base64.b64encode(hashlib.sha256(script.encode()).digest()).decode() for _, script in found[1:]]
    assert rules["script-src"].split() == [*(f"'sha256-{value}'" for value in hashes), "'unsafe-eval'"]


def test_no_value_becomes_markup(page: str) -> None:
    reader = Reader()
    reader.feed(page)
    names = [name for name, _ in reader.tags]
    assert names.count("script") == 3
    assert not {"img", "iframe", "b-x", "object", "embed", "svg"} & set(names)
    assert not [name for _, attributes in reader.tags for name in attributes if name.startswith("on")]
    assert "\u202e" not in page
    (_, data) = scripts(page)[0]
    assert "<" not in data
    assert ">" not in data
    labels = [row["label"] for row in json.loads(data)["charts"]["balances-0"]["rows"]]
    assert "<scrip…p;\ufffdtxt" in labels  # which Vega writes as text


def test_no_card_number_is_on_it(page: str) -> None:
    assert CARD not in page
    assert CARD[:12].encode().hex(" ") not in page
    assert "card ************1111" in page


def test_headings_tables_and_pictures_are_accessible(page: str) -> None:
    reader = read(re.sub(r"<script.*?</script>", "", page, flags=re.DOTALL))
    levels = [int(name[1]) for name, _ in reader.tags if re.fullmatch(r"h[1-6]", name)]
    assert levels.count(1) == 1
    assert all(below - above <= 1 for above, below in pairwise(levels))
    tables = [name for name, _ in reader.tags if name == "table"]
    assert tables
    assert len([name for name, _ in reader.tags if name == "caption"]) == len(tables)
    assert all(attributes.get("scope") in ("row", "col") for name, attributes in reader.tags if name == "th")
    pictures = [attributes for _, attributes in reader.tags if attributes.get("role") == "img"]
    assert len(pictures) == 8
    assert all(len(attributes["aria-label"] or "") > 30 for attributes in pictures)
    ids = [attributes["id"] for _, attributes in reader.tags if "id" in attributes]
    assert len(ids) == len(set(ids))
    targets = [a["href"][1:] for _, a in reader.tags if (a.get("href") or "").startswith("#")]  # type: ignore[index]
    assert set(targets) <= set(ids)
    assert 'lang="en"' in page


def test_a_failed_check_stands_at_the_top(tmp_path: Path) -> None:
    path = small_bank().write(tmp_path / "views.sqlite")
    with sqlite3.connect(path) as db:
        db.execute("UPDATE contra SET balance = balance + 7 WHERE side = 'transit'")
    db.close()
    checks = write_report(path, tmp_path / "report.html", FACTS)
    assert [check.holds for check in checks].count(False) == 1
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    text = words(page)
    assert text.index("1 of 8 checks fails.") < text.index("Incoming records")
    assert 'class="verdict failed" role="alert"' in page
    assert "EUR 10,500.00 0.07 −10,500.00 0.07 1, 1 not zero" in text
    assert "✗ no 2 partition sums, 1 wrong" in text
    assert "<code>trial_balance</code>" in page


def test_what_checkers_of_the_logs_found_is_one_more_check(tmp_path: Path) -> None:
    path = small_bank().write(tmp_path / "views.sqlite")
    found = [f"payments.journal/3/{i}: <b> card {CARD}" for i in range(7)]
    for violations, said in (
        ([], "All 9 checks hold."),
        (found[:1], "1 wrong: payments.journal/3/0: <b> card ************1111 "),
        (found[:5], "5 wrong: "),
        (found, "payments.journal/3/4: <b> card ************1111; and 2 more"),
    ):
        checks = write_report(path, tmp_path / "report.html", FACTS, violations)
        assert len(checks) == 8
        assert all(check.holds for check in checks)
        text = words((tmp_path / "report.html").read_text(encoding="utf-8"))
        assert said in text
        assert ("1 of 9 checks fails." in text) == bool(violations)
        assert ("more" in text[: text.index("Incoming records")]) == (len(violations) > 5)


def test_no_payment_at_all(tmp_path: Path) -> None:
    page = page_of(Ledger(), tmp_path)
    text = words(page)
    for said in (
        "No payment has reached the views.",
        "No payment was admitted or rejected.",
        "There is no account and no confirmed payment.",
        "Nothing was posted.",
        "No payment was confirmed.",
        "None, as it should be.",
        "nothing came in",
    ):
        assert said in text
    assert json.loads(scripts(page)[0][1]) == {"charts": {}, "specs": {}}


def test_accounts_without_a_payment(tmp_path: Path) -> None:
    bank = Ledger()
    bank.open("a")
    text = words(page_of(bank, tmp_path))
    assert "EUR: 0 confirmed payments of EUR 0.00, 1 account." in text
    assert "Largest movements" not in text
    assert "a 0.00 0.00 0.00 – – – 0" in text


def test_more_currencies_than_panels(tmp_path: Path) -> None:
    bank = Ledger()
    codes = [f"{a}{b}X" for a in "ABCDE" for b in "ABC"]
    for number, code in enumerate(codes):
        bank.open(code, code)
        for i in range(number + 1):
            bank.deposit(code, 100, 1_000 * i)
    page = page_of(bank, tmp_path)
    assert page.count('class="panel"') == MAX_PANELS
    panels = re.findall(r'data-currency="(\w+)"', page)
    assert panels == list(reversed(codes))[:MAX_PANELS]  # the busiest first
    assert "3 more currencies have no panel here" in words(page)
    assert "and 14 more currencies" in words(page)


def test_a_long_history_and_a_day_cut_short(tmp_path: Path) -> None:
    bank = Ledger()
    bank.open("a")
    for day in range(456):
        bank.deposit("a", 100 + day, day * 86_400_000)
    page = page_of(bank, tmp_path)
    assert "Money confirmed per week" in words(page)
    rows = json.loads(scripts(page)[0][1])["charts"]["money-0"]["rows"]
    assert 60 < len(rows) <= 90
    assert "2026-01-01 00:00:00 to 2027-04-01 00:00:00 UTC" in words(page)


def test_small_enough(page: str) -> None:
    assert len(page.encode()) < 1_000_000


def test_a_script_that_would_end_its_element_is_refused(tmp_path: Path) -> None:
    from report.checks import read_checks
    from report.data import read_figures
    from report.views import open_views

    with open_views(Ledger().write(tmp_path / "views.sqlite")) as db:
        figures, checks = read_figures(db), read_checks(db)
    with pytest.raises(ValueError, match="end its own element"):
        render(figures, checks, FACTS, "'</SCRIPT>'")


def test_the_library_is_whole(page: str) -> None:
    script = vega_script()
    assert script in page
    assert "vegaEmbed" not in script


def test_without_the_library_there_is_no_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> str:
        raise RuntimeError("no bundle")

    monkeypatch.setattr("report.page.vega_script", fail)
    with pytest.raises(RuntimeError, match="no bundle"):
        page_of(Ledger(), tmp_path)
    assert not (tmp_path / "report.html").exists()


def test_no_views_leave_no_page(tmp_path: Path) -> None:
    database = tmp_path / "views.sqlite"
    database.write_text("no database")
    with pytest.raises(NoViews):
        write_report(database, tmp_path / "report.html", FACTS)
    assert not (tmp_path / "report.html").exists()


@pytest.mark.parametrize("bad", [{"title": " "}, {"hop_ms": -1}, {"seconds": 0.0}, {"seconds": float("nan")}])
def test_facts_that_cannot_be(bad: dict[str, Any]) -> None:
    ((name, value),) = bad.items()
    with pytest.raises(ValueError, match=f"^{name}: .*got {re.escape(repr(value))}"):
        RunFacts(**bad)


# --- contrast ---


def colours(media: str) -> dict[str, str]:
    """The variables of a theme, light ones where it has none of its own."""
    css = (Path(__file__).parents[2] / "report" / "assets" / "report.css").read_text(encoding="utf-8")
    found = dict(re.findall(r"--([\w-]+): (#\w+);", css[: css.index("@media")]))
    if media:
        block = css[css.index(media) :]
        found |= dict(re.findall(r"--([\w-]+): (#\w+);", block[: block.index("}")]))
    return found


def luminance(colour: str) -> float:
    """WCAG 2.2, relative luminance."""
    digits = colour[1:] if len(colour) == 7 else "".join(2 * c for c in colour[1:])
    parts = [int(digits[i : i + 2], 16) / 255 for i in (0, 2, 4)]
    linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(a: str, b: str) -> float:
    high, low = sorted((luminance(a), luminance(b)), reverse=True)
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("media", ["", "@media (prefers-color-scheme: dark)", "@media print"])
def test_contrasts(media: str) -> None:
    theme = colours(media)
    texts = [(ink, ground) for ink in ("ink", "muted", "link") for ground in ("page", "card", "shade")]
    texts += [("muted", "land")]
    texts += [(ink, "card") for ink in ("good-ink", "bad-ink")] + [(ink, "good-card") for ink in ("ink", "good-ink")]
    texts += [(ink, "bad-card") for ink in ("ink", "bad-ink", "muted", "link")]
    low = {pair: contrast(theme[pair[0]], theme[pair[1]]) for pair in texts}
    assert {pair: ratio for pair, ratio in low.items() if ratio < 4.5} == {}
    marks = ("blue", "pale", "line", "green", "red", "hop0", "hop1", "hop2", "hop3")
    assert {mark: r for mark in marks if (r := contrast(theme[mark], theme["card"])) < 3} == {}
    assert min(contrast(theme["blue"], theme[ground]) for ground in ("land", "page")) >= 3, "cells of the map"
