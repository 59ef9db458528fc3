from zlib import crc32

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from schemas.rails import Record
from tests.transforms.join_data import ROWS, Event, chunks_of, read_event
from transforms.chunks import pack_chunk
from transforms.join_batches import RowPacker, pack_batch, side_of, unpack_batches, without_closed
from transforms.join_rows import LateJoinRow, SideRow, UnmatchedRow
from transforms.plain import encode_plain
from transforms.rows import Rows, RowsOf


def packer(side=0, grace=10**6, buckets=4, tombstone=None, rows=ROWS):
    return RowPacker(rows, side, grace, buckets, tombstone)


def content(packs):
    """Sorted (side, key, row) of packs."""
    return sorted(
        ((side, key, row) for side in (0, 1) for key, row in pairs(unpack_batches(packs)[side])), key=lambda one: one[2]
    )


def pairs(batch):
    return list(zip(batch.plain_keys(), batch.rows(), strict=True))


events = st.lists(
    st.builds(Event, st.sampled_from(["a", 7, b"x", ("t", 1)]), st.integers(-50, 50), st.integers(), st.just(0)),
    max_size=20,
)


@given(events, events, st.integers(1, 7), st.integers(1, 9))
def test_rows_come_back_from_packs_whatever_the_chunks_and_buckets(some, others, size, buckets):
    left, right = packer(0, buckets=buckets), packer(1, buckets=3)
    for chunk in [*chunks_of("l", some, size), *chunks_of("k", others, size, 3)]:
        assert left.add(chunk) == ([], [])
    for chunk in chunks_of("r", others, size):
        right.add(chunk)
    expected = [
        (side, event.key, SideRow(topic, partition, i, event.time, event.value))
        for side, topic, partition, given in ((0, "l", 0, some), (0, "k", 3, others), (1, "r", 0, others))
        for i, event in enumerate(given)
    ]
    packs = [pack for one in (left, right) for _, _, pack in one.take()]
    assert content(packs) == sorted(expected, key=lambda one: one[2])
    assert left.take() == right.take() == []


def test_a_key_has_one_bucket_on_both_sides_and_in_every_run():
    found = {}
    for side in (0, 1):
        one = packer(side, buckets=64)
        for chunk in chunks_of("t", [Event(f"k{i}", i, i, 0) for i in range(300)]):
            one.add(chunk)
        for bucket, time, pack in one.take():
            batch = unpack_batches([pack])[side]
            assert (side_of(pack), time) == (side, batch.times.min())
            found.setdefault(side, {}).update(dict.fromkeys(batch.plain_keys(), bucket))
    assert found[0] == found[1]
    assert len(set(found[0].values())) > 40
    assert found[0]["k1"] == crc32(encode_plain("k1")) % 64 == 22


def test_late_rows_are_judged_by_the_clock_before_their_record():
    chunks = chunks_of(
        "t", [Event("a", 10, 1, 20), Event("a", 10, 2, 21), Event("b", 9, 3, 21), Event("a", 11, 4, 0)], 3
    )
    one = packer(1, grace=10)
    late = [row for chunk in chunks for row in one.add(chunk)[0]]
    assert late == [LateJoinRow("RIGHT", "t", 0, 2, "b", 9, 21, 3)]
    assert [row.value for _, row in pairs(unpack_batches(pack for _, _, pack in one.take())[1])] == [1, 2, 4]


def test_a_chunk_of_late_rows_only_leaves_nothing():
    one = packer(grace=0)
    assert len(one.add(chunks_of("t", [Event("a", 1, 1, 9), Event("b", 2, 1, 9)], 1)[1])[0]) == 1
    assert one.take() == []


def test_a_tombstone_has_the_key_and_append_time_of_its_record():
    given = [Event("a", 5, "v", 7), Event("a", 0, None, 8), Event("b", 9, "w", 9)]
    one = packer(tombstone=bytes.decode)
    for chunk in chunks_of("t", given):
        assert one.add(chunk) == ([], [])
    rows = pairs(unpack_batches(pack for _, _, pack in one.take())[0])
    assert rows == [
        ("a", SideRow("t", 0, 0, 5, "v")),
        ("a", SideRow("t", 0, 1, 8, None)),
        ("b", SideRow("t", 0, 2, 9, "w")),
    ]


def test_records_without_value_have_no_row_where_they_do_not_delete():
    one = packer()
    assert one.add(chunks_of("t", [Event("a", 0, None, 8)])[0]) == ([], [])
    assert one.take() == []


def test_a_tombstone_without_a_usable_key_is_bad():
    records = [Record(4, 1, None, None, None, ()), Record(5, 1, b"\xff", None, None, ())]
    late, bad = packer(tombstone=bytes.decode).add(pack_chunk("t", 0, records))
    assert late == []
    assert [(one.offset, one.code) for one in bad] == [(4, "BAD_TOMBSTONE"), (5, "BAD_TOMBSTONE")]


def test_rows_of_another_type_than_records_without_value_are_no_tombstones():
    skips = RowsOf(lambda record: None if record.offset == 0 else read_event(record))
    one = packer(tombstone=bytes.decode, rows=skips)
    assert one.add(chunks_of("t", [Event("a", 1, 1, 1)])[0]) == ([], [])
    assert one.take() == []


def test_values_that_come_as_an_array_are_the_same():
    class Arrays(Rows):
        def read(self, chunk):
            columns = ROWS.read(chunk)
            return columns._replace(values=np.array(columns.values), offsets=np.array(columns.offsets))

    given = chunks_of("t", [Event("a", 50, 1, 20), Event("a", 1, 2, 21), Event("b", 60, 3, 21)])[0]
    found = []
    for rows in (ROWS, Arrays()):
        one = packer(grace=5, rows=rows)
        late, _ = one.add(given)
        assert repr(late) == repr([LateJoinRow("LEFT", "t", 0, 1, "a", 1, 20, 2)])
        found.append(one.take())
    assert found[0] == found[1]


def test_rows_that_come_when_their_partners_are_closed_leave_the_pack():
    one = packer(1, grace=5, buckets=1)
    one.add(chunks_of("t", [Event("a", 10, 1, 0), Event("b", 20, 2, 0)])[0])
    ((_, _, pack),) = one.take()
    assert without_closed(pack, 5, 15) == ([], pack)
    late, rest = without_closed(pack, 5, 16)
    assert late == [LateJoinRow("RIGHT", "t", 0, 0, "a", 10, 16, 1)]
    assert pairs(unpack_batches([rest])[1]) == [("b", SideRow("t", 0, 1, 20, 2))]
    assert unpack_batches([rest])[1].keys == [encode_plain("b")]


def test_a_part_of_a_batch_packs_no_more_than_it_needs():
    one = packer(buckets=1)
    for topic in "tu":
        one.add(chunks_of(topic, [Event("a", 1, 1, 0), Event("b", 2, 2, 0)])[0])
    left, _ = unpack_batches([pack for _, _, pack in one.take()])
    part = left.take(np.array([3, 1]))
    again, _ = unpack_batches([pack_batch(0, part)])
    assert pairs(again) == [("b", SideRow("u", 0, 1, 2, 2)), ("b", SideRow("t", 0, 1, 2, 2))]
    assert again.keys == [encode_plain("b")]
    assert again.unmatched(0)[0] == UnmatchedRow("LEFT", "u", 0, 1, "b", 2, 2)
