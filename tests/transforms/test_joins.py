import random
from collections import Counter
from copy import deepcopy
from itertools import product

import apache_beam as beam
import duckdb
import pytest
from apache_beam.coders import registry
from apache_beam.testing import test_stream
from apache_beam.testing.util import assert_that, equal_to
from apache_beam.transforms.window import FixedWindows, TimestampedValue
from apache_beam.utils.timestamp import Timestamp

from tests.proto import assert_no_pickled_coders
from tests.transforms.join_data import END, FOUND, ROWS, Event, Gather, InState, chunks_of, live, packed
from transforms import joins
from transforms.chunks import Chunk, ChunkCoder
from transforms.interval_join import IntervalJoin
from transforms.join_batches import unpack_batches
from transforms.joins import (
    JoinByInterval,
    JoinedRow,
    JoinMode,
    JoinTableAsOf,
    JoinTables,
    Keep,
    LateJoinRow,
    SideRow,
    UnmatchedRow,
)
from transforms.rows import RowsOf
from transforms.windows import BadRow

MINUTE = 60_000


def stream(topic, count, seed, keys=5, tombstones=0.0):
    """Events of two partitions as chunks and as rows of SQL (topic, partition, offset, key, time, value); none is late
    for MINUTE of grace."""
    rng = random.Random(seed)
    chunks, rows = [], []
    for partition in (0, 1):
        events = []
        for i in range(count):
            key, time = f"k{rng.randrange(keys)}", i * 500 - rng.randrange(20_000)
            value = None if rng.random() < tombstones else f"{topic}-{partition}-{i}"
            events.append(Event(key, time, value, i * 500))
            rows.append((topic, partition, i, key, i * 500 if value is None else time, value))
        chunks += chunks_of(topic, events, rng.choice((3, 20, 50)), partition)
    rng.shuffle(chunks)
    return chunks, rows


def given(p, name, chunks):
    return p | name >> beam.Create(chunks, reshuffle=False).with_output_types(Chunk)


@pytest.fixture
def sql():
    """A function: SQL over tables named by their rows -> the rows of the answer."""
    with duckdb.connect() as connection:

        def ask(query, **tables):
            for name, rows in tables.items():
                connection.execute(
                    f"CREATE TABLE {name} (topic TEXT, part INT, ofs INT, key TEXT, time BIGINT, value TEXT)"
                )
                connection.executemany(f"INSERT INTO {name} VALUES (?, ?, ?, ?, ?, ?)", rows)
            return connection.execute(query).fetchall()

        yield ask


def flat(row):
    """A result as SQL gives it: key, place, time and value of either side."""
    return (row.key, *(row.left or [None] * 5), *(row.right or [None] * 5))


BOTH = "l.topic, l.part, l.ofs, l.time, l.value, r.topic, r.part, r.ofs, r.time, r.value"


def interval_sql(mode, keep):
    """All partners, of these the first or last of each left row, and rows without any."""
    order = {Keep.ALL: None, Keep.FIRST: "ASC", Keep.LAST: "DESC"}[keep]
    best = (
        f"QUALIFY row_number() OVER (PARTITION BY l.part, l.ofs ORDER BY (r.time, r.part, r.ofs) {order}) = 1"
        if order
        else ""
    )
    on = "l.key = r.key AND r.time BETWEEN l.time - 7000 AND l.time + 3000"
    found = [f"SELECT l.key, {BOTH} FROM l JOIN r ON {on} {best}"]
    if mode is not JoinMode.INNER:
        found.append(f"SELECT l.key, {BOTH} FROM l LEFT JOIN r ON {on} WHERE r.key IS NULL")
    if mode is JoinMode.OUTER:
        found.append(f"SELECT r.key, {BOTH} FROM r LEFT JOIN l ON {on} WHERE l.key IS NULL")
    return " UNION ALL ".join(f"({query})" for query in found)


def test_interval_joins_are_those_of_sql_in_all_modes(make_pipeline, sql):
    left, left_rows = stream("l", 60, 1)
    right, right_rows = stream("r", 60, 2)
    sql("SELECT 1", l=left_rows, r=right_rows)
    with make_pipeline() as p:
        sides = given(p, "l", left), given(p, "r", right)
        for mode, keep in product(JoinMode, Keep):
            name = f"{mode.value} {keep.value}"
            joined = sides | name >> JoinByInterval(ROWS, ROWS, 7000, 3000, mode, keep, MINUTE)
            expected = sql(interval_sql(mode, keep))
            assert len(expected) > 100
            assert_that(joined.results | f"Flat {name}" >> beam.Map(flat), equal_to(expected), f"Check {name}")


def test_rows_that_are_no_results_are_unmatched_late_or_bad(make_pipeline):
    def read(record):
        return {0: ("a", 1000, "x"), 1: ("b", 2000, "y"), 2: ("a", 0, "z"), 3: ("a", None, "n")}[record.offset]

    left = chunks_of("l", [Event("", 0, 1, at) for at in (1000, 5000, 5000, 5000)], 2)
    right = chunks_of("r", [Event("a", 1500, "p", 0), Event("c", 0, "q", 0)])
    with make_pipeline() as p:
        sides = given(p, "l", left), given(p, "r", right)
        joined = sides | JoinByInterval(RowsOf(read), ROWS, 0, 500, grace_ms=4999)
        alone = [UnmatchedRow("LEFT", "l", 0, 1, "b", 2000, "y"), UnmatchedRow("RIGHT", "r", 0, 1, "c", 0, "q")]
        one = JoinedRow("a", SideRow("l", 0, 0, 1000, "x"), SideRow("r", 0, 0, 1500, "p"))
        assert_that(joined.results, equal_to([one]), "Results")
        assert_that(joined.unmatched, equal_to(alone), "Unmatched")
        assert_that(joined.late, equal_to([LateJoinRow("LEFT", "l", 0, 2, "a", 0, 5000, "z")]), "Late")
        assert_that(joined.bad, equal_to([BadRow("l", 0, 3, "NULL_FIELD", "time")]), "BadRows")


def test_a_bundle_with_many_rows_hands_over_before_its_end(make_pipeline, monkeypatch):
    monkeypatch.setattr(joins, "MAX_PENDING", 25)
    left, _ = stream("l", 60, 1)
    with make_pipeline() as p:
        joined = (given(p, "l", left), given(p, "r", left)) | JoinByInterval(ROWS, ROWS, 0, 0, grace_ms=MINUTE)
        same = joined.results | beam.Filter(lambda row: row.left == row.right)
        assert_that(same | beam.combiners.Count.Globally(), equal_to([120]))


AS_OF = f"""SELECT l.key, {BOTH} FROM l ASOF {{}} JOIN (
    SELECT * FROM r QUALIFY row_number() OVER (PARTITION BY key, time ORDER BY (part, ofs) DESC) = 1
) r ON l.key = r.key AND l.time >= r.time"""


def test_as_of_joins_are_those_of_sql(make_pipeline, sql):
    left, left_rows = stream("l", 60, 3)
    right, right_rows = stream("r", 40, 4, keys=4, tombstones=0.3)
    sql("SELECT 1", l=left_rows, r=right_rows)
    found = sql(AS_OF.format("LEFT"))
    inner = [row for row in found if row[10] is not None]
    lonely = [row for row in found if row[10] is None]
    assert len(inner) > 30
    assert len(lonely) > 30
    assert any(row[6] for row in lonely)  # a tombstone stood
    with make_pipeline() as p:
        sides = given(p, "l", left), given(p, "r", right)
        outer = sides | "Left" >> JoinTableAsOf(ROWS, ROWS, JoinMode.LEFT, MINUTE)
        joined = sides | "Inner" >> JoinTableAsOf(ROWS, ROWS, JoinMode.INNER, MINUTE)
        assert_that(outer.results | "1" >> beam.Map(flat), equal_to([*inner, *((*r[:6], *[None] * 5) for r in lonely)]))
        assert_that(joined.results | "2" >> beam.Map(flat), equal_to(inner), "Inner results")
        expected = [UnmatchedRow("LEFT", *row[1:4], row[0], *row[4:6]) for row in lonely]
        assert_that(joined.unmatched, equal_to(expected), "Inner unmatched")


NEWEST = """SELECT * FROM (SELECT * FROM {} {}
    QUALIFY row_number() OVER (PARTITION BY key ORDER BY (time, part, ofs) {}) = 1) WHERE value IS NOT NULL"""


@pytest.mark.parametrize("keep", [Keep.FIRST, Keep.LAST])
def test_table_joins_are_those_of_sql(make_pipeline, sql, keep):
    left, left_rows = stream("l", 20, 5, keys=30, tombstones=0.3)
    right, right_rows = stream("r", 20, 6, keys=30, tombstones=0.3)
    sql("SELECT 1", l=left_rows, r=right_rows)
    order = ("WHERE value IS NOT NULL", "ASC") if keep is Keep.FIRST else ("", "DESC")
    with make_pipeline() as p:
        sides = given(p, "l", left), given(p, "r", right)
        for mode, kind in ((JoinMode.INNER, ""), (JoinMode.LEFT, "LEFT"), (JoinMode.OUTER, "FULL")):
            sides_of = (NEWEST.format(name, *order) for name in "lr")
            query = "SELECT coalesce(l.key, r.key), {} FROM ({}) l {} JOIN ({}) r ON l.key = r.key"
            one, other = sides_of
            expected = sql(query.format(BOTH, one, kind, other))
            joined = sides | mode.value >> JoinTables(ROWS, ROWS, mode, keep, MINUTE)
            assert_that(joined.results | f"Flat {mode.value}" >> beam.Map(flat), equal_to(expected), f"C{mode.value}")


# --- unbounded ---


def at(ms):
    return Timestamp(micros=ms * 1000)


def streamed(p, moves):
    """Chunks and watermarks (ms) in this order as two unbounded sides, by topic l and r; chunks are stamped with the
    clock before them."""
    script = test_stream.TestStream(coder=ChunkCoder())
    for move in moves:
        if isinstance(move, int):
            script = script.advance_watermark_to(at(move))
        else:
            script = script.add_elements([TimestampedValue(move, at(max(move.clock, 0)))])
    chunks = p | script.advance_watermark_to_infinity()
    return tuple(
        chunks
        | f"Only {topic}" >> beam.Filter(lambda chunk, topic=topic: chunk.topic == topic).with_output_types(Chunk)
        for topic in "lr"
    )


def test_pairs_come_at_once_and_the_unmatched_when_the_watermark_has_passed(make_pipeline):
    left = chunks_of(
        "l", [Event("a", 10_000, "x", 10_000), Event("b", 10_500, "y", 10_500), Event("a", 20_000, "z", 20_000)], 1
    )
    right = chunks_of(
        "r", [Event("b", 12_000, "p", 12_000), Event("a", 11_000, "q", 13_000), Event("c", 1, "w", 13_000)], 1
    )
    moves = [left[0], right[0], left[1], right[1], right[2], 13_000, left[2]]
    with make_pipeline(engine="BundleBasedDirectRunner") as p:
        joined = streamed(p, moves) | JoinByInterval(ROWS, ROWS, 0, 5000, JoinMode.LEFT, grace_ms=2000)
        x, y, z = (SideRow("l", 0, i, t, v) for i, (t, v) in enumerate(((10_000, "x"), (10_500, "y"), (20_000, "z"))))
        b, q = SideRow("r", 0, 0, 12_000, "p"), SideRow("r", 0, 1, 11_000, "q")
        for name in ("results", "unmatched", "late"):
            _ = getattr(joined, name) | f"Gather {name}" >> beam.ParDo(Gather(name))
    pairs = [(JoinedRow("a", x, q), 11_000), (JoinedRow("b", y, b), 12_000), (JoinedRow("a", z, None), 28_000)]
    assert Counter(FOUND["results"]) == Counter(pairs)
    assert FOUND["unmatched"] == []
    assert [row for row, _ in FOUND["late"]] == [LateJoinRow("RIGHT", "r", 0, 2, "c", 1, 13_000, "w")]


def shuffled(seed, left, right):
    """Moves that keep the order of each partition; the watermark follows the smallest clock of what is still to
    come."""
    rng = random.Random(seed)
    queues = {}
    for chunk in sorted([*left, *right], key=lambda chunk: chunk.offset):
        queues.setdefault((chunk.topic, chunk.partition), []).append(chunk)
    moves, reached = [], 0
    while any(queues.values()):
        moves.append(rng.choice([queue for queue in queues.values() if queue]).pop(0))
        clock = min((queue[0].clock for queue in queues.values() if queue), default=0)
        if clock > reached and rng.random() < 0.5:
            moves.append(reached := clock)
    return moves


@pytest.mark.parametrize(
    ("seed", "transform"),
    [
        (1, lambda: JoinByInterval(ROWS, ROWS, 7000, 3000, JoinMode.OUTER, Keep.ALL, 20_000, buckets=3)),
        (2, lambda: JoinByInterval(ROWS, ROWS, 7000, 3000, JoinMode.INNER, Keep.LAST, 20_000, buckets=3)),
        (3, lambda: JoinTableAsOf(ROWS, ROWS, JoinMode.INNER, 20_000, buckets=3)),
        (4, lambda: JoinTables(ROWS, ROWS, JoinMode.OUTER, Keep.ALL, 20_000, buckets=3)),
    ],
)
def test_a_stream_gives_what_a_bounded_input_gives(make_pipeline, seed, transform):
    # some rows are late: they are the same ones
    left, _ = stream("l", 40, seed, keys=8)
    right, _ = stream("r", 40, seed + 10, keys=8, tombstones=0.2 if seed > 2 else 0)
    transform = transform()
    packs = [
        pack
        for side, chunks in ((0, left), (1, right))
        for pack in packed(transform._join, side, chunks, bytes.decode)[0]
    ]
    expected = transform._join.whole(*unpack_batches(packs))._asdict()
    with make_pipeline(engine="BundleBasedDirectRunner") as p:
        joined = streamed(p, shuffled(seed, left, right)) | transform
        for name in expected:
            _ = getattr(joined, name) | f"Gather {name}" >> beam.ParDo(Gather(name))
    for name, stamped in expected.items():
        # of tables, only a bounded input knows who stays alone
        rows = [] if seed == 4 and name == "unmatched" else [(row, time) for time, row in stamped]
        assert Counter(FOUND[name]) == Counter(rows)
    assert FOUND["results"]


def test_a_bundle_that_is_tried_again_gives_the_same_and_nothing_twice():
    """What a runner does: the state of a bundle that failed is thrown away with its outputs, the instance may live on."""
    join = IntervalJoin(JoinMode.OUTER, 0, 1, 5, 5, Keep.ALL)
    left = chunks_of("l", [Event("a", i, i, i) for i in range(12)], 3)
    right = chunks_of("r", [Event("a", i, i, i) for i in range(0, 24, 2)], 3)
    once, again = live(join, (left, right), [0, 1, 1]), InState(join)
    for pack in [pack for side, chunks in ((0, left), (1, right)) for pack in packed(join, side, chunks)[0]]:
        failed = deepcopy(again)
        failed.step = again.step
        failed.take(pack)
        again.take(pack)
    failed = deepcopy(again)
    failed.step = again.step
    failed.move(END)
    again.move(END)
    assert Counter(again.results) == Counter(once.results)
    assert again.results


# --- arguments, coders ---


@pytest.mark.parametrize("is_bounded", [True, False])
def test_nothing_is_pickled(make_pipeline, is_bounded):
    p = make_pipeline()
    sides = given(p, "l", []), given(p, "r", [])
    for side in sides:
        side.is_bounded = is_bounded
    for transform in (JoinByInterval(ROWS, ROWS, 0, 0), JoinTableAsOf(ROWS, ROWS), JoinTables(ROWS, ROWS)):
        assert all(one.is_bounded is is_bounded for one in sides | transform)
    assert_no_pickled_coders(p)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: JoinByInterval(None, ROWS, 0, 0), "JoinByInterval: the left rows must be a row reader .* None"),
        (lambda: JoinTableAsOf(ROWS, "rows"), "JoinTableAsOf: the right rows must be a row reader .* 'rows'"),
        (lambda: JoinByInterval(ROWS, ROWS, 0, 0, buckets=0), "JoinByInterval: buckets must be from 1 to 65536, got 0"),
        (lambda: JoinTables(ROWS, ROWS, mode=1), "JoinTables: mode must be a JoinMode, got 1"),
        (lambda: JoinTableAsOf(ROWS, ROWS, JoinMode.OUTER), "JoinTableAsOf: mode must be INNER or LEFT, got OUTER"),
    ],
)
def test_refuses_bad_arguments_by_name(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_refuses_anything_but_two_sides_in_the_global_window(make_pipeline):
    p = make_pipeline()
    chunks = given(p, "l", [])
    with pytest.raises(ValueError, match="takes \\(left chunks, right chunks\\)"):
        chunks | "One" >> JoinByInterval(ROWS, ROWS, 0, 0)
    with pytest.raises(ValueError, match="the right chunks must be in the global window"):
        (chunks, chunks | beam.WindowInto(FixedWindows(1))) | "Two" >> JoinByInterval(ROWS, ROWS, 0, 0)


@pytest.mark.parametrize(
    "row",
    [
        JoinedRow("k", SideRow("l", 1, 2, 3, ("x", 1)), None),
        JoinedRow(7, None, SideRow("r", 1, 2, -3, 0.5)),
        UnmatchedRow("LEFT", "l", 0, 1, "k", 2, b"v"),
        LateJoinRow("RIGHT", "r", 0, 1, ("k", 1), 2, 9, "v"),
    ],
)
def test_rows_travel_as_plain_bytes(row):
    coder = registry.get_coder(type(row))
    again = coder.decode(coder.encode(row))
    assert repr(again) == repr(row)
    assert coder.is_deterministic()
