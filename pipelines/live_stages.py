"""The payment stages as live folds, and what their lanes report."""

import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any

import apache_beam as beam

from payments import topics
from payments.accounts import AccountProcessor
from payments.admission import Admission
from payments.watchdog import Watchdog
from pipelines.live_options import LiveOptions, knobs_of
from pipelines.registry import REGISTRY
from pipelines.topics import METRICS
from transforms.fold import Topic
from transforms.fold_bounded import Engine
from transforms.fold_log import FoldLog
from transforms.kafka_settings import KafkaSettings
from transforms.lane_types import Summary
from transforms.log_writer import LogWriter, WriteFailed
from transforms.loop import Stage
from transforms.snapshots import SnapshotStore


def admission_engine(ttl_ms: int, topic_id: str = "") -> Engine:
    """Admission over payments.incoming; `topic_id` is for replays, live lanes find it themselves."""
    return Engine(Stage(Admission(ttl_ms), with_id(topics.INCOMING, topic_id)), REGISTRY)


def accounts_engine(reversal_ms: int, topic_id: str = "") -> Engine:
    """The account processor over payments.inflight."""
    return Engine(Stage(AccountProcessor(reversal_ms), with_id(topics.INFLIGHT, topic_id)), REGISTRY)


def watchdog_engine(sla_ms: int, topic_id: str = "") -> Engine:
    """The watchdog over payments.status."""
    return Engine(Stage(Watchdog(sla_ms), with_id(topics.STATUS, topic_id)), REGISTRY)


def with_id(topic: Topic, topic_id: str) -> Topic:
    return Topic(topic.name, topic.partitions, topic_id)


NAMES = ("Admission", "Accounts", "Watchdog")


def fold_stages(p: beam.Pipeline, options: LiveOptions, settings: KafkaSettings, names: Sequence[str] = NAMES) -> None:
    """A root for each stage of payments. `options` also has the rules of payments."""
    fold_roots(
        p, options, settings, {name: maker_of(name, options) for name in names}, NAMES.index, topics.PATIENT
    )


def fold_roots(
    p: beam.Pipeline,
    options: LiveOptions,
    settings: KafkaSettings,
    makers: Mapping[str, Callable[[], Engine]],
    place_of: Callable[[str], int],
    patient: Sequence[Topic],
) -> None:
    """A root for each stage, its lanes' summaries behind it. `place_of` numbers the stages of a job, by which lanes are spread; no hop
    waits for the `patient` topics."""
    store, knobs = SnapshotStore(options.snapshots), knobs_of(options, patient)
    for name, maker in makers.items():
        summaries = p | name >> FoldLog(maker, settings, store, options.lanes, knobs, place_of(name))
        if not options.no_metrics:
            _ = summaries | f"Report{name}" >> ReportTurns(settings)


def maker_of(name: str, options: Any) -> Any:
    """What builds a stage of payments on a worker."""
    if name == "Admission":
        return partial(admission_engine, options.ttl_ms)
    if name == "Accounts":
        return partial(accounts_engine, options.reversal_ms)
    return partial(watchdog_engine, options.sla_ms)


class ReportTurns(beam.PTransform):
    """PCollection[Summary] → PCollection[bytes], empty: each summary becomes a line of JSON on rails.metrics, key `stage/lane`.

    Best effort: what cannot be written is dropped, and a retried bundle says it again. No result depends on it.
    """

    def __init__(self, settings: KafkaSettings) -> None:
        super().__init__()
        self.settings = settings

    def expand(self, summaries: beam.PCollection) -> beam.PCollection:
        return summaries | "Write" >> beam.ParDo(_WriteSummaries(self.settings)).with_output_types(bytes)


class _WriteSummaries(beam.DoFn):
    def __init__(self, settings: KafkaSettings) -> None:
        self.settings = settings
        self._writer: LogWriter | None = None

    def process(self, summary: Summary) -> Iterator[bytes]:
        key = f"{summary.stage}/{summary.lane}".encode()
        try:
            if self._writer is None:
                self._writer = LogWriter(self.settings.resolved())
            self._writer.write([(METRICS.name, 0, key, summary_line(summary, time.time()), [])])
            self._writer.poll()
        except WriteFailed:
            self._writer = None
        return iter(())

    def teardown(self) -> None:
        if self._writer is not None:
            self._writer.close()


def summary_line(summary: Summary, now: float) -> bytes:
    """JSON of a summary, with the time (ms) at which it is written."""
    return json.dumps({**summary._asdict(), "at": int(now * 1000)}).encode()
