import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.rails import Origin, Position, Record, Source
from transforms.fold import ForkedWriter, MissingRecord
from transforms.origin_filter import OriginFilter

A, B = Source("stage", "topic", 0), Source("stage", "topic", 1)


def outputs(source, count, seed=0):
    """Origins as one shard writes them to one partition."""
    rng, offset, index, prev, made = random.Random(seed), 0, 0, None, []
    for _ in range(count):
        step = rng.randrange(3)
        offset, index = (offset, index + 1) if step == 0 else (offset + step, 0)
        made.append(Origin(source, offset, index, prev))
        prev = Position(offset, index)
    return made


def records(origins):
    return [Record(i, 0, None, b"", origin, ()) for i, origin in enumerate(origins)]


def offsets(some):
    return [record.offset for record in some]


@given(st.integers(0, 12), st.lists(st.tuples(st.integers(0, 11), st.integers(1, 12)), max_size=4))
def test_whatever_a_restored_writer_repeats_is_passed_on_once(count, restarts):
    origins = outputs(A, 12)
    log = origins[:count]
    for start, more in restarts:
        reached = max((origins.index(one) + 1 for one in log), default=0)
        log = log + origins[min(start, reached) :][:more]
    kept = [record.origin for record in OriginFilter("t", 0).new(records(log))]
    assert kept == origins[: len(kept)]
    assert set(kept) == set(log)


def test_shards_are_told_apart_and_records_without_origin_pass():
    log = [*outputs(A, 2), None, *outputs(B, 2), None, *outputs(A, 3)]
    assert offsets(OriginFilter("t", 0).new(records(log))) == [0, 1, 2, 3, 4, 5, 8]


def test_a_missing_record_stops_the_reader_and_marks_nothing():
    origins = outputs(A, 4)
    one = OriginFilter("payments.journal", 3)
    log = records([origins[0], origins[2]])
    assert one.is_new(log[0])
    with pytest.raises(MissingRecord, match=r"payments\.journal/3/1: stage/topic/0 wrote .* but it never arrived"):
        one.is_new(log[1])
    assert one.is_new(records(origins)[1])
    assert one.is_new(log[1])


def test_a_reader_that_begins_late_needs_marks():
    origins = outputs(A, 3)
    with pytest.raises(MissingRecord, match="seen so far: None"):
        OriginFilter("t", 0).is_new(records(origins)[1])
    assert OriginFilter("t", 0, {A: origins[0][1:3]}).is_new(records(origins)[1])


@given(st.integers(0, 10))
def test_goes_on_from_saved_marks(cut):
    log = records([*outputs(A, 5), *outputs(B, 5), *outputs(A, 7)])
    whole, one = OriginFilter("t", 2), OriginFilter("t", 2)
    expected = offsets(whole.new(log))
    found = offsets(one.new(log[:cut]))
    again = OriginFilter.load(one.save())
    assert again.save() == one.save()
    assert found + offsets(again.new(log[cut:])) == expected
    assert again.save() == whole.save()


def test_it_is_the_rule_of_the_engine():
    """Shards and outside readers must not come to differ."""
    from transforms.fold import Processor, Shard

    class Reader(Processor):
        stage, reads, versions = "reader", (), (1,)

    rng, seen = random.Random(4), set()
    for _ in range(200):
        log = [one for source in (A, B, A) for one in outputs(source, 6, rng.randrange(400))]
        log = rng.choices(log, k=8)
        verdicts = []
        shard = Shard(Reader(), "t", 0, 1, bytes)
        for judge in (OriginFilter("t", 0).is_new, lambda record, shard=shard: not shard._is_repeat(record.origin)):
            found = []
            for record in records(log):
                try:
                    found.append(judge(record))
                except MissingRecord:
                    found.append("missing")
                except ForkedWriter:
                    found.append("forked")
            verdicts.append(found)
        assert verdicts[0] == verdicts[1]
        seen.update(verdicts[0])
    assert seen == {True, False, "missing", "forked"}


@pytest.mark.parametrize("prev", [None, Position(1, 0)])
def test_a_writer_with_two_histories_stops_the_reader_and_marks_nothing(prev):
    one = OriginFilter("payments.journal", 3, {A: (2, 0)})
    with pytest.raises(ForkedWriter, match=r"payments\.journal/3/0: stage/topic/0 wrote 3\.0 after .* two histories"):
        one.is_new(records([Origin(A, 3, 0, prev)])[0])
    assert one.marks == {A: (2, 0)}
    assert one.is_new(records([Origin(A, 3, 0, Position(2, 0))])[0])


@pytest.mark.parametrize("saved", [b"", b"{}", b'{"topic": "t", "partition": -1, "marks": []}', b'{"marks": [[1]]}'])
def test_refuses_what_it_did_not_save(saved):
    with pytest.raises(ValueError, match="OriginFilter"):
        OriginFilter.load(saved)


def test_needs_no_beam():
    import subprocess
    import sys

    code = "import sys, transforms.origin_filter; sys.exit('apache_beam' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
