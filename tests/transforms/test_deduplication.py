import random
from collections import Counter

import apache_beam as beam
import duckdb
import pytest
from apache_beam.coders import registry
from apache_beam.testing import test_stream
from apache_beam.testing.util import assert_that, equal_to
from hypothesis import given
from hypothesis import strategies as st

from schemas.rails import Record
from tests.proto import assert_no_pickled_coders
from tests.transforms.join_data import FOUND, Bag, Gather, Value
from transforms import deduplication
from transforms.chunks import Chunk, ChunkCoder, pack_chunks, unpack_chunk
from transforms.deduplication import DropRepeats, Repeat, RepeatFilter
from transforms.errors import BadRecord
from transforms.fold import Gap
from transforms.windows import BadRow


def id_of(record):
    """The key; '-' has no id, '!' cannot be read."""
    if record.key == b"!":
        raise BadRecord("NO_ID", "key")
    return None if record.key == b"-" else record.key


def log(names_and_times, topic="t", partition=0, size=5):
    records = [Record(i, at, name.encode(), b"v%d" % i, None, ()) for i, (name, at) in enumerate(names_and_times)]
    return list(pack_chunks(topic, partition, records, size))


events = st.lists(st.tuples(st.sampled_from("abc-!"), st.integers(0, 9)), max_size=30).map(
    lambda steps: [(name, sum(step for _, step in steps[: i + 1]) - 3 * (i % 2)) for i, (name, _) in enumerate(steps)]
)


def run(one, chunks):
    """(records kept with their clocks, repeats, bad) of a filter over chunks."""
    kept, repeats, bad = [], [], []
    for chunk in chunks:
        filtered = one.step(chunk)
        if filtered.kept is not None:
            clock = filtered.kept.clock
            assert filtered.kept.offset == unpack_chunk(filtered.kept)[0].offset
            for record in unpack_chunk(filtered.kept):
                kept.append((record, clock))
                clock = max(clock, record.at)
        repeats += filtered.repeats
        bad += filtered.bad
    return kept, repeats, bad


@given(events, st.integers(1, 25), st.integers(1, 8))
def test_a_record_is_a_repeat_while_an_earlier_one_with_its_id_is_remembered(some, ttl, size):
    first, clock, expected = {}, -1, []
    for offset, (name, at) in enumerate(some):
        clock = max(clock, at)
        if name not in "-!" and name in first and clock - first[name][1] <= ttl:
            expected.append(Repeat("t", 0, offset, first[name][0], at))
        else:
            first[name] = offset, clock
    kept, repeats, bad = run(RepeatFilter(id_of, ttl), log(some, size=size))
    assert repeats == expected
    assert [row.offset for row in bad] == [i for i, (name, _) in enumerate(some) if name == "!"]
    gone = {row.offset for row in (*repeats, *bad)}
    assert [record.offset for record, _ in kept] == [i for i in range(len(some)) if i not in gone]
    assert all(record.value == b"v%d" % record.offset for record, _ in kept)


@given(events, st.integers(1, 25))
def test_chunks_change_nothing_not_even_the_clock_of_what_is_kept(some, ttl):
    results = [run(RepeatFilter(id_of, ttl), log(some, size=size)) for size in (1, 4, 100)]
    assert results[0] == results[1] == results[2]


def test_a_chunk_without_repeats_passes_as_it_is():
    (chunk,) = log([("a", 1), ("b", 2)])
    assert RepeatFilter(id_of, 9).step(chunk).kept == chunk


def test_ids_are_bytes_or_text():
    chunks = log([("ä", 1), ("ä", 2)])
    for read in (lambda record: record.key, lambda record: record.key.decode()):
        assert [row.offset for row in run(RepeatFilter(read, 9), chunks)[1]] == [1]


@pytest.mark.parametrize("wrong", [0, 2])
def test_a_hole_or_an_overlap_stops(wrong):
    chunks = log([("a", i) for i in range(15)])
    one = RepeatFilter(id_of, 9)
    one.step(chunks[0])
    with pytest.raises(Gap, match=f"DropRepeats: t/0/5: expected this, got {wrong * 5}"):
        one.step(chunks[wrong])


# --- in Beam ---


def partitions(seed):
    """Chunks of two partitions in order, and rows for SQL (partition, offset, id, clock)."""
    rng, chunks, rows = random.Random(seed), [], []
    for partition in (0, 1):
        some, clock = [], 0
        for i in range(120):
            clock += rng.randrange(100)
            some.append((f"id{rng.randrange(25)}", clock))
            rows.append((partition, i, some[-1][0], clock))
        chunks += log(some, partition=partition, size=rng.choice((7, 30)))
    return chunks, rows


TTL = 10**9
REPEATS = """SELECT 't', part, ofs, first, clock FROM
    (SELECT *, min(ofs) OVER (PARTITION BY part, id) AS first FROM log) WHERE ofs > first"""


def test_bounded_repeats_are_those_of_sql(make_pipeline):
    chunks, rows = partitions(1)
    random.Random(5).shuffle(chunks)
    with duckdb.connect() as connection:
        connection.execute("CREATE TABLE log (part INT, ofs INT, id TEXT, clock BIGINT)")
        connection.executemany("INSERT INTO log VALUES (?, ?, ?, ?)", rows)
        expected = [Repeat(*row) for row in connection.execute(REPEATS).fetchall()]
    assert len(expected) > 150
    repeated = {row[1:3] for row in expected}
    with make_pipeline() as p:
        given_chunks = p | beam.Create(chunks, reshuffle=False).with_output_types(Chunk)
        dropped = given_chunks | DropRepeats(id_of, TTL)
        assert_that(dropped.repeats, equal_to(expected), "Repeats")
        kept = dropped.records | beam.FlatMap(lambda c: [(c.partition, r.offset) for r in unpack_chunk(c)])
        assert_that(kept, equal_to([row[:2] for row in rows if row[:2] not in repeated]), "Kept")


def test_bad_ids_have_an_output(make_pipeline):
    with make_pipeline() as p:
        given_chunks = p | beam.Create(log([("!", 1), ("-", 2), ("-", 3)])).with_output_types(Chunk)
        dropped = given_chunks | DropRepeats(id_of, TTL)
        assert_that(dropped.bad, equal_to([BadRow("t", 0, 0, "NO_ID", "key")]), "Bad")
        kept = dropped.records | beam.Map(lambda chunk: (chunk.offset, chunk.count))
        assert_that(kept, equal_to([(1, 2)]), "Kept")
        assert_that(dropped.repeats, equal_to([]), "Repeats")


def whole(chunks, ttl):
    """(kept chunks, repeats) of all partitions."""
    kept, repeats, filters = [], [], {}
    for chunk in chunks:
        one = filters.setdefault((chunk.topic, chunk.partition), RepeatFilter(id_of, ttl))
        filtered = one.step(chunk)
        kept += [filtered.kept] if filtered.kept else []
        repeats += filtered.repeats
    return kept, repeats


def test_a_stream_gives_what_a_bounded_input_gives(make_pipeline):
    chunks, _ = partitions(2)
    mixed = sorted(chunks, key=lambda chunk: chunk.offset)
    script = test_stream.TestStream(coder=ChunkCoder())
    for chunk in mixed:
        script = script.add_elements([chunk])
    with make_pipeline(engine="BundleBasedDirectRunner") as p:
        arrived = p | script.advance_watermark_to_infinity()
        dropped = arrived | beam.Filter(bool).with_output_types(Chunk) | DropRepeats(id_of, 2000)
        for name in ("records", "repeats"):
            _ = getattr(dropped, name) | f"Gather {name}" >> beam.ParDo(Gather(name))
    kept, repeats = whole(mixed, 2000)
    assert len(repeats) > 50
    assert Counter(row for row, _ in FOUND["records"]) == Counter(kept)
    assert Counter(row for row, _ in FOUND["repeats"]) == Counter(repeats)


@given(events, st.integers(1, 25), st.lists(st.integers(0, 3), max_size=12))
def test_bundles_that_are_tried_again_anywhere_give_the_same(some, ttl, faults):
    """0, 1: which of two workers takes the chunk; 2: a bundle fails after its outputs; 3: and its worker loses its
    memory."""
    workers = [deduplication._DropInState(id_of, ttl) for _ in range(2)]
    for worker in workers:
        worker.setup()
    place, ids, found = Value(), Bag(), []
    deduplication_spare, deduplication.SPARE = deduplication.SPARE, 3
    try:
        for i, chunk in enumerate(log(some, size=3)):
            fault = faults[i] if i < len(faults) else 0
            worker = workers[fault % 2]
            if fault >= 2:
                list(worker.process(("t/0", chunk), copied(place), Bag(ids)))
            if fault == 3:
                worker.setup()
            found += list(worker.process(("t/0", chunk), place, ids))
    finally:
        deduplication.SPARE = deduplication_spare
    kept, repeats = whole(log(some, size=3), ttl)
    assert [one for one in found if isinstance(one, Chunk)] == kept
    assert [one.value for one in found if not isinstance(one, Chunk) and one.tag == "repeats"] == repeats


def copied(value):
    other = Value()
    other.held = value.held
    return other


def test_state_does_not_grow_beyond_what_is_remembered(monkeypatch):
    monkeypatch.setattr(deduplication, "SPARE", 10)
    worker = deduplication._DropInState(id_of, 50)
    worker.setup()
    place, ids = Value(), Bag()
    for chunk in log([(f"id{i}", i) for i in range(3000)], size=10):
        list(worker.process(("t/0", chunk), place, ids))
        assert sum(map(len, ids)) <= 32 * (2 * 70 + 10)


@pytest.mark.parametrize("is_bounded", [True, False])
def test_nothing_is_pickled(make_pipeline, is_bounded):
    p = make_pipeline()
    chunks = p | beam.Create([]).with_output_types(Chunk)
    chunks.is_bounded = is_bounded
    assert all(one.is_bounded is is_bounded for one in chunks | DropRepeats(id_of, TTL))
    assert_no_pickled_coders(p)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("id", 5), "id_of must be a function .* 'id'"),
        ((id_of, 0), "ttl_ms .* got 0"),
        ((id_of, 0.5), "ttl_ms .* got 0.5"),
    ],
)
def test_refuses_bad_arguments_by_name(arguments, message):
    with pytest.raises(ValueError, match=f"DropRepeats: {message}"):
        DropRepeats(*arguments)


def test_rows_travel_as_plain_bytes():
    coder, row = registry.get_coder(Repeat), Repeat("t", 0, 5, 1, 10)
    assert repr(coder.decode(coder.encode(row))) == repr(row)
