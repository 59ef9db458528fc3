"""Chunks of events read by column, for a fold; what has a client's headers, no value or another form is read record by record."""

from collections.abc import Iterable

from transforms.chunks import ORIGINS, Chunk
from transforms.fold import Run
from transforms.registry import Registry

try:
    from transforms.avro_native import read_run
except ImportError:  # not compiled here: all is read record by record
    read_run = None

_MISSES = 3  # chunks that may be read in vain before a reader gives up


class RunReader:
    """Reads the chunks of one partition as `Run`s of events of `kinds`.

    It gives up when chunks prove to be of another form; what is read is the same either way.
    """

    def __init__(self, registry: Registry, kinds: Iterable[type]) -> None:
        self._coders = {registry.frame(kind): registry.codec(kind).coder for kind in kinds if kind in registry.kinds}
        self._misses = 0 if read_run is not None else _MISSES

    def read(self, chunk: Chunk) -> Run | None:
        """The records of the chunk, or None where one has no value, or headers of a client."""
        if self._misses >= _MISSES:
            return None
        payload = chunk.payload
        found = read_run(payload, chunk.count, self._coders, ORIGINS.coder) if chunk.count else None
        if found is None:
            self._misses += 1
            return None
        self._misses = 0
        first, times, keys, events, spans, origins = found
        return Run(first, times, keys, events, lambda n: payload[spans[2 * n] : spans[2 * n + 1]], origins)
