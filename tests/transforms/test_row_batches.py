import itertools
import random

import pytest

from transforms.row_batches import (
    RowBatch,
    RowBatchCoder,
    arrow_schema,
    newest_rows,
    pack_rows,
    read_batches,
    unpack_rows,
)
from transforms.tables import Table, columns

ITEMS = Table(
    "items",
    columns("id TEXT, part BIGINT, seen BOOLEAN, raw BLOB, share DOUBLE, version BIGINT"),
    ("id", "part"),
    "version",
)
PLAIN = Table("plain", columns("id TEXT, n BIGINT"), ("id",))
SUMS = Table("sums", columns("id TEXT, total DECIMAL(38,0)"), ("id",))
ROWS = [
    ("a", 1, True, b"\x00\xff", 0.5, 3),
    ("é", -(1 << 63), None, None, None, (1 << 63) - 1),
    ("", 0, False, b"", -1.5, 0),
]


def newest(table: Table, rows: list) -> list:
    rows = random.Random(7).sample(rows, len(rows))
    batches = [pack_rows(table, rows[i : i + 2]) for i in range(0, len(rows), 2)]
    data = newest_rows(table, read_batches(table, batches))
    return list(zip(*(column.to_pylist() for column in data.columns), strict=True))


def test_unpacking_gives_the_rows_that_were_packed() -> None:
    batch = pack_rows(ITEMS, ROWS)
    assert batch.table == "items"
    assert unpack_rows(ITEMS, batch) == ROWS
    assert unpack_rows(ITEMS, pack_rows(ITEMS, [])) == []


@pytest.mark.parametrize("most", [5, 1 << 63, 10**38 - 1])
def test_sums_of_38_digits_stay_integers(most: int) -> None:
    rows = [("a", most), ("b", None), ("c", -most), ("d", 0)]
    unpacked = unpack_rows(SUMS, pack_rows(SUMS, rows))
    assert unpacked == rows
    assert {type(total) for _, total in unpacked} == {int, type(None)}
    assert newest(SUMS, [*rows, ("a", most - 1), ("c", 1)]) == [("a", most), ("b", None), ("c", 1), ("d", 0)]
    for value in (10**38, 1.0, True, "1"):
        with pytest.raises(ValueError, match=r"table sums: a value of total does not fit DECIMAL\(38,0\)"):
            pack_rows(SUMS, [("a", value)])


@pytest.mark.parametrize("batch", [RowBatch("", b""), RowBatch("é", b"\x00"), pack_rows(ITEMS, ROWS)])
def test_the_coder_gives_the_batch_again(batch: RowBatch) -> None:
    coder = RowBatchCoder()
    assert coder.decode(coder.encode(batch)) == batch
    assert coder.is_deterministic()


@pytest.mark.parametrize(
    ("place", "value", "message"),
    [
        (1, 1 << 63, r"a value of part does not fit BIGINT \(64 bits\)"),
        (1, "x", r"a value of part does not fit BIGINT"),
        (1, 1.5, r"a value of part does not fit BIGINT"),
        (1, True, r"a value of part does not fit BIGINT"),
        (0, 5, "a value of id does not fit TEXT"),
        (0, "\ud800", "a value of id does not fit TEXT"),
        (2, 1, "a value of seen does not fit BOOLEAN"),
        (3, 5, "a value of raw does not fit BLOB"),
        (4, "x", "a value of share does not fit DOUBLE"),
        (1, None, "part is null, and is part of the key or version"),
        (5, None, "version is null, and is part of the key or version"),
    ],
)
def test_a_value_that_its_column_cannot_hold(place: int, value: object, message: str) -> None:
    row = (*ROWS[0][:place], value, *ROWS[0][place + 1 :])
    with pytest.raises(ValueError, match=f"table items: {message}"):
        pack_rows(ITEMS, [ROWS[0], row])


def test_rows_of_another_width() -> None:
    for row in (ROWS[0][:-1], (*ROWS[0], 1)):
        with pytest.raises(ValueError, match=f"table items: a row of {len(row)} values, should have 6"):
            pack_rows(ITEMS, [ROWS[0], row])


def test_a_type_that_no_view_has() -> None:
    with pytest.raises(ValueError, match="table t: column a has type REAL, not one of BIGINT, BLOB"):
        arrow_schema(Table("t", columns("a REAL"), ("a",)))


def test_batches_packed_for_other_columns_are_refused() -> None:
    with pytest.raises(ValueError, match=r"table items: rows packed for columns \(id, n\)"):
        read_batches(ITEMS, [pack_rows(PLAIN, [("a", 1)])])


def test_the_newest_row_of_a_key_is_that_of_the_largest_version() -> None:
    rows = [(key, part, None, None, None, version) for key in "ab" for part in (1, 2) for version in (3, 9, 10)]
    assert newest(ITEMS, rows) == [row for row in rows if row[-1] == 10]


def test_rows_are_in_order_of_their_keys_by_value() -> None:
    rows = [(key, part, None, None, None, 0) for key in ("", "B", "a", "é") for part in (-5, 0, 10)]
    assert newest(ITEMS, rows) == rows
    assert newest(ITEMS, rows[:1]) == rows[:1]
    assert newest(ITEMS, []) == []


def test_rows_that_only_differ_elsewhere_are_decided_by_all_columns() -> None:
    rows = [("a", 1, seen, raw, None, 7) for seen in (False, True) for raw in (b"", b"x")]
    for order in itertools.permutations(rows):
        data = newest_rows(ITEMS, read_batches(ITEMS, [pack_rows(ITEMS, order)]))
        assert (data["seen"].to_pylist(), data["raw"].to_pylist()) == ([True], [b"x"])
    assert newest(PLAIN, [("a", 2), ("a", 10), ("b", 1), ("a", 2)]) == [("a", 10), ("b", 1)]
