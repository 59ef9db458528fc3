"""A payment system on the stack, for tests: topics made anew, jobs, ticks, payments, and what is checked in the end."""

import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from payments import topics
from pipelines.common import parse_options
from pipelines.live import drain, wait_for_start
from pipelines.live_job import Launching, LiveJob
from pipelines.live_payments import generated, send
from pipelines.live_watch import Watch
from pipelines.live_writer import LiveWriter
from pipelines.payments_ticker import run_ticker
from pipelines.payments_verify import Recorded, VerifyOptions, verify_topics
from pipelines.topics import ALL, make_topics
from stack.cluster import Stack
from stack.services import wait_until
from transforms.kafka_settings import KafkaSettings, kafka_settings
from transforms.kafka_topics import KafkaTopics
from transforms.topic_settings import TopicSettings

RATE = 100_000  # payments: as fast as they can be written


def make_anew(settings: KafkaSettings, table: Sequence[TopicSettings]) -> None:
    """Deletes these topics where they are, and makes them."""
    kafka, names = KafkaTopics(settings), [topic.name for topic in table]
    kafka.delete(names)
    assert wait_until(lambda: not kafka.find(names), 30)
    kafka.close()
    _, differences = make_topics(settings, table=table)
    assert differences == []


class System:
    """`jobs` have their snapshots below `folder`; nothing of an earlier system is there."""

    def __init__(self, stack: Stack, folder: Path) -> None:
        self.stack, self.folder, self.sent = stack, folder, 0
        self.settings = kafka_settings(stack.bootstrap, environment={})
        self.writer = LiveWriter(self.settings)
        make_anew(self.settings, ALL)

    @contextmanager
    def job(self, lanes: int = 1, module: str = "pipelines.payments_live") -> Iterator[LiveJob]:
        """A launch without any savepoint, cancelled at the end, ticks as long as it runs."""
        how = Launching(self.stack.bootstrap, lanes=lanes)
        stop, watch = threading.Event(), Watch(self.settings)
        job = LiveJob(self.stack, how, module, f"--snapshots={self.folder / 'snapshots'}", "--snapshot_s=2")
        try:
            wait_for_start(job, watch, stop)
            yield job
        finally:
            watch.close()
            job.close()

    def pay(self, count: int = 120, accounts: int = 45) -> None:
        """So many payments of the generator, others each time."""
        self.sent += 1
        records = generated(RATE, accounts, self.sent, int(time.time() * 1000) - 2_000, count)
        send(records, self.writer, lambda _: False)

    def settle(self, job: LiveJob, seconds: float = 90) -> None:
        """Everything that was sent has arrived everywhere; there were ticks until then."""
        watch, stop = Watch(self.settings), threading.Event()
        ticker = threading.Thread(target=run_ticker, args=(self.settings, 1.0, stop, print))
        ticker.start()
        try:
            assert drain(self.settings, job, watch, stop, seconds), f"in flight: {watch.shown(0, 0)}"
        finally:
            stop.set()
            ticker.join()
            watch.close()

    def verify(self, *flags: str) -> Recorded:
        """What the topics say, to their ends."""
        options = parse_options(["--from_topics", *flags], VerifyOptions)
        self.kept = self.folder / f"kept-{time.time_ns()}"
        self.kept.mkdir()
        return verify_topics(options, self.settings, self.kept)

    def ends(self, topic: str = topics.INFLIGHT.name) -> list[int]:
        kafka = KafkaTopics(self.settings)
        try:
            return [high for _, high in kafka.watermarks(topic)]
        finally:
            kafka.close()
