"""Real data through the whole system: a bank's transactions of 15 months, against a running sum in SQL and against the bank's own balances.

The figures of the bank's balances are those of the data's README; `bank_figures` takes them from any table of closings.
"""

import json
from pathlib import Path
from typing import NamedTuple

import duckdb
import pytest

from pipelines import import_payments, payment_views, payments

CZK_A_DAY = "0.10"
"""The bank rounded interest: its balance may be off by that much for each day that has passed."""


class Figures(NamedTuple):
    """How closings compare with the bank's own balances.

    account_days: closings; near: within 0.10 CZK a day passed of a balance that the bank recorded on that day; of the steps from one
    recorded closing to the next, those that equal the day's sum: exactly, within 0.10, or not at all.
    """

    account_days: int
    near: int
    exact_steps: int
    rounded_steps: int
    anomalies: int


EXPECTED = Figures(account_days=19_487, near=19_471, exact_steps=18_391, rounded_steps=1_079, anomalies=17)


def read_bank_rows(con: duckdb.DuckDBPyConnection, csv: Path) -> None:
    """Table `bank` with the rows of the CSV, and `running`: per account and day the running sum of the signed amounts, in SQL alone."""
    con.execute(
        f"""
        CREATE TABLE bank AS SELECT account_id, date::DATE AS day, amount::DECIMAL(18, 2) AS amount, direction,
            balance_after::DECIMAL(18, 2) AS balance_after FROM read_csv('{csv}', all_varchar = true);
        CREATE TABLE running AS SELECT account_id, day, sum(sum(CASE direction WHEN 'credit' THEN amount ELSE -amount END))
            OVER (PARTITION BY account_id ORDER BY day) AS closing FROM bank GROUP BY account_id, day;
        """
    )


def bank_figures(con: duckdb.DuckDBPyConnection, closings: str) -> Figures:
    """Compares a table of closings (account_id, day, closing) with the balances in `bank`.

    Rows of a day are not in posting order, so the recorded closing of a day is the recorded balance that is nearest to ours.
    """
    found = con.execute(
        f"""
        WITH days AS (
            SELECT account_id, day, closing, day - first_value(day) OVER history AS passed, row_number() OVER history AS number
            FROM {closings} WINDOW history AS (PARTITION BY account_id ORDER BY day)
        ), nearest AS (
            SELECT account_id, day, any_value(closing) AS closing, any_value(passed) AS passed,
                arg_min(balance_after, (abs(balance_after - closing), balance_after)) AS recorded
            FROM days JOIN bank USING (account_id, day) GROUP BY account_id, day
        ), steps AS (
            SELECT abs(recorded - closing) AS off, passed, closing - lag(closing, 1, 0) OVER history AS step,
                recorded - lag(recorded, 1, 0) OVER history AS recorded_step
            FROM nearest WINDOW history AS (PARTITION BY account_id ORDER BY day)
        )
        SELECT count(*), count(*) FILTER (off <= {CZK_A_DAY} * passed), count(*) FILTER (step = recorded_step),
            count(*) FILTER (step <> recorded_step AND abs(step - recorded_step) <= {CZK_A_DAY}),
            count(*) FILTER (abs(step - recorded_step) > {CZK_A_DAY})
        FROM steps
        """
    ).fetchone()
    assert found is not None
    return Figures(*found)


def read_journal(con: duckdb.DuckDBPyConnection, database: Path) -> None:
    """Table `ours`: per account and day the balance after the last entry of the journal on that day."""
    con.execute(
        f"""
        ATTACH '{database}' AS views (READ_ONLY);
        CREATE TABLE ours AS SELECT account_id, day, (arg_max(balance, version) * 0.01::DECIMAL(2, 2))::DECIMAL(38, 2) AS closing
            FROM (SELECT *, epoch_ms(at_ms)::DATE AS day FROM views.journal) GROUP BY account_id, day;
        """
    )


@pytest.fixture(scope="module")
def run_folder(bank_csv: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The transactions, imported, processed and viewed by the pipelines' own commands."""
    folder = tmp_path_factory.mktemp("bank")
    raw, topics, views = (str(folder / name) for name in ("raw.avro", "run", "views.duckdb"))
    assert not import_payments.run(["--input", str(bank_csv), "--mapping", "bank-transactions", "--output", raw])
    assert not payments.run(["--input", raw, "--output", topics])
    assert not payment_views.run(["--input", f"{topics}/topics", "--output", views])
    return folder


@pytest.fixture
def con(bank_csv: Path) -> duckdb.DuckDBPyConnection:
    connection = duckdb.connect()
    read_bank_rows(connection, bank_csv)
    return connection


def test_the_figures_of_a_plain_running_sum(con: duckdb.DuckDBPyConnection) -> None:
    """The oracle by itself has the figures of the data's README."""
    assert bank_figures(con, "running") == EXPECTED


def test_every_closing_is_the_running_sum(con: duckdb.DuckDBPyConnection, run_folder: Path) -> None:
    read_journal(con, run_folder / "views.duckdb")
    (days,) = con.execute("SELECT count(*) FROM ours").fetchone()  # type: ignore[misc]
    assert days == EXPECTED.account_days
    differing = con.execute("(TABLE ours EXCEPT TABLE running) UNION ALL (TABLE running EXCEPT TABLE ours)").fetchall()
    assert differing == []
    assert bank_figures(con, "ours") == EXPECTED


def test_a_wrong_closing_is_seen(con: duckdb.DuckDBPyConnection) -> None:
    """One heller less in one account from one day on, one day of another left out."""
    con.execute("UPDATE running SET closing = closing - 100 WHERE account_id = '576' AND day >= '1993-03-31'")
    assert bank_figures(con, "running").near < EXPECTED.near
    assert bank_figures(con, "running") != EXPECTED


def test_every_row_is_confirmed_once(run_folder: Path) -> None:
    counts = json.loads((run_folder / "raw.avro.counts.json").read_text())
    assert counts == {"rows": 23_932, "payments": 23_932, "accounts": 591, "rejected": {}}
    with duckdb.connect(str(run_folder / "views.duckdb"), read_only=True) as views:
        statuses = views.execute("SELECT status, count(*) FROM payments GROUP BY status").fetchall()
        assert statuses == [("ACCC", 23_932)]
        for table in ("dead_letters", "attempts"):
            assert views.execute(f"SELECT count(*) FROM {table}").fetchone() == (0,)
        money, outside = views.execute(
            "SELECT (SELECT sum(balance) FROM accounts), (SELECT sum(balance) FROM contra WHERE side = 'outside')"
        ).fetchone()  # type: ignore[misc]
        assert money == -outside != 0


def test_ticks_and_the_memory_of_ids_bear_a_long_history(run_folder: Path) -> None:
    """15 months of log time: ticks come less often than each second, and no row is taken for late or for a repeat."""
    shards = [json.loads(line) for line in (run_folder / "run" / "shards.jsonl").read_text().splitlines()]
    for shard in shards:
        assert shard["late"] == shard["duplicate"] == shard["dead_lettered"] == 0
        assert shard["ticks"] <= 5_001
        if shard["stage"] == "payments.accounts":
            assert shard["ticks"] > 4_900
    admitted = sum(shard["applied"] for shard in shards if shard["stage"] == "payments.admission")
    assert admitted == 23_932
