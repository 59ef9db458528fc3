"""Rows out of chunks: (key, time, value) of each record, in columns.

A window needs a few fields of a record, so no objects are made of the others. `FieldRows` reads whole chunks at once where it can
(`transforms.scan`), and record by record with the strict decoder where it cannot: the rows are the same, about 8 times slower.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from schemas.rails import Record
from transforms.avro import compile_projection
from transforms.chunks import Chunk, unpack_chunk
from transforms.errors import BadRecord
from transforms.scan import FieldScan, Longs, compile_scan, kind_of

# Times outside are clamped to these: inside Beam's range (9223372036854775 ms) with room for a window and its
# lateness, some 280,000 years away.
MIN_TIME, MAX_TIME = -9_000_000_000_000_000, 9_000_000_000_000_000

_KEYS = ("string", "bytes", "int", "long", "enum")
_INTEGERS = ("int", "long")
_VALUES = (*_KEYS, "boolean", "float", "double")


class Bad(NamedTuple):
    """A record without a row: its offset, and why."""

    offset: int
    code: str
    detail: str


class Columns(NamedTuple):
    """The rows of a chunk, column by column.

    keys: strings, bytes, integers, or tuples of these; times: ms, clamped; values: a list, or an array of 64-bit integers;
    clocks: the partition's clock before each row's record, ms; offsets: of the records; bad: records that could not be read.
    """

    keys: Sequence[Any]
    times: Longs
    values: Sequence[Any] | Longs
    clocks: Longs
    offsets: Sequence[int] | Longs
    bad: Sequence[Bad]


class Rows:
    """Base of row readers. A subclass says what the row of one record is."""

    may_be_integers: bool = True  # whether values can be integers, as far as is known before the first

    def row(self, record: Record) -> tuple[Any, int, Any] | None:
        """(key, time in ms, value) of a record, None if it has no row; BadRecord if it cannot be read."""
        raise NotImplementedError

    def read(self, chunk: Chunk) -> Columns:
        """All rows of a chunk; DamagedChunk if its payload cannot be read."""
        keys, times, values, clocks, offsets, bad = [], [], [], [], [], []
        clock = chunk.clock
        for record in unpack_chunk(chunk):
            try:
                row = self.row(record)
                if row is not None:
                    key, time, value = checked_row(*row)
                    keys.append(key)
                    times.append(time)
                    values.append(value)
                    clocks.append(clock)
                    offsets.append(record.offset)
            except BadRecord as error:
                bad.append(Bad(record.offset, error.code, error.detail))
            clock = max(clock, record.at)
        return Columns(keys, np.array(times, np.int64), values, np.array(clocks, np.int64), offsets, bad)


def checked_row(key: Any, time: Any, value: Any) -> tuple[Any, int, Any]:
    """A row fit for windows: no null, no NaN, the time clamped, one zero; BadRecord or TypeError for what is not."""
    if key is None or time is None or value is None:
        raise BadRecord("NULL_FIELD", "key" if key is None else "time" if time is None else "value")
    if type(key) not in (str, bytes, int):
        _check_key(key)
    if type(time) is not int:
        raise TypeError(f"the time of a row is whole milliseconds, not {type(time).__name__}")
    if type(value) in (float, tuple):
        value = _one_zero(value)
    return key, min(max(time, MIN_TIME), MAX_TIME), value


def _check_key(key: Any) -> None:
    """Keys that are equal must have equal bytes, which 1, 1.0 and True have not."""
    if isinstance(key, tuple):
        for part in key:
            _check_key(part)
    elif type(key) not in (str, bytes, int):
        raise TypeError(
            f"the key of a row is a string, bytes, an integer or a tuple of these, not {type(key).__name__}"
        )


def _one_zero(value: Any) -> Any:
    """-0.0 becomes 0.0, because they are equal and results are bytes; BadRecord for NaN, which has no order."""
    if type(value) is tuple:
        return tuple(map(_one_zero, value))
    if type(value) is not float:
        return value
    if math.isnan(value):
        raise BadRecord("NOT_A_NUMBER", "value")
    return value + 0.0


class RowsOf(Rows):
    """Rows by a pure function of the record: `(key, time in ms, value)`, all plain values, or None for no row. It may raise BadRecord.

    Keys are strings, bytes, integers, or tuples of these; TypeError for others.
    """

    def __init__(self, function: Callable[[Record], tuple[Any, int, Any] | None]) -> None:
        if not callable(function):
            raise ValueError(f"RowsOf: function must be callable, got {function!r}")
        self._function = function

    def row(self, record: Record) -> tuple[Any, int, Any] | None:
        return self._function(record)


class FieldRows(Rows):
    """Rows by fields of framed Avro values.

    schemas: schema by id, as in the frame; a record of another id, or without value, has no row. key: a field of type
    string, bytes, enum, int or long. time: an int or long in ms, None for the append time. value: a field of a
    primitive type or an enum, several (the value is then their tuple) or None (it is then 1). Each may be in a union
    with null; a row with a null is bad.
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
        times = () if time is None else (time,)
        for number, schema in schemas.items():
            _check_fields(number, schema, "key", (key,), _KEYS)
            _check_fields(number, schema, "time", times, _INTEGERS)
            _check_fields(number, schema, "value", values, _VALUES)
        self._schemas = {number: dict(schema) for number, schema in schemas.items()}
        self._key, self._time, self._values, self._single = key, time, values, value is None or isinstance(value, str)
        self._fields = tuple(dict.fromkeys((key, *times, *values)))
        self.may_be_integers = self._single and all(
            kind_of(schema, name).kind in _INTEGERS for schema in self._schemas.values() for name in values
        )
        self._compile()

    def _compile(self) -> None:
        self._projections = {
            number: compile_projection(schema, self._fields) for number, schema in self._schemas.items()
        }
        self._scan: FieldScan | None = None
        if len(self._schemas) == 1:
            ((number, schema),) = self._schemas.items()
            self._scan = compile_scan(number, schema, self._fields)

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name not in ("_projections", "_scan")}

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
        for name, found in fields.items():
            if found is None:
                raise BadRecord("NULL_FIELD", name)
        values = tuple(fields[name] for name in self._values)
        time = record.at if self._time is None else fields[self._time]
        return fields[self._key], time, (values[0] if values else 1) if self._single else values

    def read(self, chunk: Chunk) -> Columns:
        scanned = self._scan.read(chunk.payload, chunk.count) if self._scan else None
        if scanned is None or any(_has_nan(scanned.columns[name]) for name in self._values):
            return super().read(chunk)
        offsets, appended, columns = scanned
        clocks = np.maximum.accumulate(np.concatenate((np.array([chunk.clock]), appended[:-1])))
        times = np.clip(appended if self._time is None else columns[self._time], MIN_TIME, MAX_TIME)
        values: Any
        if not self._values:
            values = np.ones(chunk.count, np.int64)
        elif self._single and _is_long(columns[self._values[0]]):
            values = columns[self._values[0]]
        else:
            listed = [_listed(columns[name]) for name in self._values]
            values = listed[0] if self._single else list(zip(*listed, strict=True))
        return Columns(_listed(columns[self._key]), times, values, clocks, offsets, ())


def _is_long(column: Any) -> bool:
    return isinstance(column, np.ndarray) and column.dtype == np.int64


def _has_nan(column: Any) -> bool:
    return isinstance(column, np.ndarray) and bool(np.isnan(column).any())


def _listed(column: Any) -> list[Any]:
    """A column as Python's own values, with one zero."""
    if not isinstance(column, np.ndarray):
        return list(column)
    values: list[Any] = (column + 0.0 if column.dtype == np.float64 else column).tolist()
    return values


def _check_fields(
    number: int, schema: Mapping[str, Any], role: str, names: Sequence[str], kinds: Sequence[str]
) -> None:
    known = [field["name"] for field in schema["fields"]]
    for name in names:
        if name not in known:
            raise ValueError(f"FieldRows: schema {number} ({schema['name']}) has no field {name}")
        kind = kind_of(schema, name).kind
        if kind not in kinds:
            raise ValueError(
                f"FieldRows: {role} must be of type {', '.join(kinds)}; {name} of schema {number} is of type {kind}"
            )
