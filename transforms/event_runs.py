"""Chunks of plain events read by column, for a fold: what has an origin or headers, or is of another form, is read record by record."""

from collections.abc import Iterable, Iterator
from functools import partial
from typing import Any

import numpy as np

from transforms.chunks import Chunk
from transforms.fold import Run
from transforms.registry import Registry
from transforms.scan import FieldScan, compile_scan

RUN_RECORDS = 2000  # numpy is called less often for more records, but what a run holds should stay in the cache
_MISSES = 3  # chunks that may be read in vain before a reader gives up


class RunReader:
    """Reads the chunks of one partition as `Run`s of events of `kinds`: those whose fields are all primitives or enums.

    It gives up when chunks prove to be of another form; what is read is the same either way.
    """

    def __init__(self, registry: Registry, kinds: Iterable[type]) -> None:
        self._scans = [scan for kind in kinds if (scan := _scan_of(registry, kind)) is not None]
        self._misses = 0

    def read(self, chunk: Chunk) -> Run | None:
        """The records of the chunk, or None where they are not all of one kind, with keys, without origins and headers."""
        if self._misses >= _MISSES:
            return None
        for place, (kind, names, scan) in enumerate(self._scans):
            run = _read(chunk, kind, names, scan)
            if run is not None:
                self._misses = 0
                self._scans.insert(0, self._scans.pop(place))
                return run
        self._misses += 1
        return None


def _scan_of(registry: Registry, kind: type) -> tuple[type, tuple[str, ...], FieldScan] | None:
    schema = registry.schema(kind)
    names = tuple(field["name"] for field in schema["fields"])
    if not names or names != getattr(kind, "_fields", None):
        return None
    scan = compile_scan(int.from_bytes(registry.frame(kind)[1:], "big"), schema, names)
    return None if scan is None else (kind, names, scan)


def _read(chunk: Chunk, kind: type, names: tuple[str, ...], scan: FieldScan) -> Run | None:
    payload = chunk.payload
    found = scan.read_records(payload, chunk.count)
    if found is None:
        return None
    (offsets, appended, columns), keys, starts, ends = found
    first = int(offsets[0])
    if not (offsets == np.arange(first, first + chunk.count)).all():
        return None  # a gap: told where the records are folded one by one
    fields = [column.tolist() if isinstance(column, np.ndarray) else column for column in map(columns.get, names)]
    events: list[Any] = list(map(partial(tuple.__new__, kind), zip(*fields, strict=True)))
    return Run(first, appended.tolist(), keys, events, lambda n: payload[starts[n] : ends[n]])


def join_chunks(chunks: Iterable[Chunk], size: int = RUN_RECORDS) -> Iterator[Chunk]:
    """Consecutive chunks of a partition together, as long as they hold at most `size` records; none is cut."""
    held: list[Chunk] = []
    count = 0
    for chunk in chunks:
        if held and (count + chunk.count > size or held[0].offset + count != chunk.offset):
            yield _joined(held, count)
            held, count = [], 0
        held.append(chunk)
        count += chunk.count
    if held:
        yield _joined(held, count)


def _joined(held: list[Chunk], count: int) -> Chunk:
    return held[0]._replace(count=count, payload=b"".join([chunk.payload for chunk in held]))
