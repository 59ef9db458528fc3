"""Keyed windows in pipelines: against SQL, with panes and lateness on a stream, and what must never change a result."""

import random
from collections.abc import Sequence
from typing import Any

import apache_beam as beam
import duckdb
import pytest
from apache_beam.testing.test_stream import TestStream
from apache_beam.testing.util import assert_that, equal_to
from apache_beam.transforms.window import FixedWindows, TimestampedValue
from apache_beam.utils.timestamp import Timestamp

from tests.conftest import MakePipeline
from tests.proto import assert_no_pickled_coders
from tests.window_model import ROWS, Kept, Payment, chunk_of, chunks_of, model, random_payments, record
from transforms import windows as module
from transforms.aggregates import Count, Distinct, Max, Mean, Min, Quantiles, Several, Sum, TopN
from transforms.chunks import Chunk, ChunkCoder, pack_chunk
from transforms.errors import BadRecord
from transforms.partials import MAX_SIZE_MS, Window, new_partials
from transforms.rows import RowsOf
from transforms.windows import (
    AggregateByWindow,
    BadRow,
    BadRowCoder,
    EarlyByCount,
    EarlyByDelay,
    Fixed,
    LateRow,
    LateRowCoder,
    MergePartials,
    Session,
    Sliding,
    Windowed,
    WindowRow,
    WindowRowCoder,
)

TestStream.__test__ = False  # a part of a pipeline, no test

WINDOWS: list[Window] = [Fixed(500, 20), Sliding(600, 250, 30), Session(180)]
windows = pytest.mark.parametrize("window", WINDOWS, ids=lambda w: type(w).__name__)
LATENESS = 150
ERROR = 0.01
EVERYTHING = Several(
    sum=Sum(),
    count=Count(),
    min=Min(),
    max=Max(),
    mean=Mean(),
    top=TopN(3),
    distinct=Distinct(),
    q=Quantiles((0.5, 0.9), ERROR),
)


def run_bounded(
    make_pipeline: MakePipeline, chunks: Sequence[Chunk], *flags: str, **arguments: Any
) -> tuple[list[WindowRow], list[LateRow], list[BadRow]]:
    kept = Kept()
    with make_pipeline(*flags) as p:
        created = p | beam.Create(chunks).with_output_types(Chunk)
        kept.keep(created | AggregateByWindow(**{"rows": ROWS, "aggregate": Sum(), **arguments}))
    return kept.of("results"), kept.of("late"), kept.of("bad")


# --- against SQL ---

ACCEPTED = """
    WITH judged AS (
        SELECT *, coalesce(max(appended) OVER (PARTITION BY partition ORDER BY "offset"
                           ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING), -1) AS clock FROM payments),
    placed AS (
        SELECT judged.*, s AS start_, s + {size} AS end_ FROM judged,
        LATERAL (SELECT unnest(range({offset} + {period} * ((time - {size} - {offset}) // {period} - 2)::BIGINT,
                               time + 1, {period})) AS s) WHERE s <= time AND time < s + {size})
"""
SESSIONS = """
    WITH judged AS (
        SELECT *, coalesce(max(appended) OVER (PARTITION BY partition ORDER BY "offset"
                           ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING), -1) AS clock FROM payments),
    accepted AS (SELECT * FROM judged WHERE clock < 0 OR time + {gap} + {lateness} > clock),
    marked AS (SELECT *, CASE WHEN time - lag(time) OVER w >= {gap} THEN 1 ELSE 0 END AS fresh FROM accepted
               WINDOW w AS (PARTITION BY card ORDER BY time)),
    numbered AS (SELECT *, sum(fresh) OVER (PARTITION BY card ORDER BY time ROWS UNBOUNDED PRECEDING) AS n FROM marked),
    placed AS (SELECT *, min(time) OVER g AS start_, max(time) OVER g + {gap} AS end_ FROM numbered
               WINDOW g AS (PARTITION BY card, n))
"""
AGGREGATES = """
    SELECT card, start_, end_, sum(amount)::BIGINT, count(*), min(amount), max(amount), avg(amount), max(amount, 3),
           count(DISTINCT amount), quantile_disc(amount, [0.5, 0.9]), list_sort(list(amount))
    FROM placed WHERE clock < 0 OR end_ + {lateness} > clock GROUP BY ALL ORDER BY ALL
"""
LATE = """
    SELECT partition, "offset", count(*) FROM placed WHERE clock >= 0 AND end_ + {lateness} <= clock GROUP BY ALL ORDER BY ALL
"""


def by_sql(partitions: Sequence[Sequence[Payment]], window: Window) -> tuple[list[Any], list[Any]]:
    """(aggregates of each window, missed windows of each late row)."""
    db = duckdb.connect()
    db.execute(
        'CREATE TABLE payments (partition INT, "offset" INT, card TEXT, time BIGINT, amount BIGINT, appended BIGINT)'
    )
    rows = [(p, i, *payment) for p, payments in enumerate(partitions) for i, payment in enumerate(payments)]
    db.executemany("INSERT INTO payments VALUES (?, ?, ?, ?, ?, ?)", rows)
    if isinstance(window, Session):
        head = SESSIONS.format(gap=window.gap_ms, lateness=LATENESS)
        late = 'SELECT partition, "offset", 1 FROM judged WHERE clock >= 0 AND time + {gap} + {lateness} <= clock ORDER BY ALL'
        late = late.format(gap=window.gap_ms, lateness=LATENESS)
    else:
        period = window.period_ms if isinstance(window, Sliding) else window.size_ms
        head = ACCEPTED.format(size=window.size_ms, period=period, offset=window.offset_ms)
        late = LATE.format(lateness=LATENESS)
    return db.execute(head + AGGREGATES.format(lateness=LATENESS)).fetchall(), db.execute(head + late).fetchall()


@windows
def test_results_are_those_of_sql(make_pipeline: MakePipeline, window: Window) -> None:
    partitions = [random_payments(10 + i, 400, cards=4, disorder=900) for i in range(3)]
    chunks = [chunk for i, payments in enumerate(partitions) for chunk in chunks_of(payments, 64, i)]
    random.Random(1).shuffle(chunks)
    rows, late, bad = run_bounded(
        make_pipeline, chunks, window=window, aggregate=EVERYTHING, allowed_lateness_ms=LATENESS
    )
    expected, expected_late = by_sql(partitions, window)
    assert bad == []
    assert [(r.partition, r.offset, r.missed) for r in late] == expected_late
    assert len(late) > 20
    assert [(r.key, r.start, r.end) for r in rows] == [row[:3] for row in expected]
    for row, (*_, total, count, low, high, mean, top, distinct, _, values) in zip(rows, expected, strict=True):
        *found, quantiles = row.value.values()
        assert found == [total, count, low, high, pytest.approx(mean, rel=1e-15), tuple(top), distinct]
        for q, approximate in zip((0.5, 0.9), quantiles, strict=True):
            exact = values[int(q * (count - 1))]
            assert abs(approximate - exact) <= ERROR * abs(exact) * (1 + 1e-9)


# --- what must not change anything ---


@pytest.mark.parametrize("window", WINDOWS[1:], ids=lambda w: type(w).__name__)
def test_bytes_do_not_depend_on_chunks_bundles_and_workers(make_pipeline: MakePipeline, window: Window) -> None:
    payments = random_payments(5, 300, disorder=900)

    def encoded(chunks: Sequence[Chunk], *flags: str) -> list[bytes]:
        rows, late, _ = run_bounded(
            make_pipeline, chunks, *flags, window=window, aggregate=EVERYTHING, allowed_lateness_ms=LATENESS
        )
        return [*map(WindowRowCoder().encode, rows), *map(LateRowCoder().encode, late)]

    golden = encoded(chunks_of(payments, 1000))
    assert len(golden) > 50
    assert encoded(chunks_of(payments, 17)[::-1]) == golden
    assert encoded(chunks_of(payments, 40), "--direct_num_workers=2", "--direct_running_mode=multi_threading") == golden


def test_handing_over_early_changes_nothing(make_pipeline: MakePipeline, monkeypatch: pytest.MonkeyPatch) -> None:
    chunks = chunks_of(random_payments(6, 200), 20)
    golden = run_bounded(make_pipeline, chunks, window=Fixed(500))
    monkeypatch.setattr(module, "MAX_PENDING", 30)
    assert run_bounded(make_pipeline, chunks, window=Fixed(500)) == golden


def test_a_bundle_that_failed_leaves_nothing_behind() -> None:
    def refuse_offset_1(record: Any) -> Any:
        if record.offset == 1:
            raise RuntimeError("a bug")
        return "k", 5, 1

    window = Fixed(100)
    make = module._MakeBatches(lambda: new_partials(RowsOf(refuse_offset_1), window, Sum()), window, Sum())
    make.start_bundle()
    assert list(make.process(chunk_of([Payment("k", 1, 1, 1)]))) == []
    with pytest.raises(RuntimeError):
        list(make.process(chunk_of([Payment("k", 1, 1, 1)] * 2)))
    make.start_bundle()
    assert list(make.process(chunk_of([Payment("k", 1, 1, 1)]))) == []
    ((raw, batch),) = (value.value for value in make.finish_bundle())
    (row,) = module._MergeBatches(window, Sum()).process((raw, [batch]))
    assert row.value == WindowRow("k", 0, 100, 1, "ON_TIME", 0)


# --- poison ---


def test_poison_ends_in_bad_and_the_others_are_counted(make_pipeline: MakePipeline) -> None:
    payments = [Payment("a", 10 + i, i, 10 + i) for i in range(40)]
    records = [record(i, p) for i, p in enumerate(payments)]
    records[3] = records[3]._replace(value=b"\x01junk")
    records[4] = records[4]._replace(value=records[4].value[:-1])
    records[5] = records[5]._replace(value=None)
    rows, late, bad = run_bounded(make_pipeline, [pack_chunk("t", 2, records)], window=Fixed(1000))
    assert [(r.key, r.start, r.end, r.value) for r in rows] == [("a", 0, 1000, sum(range(40)) - 3 - 4 - 5)]
    assert late == []
    assert bad == [BadRow("t", 2, 3, "BAD_FRAME", "value"), BadRow("t", 2, 4, "TRUNCATED", "")]


def test_rows_of_a_function_that_refuses_and_values_that_a_sum_does_not_take(make_pipeline: MakePipeline) -> None:
    values: list[Any] = [1, "x", None, float("nan"), 2.0, True, 7]

    def row(record: Any) -> tuple[Any, int, Any]:
        if record.offset == 6:
            raise BadRecord("UNLUCKY", "offset")
        return "k", 5, values[record.offset]

    rows, _, bad = run_bounded(
        make_pipeline, [chunk_of([Payment("", 0, 0, 0)] * 7)], rows=RowsOf(row), window=Fixed(10)
    )
    assert [r.value for r in rows] == [1]
    assert [(b.offset, b.code) for b in bad] == [
        (1, "NOT_AN_INTEGER"), (2, "NULL_FIELD"), (3, "NOT_A_NUMBER"), (4, "NOT_AN_INTEGER"), (5, "NOT_AN_INTEGER"), (6, "UNLUCKY"),
    ]  # fmt: skip


# --- streams ---


def at(ms: int) -> Timestamp:
    return Timestamp(micros=ms * 1000)


class Stream:
    """A TestStream of the chunks of one partition: watermark and clock go together."""

    def __init__(self) -> None:
        self.stream = TestStream(coder=ChunkCoder()).with_output_types(Chunk)
        self.offset, self.clock = 0, -1

    def chunk(self, *payments: Payment) -> "Stream":
        """A bundle of one chunk, stamped with its smallest time."""
        chunk = chunk_of(payments, self.offset, self.clock)
        self.stream.add_elements([TimestampedValue(chunk, at(min(p.time for p in payments)))])
        self.offset += len(payments)
        self.clock = max(self.clock, *(p.appended for p in payments))
        return self

    def watermark(self, ms: int | None = None) -> "Stream":
        """To `ms`, or to the clock."""
        self.stream.advance_watermark_to(at(self.clock if ms is None else ms))
        return self

    def wait(self, seconds: float) -> "Stream":
        self.stream.advance_processing_time(seconds)
        return self

    def run(self, make_pipeline: MakePipeline, **arguments: Any) -> tuple[list[WindowRow], list[LateRow]]:
        kept = Kept()
        with make_pipeline(engine="BundleBasedDirectRunner") as p:
            chunks = p | self.stream.advance_watermark_to_infinity()
            kept.keep(chunks | AggregateByWindow(**{"rows": ROWS, "aggregate": Sum(), **arguments}))
        return sorted(kept.of("results"), key=lambda r: (r.key, r.end, r.index)), kept.of("late")


def pay(time: int, amount: int, appended: int | None = None, card: str = "a") -> Payment:
    return Payment(card, time, amount, time if appended is None else appended)


def panes(rows: list[WindowRow]) -> list[tuple[int, int, Any, str, int]]:
    return [(r.start, r.end, r.value, r.timing, r.index) for r in rows]


def test_an_on_time_pane_and_a_late_one_for_each_addition(make_pipeline: MakePipeline) -> None:
    def stream() -> Stream:
        return (
            Stream()
            .chunk(pay(10, 1), pay(20, 2))
            .chunk(pay(60, 4))
            .chunk(pay(150, 8))
            .watermark()
            .chunk(pay(90, 16, 160))
            .watermark()
        )

    arguments = {"window": Fixed(100), "allowed_lateness_ms": 200}
    rows, late = stream().run(make_pipeline, **arguments)
    assert panes(rows) == [(0, 100, 7, "ON_TIME", 0), (0, 100, 23, "LATE", 1), (100, 200, 8, "ON_TIME", 0)]
    assert late == []
    rows, _ = stream().run(make_pipeline, **arguments, accumulating=False)
    assert panes(rows) == [(0, 100, 7, "ON_TIME", 0), (0, 100, 16, "LATE", 1), (100, 200, 8, "ON_TIME", 0)]


def test_what_is_beyond_the_lateness_is_an_output_and_changes_no_pane(make_pipeline: MakePipeline) -> None:
    stream = (
        Stream()
        .chunk(pay(10, 1))
        .chunk(pay(350, 2))
        .watermark()
        .chunk(pay(20, 4, 351), pay(160, 8, 352), pay(340, 16, 353))
    )
    rows, late = stream.run(make_pipeline, window=Fixed(100), allowed_lateness_ms=200)
    assert panes(rows) == [(0, 100, 1, "ON_TIME", 0), (100, 200, 8, "LATE", 0), (300, 400, 18, "ON_TIME", 0)]
    assert late == [LateRow("t", 0, 2, "a", 20, 350, 4, 1, 1)]


@pytest.mark.parametrize(("accumulating", "values"), [(True, [1, 3, 7]), (False, [1, 2, 4])])
def test_early_panes_by_count(make_pipeline: MakePipeline, accumulating: bool, values: list[int]) -> None:
    stream = Stream().chunk(pay(10, 1)).chunk(pay(20, 2)).chunk(pay(30, 4)).chunk(pay(40, 0, card="b")).watermark(100)
    rows, _ = stream.run(make_pipeline, window=Fixed(100), early=EarlyByCount(), accumulating=accumulating)
    of_a = [r for r in rows if r.key == "a"]
    assert [(r.value, r.timing) for r in of_a][:3] == [(value, "EARLY") for value in values]
    assert [r.timing for r in of_a][3:] in ([], ["ON_TIME"])
    assert [r.index for r in of_a] == list(range(len(of_a)))


def test_early_panes_by_delay(make_pipeline: MakePipeline) -> None:
    # The runner's triggers compare event times with processing times, which begin at 0 in a test: event times must be far behind.
    stream = Stream().chunk(pay(60_010, 1)).chunk(pay(60_020, 2)).wait(3).chunk(pay(60_030, 4)).watermark(60_100)
    rows, _ = stream.run(make_pipeline, window=Fixed(100), early=EarlyByDelay(2))
    assert panes(rows) == [(60_000, 60_100, 3, "EARLY", 0), (60_000, 60_100, 7, "ON_TIME", 1)]


def test_early_panes_of_a_session(make_pipeline: MakePipeline) -> None:
    stream = Stream().chunk(pay(100, 1), pay(120, 2)).chunk(pay(160, 4)).watermark(300)
    rows, _ = stream.run(make_pipeline, window=Session(50), early=EarlyByCount())
    assert [(r.end, r.value, r.timing) for r in rows] == [(170, 3, "EARLY"), (210, 7, "EARLY"), (210, 7, "ON_TIME")]


def test_sliding_windows_have_their_panes_too(make_pipeline: MakePipeline) -> None:
    stream = (
        Stream().chunk(pay(120, 1), pay(170, 2)).watermark(190).chunk(pay(230, 4)).watermark().chunk(pay(150, 8, 240))
    )
    rows, late = stream.run(make_pipeline, window=Sliding(100, 50), allowed_lateness_ms=31)
    assert panes(rows) == [
        (50, 150, 1, "ON_TIME", 0),
        (100, 200, 3, "ON_TIME", 0),
        (100, 200, 11, "LATE", 1),
        (150, 250, 14, "ON_TIME", 0),
        (200, 300, 4, "ON_TIME", 0),
    ]
    assert late == []


def test_late_for_the_first_of_its_windows_only(make_pipeline: MakePipeline) -> None:
    stream = Stream().chunk(pay(240, 1)).watermark().chunk(pay(160, 2, 241))
    rows, late = stream.run(make_pipeline, window=Sliding(100, 50), allowed_lateness_ms=30)
    assert [(r.start, r.value) for r in rows] == [(150, 3), (200, 1)]
    assert [(r.time, r.missed, r.windows) for r in late] == [(160, 1, 2)]


def test_sessions_merge_when_a_row_comes_between(make_pipeline: MakePipeline) -> None:
    stream = Stream().chunk(pay(100, 1), pay(120, 2)).chunk(pay(200, 4)).chunk(pay(160, 8, 201)).watermark(230)
    rows, _ = stream.run(make_pipeline, window=Session(50), allowed_lateness_ms=100)
    assert panes(rows) == [(100, 250, 15, "ON_TIME", 0)]


def test_a_late_row_joins_a_closed_session(make_pipeline: MakePipeline) -> None:
    stream = Stream().chunk(pay(100, 1)).chunk(pay(220, 2)).watermark().chunk(pay(130, 4, 221)).watermark()
    rows, late = stream.run(make_pipeline, window=Session(50), allowed_lateness_ms=100)
    assert (rows[0].start, rows[0].end, rows[0].value, rows[0].timing) == (100, 150, 1, "ON_TIME")
    assert (rows[1].start, rows[1].end, rows[1].value) == (100, 180, 5)
    assert (rows[2].start, rows[2].end, rows[2].value) == (220, 270, 2)
    assert late == []


# BundleBasedDirectRunner stalls on sessions with early triggers, those of plain Beam too.
@pytest.mark.parametrize(
    ("window", "early"), [*((w, None) for w in WINDOWS), *((w, EarlyByCount(2)) for w in WINDOWS[:2])], ids=str
)
def test_the_last_panes_of_a_stream_are_the_windows_of_the_model(
    make_pipeline: MakePipeline, window: Window, early: EarlyByCount | None
) -> None:
    """Whatever the bundles: nothing is dropped, nothing is counted twice. A merged session replaces those that it was made of."""
    payments = random_payments(8, 240, cards=3, disorder=900)
    expected = model([payments], window, LATENESS)
    stream, rng, i = Stream(), random.Random(8), 0
    while i < len(payments):
        size = rng.randrange(1, 30)
        stream.chunk(*payments[i : i + size])
        if rng.random() < 0.7:
            stream.watermark()
        i += size
    rows, late = stream.run(make_pipeline, window=window, allowed_lateness_ms=LATENESS, early=early)
    assert sorted(r[2:] for r in late) == sorted(expected.late)
    assert len(late) > 10
    last = {(r.key, r.start, r.end): r.value for r in rows}
    found = {(key, start, end): value for key, start, end, value in expected.results(sum)}
    if isinstance(window, Session):
        last = {place: value for place, value in last.items() if place in found}
    assert last == found


def test_counts_of_a_discarding_stream_add_up(make_pipeline: MakePipeline) -> None:
    payments = random_payments(9, 150, cards=2, disorder=900)
    for window, early in ((Fixed(300), EarlyByCount(3)), (Session(120), None)):
        stream = Stream()
        for i in range(0, 150, 7):
            stream.chunk(*payments[i : i + 7]).watermark()
        rows, late = stream.run(make_pipeline, window=window, aggregate=Count(), accumulating=False, early=early)
        assert sum(r.value for r in rows) + len(late) == 150
        assert all(r.value for r in rows)


def test_a_pane_of_identities_only_is_no_row() -> None:
    merge = MergePartials(Sum())
    assert merge.extract_output(merge.merge_accumulators([b"", merge.create_accumulator()])) == b""
    assert list(module._MakeRows(Session(5)).process((b"n", b""), None, None)) == []
    one, two = (Sum().encode(n) for n in (1, 2))
    added = merge.add_inputs(merge.add_input(b"", one), [two, b""])
    assert merge.extract_output(added) == Sum().encode(3)


# --- results in the graph ---


def test_results_are_stamped_with_the_last_moment_of_their_window(make_pipeline: MakePipeline) -> None:
    def stamp(row: WindowRow, timestamp: Any = beam.DoFn.TimestampParam) -> tuple[int, int]:
        return row.end, timestamp.micros

    payments = [pay(10, 1), pay(110, 2)]
    for chunks in (
        beam.Create(chunks_of(payments, 10)).with_output_types(Chunk),
        Stream().chunk(*payments).stream.advance_watermark_to_infinity(),
    ):
        engine = "BundleBasedDirectRunner" if isinstance(chunks, TestStream) else "FnApiRunner"
        with make_pipeline(engine=engine) as p:
            out = p | chunks | AggregateByWindow(ROWS, Fixed(100), Sum())
            stamps = out.results | beam.Map(stamp).with_output_types(tuple[int, int])
            again = (
                out.results
                | beam.WindowInto(FixedWindows(0.2))
                | beam.Map(lambda r: ("all", r.value)).with_output_types(tuple[str, int])
            )
            assert_that(stamps, equal_to([(100, 99_999), (200, 199_999)]), label="Stamps")
            assert_that(again | beam.CombinePerKey(sum), equal_to([("all", 3)]), label="Again")


def labels(p: Any) -> list[str]:
    proto = p.to_runner_api()
    names = [t.unique_name for t in proto.components.transforms.values()]
    return sorted(name for name in names if name.startswith("Totals/") and name.count("/") == 1)


def test_step_labels_are_those_of_savepoints_and_nothing_is_pickled(make_pipeline: MakePipeline) -> None:
    bounded = make_pipeline()
    out = (
        bounded
        | beam.Create([chunk_of([pay(1, 1)])]).with_output_types(Chunk)
        | "Totals" >> AggregateByWindow(ROWS, Fixed(10), EVERYTHING)
    )
    assert isinstance(out, Windowed)
    assert_no_pickled_coders(bounded)
    assert labels(bounded) == ["Totals/Group", "Totals/Make partials", "Totals/Merge"]
    for window in WINDOWS:
        stream = make_pipeline(engine="BundleBasedDirectRunner")
        _ = (
            stream
            | Stream().chunk(pay(1, 1)).stream
            | "Totals" >> AggregateByWindow(ROWS, window, EVERYTHING, early=EarlyByDelay(5))
        )
        assert_no_pickled_coders(stream)
        assert labels(stream) == [
            "Totals/Make partials",
            "Totals/Make rows",
            "Totals/Merge",
            "Totals/Unwindow",
            "Totals/Window",
        ]


@pytest.mark.parametrize(
    ("coder", "row"),
    [
        (WindowRowCoder(), WindowRow(("a", 1), -5, 5, {"n": 3, "q": (0.5, None)}, "EARLY", 2)),
        (LateRowCoder(), LateRow("t", 1, 2, b"k", 3, 4, (1, "x"), 1, 2)),
        (BadRowCoder(), BadRow("t", 1, 2, "TRUNCATED", "value")),
    ],
    ids=lambda x: type(x).__name__,
)
def test_rows_come_back_from_their_coders(coder: Any, row: Any) -> None:
    back = coder.decode(coder.encode(row))
    assert (back, type(back)) == (row, type(row))


# --- arguments ---


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"rows": "card"}, "rows must be a row reader of transforms.rows, got 'card'"),
        ({"window": 60_000}, "window must be Fixed, Sliding or Session, got 60000"),
        ({"aggregate": Sum}, "aggregate must be an aggregate, got <class"),
        ({"allowed_lateness_ms": -1}, "got -1"),
        ({"allowed_lateness_ms": 0.5}, "got 0.5"),
        ({"allowed_lateness_ms": MAX_SIZE_MS + 1}, f"allowed_lateness_ms must be whole and from 0 to {MAX_SIZE_MS}"),
        ({"early": 5}, "early must be EarlyByCount, EarlyByDelay or None, got 5"),
        (
            {"rows": module.Rows.__new__(type("Texts", (module.Rows,), {"may_be_integers": False}))},
            "Sum() takes integers",
        ),
    ],
    ids=lambda x: str(x)[:40],
)
def test_wrong_arguments_are_named(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError) as error:
        AggregateByWindow(**{"rows": ROWS, "window": Fixed(10), "aggregate": Sum(), **arguments})
    assert message in str(error.value)


@pytest.mark.parametrize("wrong", [0, -1, 1.5, True])
def test_wrong_early_panes_are_named(wrong: Any) -> None:
    with pytest.raises(ValueError, match=f"EarlyByCount: partials must be a whole number of at least 1, got {wrong}"):
        EarlyByCount(wrong)
    with pytest.raises(ValueError, match=f"EarlyByDelay: seconds must be a whole number of at least 1, got {wrong}"):
        EarlyByDelay(wrong)


def test_chunks_must_be_in_the_global_window(make_pipeline: MakePipeline) -> None:
    chunks = make_pipeline() | beam.Create([chunk_of([pay(1, 1)])]) | beam.WindowInto(FixedWindows(5))
    with pytest.raises(ValueError, match=r"chunks must be in the global window, not in .*FixedWindows"):
        _ = chunks | AggregateByWindow(ROWS, Fixed(10), Sum())
