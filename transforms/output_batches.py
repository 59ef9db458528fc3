"""Outputs of a shard to one partition, encoded many at a time: identity, event and record in one go where that is compiled."""

from collections.abc import Sequence

from schemas.rails import Position, Record
from transforms.avro_runtime import enc_long, enc_str
from transforms.chunks import encode_record
from transforms.fold import Emitted, Shard
from transforms.registry import Registry

try:
    from transforms.avro_native import write_outputs
except ImportError:  # not compiled here: one after another
    write_outputs = None


class OutputEncoder:
    """Encodes what `shard` emits, as records with their identity."""

    def __init__(self, registry: Registry, shard: Shard) -> None:
        self._registry, self._shard = registry, shard
        source = shard.source
        self._writer = b"\2" + enc_str(source.stage) + enc_str(source.topic) + enc_long(source.partition)
        self._coders = {kind: (registry.frame(kind), registry.codec(kind).coder) for kind in registry.kinds}

    def encode(self, first: int, times: Sequence[int], emitted: Sequence[Emitted]) -> bytes:
        """The payload of a chunk: all that comes next to one partition, as records from offset `first`, appended at `times`."""
        if write_outputs is None:
            return self._singly(first, times, emitted)
        prevs, target = self._shard.prevs, emitted[0][:2]
        payload: bytes
        payload, last = write_outputs(self._writer, self._coders, first, times, emitted, prevs.get(target))
        if last is not None:
            prevs[target] = Position(*last)
        return payload

    def _singly(self, first: int, times: Sequence[int], emitted: Sequence[Emitted]) -> bytes:
        encode, outputs = self._registry.encode, self._shard.identify(emitted)
        return b"".join(
            encode_record(Record(offset, at, output.key, encode(output.event), output.origin, ()))
            for offset, (at, output) in enumerate(zip(times, outputs, strict=True), first)
        )
