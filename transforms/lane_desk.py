"""The desk of a shard: folds what the reader brings, and hands on what is emitted, ready for the writer."""

import time
from collections.abc import Sequence

from transforms.fetched import Fetched
from transforms.fold import Emitted, Run, Shard
from transforms.kafka_headers import Headings
from transforms.lane_values import OutputMaker, ValueReader
from transforms.log_writer import Written
from transforms.registry import Registry

RUN_RECORDS = 8  # from here on a run is folded sooner than its records one by one


class Desk:
    """One shard of a lane; `saved` is the offset of its last snapshot, `saved_at` when it was tried (monotonic seconds), `rest_s`
    how long to wait after it."""

    __slots__ = ("_outputs", "_values", "at_check", "rest_s", "saved", "saved_at", "shard")

    def __init__(self, shard: Shard, registry: Registry, headings: Headings) -> None:
        self.shard = shard
        self._values, self._outputs = ValueReader(registry, shard.processor.reads), OutputMaker(registry, shard, headings)
        self.saved, self.saved_at = shard.offset, time.monotonic()
        self.rest_s = 0.0
        self.at_check = -1  # the offset when the log's end was last looked at, if there was more to read

    def fold(self, fetched: Fetched) -> list[Written]:
        """Folds the records; what they cause, in order, without the upserts that a later one of the same key overtakes."""
        times, emitted = self._fold(fetched)
        return self._outputs.make(times, emitted, fetched) if emitted else []

    def _fold(self, fetched: Fetched) -> tuple[Sequence[int], list[Emitted]]:
        """What is emitted, and for each the append time of its cause."""
        shard, values = self.shard, fetched.values
        if len(values) >= RUN_RECORDS and all(values) and (origins := fetched.origins) is not None:
            events = self._values.read(values)
            return shard.fold_run(Run(fetched.first, fetched.times, fetched.keys, events, values.__getitem__, origins))
        emitted: list[Emitted] = []
        caused: list[int] = []
        for record in fetched.records():
            shard.emit_step(record, emitted)
            if len(emitted) > len(caused):
                caused += [record.at] * (len(emitted) - len(caused))
        return caused, emitted
