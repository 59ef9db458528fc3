"""Rows of SQL tables on their way to a database: many of one table as one Beam element, in columns (Arrow)."""

import struct
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc
from apache_beam import coders

from transforms.tables import Row, Table

_NONE = type(None)
TYPES = {
    "BIGINT": pa.int64(),
    "BLOB": pa.binary(),
    "BOOLEAN": pa.bool_(),
    "DECIMAL(38,0)": pa.decimal128(38, 0),
    "DOUBLE": pa.float64(),
    "TEXT": pa.string(),
}
# What Arrow would silently make fit (1.9 into BIGINT as 1) does not: the types of values are checked first.
_PLAIN: dict[str, frozenset[type]] = {
    "BIGINT": frozenset({int, _NONE}),
    "BLOB": frozenset({bytes, _NONE}),
    "BOOLEAN": frozenset({bool, _NONE}),
    "DECIMAL(38,0)": frozenset({int, _NONE}),
    "DOUBLE": frozenset({float, int, _NONE}),
    "TEXT": frozenset({str, _NONE}),
}


class RowBatch(NamedTuple):
    """Rows of one table. rows: an Arrow stream, made by `pack_rows`."""

    table: str
    rows: bytes


class RowBatchCoder(coders.Coder):
    """The name of the table and the stream, one after the other."""

    def encode(self, value: RowBatch) -> bytes:
        name = value.table.encode()
        return _HEAD.pack(len(name)) + name + value.rows

    def decode(self, encoded: bytes) -> RowBatch:
        start = _HEAD.size + _HEAD.unpack_from(encoded)[0]
        return RowBatch(encoded[_HEAD.size : start].decode(), encoded[start:])

    def is_deterministic(self) -> bool:
        return True


_HEAD = struct.Struct("<H")
coders.registry.register_coder(RowBatch, RowBatchCoder)


def arrow_schema(table: Table) -> Any:
    """The Arrow schema of a table; ValueError for a type that no view has. Columns of the key, and the version, are not null."""
    firm = {*table.key, table.version}
    fields = []
    for name, kind in table.columns:
        if kind not in TYPES:
            raise ValueError(f"table {table.name}: column {name} has type {kind}, not one of {', '.join(TYPES)}")
        fields.append(pa.field(name, TYPES[kind], nullable=name not in firm))
    return pa.schema(fields)


def pack_rows(table: Table, rows: Sequence[Row]) -> RowBatch:
    """Rows as one element; the more the faster (from 1,000 on Arrow's own cost is nothing).

    ValueError, naming table and column, for a value that its column cannot hold: another type, an integer beyond 64 bits (38 digits in
    DECIMAL(38,0)), text that is not Unicode, null in the key or version.
    """
    return RowBatch(table.name, _stream(_arrow(table, rows)))


def unpack_rows(table: Table, batch: RowBatch) -> list[Row]:
    """The rows of a batch."""
    return list(zip(*map(plain_values, read_batches(table, [batch]).columns), strict=True))


def plain_values(column: Any) -> list[Any]:
    """The values of an Arrow column as `pack_rows` was given them: integers for decimals."""
    if pa.types.is_decimal(column.type):
        try:
            column = column.cast(pa.int64())  # four times as fast
        except pa.ArrowInvalid:
            return [None if value is None else int(value) for value in column.to_pylist()]
    values: list[Any] = column.to_pylist()
    return values


def _arrow(table: Table, rows: Sequence[Row]) -> Any:
    schema = arrow_schema(table)
    width = len(schema)
    for row in rows:
        if len(row) != width:
            raise ValueError(f"table {table.name}: a row of {len(row)} values, should have {width}")
    arrays = []
    columns = zip(*rows, strict=True) if rows else [()] * width
    for field, (name, kind), values in zip(schema, table.columns, columns, strict=True):
        try:
            if not _PLAIN[kind].issuperset(map(type, values)):
                raise TypeError
            array = pa.array(values, field.type)
        except (pa.ArrowException, OverflowError, TypeError, UnicodeError):
            wanted = "BIGINT (64 bits)" if kind == "BIGINT" else kind
            raise ValueError(f"table {table.name}: a value of {name} does not fit {wanted}") from None
        if array.null_count and not field.nullable:
            raise ValueError(f"table {table.name}: {name} is null, and is part of the key or version")
        arrays.append(array)
    return pa.table(arrays, schema=schema)


def _stream(data: Any) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, data.schema) as writer:
        writer.write_table(data)
    return bytes(sink.getvalue())


def read_batches(table: Table, batches: Iterable[RowBatch]) -> Any:
    """All rows of the batches as one Arrow table, not copied; ValueError when one was made for other columns."""
    schema = arrow_schema(table)
    parts = [schema.empty_table()]
    for batch in batches:
        part = pa.ipc.open_stream(batch.rows).read_all()
        if not part.schema.equals(schema):
            raise ValueError(f"table {table.name}: rows packed for columns ({', '.join(part.schema.names)})")
        parts.append(part)
    return pa.concat_tables(parts)


def newest_rows(table: Table, data: Any) -> Any:
    """One row per key, in order of the keys: that of the largest version, among equals the largest in all its columns.

    So the result depends on what the rows are, not on their order.
    """
    order = [*table.key, *([table.version] if table.version else [])]
    data = _sorted(data, order)
    if pc.any(_same_as_next(data, order)).as_py():  # the other columns have to decide
        data = _sorted(data, [*order, *(name for name in table.names if name not in order)])
    return data.filter(pc.invert(_same_as_next(data, table.key)))


def _sorted(data: Any, names: Sequence[str]) -> Any:
    return data.take(pc.sort_indices(data, [(name, "ascending") for name in names])).combine_chunks()


def _same_as_next(data: Any, names: Sequence[str]) -> Any:
    """For each row whether the next one has the same values in these columns."""
    if len(data) < 2:
        return pa.array([False] * len(data), pa.bool_())
    same = None
    for name in names:
        column = data[name].combine_chunks()
        equal = pc.equal(column[:-1], column[1:])
        same = equal if same is None else pc.and_(same, equal)
    return pa.concat_arrays([same, pa.array([False])])
