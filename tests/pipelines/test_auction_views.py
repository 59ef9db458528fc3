"""The pipeline `auction_views`."""

from pathlib import Path

import duckdb
import pytest

from pipelines import auction_views
from pipelines.common import UsageError, launch
from tests.pipelines.auction_runs import generate, run_loop


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("viewed")
    return run_loop(generate(root), root / "run", f"--geo={root}/geo.csv")


def test_views_are_the_same_when_made_again(run: Path, tmp_path: Path) -> None:
    argv = [f"--input={run}/topics", f"--output={tmp_path}/views.duckdb", "--k=2"]
    counts = []
    for _ in range(2):
        auction_views.run(argv)
        with duckdb.connect(str(tmp_path / "views.duckdb"), read_only=True) as db:
            tables = ("auctions", "decisions", "spreads", "price_ranges", "auction_ranges", "notices", "cells")
            counts.append([db.execute(f"SELECT COUNT(*) FROM {name}").fetchone() for name in tables])
    assert counts[0] == counts[1] and counts[0][0] == (12,) and all(n for (n,) in counts[0])
    with duckdb.connect(str(tmp_path / "views.duckdb"), read_only=True) as db:
        assert db.execute("SELECT MIN(bidders) FROM cells WHERE cell <> ''").fetchone()[0] >= 2
        placed = "SELECT COUNT(*) FROM decisions WHERE cell IS NOT NULL AND NOT automatic AND status LIKE 'ACCEPTED%' OR status = 'BUY_NOW'"
        assert db.execute("SELECT SUM(bids) FROM cells").fetchone()[0] <= db.execute(placed).fetchone()[0]


def test_rows_that_would_show_persons_stop_the_job(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(auction_views, "check_cells", lambda *_: ["0/cell shows 1 bidders, fewer than 5"])
    argv = [f"--input={run}/topics", f"--output={tmp_path}/views.duckdb"]
    assert launch(auction_views.run, argv, "auction_views") == 2
    assert "auction_views: cells: 0/cell shows 1 bidders, fewer than 5" in capfd.readouterr().err
    assert not (tmp_path / "views.duckdb").exists()


@pytest.mark.parametrize(
    ("flag", "message"),
    [
        ("--k=1", "must be at least 2, got 1: --k"),
        ("--window_days=0", "must be at least 1"),
        ("--output=views.txt", "must end with one of"),
        ("--input=nosuch", "nosuch"),
    ],
)
def test_bad_flags(flag: str, message: str, run: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=message):
        auction_views.run([f"--input={run}/topics", f"--output={tmp_path}/v.duckdb", flag])
