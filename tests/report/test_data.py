"""Figures read from the views, by both databases."""

import sqlite3
from contextlib import closing
from itertools import pairwise
from pathlib import Path
from typing import Any

import duckdb
import pytest

from payments.admission import MAX_MINOR
from payments.view_tables import BOOK_EQUATIONS
from report import data
from report.checks import read_checks
from report.data import bucket_of, read_figures
from report.figures import Figures, InFlight, Minute, Trial
from report.views import NoViews, open_views, query_rows
from tests.report.ledger import HOSTILE, START, Ledger, small_bank
from transforms.errors import InputError
from transforms.sql_views import SqlViewError


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


def test_legal_amounts_add_up_to_more_than_64_bits(tmp_path: Path) -> None:
    bank, number = Ledger(), 9_300
    bank.open("a")
    bank.open("b")
    bank.deposit("a", MAX_MINOR, 0)
    for i in range(number):
        bank.transfer("ab"[i % 2], "ba"[i % 2], MAX_MINOR, 20 * (i + 1))
    path = bank.write(tmp_path / "views.duckdb")
    total = (number + 1) * MAX_MINOR
    assert number * MAX_MINOR > 1 << 63
    with open_views(path) as db:
        euro = read_figures(db).currencies[0]
        assert all(check.holds for check in read_checks(db))
        counts = "SELECT amount FROM counts WHERE status = 'ACCC' AND kind = 'TRANSFER'"
        days = "SELECT admitted_amount, confirmed_amount, departed_amount, arrived_amount FROM days"
        accounts = "SELECT SUM(balance_sum) FROM accounts"
        flowed = [query_rows(db, query) for query in (counts, days, accounts)]
    assert flowed == [[(number * MAX_MINOR,)], [(total, total, total - MAX_MINOR, total - MAX_MINOR)], [(total,)]]
    assert (euro.confirmed, euro.amount) == (number + 1, total)
    with pytest.raises(SqlViewError, match="more than 64 bits, which SQLite cannot hold: use DuckDB"):
        bank.write(tmp_path / "views.sqlite")


@pytest.mark.parametrize("ending", ["sqlite", "duckdb"])
@pytest.mark.parametrize(
    "faults",
    [
        ["UPDATE journal SET at_ms = 9223372036854775807 WHERE account_id = 'bob' AND version = 3"],
        ["UPDATE confirmed SET confirmed_at = 9223372036854775807 WHERE payment_id = 'pay-000005'"],
        [
            "UPDATE confirmed SET confirmed_at = -9223372036854775808 WHERE payment_id = 'pay-000005'",
            "UPDATE payments SET at_ms = 9223372036854775807 WHERE payment_id = 'pay-000006'",
        ],
        ["UPDATE payments SET at_ms = -9223372036854775807 WHERE status = 'RJCT'"],
        ["UPDATE payments SET admitted_at = 4611686018427387904 WHERE status = 'RJCT'"],
        ["DELETE FROM payments", "UPDATE journal SET at_ms = at_ms + version * 4611686018427 WHERE contra IS NOT NULL"],
    ],
)
def test_whatever_the_times_there_are_few_buckets_and_all_is_in_them(
    tmp_path: Path, ending: str, faults: list[str]
) -> None:
    right = figures_of(small_bank(), tmp_path).currencies[0]
    path = edited(tmp_path, ending, *faults)
    with open_views(path) as db:
        figures = read_figures(db)
    euro = figures.currencies[0]
    assert len(euro.buckets) == len(euro.in_flight) <= data.MAX_BUCKETS
    assert (euro.confirmed, euro.amount) == (right.confirmed, right.amount)
    assert all(after.start - before.start == figures.width for before, after in pairwise(euro.buckets))
    assert euro.in_flight[-1][1:3] == right.in_flight[-1][1:3]


def test_a_run_over_half_of_all_time(tmp_path: Path) -> None:
    bank = Ledger()
    bank.open("a")
    bank.open("b")
    bank.deposit("a", 1_000, 0)
    bank.transfer("a", "b", 300, 1 << 62)
    euro = figures_of(bank, tmp_path).currencies[0]
    assert [bucket.amount for bucket in euro.buckets] == [1_000, *[0] * (len(euro.buckets) - 2), 300]
    assert len(euro.buckets) <= data.MAX_BUCKETS


def edited(folder: Path, ending: str, *faults: str) -> Path:
    """The small bank's views after somebody has changed them."""
    path = small_bank().write(folder / f"edited.{ending}")
    connect: Any = duckdb.connect if ending == "duckdb" else sqlite3.connect
    with closing(connect(str(path))) as db:
        for fault in faults:
            db.execute(fault)
        db.commit()
    return path


@pytest.mark.parametrize("ending", ["sqlite", "duckdb"])
@pytest.mark.parametrize(
    ("fault", "said"),
    [
        ("UPDATE payments SET status = NULL WHERE status = 'PDNG'", "has NULL as status, which payment_views never"),
        ("UPDATE attempts SET status = NULL", "has NULL as status"),
        ("UPDATE accounts SET balance = NULL WHERE account_id = 'bob'", "has NULL as balance"),
        ("UPDATE accounts SET currency = NULL WHERE account_id = 'bob'", "has NULL as currency"),
        ("UPDATE confirmed SET elapsed_ms = NULL", "has NULL as elapsed_ms"),
        ("UPDATE dead_letters SET detail = NULL", "has NULL as detail"),
        ("DROP VIEW books", "has no table or view books"),
    ],
)
def test_what_the_views_never_say_is_one_line(tmp_path: Path, ending: str, fault: str, said: str) -> None:
    assert refusal(edited(tmp_path, ending, fault)).startswith(said)


@pytest.mark.parametrize(
    ("books", "said"),
    [
        ("SELECT 1 AS incoming", "does not answer as payment_views do ("),
        ("SELECT 'x' AS {}", "has a view books that is not one row of counts"),
        ("SELECT NULL AS {}", "has a view books that is not one row of counts"),
        ("SELECT 1 AS {} FROM journal", "has a view books that is not one row of counts"),
        ("SELECT 1 AS {} WHERE 1 = 0", "has a view books that is not one row of counts"),
    ],
)
@pytest.mark.parametrize("ending", ["sqlite", "duckdb"])
def test_a_view_of_the_books_that_is_none(tmp_path: Path, ending: str, books: str, said: str) -> None:
    names = dict.fromkeys(name for equation in BOOK_EQUATIONS for name in (equation.left, *equation.parts))
    first, _, rest = books.partition("{}")
    value = first.split()[1]
    query = f"SELECT {', '.join(f'{value} AS {name}' for name in names)}{rest}" if "{}" in books else books
    assert refusal(edited(tmp_path, ending, "DROP VIEW books", f"CREATE VIEW books AS {query}")).startswith(said)


def test_values_of_another_type_in_sqlite(tmp_path: Path) -> None:
    for fault, said in (
        ("UPDATE accounts SET balance = 'x' WHERE account_id = 'bob'", "has a value of type str as balance"),
        ("UPDATE accounts SET balance = 1.5 WHERE account_id = 'bob'", "has a value of type float as balance"),
        ("UPDATE payments SET at_ms = 'later' WHERE status = 'PDNG'", "has a value of type str as last"),
        ("UPDATE contra SET balance = 9223372036854775807", "has a value of type float as total"),
        ("UPDATE confirmed SET amount = 9223372036854775807", "does not answer as payment_views do (integer overflow)"),
    ):
        assert refusal(edited(tmp_path, "sqlite", fault)).startswith(said)
        (tmp_path / "edited.sqlite").unlink()


def refusal(path: Path) -> str:
    with pytest.raises(InputError) as caught, open_views(path) as db:
        read_figures(db)
    message = str(caught.value)
    assert isinstance(caught.value, NoViews) and "\n" not in message
    return message


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


@pytest.mark.parametrize(
    ("span", "name"), [(10**13, "260 weeks"), (1 << 63, "260,000,000 weeks"), ((1 << 64) - 1, "520,000,000 weeks")]
)
def test_any_time_of_64_bits_gets_a_bucket(span: int, name: str) -> None:
    width, found = bucket_of(span)
    assert found == name and span // width + 2 <= data.MAX_BUCKETS and width < 1 << 63


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
