"""The load of a chaos run: a paced stream of payments that goes on through whatever happens to the broker."""

import threading
import time
from collections.abc import Sequence

from pipelines.live_payments import Sent, generated, send
from pipelines.live_writer import Line, LiveWriter, WriteFailed
from transforms.kafka_settings import KafkaSettings


class Load:
    """Sends `rate` payments a second from `start` to `pause`, and from then on at the next `start`, first what was due meanwhile."""

    def __init__(self, settings: KafkaSettings, rate: int, accounts: int, seed: int) -> None:
        self.payments = self.failures = 0
        self._settings = settings
        self._records = generated(rate, accounts, seed, int(time.time() * 1000))
        self._halt = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        if self._thread is None:
            self._halt.clear()
            self._thread = threading.Thread(target=self._send, name="load", daemon=True)
            self._thread.start()

    def pause(self) -> None:
        """Returns when what was sent is acknowledged, or given up."""
        self._halt.set()
        if self._thread is not None:
            self._thread.join()
            self._thread = None

    def write(self, lines: Sequence[Line]) -> None:
        """Writes records beside the stream, and waits until they are acknowledged; WriteFailed."""
        writer = LiveWriter(self._settings)
        try:
            writer.write(lines)
            writer.flush()
        finally:
            writer.close()

    def _send(self) -> None:
        """A writer that failed is replaced. What it had not written is lost, as with a client that gives up."""
        while not self._halt.is_set():
            before, writer = self.payments, LiveWriter(self._settings, linger_ms=2)

            def told(sent: Sent, before: int = before) -> None:
                self.payments = before + sent.payments

            try:
                send(self._records, writer, self._halt.wait, told)
            except WriteFailed:
                self.failures += 1
            finally:
                writer.close()
