"""`FoldInBeamState`: the same processor class inside a streaming pipeline of the user's own, away from any topic.

Simple, and slow: each element reads and writes the whole state of its key through Beam's state, which costs tens of microseconds on the
DirectRunner and a state commit on Flink; where the events stand on a topic, use `Fold` or `FoldLog`. The guarantees are Beam's: elements of
a key are applied in the order in which Beam brings them, once per successful bundle, and nothing is replayable.
"""

from collections.abc import Callable, Iterator
from typing import Any

import apache_beam as beam
from apache_beam.coders import BytesCoder
from apache_beam.transforms.timeutil import TimeDomain
from apache_beam.transforms.userstate import ReadModifyWriteStateSpec, TimerSpec, on_timer
from apache_beam.utils.timestamp import Timestamp

from schemas.rails import Record, Tick
from transforms.fold import Output, Shard
from transforms.fold_bounded import Engine
from transforms.snapshots import encode_shard, restore_shard

Written = tuple[str, bytes, bytes]  # (topic, key, value): what the processor wrote


class FoldInBeamState(beam.PTransform):
    """PCollection[tuple[bytes, bytes]] of (key, value) with event-time timestamps → PCollection[tuple[str, bytes, bytes]].

    Keys and values are those of a topic: the key is the entity's id, the value what the registry decodes. The element's timestamp is the
    append time, so the clock of a key is the largest timestamp that it has seen; an event-time timer stands in for the ticker and wakes
    the key when a deadline is due. Dead letters are among the outputs, under their topic.

    Raises ValueError for a processor with state that belongs to the shard: here every key is a shard of its own.
    """

    def __init__(self, make_engine: Callable[[], Engine]) -> None:
        super().__init__()
        processor = make_engine().stage.processor
        if processor.new_shared() is not None or processor.entity_codec is None:
            raise ValueError(f"{processor.stage}: needs an entity_codec and no shared state to run in Beam state")
        self.make_engine = make_engine

    def expand(self, events: beam.PCollection) -> beam.PCollection:
        return events | "FoldInState" >> beam.ParDo(_FoldKey(self.make_engine)).with_output_types(Written)


class _FoldKey(beam.DoFn):
    SHARD = ReadModifyWriteStateSpec("shard", BytesCoder())
    KEY = ReadModifyWriteStateSpec("key", BytesCoder())
    DEADLINE = TimerSpec("deadline", TimeDomain.WATERMARK)

    def __init__(self, make_engine: Callable[[], Engine]) -> None:
        self.make_engine = make_engine

    def setup(self) -> None:
        self.engine = self.make_engine()

    def process(
        self,
        element: tuple[bytes, bytes],
        timestamp: Timestamp = beam.DoFn.TimestampParam,
        shard_state: Any = beam.DoFn.StateParam(SHARD),
        key_state: Any = beam.DoFn.StateParam(KEY),
        deadline: Any = beam.DoFn.TimerParam(DEADLINE),
    ) -> Iterator[Written]:
        key, value = element
        key_state.write(key)
        yield from self._step(key, value, None, timestamp.micros // 1000, shard_state, deadline)

    @on_timer(DEADLINE)
    def on_due(
        self,
        timestamp: Timestamp = beam.DoFn.TimestampParam,
        shard_state: Any = beam.DoFn.StateParam(SHARD),
        key_state: Any = beam.DoFn.StateParam(KEY),
        deadline: Any = beam.DoFn.TimerParam(DEADLINE),
    ) -> Iterator[Written]:
        at = timestamp.micros // 1000
        yield from self._step(key_state.read(), None, Tick(at), at, shard_state, deadline)

    def _step(
        self, key: bytes, value: bytes | None, event: Tick | None, at: int, shard_state: Any, deadline: Any
    ) -> Iterator[Written]:
        shard = self._restore(key, shard_state.read())
        outputs = shard.step(Record(shard.offset, at, key, value, None, ()), event)
        shard_state.write(encode_shard(shard))
        due = shard.next_deadline
        if due is None:
            deadline.clear()
        else:
            deadline.set(Timestamp(micros=due * 1000))
        for output in outputs:
            yield self._written(output)

    def _restore(self, key: bytes, state: bytes | None) -> Shard:
        shard = self.engine.shard(self.engine.stage.topic.partition_of(key))
        if state is not None:
            restore_shard(shard, state)
        return shard

    def _written(self, output: Output) -> Written:
        return output.topic, output.key or b"", self.engine.registry.encode(output.event)
