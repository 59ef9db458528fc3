"""The desk of a shard: folds what the reader brings, and gives what is emitted its identity and its bytes, ready for the writer."""

import time
from collections.abc import Sequence
from typing import Any

from schemas.rails import Position
from transforms.errors import BadRecord
from transforms.fetched import Fetched
from transforms.fold import Emitted, Run, Shard
from transforms.kafka_headers import ORIGIN, HeaderWriter, Headings, pack_place
from transforms.log_writer import Written
from transforms.registry import Registry

RUN_RECORDS = 8  # from here on a run is folded sooner than its records one by one

_FRAME = 5  # bytes before the Avro of a value
_NO_TRACES: dict[int, bytes] = {}

_new = tuple.__new__


class Desk:
    """One shard of a lane; `saved` is the offset of its last snapshot, `saved_at` when it was tried (monotonic seconds), `rest_s`
    how long to wait after it."""

    __slots__ = ("_decoders", "_kinds", "_registry", "at_check", "headers", "rest_s", "saved", "saved_at", "shard")

    def __init__(self, shard: Shard, registry: Registry, headings: Headings) -> None:
        self.shard, self._registry, self.headers = shard, registry, HeaderWriter(shard.source, headings)
        self.saved, self.saved_at = shard.offset, time.monotonic()
        self.rest_s = 0.0
        self.at_check = -1  # the offset when the log's end was last looked at, if there was more to read
        self._kinds: dict[type, tuple[bytes, Any, str]] = {}
        reads = [kind for kind in shard.processor.reads if kind in registry.kinds]
        self._decoders = {registry.frame(kind): registry.codec(kind).decode for kind in reads}

    def fold(self, fetched: Fetched) -> list[Written]:
        """Folds the records; what they cause, in order, without the upserts that a later one of the same key overtakes."""
        times, emitted = self._fold(fetched)
        return self._outputs(times, emitted, fetched.traces) if emitted else []

    def _fold(self, fetched: Fetched) -> tuple[Sequence[int], list[Emitted]]:
        """What is emitted, and for each the append time of its cause."""
        shard, values = self.shard, fetched.values
        if len(values) >= RUN_RECORDS and all(values) and (origins := fetched.origins) is not None:
            events = self._events(values)
            return shard.fold_run(Run(fetched.first, fetched.times, fetched.keys, events, values.__getitem__, origins))
        emitted: list[Emitted] = []
        caused: list[int] = []
        for record in fetched.records():
            shard.emit_step(record, emitted)
            if len(emitted) > len(caused):
                caused += [record.at] * (len(emitted) - len(caused))
        return caused, emitted

    def _outputs(
        self, times: Sequence[int], emitted: Sequence[Emitted], traces: dict[int, bytes] | None
    ) -> list[Written]:
        kinds, headers, prevs = self._kinds, self.headers, self.shard.prevs
        bare, prefix, causes = headers.bare, headers.prefix, traces or _NO_TRACES
        newest = {(one[0], one[2]): one[6] for one in emitted if one[6] is not None}
        made: list[Written] = []
        for at, (topic, partition, key, event, offset, index, version) in zip(times, emitted, strict=True):
            if version is not None and version < newest[topic, key]:
                continue
            kind = type(event)
            if kind not in kinds:
                kinds[kind] = self._registry.frame(kind), self._registry.codec(kind).encode_behind, kind.__name__
            frame, encode, name = kinds[kind]
            if version is None:
                target = (topic, partition)
                prev = prevs.get(target)
                prevs[target] = _new(Position, (offset, index))  # as Shard.follow does
                if not bare:
                    heads = headers.of_output(offset, index, prev, at, name, causes.get(offset))
                elif prev is None:
                    heads = [(ORIGIN, prefix + pack_place(offset, index, -1, -1))]
                else:
                    heads = [(ORIGIN, prefix + pack_place(offset, index, prev[0], prev[1]))]
            else:
                heads = headers.of_upsert(offset, version, at, name, causes.get(offset))
            made.append((topic, partition, key, encode(frame, event), heads))
        return made

    def _events(self, values: Sequence[bytes]) -> list[Any]:
        """The events; None for a value that is none, of which the shard makes a dead letter."""
        frame = values[0][:_FRAME]
        decode = self._decoders.get(frame)
        try:
            if decode is not None and [value[:_FRAME] for value in values].count(frame) == len(values):
                return [decode(value, _FRAME) for value in values]
            return list(map(self._registry.decode, values))
        except BadRecord:
            return list(map(self._event, values))

    def _event(self, value: bytes) -> Any:
        try:
            return self._registry.decode(value)
        except BadRecord:
            return None
