"""Writing to the live topics from outside of the stages: ticks, administration, the generator's payments."""

from collections.abc import Sequence

from transforms.kafka_settings import KafkaSettings
from transforms.log_writer import LogWriter, WriteFailed, WriteKnobs

Line = tuple[str, int, bytes | None, bytes]
"""topic, partition, key, value."""

__all__ = ["Line", "LiveWriter", "WriteFailed"]


class LiveWriter:
    """Appends records without identity, in order and gapless (contract line 7); WriteFailed when the broker does not take them."""

    def __init__(self, settings: KafkaSettings, linger_ms: float = 0) -> None:
        self._settings, self._knobs = settings, WriteKnobs(linger_ms=linger_ms)
        self._writer: LogWriter | None = None

    def write(self, lines: Sequence[Line]) -> None:
        """Hands records to the producer."""
        if self._writer is None:
            self._writer = LogWriter(self._settings.resolved(), self._knobs)
        try:
            self._writer.write([(topic, partition, key, value, []) for topic, partition, key, value in lines])
            self._writer.poll()
        except WriteFailed:
            self._writer = None
            raise

    def flush(self) -> None:
        """Returns when all is acknowledged."""
        if self._writer is None:
            return
        try:
            self._writer.flush()
        except WriteFailed:
            self._writer = None
            raise

    def close(self) -> None:
        if self._writer is not None:
            self._writer.close()
            self._writer = None
