"""What a reader brings: consecutive records of one partition, by column, so that a fold of plain ones needs no record objects."""

from collections.abc import Sequence
from functools import partial
from typing import Any

from schemas.rails import Header, Origin, Record
from transforms.kafka_headers import ReadHeaders

_new = tuple.__new__


class Fetched:
    """Consecutive records of one partition, by column, from offset `first`; `read` has what their headers say, None if none has any."""

    __slots__ = ("_read", "first", "keys", "partition", "times", "values")

    def __init__(
        self,
        partition: int,
        first: int,
        times: list[int],
        keys: list[Any],
        values: list[Any],
        read: list[ReadHeaders] | None = None,
    ) -> None:
        self.partition, self.first, self.times, self.keys, self.values, self._read = (
            partition,
            first,
            times,
            keys,
            values,
            read,
        )

    def __len__(self) -> int:
        return len(self.times)

    @property
    def origins(self) -> list[Origin | None] | None:
        """The origin of each record, None where it has none; None for all if a record has headers of a client."""
        if self._read is None:
            return [None] * len(self.times)
        origins, headers, _ = zip(*self._read, strict=True)
        return None if any(headers) else list(origins)

    @property
    def traces(self) -> dict[int, bytes]:
        """The trace ids by offset, of those records that have one."""
        return (
            {} if self._read is None else {n: trace for n, (_, _, trace) in enumerate(self._read, self.first) if trace}
        )

    def records(self) -> list[Record]:
        """All, one by one."""
        count = len(self.times)
        origins: Sequence[Origin | None] = (None,) * count
        headers: Sequence[tuple[Header, ...]] = ((),) * count
        if self._read is not None:
            origins, headers, _ = zip(*self._read, strict=True)
        offsets = range(self.first, self.first + count)
        columns = zip(offsets, self.times, self.keys, self.values, origins, headers, strict=True)
        return list(map(partial(_new, Record), columns))

    def before(self, end: int) -> "Fetched | None":
        """Those before the offset `end`; None if there is none."""
        count = end - self.first
        if count >= len(self.times):
            return self
        if count <= 0:
            return None
        read = None if self._read is None else self._read[:count]
        return Fetched(self.partition, self.first, self.times[:count], self.keys[:count], self.values[:count], read)
