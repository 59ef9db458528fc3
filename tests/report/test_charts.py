"""What the pictures show: rows, words, cut bars, bins."""

from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from report.charts import FEW_ACCOUNTS, Chart, ceiling, currency_charts, histogram
from report.figures import Bucket, CurrencyFigures, Holding, InFlight, Latency, Minute
from report.latency import MOST_BARS, latency_chart, percentile
from report.specs import specs
from tests.report.ledger import START

NOTHING = CurrencyFigures("EUR", 0, 0, [], [], None, [], [], [])


def charts_of(**figures: Any) -> dict[str, Chart]:
    return {chart.kind: chart for chart in currency_charts(NOTHING._replace(**figures), 1_000, "second", 3)}


def test_nothing_has_no_chart() -> None:
    assert charts_of() == {}
    assert charts_of(buckets=[Bucket(START, 0, 0, 0)]) == {}
    assert latency_chart([]) is None


@pytest.mark.parametrize("start", [-(1 << 63), 253_402_300_799_001, 1 << 62])
def test_nothing_is_drawn_along_a_time_without_a_calendar(start: int) -> None:
    figures = {
        "buckets": [Bucket(START, 2, 5, 1), Bucket(start, 0, 0, 0)][:: 1 if start > 0 else -1],
        "in_flight": [InFlight(START, 1, 1, 1, 1)],
        "balances": [Holding(1, "a")],
        "confirmed": 2,
    }
    assert set(charts_of(**figures)) == {"accounts"}
    assert set(charts_of(**figures | {"buckets": [Bucket(START, 2, 5, 1)]})) == {
        "money",
        "counts",
        "in_flight",
        "accounts",
    }


def test_money_and_counts() -> None:
    buckets = [Bucket(START, 2, 123_456, 1), Bucket(START + 1_000, 0, 0, 0)]
    charts = charts_of(buckets=buckets, confirmed=2, amount=123_456, busiest=Minute(START, 2, 123_456))
    money, counts = charts["money"], charts["counts"]
    assert (money.id, counts.id) == ("money-3", "counts-3")
    assert money.rows[0] == {"start": START, "end": START + 1_000, "money": 1234.56, "cut": False}
    assert money.cells[0] == ("2026-01-01 00:00:00", "2", "EUR\u00a01,234.56")
    assert money.data()[0] == money.rows[0] | {"t0": "2026-01-01 00:00:00", "t1": "2", "t2": "EUR\u00a01,234.56"}
    assert "EUR\u00a01,234.56 in all" in money.alt
    assert "busiest minute began at 2026-01-01 00:00: 2 payments" in money.note
    assert counts.rows[0] == {"start": START, "end": START + 1_000, "confirmed": 2, "ended": 3}
    assert counts.cells == [("2026-01-01 00:00:00", "2", "1"), ("2026-01-01 00:00:01", "0", "0")]


def test_rejections_alone_make_charts() -> None:
    charts = charts_of(buckets=[Bucket(START, 0, 0, 4)])
    assert charts["counts"].rows[0]["ended"] == 4
    assert charts["money"].note == ""


def test_money_in_flight() -> None:
    chart = charts_of(in_flight=[InFlight(START, 1, 500, 3, 70_000)])["in_flight"]
    assert chart.rows == [{"start": START, "end": START + 1_000, "peak": 700.0, "level": 5.0, "cut": False}]
    assert chart.cells == [("2026-01-01 00:00:00", "EUR\u00a0700.00", "EUR\u00a05.00", "1")]
    assert "at most EUR\u00a0700.00" in chart.alt


def test_one_bar_far_above_is_cut_and_said_so() -> None:
    buckets = [Bucket(START + 1_000 * i, 1, 100 if i else 10**12, 0) for i in range(10)]
    money = charts_of(buckets=buckets, confirmed=10)["money"]
    assert money.rows[0]["money"] == 1.25
    assert [row["cut"] for row in money.rows] == [True] + [False] * 9
    assert money.note.startswith("1 bar goes on above the picture")
    assert money.cells[0][2] == "EUR\u00a010,000,000,000.00"


@pytest.mark.parametrize(
    ("values", "top"),
    [
        ([5], 5),
        ([0, 0], 0),
        ([-3], 0),
        ([100, 400], 400),
        ([100, 401], 125),
        ([0, 500], 500),
        ([100] * 38 + [10_000, 9_000], 125),
        ([100] * 37 + [10_000, 9_000, 8_000], 10_000),  # three of forty are no exception any more
    ],
)
def test_ceilings(values: list[int], top: int) -> None:
    assert ceiling(values) == top


def test_few_accounts_have_a_bar_each() -> None:
    card = "4111111111111111"
    balances = [(-100, f"{card}"), (5_000, "a-very-long-name-1"), (7_000, "a-very-long-name-1")]
    chart = charts_of(balances=balances)["accounts"]
    assert [row["label"] for row in chart.rows] == ["a-very…name-1", "a-very…name-1 (2)", "******…**1111"]
    assert [row["money"] for row in chart.rows] == [70.0, 50.0, -1.0]
    assert chart.cells[2] == ("************1111", "EUR\u00a0−1.00")


def test_many_accounts_are_a_histogram() -> None:
    balances = [(100 * i, f"a{i}") for i in range(FEW_ACCOUNTS + 1)]
    chart = charts_of(balances=balances)["balances"]
    assert sum(row["accounts"] for row in chart.rows) == len(balances)
    assert chart.cells[0] == ("0.00 to 0.50", "1")
    assert "left out" not in chart.note
    balances = sorted([(i, f"a{i}") for i in range(198)] + [(10**9, "x"), (10**9, "y")])
    chart = charts_of(balances=balances)["balances"]
    assert chart.note.endswith("2 far out are left out of the picture.")
    balances = sorted([(i, f"a{i}") for i in range(199)] + [(10**9, "x")])
    assert charts_of(balances=balances)["balances"].note.endswith("1 far out is left out of the picture.")


@given(st.lists(st.integers(-(10**15), 10**15), min_size=1, max_size=300).map(sorted))
def test_a_histogram_counts_every_value_once(values: list[int]) -> None:
    bins, outside = histogram(values)
    assert 1 <= len(bins) <= 36
    assert sum(n for _, _, n in bins) + outside == len(values)
    assert outside <= 2 * (len(values) // 100)
    assert all(right[0] == left[1] for left, right in pairwise(bins))
    for low, high, n in bins:
        assert n == sum(low <= value < high for value in values)


def test_latency_has_a_bar_for_each_time_while_there_are_few() -> None:
    chart = latency_chart([Latency(5, 1, 30), Latency(10, 2, 60), Latency(10, 6, 1), Latency(2_000, 3, 9)])
    assert chart is not None
    assert [row["label"] for row in chart.rows] == ["5\u00a0ms", "10\u00a0ms", "2\u00a0s"]
    assert chart.cells[1] == ("10\u00a0ms", "61", "61.0\u00a0%", "91.0\u00a0%")
    second = chart.rows[1]
    assert [(second[f"from{i}"], second[f"to{i}"]) for i in range(4)] == [(0, 0), (0, 60), (60, 60), (60, 61)]
    assert [name for _, name in chart.legend] == ["1 hop", "2 hops", "3 hops", "4 hops or more"]


def test_many_times_are_binned() -> None:
    lines = [Latency(7 * i, 2, 1) for i in range(1, MOST_BARS + 2)]
    chart = latency_chart(lines)
    assert chart is not None
    assert [row["label"].replace("\u00a0", " ") for row in chart.rows] == [
        "≤ 10 ms",
        "≤ 20 ms",
        "≤ 50 ms",
        "≤ 100 ms",
        "≤ 200 ms",
    ]
    assert [cells[1] for cells in chart.cells] == ["1", "1", "5", "7", "11"]
    assert chart.cells[-1][3] == "100.0\u00a0%"


def test_zero_is_a_time() -> None:
    chart = latency_chart([Latency(0, 1, 1), *(Latency(7 * i, 2, 1) for i in range(1, MOST_BARS + 2))])
    assert chart is not None
    assert chart.rows[0]["label"] == "≤ 0\u00a0ms"
    assert sum(int(cells[1]) for cells in chart.cells) == MOST_BARS + 2


def test_percentiles_are_of_the_nearest_rank() -> None:
    lines = [Latency(1, 1, 50), Latency(2, 1, 49), Latency(90, 1, 1)]
    assert [percentile(lines, p) for p in (1, 50, 51, 99, 100)] == [1, 1, 2, 2, 90]
    assert percentile([Latency(3, 1, 1)], 50) == 3
    with pytest.raises(ValueError, match="got 101"):
        percentile(lines, 101)


@pytest.mark.parametrize(
    ("width", "form"),
    [
        (1_000, "%H:%M:%S"),
        (60_000, "%H:%M"),
        (3_600_000, "%d %b %H:%M"),
        (86_400_000, "%d %b"),
        (7 * 86_400_000, "%b %Y"),
    ],
)
def test_time_axes_say_what_their_buckets_need(width: int, form: str) -> None:
    layers = specs(width)["money"]["layer"]
    assert layers[0]["encoding"]["x"]["axis"]["format"] == form
    assert layers[0]["encoding"]["x"]["scale"]["type"] == "utc"  # not the reader's own time zone


def test_tooltips_name_every_column() -> None:
    buckets, levels = [Bucket(START, 1, 1, 1)], [InFlight(START, 1, 1, 1, 1)]
    charts = [*currency_charts(NOTHING._replace(buckets=buckets, in_flight=levels, confirmed=1), 1_000, "second", 0)]
    charts += [chart for chart in [latency_chart([Latency(1, 1, 1)])] if chart]
    assert len(charts) == 4
    for chart in charts:
        tooltip = specs(1_000)[chart.kind]["layer"][-1]["encoding"]["tooltip"]
        assert [field["title"] for field in tooltip] == list(chart.columns)
        assert {field["field"] for field in tooltip} <= chart.data()[0].keys()
