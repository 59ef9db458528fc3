"""From values to events and back, many at a time: what a step of a lane reads and writes. By a loop in C where that is compiled."""

from collections.abc import Iterable, Sequence
from typing import Any

from schemas.rails import Position
from transforms.errors import BadRecord
from transforms.fetched import Fetched
from transforms.fold import Emitted, Shard
from transforms.kafka_headers import ORIGIN, VERSION, HeaderWriter, Headings
from transforms.log_writer import Written
from transforms.registry import Registry

try:
    from transforms.avro_native import decode_values, make_outputs
except ImportError:  # not compiled here: one after another
    decode_values = make_outputs = None

_NAMES = (ORIGIN, VERSION)

_new = tuple.__new__


class ValueReader:
    """Decodes values of events of `kinds`."""

    def __init__(self, registry: Registry, kinds: Iterable[type]) -> None:
        self._registry = registry
        self._coders = {registry.frame(kind): registry.codec(kind).coder for kind in kinds if kind in registry.kinds}

    def read(self, values: list[bytes]) -> list[Any]:
        """The events; None for a value that is none, of which the shard makes a dead letter, and may be for other kinds."""
        if decode_values is None:
            return list(map(self._event, values))
        events: list[Any] = decode_values(values, self._coders)
        return events

    def _event(self, value: bytes) -> Any:
        try:
            return self._registry.decode(value)
        except BadRecord:
            return None


class OutputMaker:
    """Gives what a shard emits its identity (contract line 5) and its bytes, ready for the writer."""

    def __init__(self, registry: Registry, shard: Shard, headings: Headings) -> None:
        self._registry, self._shard = registry, shard
        self._headers = HeaderWriter(shard.source, headings)
        self._coders = {kind: (registry.frame(kind), registry.codec(kind).coder) for kind in registry.kinds}

    def make(self, times: Sequence[int], emitted: list[Emitted], caused_by: Fetched) -> list[Written]:
        """The outputs in order, without the upserts that a later one of the same key overtakes; `times`: append times of their causes."""
        if make_outputs is None or not self._headers.bare:
            return self._singly(times, emitted, caused_by.traces)
        made: list[Written] = make_outputs(
            self._headers.prefix, self._coders, emitted, self._shard.prevs, _NAMES, Position
        )
        return made

    def _singly(self, times: Sequence[int], emitted: Sequence[Emitted], traces: dict[int, bytes]) -> list[Written]:
        headers, follow, encode = self._headers, self._shard.follow, self._registry.encode
        newest = {(one[0], one[2]): one[6] for one in emitted if one[6] is not None}
        made: list[Written] = []
        for at, (topic, partition, key, event, offset, index, version) in zip(times, emitted, strict=True):
            kind = type(event).__name__
            if version is None:
                prev = follow((topic, partition), _new(Position, (offset, index)))
                heads = headers.of_output(offset, index, prev, at, kind, traces.get(offset))
            elif version < newest[topic, key]:
                continue
            else:
                heads = headers.of_upsert(offset, version, at, kind, traces.get(offset))
            made.append((topic, partition, key, encode(event), heads))
        return made
