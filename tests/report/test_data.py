"""Figures read from the views, by both databases."""

import sqlite3
from pathlib import Path

import pytest

from report import data
from report.data import bucket_of, read_figures
from report.figures import Figures, InFlight, Minute, Trial
from report.views import NoViews, open_views
from tests.report.ledger import HOSTILE, START, Ledger, small_bank


def figures_of(bank: Ledger, folder: Path, ending: str = "sqlite") -> Figures:
    with open_views(bank.write(folder / f"views.{ending}")) as db:
        return read_figures(db)


def test_both_databases_say_the_same(tmp_path: Path) -> None:
    figures = figures_of(small_bank(), tmp_path)
    assert figures == figures_of(small_bank(), tmp_path, "duckdb")
    assert [c.currency for c in figures.currencies] == ["EUR", "JPY"]  # and not the one of a rejected payment
    assert [(s.status, s.reason, s.detail, s.number) for s in figures.statuses] == [
        ("ACCC", None, None, 45),
        ("PDNG", None, None, 1),
        ("RJCT", "AC03", None, 1),
        ("RJCT", "AM03", None, 1),
        ("RJCT", "AM04", None, 1),
        ("RJCT", "NARR", "already_captured", 1),
    ]
    assert [(s.status, s.reason, s.number) for s in figures.attempts] == [("DUPL", None, 1), ("RJCT", "AM05", 1)]
    assert [(g.code, g.number, g.value) for g in figures.dead_letters][1:] == [
        ("EMPTY_VALUE", 1, None),
        ("TRUNCATED", 1, bytes(range(256))),
    ]
    assert figures.dead_letters[0][:3] == (
        "BAD_MAGIC",
        "payments.admission",
        2,
    )  # the most first, with its first example
    assert b"alert(3)" in (figures.dead_letters[0].value or b"")
    assert [(line.elapsed_ms, line.hops, line.number) for line in figures.latencies] == [(5, 1, 4), (10, 2, 41)]
    assert figures.trial == [Trial("EUR", 1_050_000, 0, -1_050_000, 0, 1, 0), Trial("JPY", 6_500, 0, -6_500, 0, 1, 0)]
    assert (figures.first, figures.last) == (START, START + 33_005)
    assert figures.journal_entries == 87


def test_nothing_at_all(tmp_path: Path) -> None:
    for ending in ("sqlite", "duckdb"):
        figures = figures_of(Ledger(), tmp_path, ending)
        assert figures.first is None
        assert not any([figures.statuses, figures.currencies, figures.trial, figures.latencies, figures.dead_letters])
        assert set(figures.books.values()) == {0}


def test_buckets_follow_one_another_and_hold_everything(tmp_path: Path) -> None:
    bank = Ledger()
    bank.open("a")
    bank.deposit("a", 700, 995)  # confirmed at the border
    bank.deposit("a", 1, 994)  # and just before it
    bank.deposit("a", 30, 3_100)
    bank.reject("AM04", 2_000)
    euro = figures_of(bank, tmp_path).currencies[0]
    assert [tuple(b) for b in euro.buckets] == [
        (START, 1, 1, 0),
        (START + 1_000, 1, 700, 0),
        (START + 2_000, 0, 0, 1),
        (START + 3_000, 1, 30, 0),
    ]
    assert (euro.confirmed, euro.amount) == (3, 731)
    assert euro.busiest == Minute(START, 3, 731)
    assert euro.in_flight == []


def test_money_in_flight_lasts_until_it_arrives(tmp_path: Path) -> None:
    bank = Ledger()
    bank.open("a")
    bank.open("b")
    bank.deposit("a", 1_000, 0)
    bank.transfer("a", "b", 300, 500)
    bank.transfer("a", "b", 200, 1_000, arrives=False)
    bank.deposit("a", 1, 3_000)
    levels = figures_of(bank, tmp_path).currencies[0].in_flight
    assert levels == [
        InFlight(START, 0, 0, 1, 300),
        InFlight(START + 1_000, 1, 200, 1, 200),
        InFlight(START + 2_000, 1, 200, 1, 200),  # nothing happened, it still flies
        InFlight(START + 3_000, 1, 200, 1, 200),
    ]


def test_the_level_before_a_bucket_counts_for_its_most(tmp_path: Path) -> None:
    bank = Ledger()
    bank.open("a")
    bank.open("b")
    bank.deposit("a", 1_000, 0)
    bank.transfer("a", "b", 300, 993)  # leaves at 998, arrives at 1,003
    assert figures_of(bank, tmp_path).currencies[0].in_flight == [
        InFlight(START, 1, 300, 1, 300),
        InFlight(START + 1_000, 0, 0, 1, 300),
    ]


def test_largest_first_and_no_more_than_the_top(tmp_path: Path) -> None:
    bank = Ledger()
    for i in range(15):
        bank.open(f"a{i:02d}")
        bank.deposit(f"a{i:02d}", 100 * (i % 7), i)
    euro = figures_of(bank, tmp_path).currencies[0]
    assert len(euro.accounts) == len(euro.movements) == data.TOP
    assert [(line.account_id, line.balance) for line in euro.accounts[:3]] == [("a06", 600), ("a13", 600), ("a05", 500)]
    assert [line.amount for line in euro.movements[:3]] == [600, 600, 500]
    assert euro.balances[0] == (0, "a00")
    assert len(euro.balances) == 15


def test_names_pass_unchanged(tmp_path: Path) -> None:
    euro = figures_of(small_bank(), tmp_path).currencies[0]
    assert HOSTILE in [line.account_id for line in euro.accounts]


@pytest.mark.parametrize(
    ("span", "name"),
    [(0, "second"), (88_999, "second"), (89_000, "2 seconds"), (3_600_000, "minute"), (456 * 86_400_000, "week")],
)
def test_the_narrowest_bucket_that_fits(span: int, name: str) -> None:
    width, found = bucket_of(span)
    assert found == name
    assert (span // width) + 2 <= data.MAX_BUCKETS


def test_centuries_still_get_a_bucket() -> None:
    assert bucket_of(10**13) == data.BUCKETS[-1]


def test_files_that_are_no_views(tmp_path: Path) -> None:
    text = tmp_path / "a.txt"
    text.write_text("hello, this is no database at all")
    with pytest.raises(NoViews, match="neither a DuckDB nor a SQLite"), open_views(text):
        pass
    other = tmp_path / "b.sqlite"
    with sqlite3.connect(other) as db:
        db.execute("CREATE TABLE journal (x)")
    db.close()
    with pytest.raises(NoViews, match="no table or view accounts"), open_views(other):
        pass
    torn = tmp_path / "c.duckdb"
    torn.write_bytes(b"\0" * 8 + b"DUCK" + b"\0" * 5_000)
    with pytest.raises(NoViews, match="cannot be opened"), open_views(torn):
        pass


def test_the_database_is_only_read(tmp_path: Path) -> None:
    for ending in ("sqlite", "duckdb"):
        path = small_bank().write(tmp_path / f"views.{ending}")
        with open_views(path) as db, pytest.raises(Exception, match=r"read-?\s?only"):
            db.execute("DELETE FROM journal")
