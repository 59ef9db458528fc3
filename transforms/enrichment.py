"""Enrichment of rows from a small reference table that fits into the memory of every worker.

A table that changes over time, and whose state at the row's time counts, is `JoinTableAsOf` of `transforms.joins`
instead.
"""

import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import apache_beam as beam
import numpy as np
from apache_beam import coders, pvalue
from apache_beam.transforms.core import DoFn
from apache_beam.transforms.window import GlobalWindow
from apache_beam.utils import windowed_value

from transforms.chunks import Chunk
from transforms.plain import PlainTupleCoder
from transforms.rows import Columns, Rows
from transforms.windows import BadRow


class EnrichedRow(NamedTuple):
    """A row and what the table has for it; topic, partition, offset: its record; time: ms."""

    topic: str
    partition: int
    offset: int
    key: Any
    time: int
    value: Any
    found: Any


class UnknownRow(NamedTuple):
    """A row for which the table has nothing; `looked_up` is what was looked for."""

    topic: str
    partition: int
    offset: int
    key: Any
    time: int
    value: Any
    looked_up: Any


class EnrichedRowCoder(PlainTupleCoder):
    kind = EnrichedRow


class UnknownRowCoder(PlainTupleCoder):
    kind = UnknownRow


coders.registry.register_coder(EnrichedRow, EnrichedRowCoder)
coders.registry.register_coder(UnknownRow, UnknownRowCoder)


class Enriched(NamedTuple):
    """What `EnrichFromTable` gives. (A NamedTuple: Beam records its fields as the named outputs of the step.)

    results: PCollection[EnrichedRow]; unmatched: PCollection[UnknownRow]; bad: PCollection[BadRow]. Every row is in one
    of them; rows are stamped with their own time.
    """

    results: Any
    unmatched: Any
    bad: Any


class EnrichFromTable(beam.PTransform):
    """Looks each row up in a table.

    PCollection[Chunk] -> `Enriched`. `rows` reads (key, time, value) from the records, see `transforms.rows`. table: a
    mapping; a function without arguments that gives one, called once per worker; or a bounded PCollection of (key,
    value) with types of registered coders, each key once. Its values are plain and not None. by: a pure function of
    (key, value) of a row that gives what to look up, such as a grid cell; None: the row's key.
    """

    def __init__(
        self,
        rows: Rows,
        table: Mapping[Any, Any] | Callable[[], Mapping[Any, Any]] | beam.PCollection,
        by: Callable[[Any, Any], Any] | None = None,
    ) -> None:
        super().__init__()
        if not isinstance(rows, Rows):
            raise ValueError(f"EnrichFromTable: rows must be a row reader of transforms.rows, got {rows!r}")
        if not isinstance(table, Mapping | beam.PCollection) and not callable(table):
            raise ValueError(f"EnrichFromTable: table must be a mapping, a function or a PCollection, got {table!r}")
        if isinstance(table, beam.PCollection) and not table.is_bounded:
            raise ValueError("EnrichFromTable: table must be bounded; JoinTableAsOf takes one that changes")
        if by is not None and not callable(by):
            raise ValueError(f"EnrichFromTable: by must be a function of (key, value), got {by!r}")
        self._rows, self._table, self._by = rows, table, by

    def expand(self, chunks: Any) -> Any:
        if isinstance(self._table, beam.PCollection):
            look_up = beam.ParDo(_LookUp(self._rows, None, self._by), table=pvalue.AsDict(self._table))
        else:
            look_up = beam.ParDo(_LookUp(self._rows, self._table, self._by))
        step = look_up.with_output_types(EnrichedRow, unmatched=UnknownRow, bad=BadRow)
        found = chunks | "Look up" >> step.with_outputs("unmatched", "bad", main="results")
        return Enriched(found.results, found.unmatched, found.bad)


def look_up(
    columns: Columns, chunk: Chunk, table: Mapping[Any, Any], by: Callable[[Any, Any], Any] | None
) -> Iterator[EnrichedRow | UnknownRow]:
    """The rows of a chunk in order, each with what the table has."""
    keys, values = columns.keys, columns.values
    wanted = keys if by is None else list(map(by, keys, values))
    found = map(table.get, wanted)
    topic, partition = chunk.topic, chunk.partition
    rows = zip(map(int, columns.offsets), keys, columns.times.tolist(), values, wanted, found, strict=True)
    for offset, key, time, value, looked_up, one in rows:
        if one is None:
            yield UnknownRow(topic, partition, offset, key, time, value, looked_up)
        else:
            yield EnrichedRow(topic, partition, offset, key, time, value, one)


class _LookUp(DoFn):
    """Chunk -> EnrichedRow; UnknownRow and BadRow as named outputs."""

    def __init__(self, rows: Rows, table: Any, by: Callable[[Any, Any], Any] | None) -> None:
        self._rows, self._table, self._by = rows, table, by

    def setup(self) -> None:
        self._loaded = self._table() if callable(self._table) else self._table

    def process(self, element: Chunk, table: Any = None) -> Iterator[Any]:
        columns = self._rows.read(element)
        if isinstance(columns.values, np.ndarray):
            columns = columns._replace(values=columns.values.tolist())
        everywhere = (GlobalWindow(),)
        for row in look_up(columns, element, self._loaded if table is None else table, self._by):
            stamped = windowed_value.create(row, row.time * 1000, everywhere)
            yield stamped if type(row) is EnrichedRow else pvalue.TaggedOutput("unmatched", stamped)
        for refused in columns.bad:
            yield pvalue.TaggedOutput("bad", BadRow(element.topic, element.partition, *refused))


def grid_cell(lat: float, lon: float, degrees: float) -> tuple[int, int]:
    """The cell of a grid of `degrees` that a place on Earth lies in: (row, column), counted from 90° south and 180°
    west.

    A cell holds its southern and western edges. The poles and 180° east lie in the last row and, as 180° west does, in
    the first column: it is the same meridian. Any longitude is taken modulo 360°. degrees: a size that divides 180,
    from 0.0001 on. ValueError for a place that there is not.
    """
    if not 0.0001 <= degrees <= 180 or abs(180 / degrees - round(180 / degrees)) > 1e-9:
        raise ValueError(f"grid_cell: degrees must divide 180 and be 0.0001 at least, got {degrees!r}")
    if not (-90 <= lat <= 90 and math.isfinite(lon)):
        raise ValueError(f"grid_cell: lat must lie between -90 and 90, and lon be finite, got {lat!r}, {lon!r}")
    rows = round(180 / degrees)
    row = min(math.floor((lat + 90) / degrees), rows - 1)
    return row, math.floor(((lon + 180) % 360) / degrees) % (2 * rows)
