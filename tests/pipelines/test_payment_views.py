"""The pipeline `payment_views`: topics to tables."""

import shutil
import sqlite3
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import pytest

from payments.view_tables import BALANCE_AT, BOOK_EQUATIONS, DERIVED, TABLES
from pipelines import payment_views
from pipelines.common import UsageError
from tests.pipelines.runs import GOLDEN, run_payments
from transforms.errors import InputError


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return run_payments(GOLDEN / "payments.jsonl", tmp_path_factory.mktemp("viewed") / "run")


@pytest.fixture(scope="module", params=["duckdb", "sqlite"])
def database(request: pytest.FixtureRequest, run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("views") / f"views.{request.param}"
    payment_views.run([f"--input={run}/topics", f"--output={path}"])
    return path


def connect(path: Path) -> Any:
    return duckdb.connect(str(path), read_only=True) if path.suffix == ".duckdb" else sqlite3.connect(path)


def rows(path: Path, query: str, *parameters: object) -> list[tuple[Any, ...]]:
    connection = connect(path)
    try:
        return connection.execute(query, parameters).fetchall()
    finally:
        connection.close()


def dump(path: Path) -> str:
    """All tables and views as text, the same for both databases."""
    lines = []
    for name in [*(table.name for table in TABLES), *DERIVED]:
        lines.append(f"== {name}")
        found = rows(path, f"SELECT * FROM {name}")
        # SQLite has neither booleans nor decimals
        lines += sorted(str(tuple(int(v) if isinstance(v, bool | Decimal) else v for v in row)) for row in found)
    return "\n".join(lines) + "\n"


def test_golden(database: Path) -> None:
    assert dump(database) == (GOLDEN / "payment_views.txt").read_text(encoding="utf-8")


def test_the_books_close(database: Path) -> None:
    names = list(dict.fromkeys(name for equation in BOOK_EQUATIONS for name in (equation.left, *equation.parts)))
    books = dict(zip(names, rows(database, f"SELECT {', '.join(names)} FROM books")[0], strict=True))
    assert books["incoming"] == 14 and all(equation.holds(books) for equation in BOOK_EQUATIONS)
    assert {total for *_, total in rows(database, "SELECT * FROM trial_balance")} == {0}


@pytest.mark.parametrize(
    ("account", "at", "balance"),
    [
        ("alice", 1767225601004, None),
        ("alice", 1767225601005, 10_000),
        ("alice", 1767225602004, 10_000),
        ("alice", 1767225602005, 7_500),
        ("alice", 1767225606005, 5_500),
        ("alice", 1767229999999, 6_000),
        ("bob", 1767225613005, -4_000),
        ("nobody", 1767229999999, None),
    ],
)
def test_balance_of_an_account_at_a_time(account: str, at: int, balance: int | None, database: Path) -> None:
    found = rows(database, BALANCE_AT, account, at)
    assert [row[1] for row in found] == ([] if balance is None else [balance])


def test_twice_is_the_same(database: Path, run: Path, tmp_path: Path) -> None:
    again = tmp_path / database.name
    shutil.copy(database, again)
    payment_views.run([f"--input={run}/topics", f"--output={again}"])
    assert dump(again) == dump(database)


def test_a_damaged_log_is_named(run: Path, tmp_path: Path) -> None:
    shutil.copytree(run / "topics", tmp_path / "topics")
    place = tmp_path / "topics" / "payments.journal" / "p05.avro"
    place.write_bytes(place.read_bytes()[:-40])
    with pytest.raises((InputError, RuntimeError), match=r"p05\.avro: truncated or damaged"):
        payment_views.run([f"--input={tmp_path}/topics", f"--output={tmp_path}/v.duckdb"])
    assert not (tmp_path / "v.duckdb").exists()


def test_what_the_user_can_put_right(run: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no such topic folder"):
        payment_views.run([f"--input={tmp_path}", f"--output={tmp_path}/v.duckdb"])
    with pytest.raises(UsageError, match="must end with one of"):
        payment_views.run([f"--input={run}/topics", f"--output={tmp_path}/v.csv"])
    (tmp_path / "v.sqlite").write_text("no database at all, but long enough to have a header")
    with pytest.raises(InputError, match=r"v\.sqlite"):
        payment_views.run([f"--input={run}/topics", f"--output={tmp_path}/v.sqlite"])
