"""Rows out of chunks: (key, time, value) of each record, in columns.

A window needs three fields of a record, so nothing else is decoded. `FieldRows` compiles the frame of a record and the schema of its value into one
regular expression: in Avro every field says by its first byte where it ends, unless it is an array, a map or a string of 64 bytes or more. What the
expression does not match to the last byte takes the plain way, record by record, with the strict decoder: the result is the same, about 5 times slower.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from schemas.rails import Record
from transforms.avro import compile_projection
from transforms.chunks import Chunk, unpack_chunk
from transforms.errors import BadRecord
from transforms.patterns import ChunkFields, ChunkPattern, Longs, compile_pattern, kind_of

# Times outside are clamped to these: inside Beam's range (9223372036854775 ms) with room for a window and its lateness, some 280,000 years away.
MIN_TIME, MAX_TIME = -9_000_000_000_000_000, 9_000_000_000_000_000


class Bad(NamedTuple):
    """A record without a row: its place in the chunk and why."""

    index: int
    code: str
    detail: str


class Columns(NamedTuple):
    """The rows of a chunk, column by column.

    keys: hashable, `Rows.key` makes the row's key of one; times: ms, clamped; values; clocks: the partition's clock before each row's
    record, ms; indexes: the record's place in the chunk; bad: records that could not be read.
    """

    keys: Sequence[Any]
    times: Longs
    values: Sequence[Any]
    clocks: Longs
    indexes: Sequence[int]
    bad: Sequence[Bad]


class Rows:
    """Base of row readers. A subclass says what the row of one record is."""

    may_be_integers: bool = True  # whether values can be integers, as far as is known before the first

    def row(self, record: Record) -> tuple[Any, int, Any] | None:
        """(key, time in ms, value) of a record, None if it has no row; BadRecord if it cannot be read."""
        raise NotImplementedError

    def key(self, key: Any) -> Any:
        """The key as result rows carry it, a plain value, from what stands in `Columns.keys`."""
        return key

    def read(self, chunk: Chunk) -> Columns:
        """All rows of a chunk. BadRecord if the chunk itself is damaged."""
        keys, times, values, clocks, indexes, bad = [], [], [], [], [], []
        clock = chunk.clock
        for index, record in enumerate(unpack_chunk(chunk)):
            try:
                row = self.row(record)
                if row is not None:
                    key, time, value = _checked(*row)
                    keys.append(key)
                    times.append(time)
                    values.append(value)
                    clocks.append(clock)
                    indexes.append(index)
            except BadRecord as error:
                bad.append(Bad(index, error.code, error.detail))
            clock = max(clock, record.at)
        return Columns(keys, np.array(times, np.int64), values, np.array(clocks, np.int64), indexes, bad)


def _checked(key: Any, time: Any, value: Any) -> tuple[Any, int, Any]:
    """A row fit for windows: no null, no NaN, the time clamped, one zero."""
    if key is None or time is None or value is None:
        raise BadRecord("NULL_FIELD", "key" if key is None else "time" if time is None else "value")
    if type(value) is float:
        if math.isnan(value):
            raise BadRecord("NOT_A_NUMBER", "value")
        value += 0.0  # -0.0 becomes 0.0: they are equal, and results are bytes
    return key, min(max(time, MIN_TIME), MAX_TIME), value


class RowsOf(Rows):
    """Rows by a pure function of the record: `(key, time in ms, value)`, all plain values, or None for no row. It may raise BadRecord."""

    def __init__(self, function: Callable[[Record], tuple[Any, int, Any] | None]) -> None:
        self._function = function

    def row(self, record: Record) -> tuple[Any, int, Any] | None:
        return self._function(record)


class FieldRows(Rows):
    """Rows by fields of framed Avro values.

    schemas: schema by id, as in the frame; a record of another id, or without value, has no row. key: a field of type string, bytes, int or
    long. time: a field in ms, None for the append time. value: a field, several (the value is then their tuple) or None (it is then 1).
    """

    def __init__(
        self,
        schemas: Mapping[int, Mapping[str, Any]],
        key: str,
        time: str | None = None,
        value: str | tuple[str, ...] | None = None,
    ) -> None:
        if not schemas:
            raise ValueError("FieldRows: schemas must not be empty")
        values = () if value is None else (value,) if isinstance(value, str) else tuple(value)
        names = (key, *((time,) if time is not None else ()), *values)
        for number, schema in schemas.items():
            known = [field["name"] for field in schema["fields"]]
            for name in names:
                if name not in known:
                    raise ValueError(f"FieldRows: schema {number} ({schema['name']}) has no field {name}")
        self._schemas = {number: dict(schema) for number, schema in schemas.items()}
        self._key, self._time, self._values, self._single = key, time, values, value is None or isinstance(value, str)
        self._fields = tuple(dict.fromkeys(names))
        kinds = {kind_of(schema, name) for schema in self._schemas.values() for name in values}
        self.may_be_integers = self._single and kinds <= {"int", "long", "union"}
        self._compile()

    def _compile(self) -> None:
        self._projections = {
            number: compile_projection(schema, self._fields) for number, schema in self._schemas.items()
        }
        self._pattern: ChunkPattern | None = None
        if len(self._schemas) == 1:
            ((number, schema),) = self._schemas.items()
            self._key_kind = kind_of(schema, self._key)
            self._kinds = {name: kind_of(schema, name) for name in self._fields}
            self._pattern = compile_pattern(number, schema, self._fields)

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name not in ("_projections", "_pattern")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._compile()

    def row(self, record: Record) -> tuple[Any, int, Any] | None:
        framed = record.value
        if framed is None:
            return None
        if len(framed) < 5 or framed[0]:
            raise BadRecord("BAD_FRAME", "value")
        project = self._projections.get(int.from_bytes(framed[1:5], "big"))
        if project is None:
            return None
        fields = dict(zip(self._fields, project(framed[5:]), strict=True))
        values = tuple(fields[name] for name in self._values)
        if None in values:
            raise BadRecord("NULL_FIELD", "value")
        time = record.at if self._time is None else fields[self._time]
        key = fields[self._key]
        return key if key is None else (key,), time, (values[0] if values else 1) if self._single else values

    def key(self, key: Any) -> Any:
        if type(key) is tuple:  # from the plain way, already decoded
            return key[0]
        if type(key) is int:
            return key
        return key[1:].decode() if self._key_kind == "string" else key[1:]

    def read(self, chunk: Chunk) -> Columns:
        fields = self._pattern.read(chunk.payload, chunk.count) if self._pattern else None
        return super().read(chunk) if fields is None else self._columns(chunk, fields)

    def _columns(self, chunk: Chunk, fields: ChunkFields) -> Columns:
        appended, columns = fields
        times = np.clip(appended if self._time is None else columns[self._time], MIN_TIME, MAX_TIME)
        clocks = np.empty_like(appended)
        clocks[0] = chunk.clock
        np.maximum(np.maximum.accumulate(appended[:-1]), chunk.clock, out=clocks[1:])
        values = [self._listed(name, columns[name]) for name in self._values]
        keys = columns[self._key]
        return Columns(
            keys if self._key_kind in ("string", "bytes") else keys.tolist(),
            times,
            ([1] * chunk.count if not values else values[0]) if self._single else list(zip(*values, strict=True)),
            clocks,
            range(chunk.count),
            (),
        )

    def _listed(self, name: str, column: Any) -> Sequence[Any]:
        kind = self._kinds[name]
        if kind == "string":
            return [raw[1:].decode() for raw in column]
        return [raw[1:] for raw in column] if kind == "bytes" else column.tolist()
