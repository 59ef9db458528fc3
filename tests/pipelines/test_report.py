"""The report as a job: file to file, its exit status, and what a wrong flag or file gets."""

import sqlite3
from pathlib import Path

import pytest

from pipelines import report
from pipelines.common import launch
from tests.report.ledger import Ledger, small_bank


def start(*flags: str) -> int:
    return launch(report.run, list(flags), "report")


@pytest.mark.parametrize("ending", ["duckdb", "sqlite"])
def test_a_database_becomes_a_page(tmp_path: Path, ending: str, capsys: pytest.CaptureFixture[str]) -> None:
    views = small_bank().write(tmp_path / f"views.{ending}")
    page = tmp_path / "out" / "report.html"
    flags = (
        "--title=A <b> run",
        "--source=raw.avro",
        "--seed=3",
        "--hop_ms=5",
        "--seconds=1.5",
        "--engine=FnApiRunner",
    )
    assert start(f"--input={views}", f"--output={page}", *flags) == 0
    text = page.read_text(encoding="utf-8")
    for said in (
        "<h1>A &lt;b&gt; run</h1>",
        "raw.avro",
        "<dd>3</dd>",
        "--hop_ms 5",
        "1.5 s: 37 incoming",
        "FnApiRunner",
    ):
        assert said in text
    assert capsys.readouterr().out == f"written: {page}, 8 of 8 checks hold\n"
    assert sorted(item.name for item in page.parent.iterdir()) == ["report.html"]


def test_a_failed_check_is_the_exit_status(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    views = Ledger().write(tmp_path / "views.sqlite")
    with sqlite3.connect(views) as db:
        db.execute("UPDATE incoming SET records = 7")
    db.close()
    page = tmp_path / "report.html"
    assert start(f"--input={views}", f"--output={page}") == 1
    assert "1 of 8 checks fails." in page.read_text(encoding="utf-8")
    said = capsys.readouterr()
    assert said.err.startswith(
        "report: check failed: Every incoming record is accounted for: incoming 7 ≠ admitted 0 + "
    )
    assert said.err.count("\n") == 1
    assert said.out.endswith("7 of 8 checks hold\n")


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--hop_ms=-1"], "report: should be at least 0, got -1: --hop_ms"),
        (["--seconds=0"], "report: should be a positive number, got 0.0: --seconds"),
        (["--title="], "report: should not be empty, got '': --title"),
        (["--sed=1"], "report: unknown flag (did you mean --seed?): --sed"),
        (["--input=nowhere.duckdb"], "report: no such file: nowhere.duckdb"),
        (["--input={folder}/views.sqlite,{folder}/other.txt"], "report: one database is read, and there are 2: "),
        (["--input={folder}/other.txt"], "report: is neither a DuckDB nor a SQLite database: "),
        (["--output={folder}"], "report: the output would replace an input"),
    ],
)
def test_what_the_user_can_put_right(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], flags: list[str], said: str
) -> None:
    views = Ledger().write(tmp_path / "views.sqlite")
    (tmp_path / "other.txt").write_text("no database")
    page = tmp_path / "report.html"
    page.write_text("the old one")
    given = [flag.format(folder=tmp_path) for flag in flags]
    assert start(f"--input={views}", f"--output={page}", *given) == 2
    error = capsys.readouterr().err
    assert error.startswith(said)
    assert error.count("\n") == 1
    assert page.read_text() == "the old one"
    assert len(list(tmp_path.iterdir())) == 3
