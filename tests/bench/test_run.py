"""What the benchmarks make of their rows; the figures themselves are no tests."""

from pathlib import Path
from typing import Any

import pytest

from bench import payments, run, scale


def row(**changes: Any) -> dict[str, Any]:
    base = {
        "name": "join",
        "unit": "µs/record",
        "value": 12.5,
        "baseline": 150.0,
        "ratio": 12.0,
        "floor": 8,
        "aim": 20,
        "floor_is": "ratio",
    }
    return base | changes


@pytest.mark.parametrize(
    ("changes", "reached"),
    [
        ({}, "floor"),
        ({"ratio": 20.0}, "aim"),
        ({"ratio": 7.9}, "MISSED"),
        ({"floor_is": "value", "value": 9_999, "floor": 10_000, "aim": 20_000}, "MISSED"),
        ({"floor_is": "value", "value": 30_000, "floor": 10_000, "aim": 20_000}, "aim"),
        ({"name": "memory, at most", "floor_is": "value", "value": 2.5, "floor": 3.0, "aim": None}, "floor"),
        ({"name": "memory, at most", "floor_is": "value", "value": 3.5, "floor": 3.0, "aim": None}, "MISSED"),
        ({"floor": None, "aim": None}, ""),
    ],
)
def test_which_mark_a_row_reaches(changes: dict[str, Any], reached: str) -> None:
    assert run.reached(row(**changes)) == reached


def test_the_page_gets_the_table_between_its_markers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = tmp_path / "performance.md"
    page.write_text(f"before\n{run.BEGIN}\nold\n{run.END}\nafter\n", encoding="utf-8")
    monkeypatch.setattr(run, "PAGE", page)
    run.write_page([row()], {"cores": 2})
    text = page.read_text(encoding="utf-8")
    assert text.startswith("before\n") and text.endswith("\nafter\n") and "old" not in text
    assert "| join | 12.5 µs/record | 150 | 12.0× | 8× | 20× | floor |" in text and "cores 2" in text


def test_growth_is_told_of_the_smallest_and_the_largest() -> None:
    points = [
        {"payments": 1_000, "seconds": 1.0, "peak": 2 << 30, "before": 0},
        {"payments": 11_000, "seconds": 22.0, "peak": 3 << 30, "before": 0},
    ]
    peak, each, growth = scale.rows_of(points)
    assert (peak["value"], each["value"], growth["value"]) == (3.0, round((1 << 30) / 10_000), 2.0)


def test_the_payments_suite_measures_what_it_says() -> None:
    rows = payments.measure(repeats=1, count=300)
    assert [r["name"].split()[0] for r in rows] == ["payments", "replay", "balances"]
    assert all(r["value"] > 0 and r["floor_is"] == "value" for r in rows)
